//! A record as a document that one edit made, and what is wrong with the values that it shows.

use crdt_schema::document::Document;
use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{Dot, LogId};
use crdt_schema::intent::{check_record, ops_from_patch};
use crdt_schema::op::{Edit, Op};
use crdt_schema::schema::{Collection, FieldError, FieldType};
use serde_json::{Map, Value as Json, json};

/// Any log will do: the document has one change.
const LOG: LogId = LogId([1; 16]);
const WRITTEN: Timestamp = Timestamp(1 << 56);

/// The document of a record that was written once, with `fields`, under `version`. A value that the
/// collection does not take is left out.
pub(super) fn written(
    collection: &Collection,
    version: u32,
    fields: &Map<String, Json>,
) -> Document {
    let mut ops: Vec<Op> = Vec::new();
    for (name, value) in fields {
        let counter = collection
            .fields
            .get(name)
            .is_some_and(|field| field.kind == FieldType::Counter);
        let value = if counter {
            json!({ "$add": value })
        } else {
            value.clone()
        };
        let patch = Map::from_iter([(name.clone(), value)]);
        ops.extend(ops_from_patch(collection, &patch).unwrap_or_default());
    }
    let edit = Edit {
        collection: collection.name.clone(),
        id: String::new(),
        deps: Vec::new(),
        ops,
    };
    let mut document = Document::new();
    // A first edit without causes always applies; a document without it shows nothing.
    let applied = document.apply(Dot::new(LOG, 1), WRITTEN, version, &edit);
    if let Err(error) = applied {
        tracing::error!(%error, "a record could not be built");
    }
    document
}

/// What is wrong with the values of a record as it is shown under the collection.
pub(super) fn errors(collection: &Collection, fields: &Map<String, Json>) -> Vec<FieldError> {
    let mut errors = check_record(collection, fields);
    for (name, value) in fields {
        let field = collection.fields.get(name);
        let checked = field.is_some_and(|field| field.kind != FieldType::Counter);
        if checked && !value.is_null() {
            let patch = Map::from_iter([(name.clone(), value.clone())]);
            errors.extend(ops_from_patch(collection, &patch).err().unwrap_or_default());
        }
    }
    errors
}

/// The field's name in an error.
pub(super) fn field_of(error: &FieldError) -> &str {
    let path = error.pointer.trim_start_matches('/');
    path.split('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crdt_schema::schema::Schema;

    #[test]
    fn a_written_record_reads_as_it_was_given_and_what_does_not_fit_is_named() {
        let schema = Schema::parse(
            "schema = \"s\"\nversion = 1\n[collections.c.fields]\nname = { type = \"text\", required = true }\n\
             n = { type = \"integer\", max = 9 }\ntags = { type = \"set\", of = \"text\" }\n\
             sum = { type = \"counter\", min = 0 }\n",
        )
        .unwrap();
        let collection = schema.collection("c").unwrap();
        let good = json!({ "name": "a", "n": 3, "tags": ["x", "y"], "sum": 4 });
        let bad = json!({ "n": 10, "tags": [1], "sum": -4, "other": 1 });

        let shown = written(collection, 1, good.as_object().unwrap()).view(collection, "");

        assert_eq!(Json::from(shown.fields), good);
        assert!(errors(collection, good.as_object().unwrap()).is_empty());
        let found = errors(collection, bad.as_object().unwrap());
        let names: Vec<&str> = found.iter().map(field_of).collect();
        assert_eq!(names, ["name", "sum", "n", "tags"]);
    }
}
