//! The doors through which hostile files are thrown at the readers of `fieldmesh import` and `fieldmesh schema
//! import`; for the fuzz targets alone. Nothing is sent and nothing is written.

use crdt_schema::schema::Collection;

use super::import;
use super::schema_file::xlsform;

/// Reads a CSV file's rows: how many are good and how many are not; `None` if its header does not fit.
pub fn csv_rows(collection: &Collection, file: &[u8]) -> Option<(u64, u64)> {
    import::probe::csv(collection, file)
}

/// Reads the lines of a JSONL file: how many are good and how many are not.
pub fn jsonl_rows(collection: &Collection, file: &[u8]) -> (u64, u64) {
    import::probe::jsonl(collection, file)
}

/// The text of the schema that a workbook's bytes make.
///
/// # Errors
/// In words, why the workbook cannot be read.
pub fn workbook_schema(workbook: &[u8]) -> Result<String, String> {
    xlsform::probe::schema(workbook)
}
