mod fields;
mod migrations;
mod relations;

use proptest::prelude::*;

use super::*;
use crate::value::Value;

/// A good schema, `fields` being the lines 5 and following.
fn with_fields(fields: &str) -> String {
    format!("schema = \"s\"\nversion = 1\n[collections.c]\n[collections.c.fields]\n{fields}")
}

fn errors(text: &str) -> Vec<SchemaError> {
    Schema::parse(text)
        .expect_err("the schema was accepted")
        .errors
}

/// Asserts that the text has exactly this one error, marked at the first place of `marked`.
#[track_caller]
fn assert_error(text: &str, marked: &str, message: &str, hint: &str) {
    let found = errors(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    let error = &found[0];
    assert_eq!(error.message, message);
    assert_eq!(error.hint.as_deref().unwrap_or(""), hint);
    assert_eq!(
        &text[error.span.clone()],
        marked,
        "the wrong part is marked"
    );
    let before = &text[..error.span.start];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    assert_eq!((error.line, error.column), (line, column));
}

/// Asserts the one error of a field on line 5.
#[track_caller]
fn assert_field_error(field: &str, marked: &str, message: &str, hint: &str) {
    assert_error(&with_fields(field), marked, message, hint);
    assert_eq!(errors(&with_fields(field))[0].line, 5);
}

#[test]
fn the_bundled_clinic_schema_is_good() {
    let clinic = Schema::parse(CLINIC).unwrap_or_else(|errors| panic!("{errors}"));

    assert_eq!((clinic.name.as_str(), clinic.version), ("clinic", 1));
    assert_eq!(clinic.source, CLINIC);
    let names: Vec<&str> = clinic.collections.keys().map(String::as_str).collect();
    assert_eq!(names, ["place", "patient", "visit", "stock"]);
    let patient = clinic.collection("patient").unwrap();
    assert_eq!(patient.label.as_deref(), Some("name"));
    assert_eq!(patient.delete, DeletePolicy::Review);
    assert_eq!(patient.fields["diagnosis"].merge, MergePolicy::Review);
    assert_eq!(patient.fields["visits"].merge, MergePolicy::Counter);
    assert_eq!(patient.fields["allergies"].merge, MergePolicy::Set);
    assert_eq!(
        patient.fields["village"].kind,
        FieldType::Ref {
            to: "place".to_owned()
        }
    );
    let visit = clinic.collection("visit").unwrap();
    assert_eq!(visit.delete, DeletePolicy::DeleteWins);
    assert_eq!(
        (visit.fields["temp_c"].min, visit.fields["temp_c"].max),
        (Some(30.0), Some(45.0))
    );
    assert!(visit.fields["patient"].required && !visit.fields["at"].required);
    assert_eq!(
        clinic.collection("stock").unwrap().delete,
        DeletePolicy::EditWins
    );
}

#[test]
fn every_type_default_and_stored_key_is_read() {
    let text = with_fields(
        r#"name = { type = "text", min = 1, max = 20, default = "é" }
dose = { type = "integer", min = 0, max = 10, default = 0x0A }
temp = { type = "number", min = -1.5, default = 1 }
done = { type = "bool", default = false }
status = { type = "choice", of = ["open", "closed"], default = "open", merge = "review" }
born = { type = "date", default = 2026-11-21 }
at = { type = "datetime", default = 2026-11-21T10:00:00+03:00 }
mother = { type = "ref", to = "c" }
visits = { type = "counter", min = 0 }
tags = { type = "set", of = ["a", "b"] }
days = { type = "set", of = "date", merge = "set" }
extra = { type = "json", default = { b = 1, a = [1.5, true, 2026-11-21] } }
tel = { type = "text", key = "phone" }
"#,
    );

    let schema = Schema::parse(&text).unwrap_or_else(|errors| panic!("{errors}"));

    let fields = &schema.collections["c"].fields;
    let default = |name: &str| fields[name].default.clone();
    assert_eq!(default("name"), Some(Value::Text("é".to_owned())));
    assert_eq!(default("dose"), Some(Value::Integer(10)));
    assert_eq!(default("temp"), Some(Value::Number(1.0)));
    assert_eq!(default("done"), Some(Value::Bool(false)));
    assert_eq!(default("born"), Some(Value::Text("2026-11-21".to_owned())));
    assert_eq!(
        default("at"),
        Some(Value::Text("2026-11-21T07:00:00Z".to_owned()))
    );
    let json = r#"{"b":1,"a":[1.5,true,"2026-11-21"]}"#;
    assert_eq!(default("extra"), Some(Value::Json(json.to_owned())));
    assert_eq!(default("mother"), None);
    assert_eq!(fields["status"].merge, MergePolicy::Review);
    assert_eq!(fields["tel"].key, "phone");
    assert_eq!(
        schema.collections["c"].field_by_key("phone").unwrap().name,
        "tel"
    );
    let choices = FieldType::Choice {
        of: vec!["a".to_owned(), "b".to_owned()],
    };
    assert_eq!(
        fields["tags"].kind,
        FieldType::Set {
            of: Box::new(choices)
        }
    );
    assert_eq!(fields.keys().next().unwrap(), "name");
    assert_eq!(fields.keys().last().unwrap(), "tel");
}

#[test]
fn the_frame_of_the_file_is_checked() {
    let table = "[collections.c.fields]\na = { type = \"text\" }\n";
    let head = "schema = \"s\"\nversion = 1\n";
    let no_collections = "the schema has no collections";
    let add_collection = "add a table such as `[collections.patient]`";

    assert_error(
        &format!("version = 1\n{table}"),
        "",
        "the schema has no name",
        "add `schema = \"clinic\"`",
    );
    assert_error(
        &format!("schema = \"s\"\n{table}"),
        "",
        "the schema has no version",
        "add `version = 1`",
    );
    assert_error(head, "", no_collections, add_collection);
    assert_error(
        &format!("{head}[collections]\n"),
        "collections",
        no_collections,
        add_collection,
    );
    assert_error(
        &format!("{head}collections = 3\n"),
        "3",
        "`collections` takes a table, found an integer",
        "",
    );
    assert_error(
        &format!("{head}[[collections]]\n"),
        "[[collections]]",
        "`collections` takes a table, found a list",
        "",
    );
    assert_error(
        &format!("{head}colections = 3\n{table}"),
        "colections",
        "unknown key `colections`",
        "did you mean `collections`?",
    );
    for bad in ["0", "-1", "10001", "4294967295", "99999999999999999999"] {
        let text = format!("schema = \"s\"\nversion = {bad}\n{table}");
        assert_error(&text, bad, "`version` must lie between 1 and 10000", "");
    }
    assert_error(
        &format!("schema = \"s\"\nversion = \"1\"\n{table}"),
        "\"1\"",
        "`version` takes an integer from 1, found a string",
        "",
    );
    assert_error(
        &format!("schema = 7\nversion = 1\n{table}"),
        "7",
        "`schema` takes a string, found an integer",
        "",
    );
}

#[test]
fn names_are_checked() {
    let rule = "use a lower-case letter, then lower-case letters, digits or `_`, at most 64 bytes";
    let table = "a = { type = \"text\" }";

    assert_error(
        &format!("schema = \"My clinic\"\nversion = 1\n[collections.c.fields]\n{table}"),
        "\"My clinic\"",
        "`My clinic` cannot be a schema name",
        rule,
    );
    assert_error(
        &format!("schema = \"s\"\nversion = 1\n[collections.Patient.fields]\n{table}"),
        "Patient",
        "`Patient` cannot be a collection name",
        rule,
    );
    let field = "\"é\\n\" = { type = \"text\" }";
    assert_field_error(field, "\"é\\n\"", "`é\\n` cannot be a field name", rule);
    let key = "a = { type = \"text\", key = \"A#b\" }";
    assert_field_error(key, "\"A#b\"", "`A#b` cannot be a stored key", rule);
}

#[test]
fn collections_are_checked() {
    let head = "schema = \"s\"\nversion = 1\n";
    let fields = "[collections.c.fields]\nname = { type = \"text\" }\n";
    let hint = "add a field such as `fields.name = { type = \"text\" }`";

    for text in ["[collections.c]\n", "[collections]\nc = {}\n"] {
        assert_error(
            &format!("{head}{text}"),
            "c",
            "collection `c` has no fields",
            hint,
        );
    }
    assert_error(
        &format!("{head}[collections.c.fields]\n"),
        "fields",
        "collection `c` has no fields",
        hint,
    );
    assert_error(
        &format!("{head}[collections]\nc = \"x\"\n"),
        "\"x\"",
        "`c` takes a table, found a string",
        "",
    );
    assert_error(
        &format!("{head}[collections.c]\nlabel = \"nmae\"\n{fields}"),
        "\"nmae\"",
        "the label `nmae` is not a field",
        "did you mean `name`?",
    );
    assert_error(
        &format!("{head}[collections.c]\ndelete = \"delete_wins\"\n{fields}"),
        "\"delete_wins\"",
        "unknown delete policy `delete_wins`",
        "did you mean `delete-wins`?",
    );
    assert_error(
        &format!("{head}[collections.c]\ndelete = \"keep\"\n{fields}"),
        "\"keep\"",
        "unknown delete policy `keep`",
        "known: `review`, `delete-wins` and `edit-wins`",
    );
    assert_error(
        &format!("{head}[collections.c]\nlabels = \"name\"\n{fields}"),
        "labels",
        "unknown key `labels`",
        "did you mean `label`?",
    );
}

#[test]
fn counts_are_bounded() {
    let many: String = (0..=FIELDS_MAX)
        .map(|i| format!("f{i} = {{ type = \"text\" }}\n"))
        .collect();
    let text = with_fields(&many);
    assert_error(
        &text,
        "fields",
        "collection `c` has 201 fields, at most 200 can be",
        "",
    );

    let many: String = (0..=COLLECTIONS_MAX)
        .map(|i| format!("[collections.c{i}.fields]\na = {{ type = \"text\" }}\n"))
        .collect();
    let text = format!("schema = \"s\"\nversion = 1\n{many}");
    assert_error(
        &text,
        "collections",
        "201 collections, at most 200 can be",
        "",
    );

    let found = errors(&"#".repeat(SOURCE_BYTES_MAX + 1));
    assert_eq!(found[0].message, "the file is longer than 262144 bytes");

    let choices: String = (0..1001).map(|i| format!("\"{i}\",")).collect();
    let found = errors(&with_fields(&format!(
        "a = {{ type = \"choice\", of = [{choices}] }}"
    )));
    assert_eq!(found[0].message, "1001 choices, at most 1000 can be");
}

#[test]
fn syntax_errors_have_places_too() {
    let text = with_fields("a = { type = \"text }\nb = = 3\nc = { type = \"text\" }\n");

    let found = errors(&text);

    assert!(found.len() >= 2, "{found:#?}");
    assert!(
        found
            .iter()
            .all(|error| error.message.starts_with("not TOML: ")),
        "{found:#?}"
    );
    assert_eq!(found[0].line, 5);
    assert!(found.iter().any(|error| error.line == 6));
}

#[test]
fn all_errors_are_reported_at_once_in_the_order_of_the_file() {
    let text = with_fields(
        "a = { type = \"txt\", required = 1, key = \"A\", merge = \"lw\", x = 1 }\n\
         b = { type = \"integer\", min = 9, max = 1, of = [], default = \"x\" }\n",
    );

    let errors = Schema::parse(&text).unwrap_err().named("clinic.toml");

    let places: Vec<_> = errors.errors.iter().map(|e| (e.line, e.column)).collect();
    assert_eq!(
        places,
        [
            (5, 14),
            (5, 32),
            (5, 41),
            (5, 54),
            (5, 60),
            (6, 40),
            (6, 43),
            (6, 62)
        ],
        "{errors}"
    );
    let shown = errors.to_string();
    assert!(shown.starts_with(
        "error: unknown type `txt`\n --> clinic.toml:5:14\n  |\n\
         5 | a = { type = \"txt\", required = 1, key = \"A\", merge = \"lw\", x = 1 }\n  \
         |              ^^^^^\n  = help: did you mean `text`?\n\n"
    ));
    assert!(shown.ends_with("clinic.toml has 8 errors"), "{shown}");
}

proptest! {
    #[test]
    fn mutated_schemas_never_panic_and_always_say_what_is_wrong(
        cuts in prop::collection::vec(
            (any::<prop::sample::Index>(), 0..6usize, "[\\[\\]{}=\"',.a-c0-9#\\n\u{e9} -]{0,6}"),
            1..6,
        )
    ) {
        let mut text: Vec<char> = CLINIC.chars().collect();
        for (at, removed, inserted) in cuts {
            let start = at.index(text.len());
            let end = (start + removed).min(text.len());
            text.splice(start..end, inserted.chars());
        }
        let text: String = text.into_iter().collect();

        if let Err(errors) = Schema::parse(&text) {
            prop_assert!(!errors.errors.is_empty());
            prop_assert!(errors.to_string().contains("error: "));
            for error in &errors.errors {
                prop_assert!(text.get(error.span.clone()).is_some());
            }
        }
    }

    #[test]
    fn swapped_lines_never_panic(
        order in Just((0..CLINIC.lines().count()).collect::<Vec<_>>()).prop_shuffle()
    ) {
        let lines: Vec<&str> = CLINIC.lines().collect();
        let text: String = order.iter().map(|&at| format!("{}\n", lines[at])).collect();

        if let Err(errors) = Schema::parse(&text) {
            prop_assert!(!errors.errors.is_empty());
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in "[\\PC\\n\\r\\t]{0,200}") {
        if let Err(errors) = Schema::parse(&text) {
            prop_assert!(errors.to_string().contains("error"));
        }
    }
}
