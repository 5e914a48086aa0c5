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
    for bad in ["0", "-1", "4294967296", "99999999999999999999"] {
        let text = format!("schema = \"s\"\nversion = {bad}\n{table}");
        assert_error(
            &text,
            bad,
            "`version` must lie between 1 and 4294967295",
            "",
        );
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
fn fields_are_tables_with_known_keys_and_a_known_type() {
    assert_field_error(
        "a = \"text\"",
        "\"text\"",
        "field `a` is not a table",
        "write a = { type = \"text\" }",
    );
    assert_field_error(
        "a = { type = \"text\", requird = true }",
        "requird",
        "unknown key `requird`",
        "did you mean `required`?",
    );
    assert_field_error(
        "a = { type = \"text\", required = \"yes\" }",
        "\"yes\"",
        "`required` takes `true` or `false`, found a string",
        "",
    );
    assert_field_error(
        "a = { required = true }",
        "a",
        "field `a` has no type",
        "add `type = \"text\"` or another type",
    );
    assert_field_error(
        "a = { type = \"txet\" }",
        "\"txet\"",
        "unknown type `txet`",
        "did you mean `text`?",
    );
    assert_field_error(
        "a = { type = \"string\" }",
        "\"string\"",
        "unknown type `string`",
        "did you mean `text`?",
    );
    assert_field_error(
        "a = { type = \"blob\" }",
        "\"blob\"",
        "unknown type `blob`",
        "known: `text`, `integer`, `number`, `bool`, `choice`, `date`, `datetime`, `ref`, \
         `counter`, `set` and `json`",
    );
    assert_field_error(
        "a = { type = 1 }",
        "1",
        "`type` takes a string, found an integer",
        "",
    );
}

#[test]
fn policies_must_suit_the_type() {
    assert_field_error(
        "a = { type = \"text\", merge = \"reveiw\" }",
        "\"reveiw\"",
        "unknown merge policy `reveiw`",
        "did you mean `review`?",
    );
    assert_field_error(
        "a = { type = \"integer\", merge = \"newest\" }",
        "\"newest\"",
        "unknown merge policy `newest`",
        "known: `lww`, `review`, `max` and `min`",
    );
    assert_field_error(
        "a = { type = \"counter\", merge = \"lww\" }",
        "\"lww\"",
        "a `counter` field cannot merge by `lww`",
        "it can by `counter`",
    );
    assert_field_error(
        "a = { type = \"set\", of = \"text\", merge = \"review\" }",
        "\"review\"",
        "a `set` field cannot merge by `review`",
        "it can by `set` and `remove-wins`",
    );
    assert_field_error(
        "a = { type = \"json\", merge = \"set\" }",
        "\"set\"",
        "a `json` field cannot merge by `set`",
        "it can by `lww` and `review`",
    );
}

#[test]
fn every_policy_is_read_for_the_types_that_it_suits() {
    let text = with_fields(
        "a = { type = \"integer\", merge = \"max\" }\n\
         b = { type = \"datetime\", merge = \"min\", priority = \"critical\" }\n\
         c = { type = \"choice\", of = [\"x\"], merge = \"rank\" }\n\
         d = { type = \"set\", of = \"text\", merge = \"remove-wins\" }\n\
         e = { type = \"text\", merge = \"review\", provisional = \"previous\" }\n\
         f = { type = \"text\", merge = \"review\", provisional = \"lww\", priority = \"normal\" }",
    );

    let schema = Schema::parse(&text).unwrap_or_else(|errors| panic!("{errors}"));

    let fields = &schema.collections["c"].fields;
    let policies: Vec<&str> = fields.values().map(|field| field.merge.name()).collect();
    assert_eq!(
        policies,
        ["max", "min", "rank", "remove-wins", "review", "review"]
    );
    assert_eq!(fields["e"].provisional, Provisional::Previous);
    assert_eq!(fields["f"].provisional, Provisional::Lww);
    assert_eq!(fields["b"].priority, Priority::Critical);
    assert_eq!(fields["a"].priority, Priority::Normal);
}

#[test]
fn policies_and_their_settings_are_refused_where_they_mean_nothing() {
    assert_field_error(
        "a = { type = \"text\", merge = \"max\" }",
        "\"max\"",
        "a `text` field cannot merge by `max`",
        "it can by `lww` and `review`",
    );
    assert_field_error(
        "a = { type = \"integer\", merge = \"rank\" }",
        "\"rank\"",
        "a `integer` field cannot merge by `rank`",
        "it can by `lww`, `review`, `max` and `min`",
    );
    assert_field_error(
        "a = { type = \"choice\", of = [\"x\"], merge = \"rnak\" }",
        "\"rnak\"",
        "unknown merge policy `rnak`",
        "did you mean `rank`?",
    );
    assert_field_error(
        "a = { type = \"text\", provisional = \"previous\" }",
        "provisional",
        "`provisional` does not apply to fields that merge by `lww`",
        "add `merge = \"review\"` or leave it out",
    );
    assert_field_error(
        "a = { type = \"text\", merge = \"review\", provisional = \"prevoius\" }",
        "\"prevoius\"",
        "`provisional` cannot be `prevoius`",
        "did you mean `previous`?",
    );
    assert_field_error(
        "a = { type = \"text\", priority = \"high\" }",
        "\"high\"",
        "`priority` cannot be `high`",
        "known: `critical` and `normal`",
    );
}

#[test]
fn choices_sets_and_references_say_of_what() {
    let list = "list them: `of = [\"open\", \"closed\"]`";

    assert_field_error(
        "a = { type = \"choice\" }",
        "a",
        "field `a` has no choices",
        list,
    );
    assert_field_error(
        "a = { type = \"choice\", of = [] }",
        "[]",
        "the list of choices is empty",
        list,
    );
    assert_field_error(
        "a = { type = \"choice\", of = \"open\" }",
        "\"open\"",
        "`of` takes a list of choices, found a string",
        "",
    );
    assert_field_error(
        "a = { type = \"choice\", of = [\"x\", 3] }",
        "3",
        "`of` takes a list of strings, found an integer",
        "",
    );
    assert_field_error(
        "a = { type = \"set\", of = [\"x\", \"y\", 'x'] }",
        "'x'",
        "the choice `x` is listed twice",
        "",
    );
    assert_field_error(
        "a = { type = \"choice\", of = [\"x \", \"y\"] }",
        "\"x \"",
        "`x ` cannot be a choice",
        "a choice is visible text without white space around it",
    );
    assert_field_error(
        "a = { type = \"set\" }",
        "a",
        "field `a` does not say what it is a set of",
        "add `of = \"text\"` or a list of choices",
    );
    assert_field_error(
        "a = { type = \"set\", of = \"integr\" }",
        "\"integr\"",
        "a set cannot be of `integr`",
        "did you mean `integer`?",
    );
    assert_field_error(
        "a = { type = \"set\", of = \"blob\" }",
        "\"blob\"",
        "a set cannot be of `blob`",
        "a set is of `text`, `integer`, `date` or a list of choices",
    );
    assert_field_error(
        "a = { type = \"set\", of = true }",
        "true",
        "`of` takes `text`, `integer`, `date` or a list of choices, found a boolean",
        "",
    );
    assert_field_error(
        "a = { type = \"ref\" }",
        "a",
        "field `a` does not say what it refers to",
        "add `to = \"…\"` with a collection's name",
    );
    assert_field_error(
        "a = { type = \"ref\", to = \"d\" }",
        "\"d\"",
        "there is no collection `d`",
        "known: `c`",
    );
}

#[test]
fn keys_that_mean_nothing_for_the_type_are_refused() {
    let empty = |kind: &str, key: &str| {
        format!("a {kind} that nobody has written is empty; leave `{key}` out")
    };
    let bounded = "`text`, `integer`, `number` and `counter`";
    for (field, key, kind, hint) in [
        (
            "type = \"text\", of = [\"x\"]",
            "of",
            "text",
            "`of` is for `choice` and `set`".to_owned(),
        ),
        (
            "type = \"text\", to = \"c\"",
            "to",
            "text",
            "`to` is for `ref`".to_owned(),
        ),
        (
            "type = \"date\", min = 1",
            "min",
            "date",
            format!("`min` is for {bounded}"),
        ),
        (
            "type = \"bool\", max = 1",
            "max",
            "bool",
            format!("`max` is for {bounded}"),
        ),
        (
            "type = \"counter\", required = true",
            "required",
            "counter",
            empty("counter", "required"),
        ),
        (
            "type = \"counter\", default = 1",
            "default",
            "counter",
            empty("counter", "default"),
        ),
        (
            "type = \"set\", of = \"text\", default = []",
            "default",
            "set",
            empty("set", "default"),
        ),
    ] {
        let message = format!("`{key}` does not apply to `{kind}` fields");
        assert_field_error(&format!("a = {{ {field} }}"), key, &message, &hint);
    }
}

#[test]
fn bounds_are_checked() {
    assert_field_error(
        "a = { type = \"integer\", min = 5, max = 3 }",
        "3",
        "`max` is 3, less than `min`, which is 5",
        "",
    );
    assert_field_error(
        "a = { type = \"integer\", min = 1.5 }",
        "1.5",
        "`min` takes an integer, found a decimal number",
        "",
    );
    assert_field_error(
        "a = { type = \"number\", max = \"9\" }",
        "\"9\"",
        "`max` takes a number, found a string",
        "",
    );
    assert_field_error(
        "a = { type = \"text\", min = -1 }",
        "-1",
        "`min` of a text is its length, which is never negative",
        "",
    );
    let range = "must lie between -9007199254740992 and 9007199254740992";
    for bad in ["inf", "nan", "9007199254740993", "99999999999999999999"] {
        let field = format!("a = {{ type = \"number\", max = {bad} }}");
        assert_field_error(&field, bad, &format!("`max` {range}"), "");
    }
}

#[test]
fn defaults_must_be_values_that_the_field_takes() {
    for (field, marked, message) in [
        (
            "type = \"text\", default = 1",
            "1",
            "a takes a text, found 1",
        ),
        (
            "type = \"integer\", default = 1.5",
            "1.5",
            "a takes a whole number such as 12, found 1.5",
        ),
        (
            "type = \"number\", default = nan",
            "nan",
            "the number is not finite",
        ),
        (
            "type = \"integer\", default = 9223372036854775808",
            "9223372036854775808",
            "the number is too large",
        ),
        (
            "type = \"integer\", max = 10, default = 11",
            "11",
            "a must be at most 10, found 11",
        ),
        (
            "type = \"text\", min = 2, default = \"x\"",
            "\"x\"",
            "a must be at least 2 characters long, found 1",
        ),
        (
            "type = \"choice\", of = [\"open\"], default = \"opne\"",
            "\"opne\"",
            "a cannot be \"opne\"; did you mean `open`?",
        ),
        (
            "type = \"date\", default = \"21.11.2026\"",
            "\"21.11.2026\"",
            "a takes a date such as 2026-11-21, found \"21.11.2026\"",
        ),
        (
            "type = \"json\", default = [1, [inf]]",
            "inf",
            "the number is not finite",
        ),
    ] {
        let field = format!("a = {{ {field} }}");
        assert_field_error(&field, marked, &format!("bad default: {message}"), "");
    }
}

#[test]
fn stored_keys_are_unique_in_a_collection() {
    let hint = "give every field of a collection a `key` of its own";
    assert_error(
        &with_fields("tel = { type = \"text\", key = \"phone\" }\nphone = { type = \"text\" }"),
        "phone",
        "field `tel` has the stored key `phone` already",
        hint,
    );
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
