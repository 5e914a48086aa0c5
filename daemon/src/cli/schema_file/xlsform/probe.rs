//! What the fuzz targets reach of this module; see [`crate::cli::probe`].

use super::form;
use super::sheet::Workbook;
use super::write;

pub(in crate::cli) fn schema(workbook: &[u8]) -> Result<String, String> {
    let draft = form::draft(&Workbook::of_bytes(workbook)?, "form");
    Ok(write::schema(&draft, "form.xlsx"))
}
