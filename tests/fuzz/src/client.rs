//! What clients and people hand in: requests, and files to import.

use crdt_schema::schema::Schema;
use fieldmesh::api::probe as api;
use fieldmesh::cli::probe as cli;

use crate::seeds;

/// Words of CSV files.
pub(crate) const CSV_WORDS: &[&str] = &[
    ",",
    ";",
    "\t",
    "\"",
    "\"\"",
    "\n",
    "\r\n",
    "id",
    "name",
    "visits",
    "allergies",
    "born",
    "'=1",
    "a;b",
];

/// Words of list requests.
pub(crate) const LIST_WORDS: &[&str] = &[
    "?filter=",
    "&filter=",
    "%",
    "%00",
    "%F0%9F%A6%A0",
    ":eq:",
    ":ne:",
    ":lt:",
    ":has:",
    ":contains:",
    "@status",
    "@review",
    "name",
    "visits",
    "born",
    "weight",
    "stage",
    "allergies",
    "&limit=",
    "&cursor=",
    "&space=",
    "&deleted",
];

/// A CSV file of patients.
pub(crate) fn csv(input: &[u8]) {
    if let Some((good, bad)) = cli::csv_rows(seeds::collection("patient"), input) {
        assert!(good + bad <= input.len() as u64 + 1);
    }
}

/// A JSONL file of patients.
pub(crate) fn jsonl(input: &[u8]) {
    let (good, bad) = cli::jsonl_rows(seeds::collection("patient"), input);
    assert!(good + bad <= input.len() as u64 + 1);
}

/// A workbook. Whatever it says, a schema that comes out of it can be used, or has no field at all.
pub(crate) fn xlsform(input: &[u8]) {
    if let Ok(text) = cli::workbook_schema(input) {
        let has_fields = text.contains(".fields]\n") && text.contains("type = ");
        let parsed = Schema::parse(&text);
        assert!(parsed.is_ok() || !has_fields, "{text}\n{parsed:?}");
    }
}

/// The target of a list of patients.
pub(crate) fn list(input: &[u8]) {
    if let Ok(target) = std::str::from_utf8(input) {
        let (collection, view) = seeds::patient();
        api::list(collection, target, view);
    }
}

/// `If-Match` and `If-None-Match`, each on a line.
pub(crate) fn preconditions(input: &[u8]) {
    let mut lines = input.splitn(2, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    api::preconditions(line(), line());
}

/// The body of a write of a patient.
pub(crate) fn patch(input: &[u8]) {
    api::patch(seeds::collection("patient"), input);
}

/// The body of a batch.
pub(crate) fn batch(input: &[u8]) {
    api::batch(seeds::schema(), input);
}
