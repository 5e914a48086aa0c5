//! The first pass of an import: is every row good? Pure; knows no file format and no daemon.

use std::collections::{BTreeSet, HashMap};

use crdt_schema::ident::check_record_id;
use crdt_schema::intent::COUNTER_MAX;
use crdt_schema::schema::{Collection, Field, FieldError};
use serde::Serialize;
use serde_json::{Map, Value as Json};

/// Most bad cells that are kept for the report; further ones are only counted.
const BAD_KEPT_MAX: usize = 100_000;
/// Longest value shown in a report, in characters.
const VALUE_CHARS_MAX: usize = 60;

/// A row that can be written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ready {
    /// Where it is in the file.
    pub(super) line: u64,
    /// The record's id: from the file, or made from the file's bytes and the row's number.
    pub(super) id: String,
    /// The fields other than counters, as a merge patch.
    pub(super) patch: Map<String, Json>,
    /// The values that counters shall have.
    pub(super) counters: Vec<(String, i64)>,
    /// A required field that the row does not name: only a record that exists may do without.
    pub(super) lacks: Option<String>,
}

/// Something wrong with one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Bad {
    /// The line in the file, from 1.
    pub(super) line: u64,
    /// The column, from 1; `None` for a file without columns.
    pub(super) column: Option<u64>,
    /// The column's or member's name.
    pub(super) name: Option<String>,
    /// What stands there, shortened.
    pub(super) value: String,
    /// What is wrong with it.
    pub(super) reason: String,
}

impl Bad {
    pub(super) fn new(line: u64, value: &str, reason: impl Into<String>) -> Self {
        let mut shown: String = value.chars().take(VALUE_CHARS_MAX).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        Self {
            line,
            column: None,
            name: None,
            value: shown,
            reason: reason.into(),
        }
    }

    pub(super) fn at(mut self, column: Option<u64>, name: &str) -> Self {
        self.column = column;
        self.name = Some(name.to_owned());
        self
    }
}

/// What the first pass found.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// Rows that can be written.
    pub(super) good: u64,
    /// Rows that cannot.
    pub(super) bad_rows: u64,
    /// What is wrong, in the file's order, up to a bound.
    pub(super) bad: Vec<Bad>,
    /// Lines that are good by themselves and must be left out all the same.
    pub(super) left_out: BTreeSet<u64>,
    /// Whether a row lacks a required field, so that its record must exist.
    pub(super) lacks: bool,
}

impl Checked {
    /// Counts a row as bad that was good until now.
    pub(super) fn leave_out(&mut self, bad: Bad) {
        if self.left_out.insert(bad.line) {
            self.good -= 1;
            self.bad_rows += 1;
        }
        self.keep(bad);
    }

    fn keep(&mut self, bad: Bad) {
        if self.bad.len() < BAD_KEPT_MAX {
            self.bad.push(bad);
        }
    }
}

/// Checks every row, and that no id stands in two rows.
pub(super) fn check(rows: impl Iterator<Item = Result<Ready, Vec<Bad>>>, id_name: &str) -> Checked {
    let mut checked = Checked::default();
    let mut lines: HashMap<String, u64> = HashMap::new();
    for row in rows {
        let row = match row {
            Ok(row) => row,
            Err(bad) => {
                checked.bad_rows += 1;
                bad.into_iter().for_each(|bad| checked.keep(bad));
                continue;
            }
        };
        checked.good += 1;
        checked.lacks |= row.lacks.is_some();
        if let Some(first) = lines.get(&row.id) {
            let reason = format!("the id is on line {first} as well");
            checked.leave_out(Bad::new(row.line, &row.id, reason).at(None, id_name));
            continue;
        }
        lines.insert(row.id, row.line);
    }
    checked
}

/// What rows are checked against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    /// The collection imported into.
    pub(super) collection: &'a Collection,
    /// A digest of the file: ids of rows that have none are made from it.
    pub(super) file: [u8; 32],
}

impl Rules<'_> {
    /// The id of row `number` of the file, for rows without one: the same whenever the same file is
    /// imported.
    pub(super) fn made_id(&self, number: u64) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("fieldmesh import row id v1");
        hasher.update(&self.file).update(&number.to_be_bytes());
        hasher.finalize().to_hex()[..32].to_owned()
    }

    /// The first required field that a row with these fields lacks.
    pub(super) fn lacking(&self, named: impl Fn(&str) -> bool) -> Option<String> {
        let mut fields = self.collection.fields.values();
        let lacking = fields.find(|f| f.required && f.default.is_none() && !named(&f.name));
        lacking.map(|field| field.name.clone())
    }
}

/// Checks an id from a file.
pub(super) fn id(text: &str) -> Result<String, String> {
    if matches!(text, "." | "..") {
        return Err("a record id cannot be dots only".to_owned());
    }
    check_record_id(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

/// Checks the value that a counter shall have.
pub(super) fn counter(field: &Field, value: Option<i64>) -> Result<i64, String> {
    let Some(value) = value.filter(|value| value.unsigned_abs() <= COUNTER_MAX.unsigned_abs())
    else {
        return Err("a counter is a whole number, such as 12".to_owned());
    };
    match (field.min, field.max) {
        (Some(min), _) if (value as f64) < min => Err(format!("must be at least {min}")),
        (_, Some(max)) if (value as f64) > max => Err(format!("must be at most {max}")),
        _ => Ok(value),
    }
}

/// The part of a field error that a report shows beside the place.
pub(super) fn reason(error: &FieldError) -> String {
    error.message.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(line: u64, id: &str) -> Result<Ready, Vec<Bad>> {
        Ok(Ready {
            line,
            id: id.to_owned(),
            patch: Map::new(),
            counters: vec![],
            lacks: None,
        })
    }

    #[test]
    fn an_id_in_two_rows_is_reported_with_both_lines() {
        let checked = check([row(2, "a"), row(3, "b"), row(7, "a")].into_iter(), "id");

        assert_eq!((checked.good, checked.bad_rows), (2, 1));
        assert_eq!(checked.bad[0].line, 7);
        assert!(
            checked.bad[0].reason.contains("line 2"),
            "{:?}",
            checked.bad
        );
        assert!(checked.left_out.contains(&7));
    }

    #[test]
    fn bad_rows_are_counted_once_however_much_is_wrong_with_them() {
        let bad = vec![Bad::new(3, "x", "one"), Bad::new(3, "y", "two")];

        let checked = check([row(2, "a"), Err(bad)].into_iter(), "id");

        assert_eq!(
            (checked.good, checked.bad_rows, checked.bad.len()),
            (1, 1, 2)
        );
    }

    #[test]
    fn made_ids_depend_on_the_file_and_the_row_only() {
        let schema = crdt_schema::schema::Schema::parse(crdt_schema::schema::CLINIC).unwrap();
        let collection = schema.collection("patient").unwrap();
        let one = Rules {
            collection,
            file: [1; 32],
        };
        let two = Rules {
            collection,
            file: [2; 32],
        };

        assert_eq!(one.made_id(1), one.made_id(1));
        assert_ne!(one.made_id(1), one.made_id(2));
        assert_ne!(one.made_id(1), two.made_id(1));
        assert!(id(&one.made_id(1)).is_ok());
    }

    #[test]
    fn long_values_are_shortened_in_reports() {
        let bad = Bad::new(1, &"ü".repeat(1000), "too long");

        assert_eq!(bad.value.chars().count(), VALUE_CHARS_MAX + 1);
    }
}
