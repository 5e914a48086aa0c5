//! The JSON Schema (draft 7) of schema files, for editors that complete and check TOML as it is typed.
//!
//! Keys, types, policies and which key goes with which type come from the tables that the parser reads
//! with, so the two cannot drift apart: a key that the parser learns and that has no words here fails a
//! test. An editor sees less than the parser: whether a reference or a label leads anywhere, whether
//! bounds fit each other and whether names are free is found by `schema check` only.

mod parts;

use serde_json::{Map, Value as Json, json};

use super::field::{FIELD_KEYS, POLICIES, PRIORITIES, PROVISIONALS, applies, policies};
use super::kind::{CHOICES_MAX, TYPES};
use super::parse::{COLLECTION_KEYS, COLLECTIONS_MAX, DELETE_POLICIES, FIELDS_MAX, SCHEMA_KEYS};
use super::{DeletePolicy, MergePolicy, Priority, Provisional};
use crate::ident::KEY_BYTES_MAX;

/// Keys that a part of the file cannot be without.
const SCHEMA_KEYS_REQUIRED: [&str; 3] = ["schema", "version", "collections"];

/// The JSON Schema of schema files.
pub fn json_schema() -> Json {
    let mut root = table(&SCHEMA_KEYS, &SCHEMA_KEYS_REQUIRED, of_schema);
    root.shift_insert(
        0,
        "$schema".to_owned(),
        json!("http://json-schema.org/draft-07/schema#"),
    );
    root.shift_insert(1, "title".to_owned(), json!("fieldmesh schema"));
    let mut field = table(&FIELD_KEYS, &["type"], of_field);
    field.insert("allOf".to_owned(), rules().into());
    root.insert(
        "definitions".to_owned(),
        json!({
            "name": {
                "type": "string",
                "pattern": name_pattern(),
            },
            "collection": table(&COLLECTION_KEYS, &["fields"], of_collection),
            "field": field,
        }),
    );
    root.into()
}

/// A table in which only `keys` may stand.
fn table(
    keys: &[&str],
    required: &[&str],
    describe: fn(&str) -> Option<Json>,
) -> Map<String, Json> {
    let properties: Map<String, Json> = keys
        .iter()
        .map(|&key| (key.to_owned(), describe(key).unwrap_or_else(|| json!({}))))
        .collect();
    let mut table = Map::new();
    table.insert("type".to_owned(), json!("object"));
    table.insert("properties".to_owned(), properties.into());
    table.insert("required".to_owned(), json!(required));
    table.insert("additionalProperties".to_owned(), json!(false));
    table
}

fn name_pattern() -> String {
    format!("^[a-z][a-z0-9_]{{0,{}}}$", KEY_BYTES_MAX - 1)
}

/// A table whose keys are names that the author gives.
fn named(what: &str, most: usize, words: &str) -> Json {
    json!({
        "type": "object",
        "description": words,
        "minProperties": 1,
        "maxProperties": most,
        "propertyNames": { "pattern": name_pattern() },
        "additionalProperties": { "$ref": format!("#/definitions/{what}") },
    })
}

fn name(words: &str) -> Json {
    json!({ "type": "string", "pattern": name_pattern(), "description": words })
}

fn words<T: Copy>(known: &[T], name: fn(T) -> &'static str, default: &str, text: &str) -> Json {
    let names: Vec<&str> = known.iter().map(|&word| name(word)).collect();
    json!({ "enum": names, "default": default, "description": text })
}

/// What a key of the file itself takes; `None` if nothing is known of it.
fn of_schema(key: &str) -> Option<Json> {
    Some(match key {
        "schema" => name("The data set's name, such as clinic. It never changes."),
        "version" => json!({
            "type": "integer",
            "minimum": 1,
            "maximum": u32::MAX,
            "description": "Raise it by one with every change.",
        }),
        "collections" => named("collection", COLLECTIONS_MAX, "The kinds of records."),
        _ => return parts::of_schema(key),
    })
}

