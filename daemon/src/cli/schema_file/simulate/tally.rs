//! What is counted while records are read under two schemas.
//!
//! Fields are matched by their stored keys, so a field that has only been renamed shows both names in
//! one row. Memory is bounded by the schemas and by the samples that were asked for, not by the data.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crdt_schema::schema::{Collection, FieldError};
use serde_json::{Map, Value as Json};

use super::Key;
use super::records::{errors, field_of};

/// How many records are named for each way to fail.
const EXAMPLES_MAX: usize = 5;

/// One record under both schemas.
#[derive(Debug)]
pub(super) struct Reading<'s> {
    pub(super) was: &'s Collection,
    pub(super) is: &'s Collection,
    pub(super) before: Map<String, Json>,
    pub(super) after: Map<String, Json>,
    /// The record as the new schema shows it, written and read under the old one.
    pub(super) back: Map<String, Json>,
    /// What is in it and the new schema cannot show.
    pub(super) partial: Vec<String>,
    pub(super) before_time: Duration,
    pub(super) after_time: Duration,
}

/// One field of a record that reads otherwise.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// The name before and after; empty where there is no such field.
    pub(super) names: (String, String),
    /// The value before and after; null where there is none.
    pub(super) values: (Json, Json),
}

/// A changed record.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) key: Key,
    pub(super) rows: Vec<Row>,
}

/// What many records have in common.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) records: u64,
    /// Of the first record.
    pub(super) reason: String,
    /// The ids of the first records.
    pub(super) examples: Vec<String>,
}

impl Group {
    fn add(&mut self, id: &str, reason: &str) {
        self.records += 1;
        if self.reason.is_empty() {
            reason.clone_into(&mut self.reason);
        }
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(id.to_owned());
        }
    }
}

/// (collection, field, code) → the records. The field may be empty.
pub(super) type Groups = BTreeMap<(String, String, String), Group>;

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) read: u64,
    pub(super) changed: u64,
    pub(super) partial: u64,
    /// Records with a value that does not fit the new schema and fitted the old.
    pub(super) unfit: u64,
    pub(super) unreadable: u64,
    /// Records that do not fit the old schema either.
    pub(super) unfit_before: u64,
    /// Records of which a value is not the same when an older device reads it.
    pub(super) lossy: u64,
    pub(super) changed_fields: BTreeMap<(String, String), u64>,
    pub(super) failures: Groups,
    pub(super) hidden: Groups,
    pub(super) losses: Groups,
    pub(super) samples: Vec<Sample>,
    samples_max: usize,
    pub(super) before_time: Duration,
    pub(super) after_time: Duration,
}

impl Tally {
    pub(super) fn new(samples_max: usize) -> Self {
        Self {
            samples_max,
            ..Self::default()
        }
    }

    /// Records that the new schema does not take.
    pub(super) fn failed(&self) -> u64 {
        self.unfit + self.unreadable
    }

    pub(super) fn add_unreadable(&mut self, key: &Key, why: String) {
        self.read += 1;
        self.unreadable += 1;
        let group = (
            key.collection.clone(),
            String::new(),
            "unreadable".to_owned(),
        );
        self.failures.entry(group).or_default().add(&key.id, &why);
    }

    pub(super) fn add(&mut self, key: &Key, reading: &Reading<'_>) {
        self.read += 1;
        self.before_time += reading.before_time;
        self.after_time += reading.after_time;
        self.add_changes(key, reading);
        self.add_failures(key, reading);
        self.partial += u64::from(!reading.partial.is_empty());
        for name in &reading.partial {
            let group = (key.collection.clone(), name.clone(), "partial".to_owned());
            let reason = "the new schema does not show it";
            self.hidden.entry(group).or_default().add(&key.id, reason);
        }
        self.add_losses(key, reading);
    }

    fn add_changes(&mut self, key: &Key, reading: &Reading<'_>) {
        let rows = changed_rows(reading);
        if rows.is_empty() {
            return;
        }
        self.changed += 1;
        for row in &rows {
            let (before, after) = &row.names;
            let name = if after.is_empty() { before } else { after };
            let field = (key.collection.clone(), name.clone());
            *self.changed_fields.entry(field).or_default() += 1;
        }
        if self.samples.len() < self.samples_max {
            let key = key.clone();
            self.samples.push(Sample { key, rows });
        }
    }

    fn add_failures(&mut self, key: &Key, reading: &Reading<'_>) {
        let broken = errors(reading.was, &reading.before);
        self.unfit_before += u64::from(!broken.is_empty());
        let broken: BTreeSet<(&str, &str)> = broken
            .iter()
            .map(|error| identity(reading.was, error))
            .collect();
        let found = errors(reading.is, &reading.after);
        let fresh: Vec<&FieldError> = found
            .iter()
            .filter(|error| !broken.contains(&identity(reading.is, error)))
            .collect();
        self.unfit += u64::from(!fresh.is_empty());
        for error in fresh {
            let field = field_of(error).to_owned();
            let group = (key.collection.clone(), field, error.code.clone());
            let groups = self.failures.entry(group).or_default();
            groups.add(&key.id, &error.message);
        }
    }

    fn add_losses(&mut self, key: &Key, reading: &Reading<'_>) {
        let differing: Vec<&String> = reading
            .was
            .fields
            .keys()
            .filter(|name| at(&reading.before, name) != at(&reading.back, name))
            .collect();
        self.lossy += u64::from(!differing.is_empty());
        for name in differing {
            let (before, back) = (at(&reading.before, name), at(&reading.back, name));
            let reason = if back.is_null() {
                format!("{before} is not there")
            } else {
                format!("{before} becomes {back}")
            };
            let group = (
                key.collection.clone(),
                name.clone(),
                "round-trip".to_owned(),
            );
            self.losses.entry(group).or_default().add(&key.id, &reason);
        }
    }
}

