//! Rows of a CSV file: which column is which field, and each cell by its field's type.
//!
//! An empty cell says nothing about its field. A text that begins like a formula has been given a `'` by
//! the export, so that no spreadsheet runs it; here it is taken off again.

use crdt_schema::intent::{elements_from_text, value_from_text};
use crdt_schema::schema::{Field, FieldType};
use csv::ByteRecord;
use serde_json::{Map, Value as Json, json};

use super::check::{self, Bad, Ready, Rules};
use crate::cli::failure::{Exit, Failure};
use crate::cli::formula;

/// Most columns of a file.
const COLUMNS_MAX: usize = 1_000;

/// A CSV file with a header that fits the collection.
#[derive(Debug)]
pub(super) struct Table<'a> {
    rules: Rules<'a>,
    bytes: &'a [u8],
    delimiter: u8,
    columns: Vec<Column<'a>>,
}

/// What one column is for.
#[derive(Debug)]
struct Column<'a> {
    name: String,
    id: bool,
    field: Option<&'a Field>,
}

impl<'a> Table<'a> {
    /// Reads the header. `renames` maps a column to a field, or to nothing to leave it out.
    pub(super) fn new(
        rules: Rules<'a>,
        bytes: &'a [u8],
        id: Option<&str>,
        renames: &[(String, String)],
    ) -> Result<Self, Failure> {
        let delimiter = delimiter(bytes);
        let mut record = ByteRecord::new();
        let invalid = |message: String| Failure::new(Exit::Invalid, message);
        let found = reader(bytes, delimiter).read_byte_record(&mut record);
        if !found.map_err(|e| invalid(format!("the header cannot be read: {e}")))? {
            return Err(invalid(
                "the file is empty; its first line must name the columns".to_owned(),
            ));
        }
        if record.len() > COLUMNS_MAX {
            return Err(invalid(format!(
                "the file has more than {COLUMNS_MAX} columns"
            )));
        }
        let names: Vec<String> = record
            .iter()
            .map(|cell| String::from_utf8_lossy(cell).trim().to_owned())
            .collect();
        let columns = columns(rules, &names, id, renames)?;
        Ok(Self {
            rules,
            bytes,
            delimiter,
            columns,
        })
    }

    /// The name of the column that holds the ids.
    pub(super) fn id_name(&self) -> &str {
        self.columns
            .iter()
            .find(|column| column.id)
            .map_or("id", |column| &column.name)
    }

    /// Every row after the header.
    pub(super) fn rows(&self) -> impl Iterator<Item = Result<Ready, Vec<Bad>>> + '_ {
        let mut reader = reader(self.bytes, self.delimiter);
        let mut record = ByteRecord::new();
        let mut number = 0;
        let mut broken = reader.read_byte_record(&mut record).is_err();
        std::iter::from_fn(move || {
            if broken {
                return None;
            }
            match reader.read_byte_record(&mut record) {
                Ok(false) => None,
                Ok(true) => {
                    number += 1;
                    Some(self.row(self.line(&record), number, &record))
                }
                Err(error) => {
                    broken = true;
                    let line = error.position().map_or(0, csv::Position::line);
                    Some(Err(vec![Bad::new(line, "", error.to_string())]))
                }
            }
        })
    }

    /// The line on which a record starts. The reader's position is before the blank lines it skips.
    fn line(&self, record: &ByteRecord) -> u64 {
        let Some(position) = record.position() else {
            return 0;
        };
        let start = usize::try_from(position.byte())
            .unwrap_or(usize::MAX)
            .min(self.bytes.len());
        let rest = self.bytes[start..].iter();
        let blank = rest.take_while(|byte| matches!(byte, b'\n' | b'\r'));
        position.line() + blank.filter(|byte| **byte == b'\n').count() as u64
    }

    fn row(&self, line: u64, number: u64, record: &ByteRecord) -> Result<Ready, Vec<Bad>> {
        if record.len() != self.columns.len() {
            let (found, expected) = (record.len(), self.columns.len());
            let reason = format!("the row has {found} columns, the header has {expected}");
            return Err(vec![Bad::new(line, "", reason)]);
        }
        let made = || self.rules.made_id(number);
        let mut ready = Ready {
            line,
            id: String::new(),
            patch: Map::new(),
            counters: Vec::new(),
            lacks: None,
        };
        let mut bad = Vec::new();
        for (index, (column, cell)) in self.columns.iter().zip(record).enumerate() {
            let result = match std::str::from_utf8(cell) {
                Ok(text) => column.take(text, &mut ready),
                Err(_) => Err("is not UTF-8; save the file as CSV with UTF-8 encoding".to_owned()),
            };
            if let Err(reason) = result {
                let shown = String::from_utf8_lossy(cell);
                bad.push(Bad::new(line, &shown, reason).at(Some(index as u64 + 1), &column.name));
            }
        }
        if !bad.is_empty() {
            return Err(bad);
        }
        if ready.id.is_empty() {
            ready.id = made();
        }
        ready.lacks = self.rules.lacking(|name| ready.patch.contains_key(name));
        Ok(ready)
    }
}