/// What a key of a collection takes.
fn of_collection(key: &str) -> Option<Json> {
    Some(match key {
        "label" => name("The field that people know a record by."),
        "delete" => words(
            &DELETE_POLICIES,
            DeletePolicy::name,
            DeletePolicy::Review.name(),
            "What happens when a delete meets an edit that it had not seen: a person decides, the \
             record goes, or the record stays.",
        ),
        "fields" => named("field", FIELDS_MAX, "The fields of each record."),
        _ => return None,
    })
}

/// What a key of a field takes, whatever the field's type.
fn of_field(key: &str) -> Option<Json> {
    Some(match key {
        "type" => json!({ "enum": TYPES, "description": "What its values are." }),
        "required" => json!({
            "type": "boolean",
            "default": false,
            "description": "Whether a record must have it.",
        }),
        "default" => {
            json!({ "description": "What a new record gets when its writer gives nothing." })
        }
        "min" => json!({
            "type": "number",
            "description": "Least number, length of the text in characters, or sum of the counter.",
        }),
        "max" => json!({
            "type": "number",
            "description": "Greatest number, length of the text in characters, or sum of the counter.",
        }),
        "merge" => words(
            &POLICIES,
            MergePolicy::name,
            MergePolicy::Lww.name(),
            "How concurrent writes merge. Each type has a policy of its own and allows some others.",
        ),
        "of" => json!({ "description": "The choices, or what a set's elements are." }),
        "to" => name("The collection whose records it refers to."),
        "key" => name("The key under which values are stored: the field's first name."),
        "provisional" => words(
            &PROVISIONALS,
            Provisional::name,
            Provisional::default().name(),
            "What is shown while a review of concurrent writes is open.",
        ),
        "priority" => words(
            &PRIORITIES,
            Priority::name,
            Priority::default().name(),
            "Which reviews people should see first.",
        ),
        _ => return parts::of_field(key),
    })
}

/// What goes together in a field.
fn rules() -> Vec<Json> {
    let mut rules: Vec<Json> = TYPES.into_iter().map(of_type).collect();
    rules.push(json!({
        "if": { "required": ["provisional"] },
        "then": {
            "properties": { "merge": { "const": MergePolicy::Review.name() } },
            "required": ["merge"],
        },
    }));
    rules
}