fn at<'f>(fields: &'f Map<String, Json>, name: &str) -> &'f Json {
    fields.get(name).unwrap_or(&Json::Null)
}

/// What makes two errors the same under both schemas: the stored key and the code.
fn identity<'a>(collection: &'a Collection, error: &'a FieldError) -> (&'a str, &'a str) {
    let name = field_of(error);
    let key = collection.fields.get(name).map_or(name, |field| &field.key);
    (key, &error.code)
}

/// The fields that read otherwise, in the order of the new schema and then of the old.
fn changed_rows(reading: &Reading<'_>) -> Vec<Row> {
    let now = reading.is.fields.values().map(|field| {
        let was = reading.was.field_by_key(&field.key);
        let was = was.map(|field| field.name.clone()).unwrap_or_default();
        (was, field.name.clone())
    });
    let gone = reading
        .was
        .fields
        .values()
        .filter(|field| reading.is.field_by_key(&field.key).is_none())
        .map(|field| (field.name.clone(), String::new()));
    now.chain(gone)
        .filter_map(|(before, after)| {
            let (old, new) = (at(&reading.before, &before), at(&reading.after, &after));
            let renamed = before != after && !(old.is_null() && new.is_null());
            (renamed || old != new).then(|| Row {
                values: (old.clone(), new.clone()),
                names: (before, after),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crdt_schema::schema::Schema;
    use serde_json::json;

    fn schema(fields: &str) -> Schema {
        Schema::parse(&format!(
            "schema = \"s\"\nversion = 1\n[collections.c.fields]\n{fields}\n"
        ))
        .unwrap()
    }

    fn reading<'s>(was: &'s Schema, is: &'s Schema, values: [Json; 3]) -> Reading<'s> {
        let [before, after, back] = values.map(|json| json.as_object().unwrap().clone());
        Reading {
            was: was.collection("c").unwrap(),
            is: is.collection("c").unwrap(),
            before,
            after,
            back,
            partial: Vec::new(),
            before_time: Duration::from_micros(10),
            after_time: Duration::from_micros(12),
        }
    }

    fn key(id: &str) -> Key {
        Key {
            collection: "c".to_owned(),
            id: id.to_owned(),
        }
    }

    #[test]
    fn a_renamed_field_is_one_row_and_an_untouched_one_is_none() {
        let was = schema("tel = { type = \"text\" }\nn = { type = \"integer\" }");
        let is = schema("phone = { type = \"text\", key = \"tel\" }\nn = { type = \"integer\" }");
        let value = json!({ "tel": "1", "n": 3 });
        let mut tally = Tally::new(1);

        tally.add(
            &key("a"),
            &reading(
                &was,
                &is,
                [value.clone(), json!({ "phone": "1", "n": 3 }), value],
            ),
        );
        tally.add(
            &key("b"),
            &reading(&was, &is, [json!({}), json!({}), json!({})]),
        );

        assert_eq!(
            (tally.read, tally.changed, tally.lossy, tally.failed()),
            (2, 1, 0, 0)
        );
        assert_eq!(
            tally.samples[0].rows,
            [Row {
                names: ("tel".to_owned(), "phone".to_owned()),
                values: (json!("1"), json!("1")),
            }]
        );
    }

    #[test]
    fn only_errors_that_the_change_makes_count_as_failures() {
        let was = schema("n = { type = \"integer\", max = 9 }\nm = { type = \"integer\" }");
        let is = schema("n = { type = \"integer\", max = 9 }\nm = { type = \"integer\", max = 5 }");
        let mut tally = Tally::new(0);

        for (id, value) in [
            ("a", json!({ "n": 10 })),
            ("b", json!({ "m": 6 })),
            ("c", json!({ "m": 7 })),
        ] {
            tally.add(
                &key(id),
                &reading(&was, &is, [value.clone(), value.clone(), value]),
            );
        }

        assert_eq!(
            (tally.unfit_before, tally.unfit, tally.failures.len()),
            (1, 2, 1)
        );
        let ((_, field, code), group) = tally.failures.first_key_value().unwrap();
        assert_eq!(
            (field.as_str(), code.as_str(), group.records),
            ("m", "above_max", 2)
        );
        assert_eq!(group.examples, ["b", "c"]);
        assert!(group.reason.contains("at most 5"), "{}", group.reason);
    }

    #[test]
    fn what_does_not_come_back_is_counted_by_field() {
        let was = schema("n = { type = \"number\" }\nm = { type = \"text\" }");
        let mut tally = Tally::new(0);

        let values = [
            json!({ "n": 1.5, "m": "a" }),
            json!({ "n": 2 }),
            json!({ "n": 2.0 }),
        ];
        tally.add(&key("a"), &reading(&was, &was, values));

        let reasons: Vec<&str> = tally
            .losses
            .values()
            .map(|group| group.reason.as_str())
            .collect();
        assert_eq!(
            (tally.lossy, reasons),
            (1, vec!["\"a\" is not there", "1.5 becomes 2.0"])
        );
    }

    #[test]
    fn examples_and_samples_are_bounded() {
        let was = schema("n = { type = \"integer\" }");
        let mut tally = Tally::new(2);

        for number in 0..50 {
            tally.add_unreadable(&key(&number.to_string()), "why".to_owned());
            let values = [json!({ "n": 1 }), json!({ "n": 2 }), json!({ "n": 1 })];
            tally.add(&key("x"), &reading(&was, &was, values));
        }

        assert_eq!(
            tally.failures.values().next().unwrap().examples.len(),
            EXAMPLES_MAX
        );
        assert_eq!(
            (tally.samples.len(), tally.read, tally.unreadable),
            (2, 100, 50)
        );
    }
}