impl Column<'_> {
    /// Puts a cell's value where it belongs.
    fn take(&self, text: &str, row: &mut Ready) -> Result<(), String> {
        if self.id {
            let id = text.trim();
            if id.is_empty() {
                return Err("the id is empty".to_owned());
            }
            row.id = check::id(&formula::restore(id))?;
        }
        let Some(field) = self.field else {
            return Ok(());
        };
        if text.trim().is_empty() {
            return if field.required {
                Err("is required".to_owned())
            } else {
                Ok(())
            };
        }
        let fails = |error| check::reason(&error);
        if field.kind == FieldType::Counter {
            let value = check::counter(field, text.trim().parse().ok())?;
            row.counters.push((field.name.clone(), value));
            return Ok(());
        }
        let text = if formula::applies(&field.kind) {
            formula::restore(text)
        } else {
            text.into()
        };
        let value: Option<Json> = if matches!(field.kind, FieldType::Set { .. }) {
            let elements = elements_from_text(field, &text).map_err(fails)?;
            Some(json!({ "$insert": elements.iter().map(|e| e.to_json()).collect::<Vec<_>>() }))
        } else {
            value_from_text(field, &text)
                .map_err(fails)?
                .map(|value| value.to_json())
        };
        if let Some(value) = value {
            row.patch.insert(field.name.clone(), value);
        }
        Ok(())
    }
}

/// Finds out what each column is for; says everything that does not fit at once.
fn columns<'a>(
    rules: Rules<'a>,
    names: &[String],
    id: Option<&str>,
    renames: &[(String, String)],
) -> Result<Vec<Column<'a>>, Failure> {
    let fields = &rules.collection.fields;
    let id = id.or_else(|| names.iter().any(|name| name == "id").then_some("id"));
    let mut wrong = Vec::new();
    for wanted in renames.iter().map(|(from, _)| from.as_str()).chain(id) {
        if !names.iter().any(|name| name == wanted) {
            wrong.push(format!("no column is named {wanted:?}"));
        }
    }
    let mut columns: Vec<Column<'a>> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let place = format!("column {} {name:?}", index + 1);
        let is_id = id == Some(name.as_str());
        let target = renames
            .iter()
            .find(|(from, _)| from == name)
            .map(|(_, to)| to.as_str());
        let field = match target {
            Some("") => None,
            _ => fields.get(target.unwrap_or(name)),
        };
        if field.is_none() && !is_id && target != Some("") {
            let collection = &rules.collection.name;
            let wanted = target.unwrap_or(name);
            wrong.push(format!(
                "{place}: {collection} has no field {wanted:?}; use --map {name}=FIELD, or --map {name}= to leave the column out"
            ));
        }
        if names[..index].contains(name) {
            wrong.push(format!("{place}: another column has the same name"));
        } else if field.is_some_and(|f| {
            columns
                .iter()
                .any(|c| c.field.is_some_and(|o| o.key == f.key))
        }) {
            wrong.push(format!("{place}: another column is for the same field"));
        }
        columns.push(Column {
            name: name.clone(),
            id: is_id,
            field,
        });
    }
    if wrong.is_empty() {
        return Ok(columns);
    }
    let fields: Vec<&str> = fields.keys().map(String::as_str).collect();
    wrong.push(format!(
        "the fields of {} are {}",
        rules.collection.name,
        fields.join(", ")
    ));
    Err(Failure::new(Exit::Invalid, "the header does not fit the collection").details(wrong))
}

fn reader(bytes: &[u8], delimiter: u8) -> csv::Reader<&[u8]> {
    let mut builder = csv::ReaderBuilder::new();
    builder
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .from_reader(bytes)
}

/// The separator that the header uses most: spreadsheets write `;` where `,` is the decimal mark.
fn delimiter(bytes: &[u8]) -> u8 {
    let mut quoted = false;
    let mut counts = [(b',', 0_u32), (b';', 0), (b'\t', 0)];
    for &byte in bytes {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => break,
            _ if quoted => {}
            _ => counts
                .iter_mut()
                .filter(|(c, _)| *c == byte)
                .for_each(|(_, n)| *n += 1),
        }
    }
    let [comma, rest @ ..] = counts;
    rest.into_iter()
        .fold(
            comma,
            |best, next| if next.1 > best.1 { next } else { best },
        )
        .0
}

#[cfg(test)]
#[path = "csv_tests.rs"]
mod tests;