/// What the other keys of a field of that type may be.
fn of_type(type_name: &str) -> Json {
    let mut properties = Map::new();
    for key in FIELD_KEYS {
        if !applies(key, type_name) {
            properties.insert(key.to_owned(), json!(false));
        }
    }
    let policies: Vec<&str> = policies(type_name)
        .iter()
        .map(|policy| policy.name())
        .collect();
    properties.insert("merge".to_owned(), json!({ "enum": policies }));
    let whole = json!({ "type": "integer" });
    let (default, bound) = match type_name {
        "integer" => (Some(whole.clone()), Some(whole)),
        "number" => (Some(json!({ "type": "number" })), None),
        "bool" => (Some(json!({ "type": "boolean" })), None),
        "counter" => (None, Some(whole)),
        "text" => (
            Some(json!({ "type": "string" })),
            Some(json!({ "type": "integer", "minimum": 0 })),
        ),
        "choice" | "date" | "datetime" | "ref" => (Some(json!({ "type": "string" })), None),
        _ => (None, None),
    };
    if let Some(default) = default {
        properties.insert("default".to_owned(), default);
    }
    for key in ["min", "max"] {
        if let Some(bound) = &bound {
            properties.insert(key.to_owned(), bound.clone());
        }
    }
    let choices = json!({
        "type": "array",
        "minItems": 1,
        "maxItems": CHOICES_MAX,
        "uniqueItems": true,
        "items": { "type": "string", "minLength": 1 },
    });
    let required = match type_name {
        "choice" => {
            properties.insert("of".to_owned(), choices);
            vec!["of"]
        }
        "set" => {
            let elements = json!({ "anyOf": [{ "enum": ["text", "integer", "date"] }, choices] });
            properties.insert("of".to_owned(), elements);
            vec!["of"]
        }
        "ref" => vec!["to"],
        _ => Vec::new(),
    };
    json!({
        "if": { "properties": { "type": { "const": type_name } }, "required": ["type"] },
        "then": { "properties": properties, "required": required },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{CLINIC, Schema, keys};
    use toml::Spanned;
    use toml::de::{DeTable, DeValue};

    fn validates(text: &str) -> bool {
        let root = DeTable::parse(text).unwrap().into_inner();
        let file = keys::json(&Spanned::new(0..0, DeValue::Table(root))).unwrap();
        jsonschema::draft7::new(&json_schema())
            .unwrap()
            .is_valid(&file)
    }

    fn with_field(field: &str) -> String {
        format!("schema = \"s\"\nversion = 1\n[collections.c.fields]\nn = {{ {field} }}\n")
    }

    #[test]
    fn every_key_of_the_parser_is_described() {
        for key in SCHEMA_KEYS {
            assert!(of_schema(key).is_some(), "{key} of a schema has no words");
        }
        for key in COLLECTION_KEYS {
            assert!(
                of_collection(key).is_some(),
                "{key} of a collection has no words"
            );
        }
        for key in FIELD_KEYS {
            assert!(of_field(key).is_some(), "{key} of a field has no words");
        }
    }

    #[test]
    fn every_word_that_the_parser_takes_validates() {
        for type_name in TYPES {
            let rest = match type_name {
                "choice" => ", of = [\"a\"]",
                "set" => ", of = \"text\"",
                "ref" => ", to = \"c\"",
                _ => "",
            };
            for policy in policies(type_name) {
                let text = with_field(&format!(
                    "type = \"{type_name}\", merge = \"{}\"{rest}",
                    policy.name()
                ));
                assert!(Schema::parse(&text).is_ok(), "{text}");
                assert!(validates(&text), "{text}");
            }
        }
        for provisional in PROVISIONALS.iter().map(|word| word.name()) {
            assert!(validates(&with_field(&format!(
                "type = \"text\", merge = \"review\", provisional = \"{provisional}\""
            ))));
        }
        for priority in PRIORITIES.iter().map(|word| word.name()) {
            assert!(validates(&with_field(&format!(
                "type = \"text\", priority = \"{priority}\""
            ))));
        }
        for delete in DELETE_POLICIES.iter().map(|word| word.name()) {
            let text = with_field("type = \"date\", default = 2026-11-21");
            assert!(validates(&format!(
                "{text}[collections.d]\ndelete = \"{delete}\"\nfields.n = {{ type = \"set\", of = [\"a\"] }}"
            )));
        }
    }

    #[test]
    fn the_bundled_schema_validates() {
        assert!(validates(CLINIC));
    }

    #[test]
    fn what_the_parser_refuses_an_editor_underlines() {
        for field in [
            "type = \"string\"",
            "typ = \"text\"",
            "required = true",
            "type = \"text\", merge = \"max\"",
            "type = \"text\", min = -1",
            "type = \"text\", default = 3",
            "type = \"bool\", max = 3",
            "type = \"choice\"",
            "type = \"choice\", of = []",
            "type = \"choice\", of = [\"a\", \"a\"]",
            "type = \"set\", of = \"number\"",
            "type = \"ref\"",
            "type = \"counter\", required = true",
            "type = \"counter\", min = 0.5",
            "type = \"text\", provisional = \"previous\"",
            "type = \"text\", priority = \"high\"",
        ] {
            let text = with_field(field);
            assert!(Schema::parse(&text).is_err(), "{text}");
            assert!(!validates(&text), "{text}");
        }
        assert!(!validates(
            "schema = \"s\"\n[collections.c.fields]\nn = { type = \"text\" }"
        ));
        assert!(!validates(
            "schema = \"S\"\nversion = 1\n[collections.c.fields]\nn = { type = \"text\" }"
        ));
        assert!(!validates(
            "schema = \"s\"\nversion = 0\n[collections.c.fields]\nn = { type = \"text\" }"
        ));
        assert!(!validates(
            "schema = \"s\"\nversion = 1\n[collections.c]\nlabel = \"n\""
        ));
        assert!(!validates("schema = \"s\"\nversion = 1\ncollections = {}"));
    }
}
