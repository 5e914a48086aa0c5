//! Texts that people and devices write: schemas, rules, plans, recordings, the witness.
//!
//! Every complaint about a text must point into it, or showing the complaint would be the next fault.

use std::ops::Range;

use crdt_schema::rule::Condition;
use crdt_schema::schema::{
    Publication, Schema, SchemaError, compare, lint, publication_id, publication_ops,
};
use fieldmesh::store::WitnessRecord;
use serde_json::json;
use simulations::mobility::Recording;
use simulations::plan::Plan;

use crate::seeds;

/// Words of schemas.
pub(crate) const SCHEMA_WORDS: &[&str] = &[
    "schema = ",
    "version = ",
    "[collections.",
    ".fields]\n",
    "type = ",
    "\"text\"",
    "\"choice\"",
    "\"set\"",
    "\"ref\"",
    "\"counter\"",
    "\"number\"",
    "\"date\"",
    "\"json\"",
    "of = [",
    "to = ",
    "merge = ",
    "\"review\"",
    "\"rank\"",
    "min = ",
    "max = ",
    "default = ",
    "required = true",
    "on_delete = ",
    "\"cascade\"",
    "key = ",
    "since = ",
    "until = ",
    "[[migrations]]\n",
    "steps = [",
    "rename = ",
    "split = ",
    "merge = [",
    "convert = ",
    "remap = ",
    "with = ",
    "as = ",
    "[[review]]\n",
    "when = ",
    "[roles]\n",
    "{ ",
    " }",
    "\"patient.name\"",
    "\"f_to_c\"",
    "provisional = ",
    "clock_bound_days = ",
    "values = ",
];

/// Words of conditions.
pub(crate) const RULE_WORDS: &[&str] = &[
    " and ",
    " or ",
    "not ",
    "(",
    ")",
    " < ",
    " <= ",
    " == ",
    " != ",
    " is set",
    " contains ",
    "\"x\"",
    " + ",
    " - ",
    "temp_c",
    "pulse",
    "at",
    "true",
    "date(\"2026-01-01\")",
    "null",
    "'",
    "2026-11-21",
];

/// Words of JSON bodies.
pub(crate) const JSON_WORDS: &[&str] = &[
    "null",
    "true",
    "{}",
    "[]",
    ":",
    ",",
    "\"$insert\"",
    "\"$remove\"",
    "\"$add\"",
    "\"fields\"",
    "\"id\"",
    "\"op\"",
    "\"patch\"",
    "\"delete\"",
    "\"name\"",
    "\"visits\"",
    "\"allergies\"",
    "\"born\"",
    "\"more\"",
];

fn assert_inside(text: &str, span: &Range<usize>) {
    assert!(span.start <= span.end, "{span:?} is turned around");
    assert!(
        text.get(span.clone()).is_some(),
        "{span:?} is not in the text"
    );
}

fn assert_placed(text: &str, errors: &[SchemaError]) {
    for error in errors {
        assert_inside(text, &error.span);
        assert!(error.line >= 1 && error.column >= 1, "{error:?}");
    }
}

/// Reads a schema and everything that is done with one that is good.
pub(crate) fn schema(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let schema = match Schema::parse(text) {
        Ok(schema) => schema,
        Err(errors) => {
            assert!(!errors.errors.is_empty());
            assert_placed(text, &errors.errors);
            assert!(!errors.named("a file").to_string().is_empty());
            return;
        }
    };
    let warnings = lint(&schema);
    assert_placed(text, &warnings.warnings);
    let _ = warnings.to_string();
    assert_eq!(Schema::parse(&schema.source), Ok(schema.clone()));
    assert!(
        compare(&schema, &schema).is_empty(),
        "it differs from itself"
    );
    compare(seeds::schema(), &schema);
    let _ = seeds::schema().clone().reading(&schema);
    let id = publication_id(&schema.name, schema.version);
    if let Some(read) = Publication::read(&id, &publication_ops(text)) {
        assert_eq!(read.source, text);
    }
}

/// Migrations after a schema whose fields they can name.
pub(crate) fn migrations(input: &[u8]) {
    schema(&[seeds::SCHEMA_2_FIELDS.as_bytes(), input].concat());
}

/// A condition over the fields of a visit.
pub(crate) fn rule(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let visit = seeds::collection("visit");
    match Condition::parse(text, &visit.fields) {
        Err(error) => assert_inside(text, &error.span),
        Ok(condition) => {
            assert!(
                condition
                    .fields()
                    .iter()
                    .all(|name| visit.fields.contains_key(*name))
            );
            let full = json!({"patient": "p", "at": "2026-11-21T10:00:00Z", "temp_c": 1e300, "pulse": i64::MIN});
            let wrong = json!({"patient": 7, "at": "never", "temp_c": "hot", "pulse": [1]});
            for fields in [json!({}), full, wrong] {
                condition.holds(fields.as_object().expect("invariant: an object above"));
            }
        }
    }
}

/// The witness beside a store.
pub(crate) fn witness(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Some(record) = WitnessRecord::from_text(text) {
        assert_eq!(WitnessRecord::from_text(&record.to_text()), Some(record));
    }
}

/// A plan of the simulator.
pub(crate) fn plan(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let schema = seeds::rounds();
    if let Ok(plan) = Plan::from_text(text, schema) {
        let written = plan.to_text();
        let again = Plan::from_text(&written, schema).expect("what was written is read");
        assert_eq!(again.to_text(), written);
    }
}

/// A recording of who met whom.
pub(crate) fn contacts(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Ok(trace) = Recording::parse(text) {
        let written = String::from(trace.clone());
        let again = Recording::parse(&written).expect("what was written is read");
        assert_eq!(again.contacts(), trace.contacts());
    }
}
