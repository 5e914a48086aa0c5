//! Patches, one rule at a time.

use serde_json::json;

use super::*;
use crate::schema::{CLINIC, Schema};

mod any;
mod records;

fn collection() -> Collection {
    let text = r#"
schema = "s"
version = 1
[collections.c.fields]
name = { type = "text", required = true, max = 5 }
dose = { type = "integer", min = 0, max = 10, default = 1, key = "d" }
temp = { type = "number", min = 30, max = 45 }
done = { type = "bool", default = false }
status = { type = "choice", of = ["open", "closed"] }
born = { type = "date" }
at = { type = "datetime" }
mother = { type = "ref", to = "c" }
visits = { type = "counter", min = 0, max = 100 }
tags = { type = "set", of = "text" }
days = { type = "set", of = "integer" }
extra = { type = "json" }
"#;
    let schema = Schema::parse(text).unwrap_or_else(|errors| panic!("{errors}"));
    schema.collections["c"].clone()
}

fn ops(patch: Json) -> Result<Vec<Op>, Vec<FieldError>> {
    ops_from_patch(&collection(), patch.as_object().unwrap())
}

fn set(key: &str, value: Value) -> Op {
    Op::Set {
        key: key.to_owned(),
        value,
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// The codes and messages of a patch's errors, by pointer.
#[track_caller]
fn error(patch: Json) -> (String, String, String) {
    let mut errors = ops(patch).expect_err("the patch was accepted");
    assert_eq!(errors.len(), 1, "{errors:?}");
    let error = errors.remove(0);
    (error.pointer, error.code, error.message)
}

#[track_caller]
fn assert_error(patch: Json, code: &str, message: &str) {
    let (_, found_code, found_message) = error(patch);
    assert_eq!(
        (found_code.as_str(), found_message.as_str()),
        (code, message)
    );
}

#[test]
fn a_patch_sets_and_clears_registers() {
    let patch = json!({
        "name": "Amina", "dose": 2.0, "temp": 37, "done": true, "status": "closed",
        "born": "2024-02-29", "at": "2026-11-21T01:30:00.50+03:00", "mother": "KE-1",
        "extra": {"$add": [null, 1.0], "a": {}},
    });

    assert_eq!(
        ops(patch).unwrap(),
        [
            set("name", text("Amina")),
            set("d", Value::Integer(2)),
            set("temp", Value::Number(37.0)),
            set("done", Value::Bool(true)),
            set("status", text("closed")),
            set("born", text("2024-02-29")),
            set("at", text("2026-11-20T22:30:00.5Z")),
            set("mother", text("KE-1")),
            set(
                "extra",
                Value::Json(r#"{"$add":[null,1.0],"a":{}}"#.to_owned())
            ),
        ]
    );
    assert_eq!(
        ops(json!({"dose": null, "extra": null})).unwrap(),
        [set("d", Value::Null), set("extra", Value::Null)]
    );
    assert_eq!(ops(json!({})).unwrap(), []);
}

#[test]
fn counters_take_additions_and_sets_take_inserts_and_removes() {
    let patch = json!({
        "visits": {"$add": -3},
        "tags": {"$insert": ["b", "a", "b"], "$remove": "c"},
        "days": [2, 1.0],
    });

    let insert = |key: &str, element| Op::Insert {
        key: key.to_owned(),
        element,
    };
    assert_eq!(
        ops(patch).unwrap(),
        [
            Op::Add {
                key: "visits".to_owned(),
                delta: -3
            },
            insert("tags", text("a")),
            insert("tags", text("b")),
            Op::Remove {
                key: "tags".to_owned(),
                element: text("c")
            },
            insert("days", Value::Integer(1)),
            insert("days", Value::Integer(2)),
        ]
    );
    assert_eq!(
        ops(json!({"visits": {"$add": 0}, "tags": [], "days": {"$insert": []}})).unwrap(),
        []
    );
}

#[test]
fn intents_that_do_not_suit_the_field_are_refused_with_advice() {
    let add = r#"visits is a counter: to add 3 to it, write {"visits": {"$add": 3}}"#;
    for patch in [
        json!({"visits": 4}),
        json!({"visits": null}),
        json!({"visits": {}}),
    ] {
        assert_error(patch, "counter_needs_add", add);
    }
    assert_error(
        json!({"visits": {"$ad": 4}}),
        "bad_intent",
        "visits cannot take \"$ad\"; did you mean `$add`?",
    );
    assert_error(
        json!({"visits": {"$add": 1, "$insert": 4}}),
        "bad_intent",
        "visits cannot take \"$insert\"; a counter takes `$add`",
    );
    assert_error(
        json!({"visits": {"$add": 1.5}}),
        "wrong_type",
        "visits counts in whole numbers: `$add` takes one such as 3 or -1, found 1.5",
    );
    for huge in [
        json!(9_007_199_254_740_993_i64),
        json!(-1e300),
        json!(u64::MAX),
        json!(i64::MIN),
    ] {
        let message = "visits takes at most 9007199254740992 at once";
        assert_error(
            json!({"visits": {"$add": huge}}),
            "counter_overflow",
            message,
        );
    }
    assert_error(
        json!({"name": {"$add": 1}}),
        "bad_intent",
        "name is a text field and takes its new value itself, not \"$add\"",
    );
    let sets = r#"tags is a set: write {"tags": {"$insert": […], "$remove": […]}}"#;
    for patch in [
        json!({"tags": "a"}),
        json!({"tags": null}),
        json!({"tags": {}}),
    ] {
        assert_error(patch, "bad_intent", sets);
    }
    assert_error(
        json!({"tags": {"$insert": ["a", "b"], "$remove": ["b"]}}),
        "bad_intent",
        "tags cannot both insert and remove \"b\"",
    );
    assert_error(
        json!({"tags": {"$delete": "a"}}),
        "bad_intent",
        "tags cannot take \"$delete\"; a set takes `$insert` and `$remove`",
    );
}

#[test]
fn values_of_the_wrong_type_are_refused() {
    for (patch, message) in [
        (json!({"name": 1}), "name takes a text, found 1"),
        (
            json!({"dose": 1.5}),
            "dose takes a whole number such as 12, found 1.5",
        ),
        (
            json!({"dose": "1"}),
            "dose takes a whole number such as 12, found \"1\"",
        ),
        (
            json!({"dose": u64::MAX}),
            "dose takes a whole number such as 12, found 18446744073709551615",
        ),
        (
            json!({"dose": 9.3e18}),
            "dose takes a whole number such as 12, found 9.3e+18",
        ),
        (
            json!({"temp": [37]}),
            "temp takes a number such as 36.6, found a list",
        ),
        (json!({"done": 1}), "done takes true or false, found 1"),
        (
            json!({"status": true}),
            "status takes one of `open` and `closed`, found true",
        ),
        (
            json!({"born": "2023-02-29"}),
            "born takes a date such as 2026-11-21, found \"2023-02-29\"",
        ),
        (
            json!({"mother": "a b"}),
            "mother takes the id of a c, found \"a b\"",
        ),
        (
            json!({"tags": {"$insert": {"a": 1}}}),
            "tags takes a text, found an object",
        ),
        (
            json!({"tags": ["a", null]}),
            "tags takes a text, found nothing",
        ),
        (json!({"tags": [" "]}), "an element of tags cannot be empty"),
        (
            json!({"days": ["x"]}),
            "days takes a whole number such as 12, found \"x\"",
        ),
    ] {
        assert_error(patch, "wrong_type", message);
    }
    for bad in [
        "20240229",
        "-002024-02-29",
        "2024-02-29T10:00",
        "2024-W01-1",
        "29.2.2024",
        "",
    ] {
        assert_eq!(error(json!({"born": bad})).1, "wrong_type", "{bad}");
    }
    for bad in [
        "2026-11-21",
        "2026-11-21T10:00:00",
        "2026-11-21T10:00:00+03:00[Africa/Nairobi]",
        "20261121T100000Z",
        "2026-11-21T25:00:00Z",
        "-000001-11-21T10:00:00Z",
        "é6-11-21T10:00:00Z",
        "0000-01-01T00:00:00+10:00",
        "10:00",
        "",
    ] {
        assert_eq!(error(json!({"at": bad})).1, "wrong_type", "{bad}");
    }
}

#[test]
fn bounds_choices_and_required_fields_hold() {
    assert_error(
        json!({"name": "ééééééé"}),
        "above_max",
        "name must be at most 5 characters long, found 7",
    );
    assert_error(
        json!({"dose": -1}),
        "below_min",
        "dose must be at least 0, found -1",
    );
    assert_error(
        json!({"temp": 52.5}),
        "above_max",
        "temp must be at most 45, found 52.5",
    );
    assert_error(
        json!({"dose": i64::MAX}),
        "above_max",
        "dose must be at most 10, found 9223372036854775807",
    );
    assert_error(
        json!({"status": "Closed"}),
        "not_a_choice",
        "status cannot be \"Closed\"; did you mean `closed`?",
    );
    assert_error(
        json!({"status": "lost"}),
        "not_a_choice",
        "status cannot be \"lost\"; the choices are `open` and `closed`",
    );
    assert_error(
        json!({"name": null}),
        "missing_required",
        "name is required and cannot be cleared",
    );
    assert!(ops(json!({"name": "ééééé", "dose": 10, "temp": 30.0})).is_ok());

    let long = "x".repeat(64 * 1024 + 1);
    for patch in [
        json!({"name": long}),
        json!({"extra": [long]}),
        json!({"tags": ["x".repeat(1025)]}),
    ] {
        assert_eq!(error(patch).1, "above_max");
    }
}

#[test]
fn unknown_fields_are_refused_with_the_nearest_name_and_an_escaped_pointer() {
    let (pointer, code, message) = error(json!({"nmae": "x"}));
    assert_eq!(
        (pointer.as_str(), code.as_str()),
        ("/nmae", "unknown_field")
    );
    assert_eq!(message, "c has no field \"nmae\"; did you mean `name`?");
    assert_eq!(error(json!({"a/b~c": 1})).0, "/a~1b~0c");

    let endless = error(json!({"x".repeat(100_000): 1}));
    assert!(
        endless.0.len() < 100 && endless.2.len() < 500,
        "{endless:?}"
    );
}

#[test]
fn all_errors_are_reported_in_the_patch_s_order_up_to_a_bound() {
    let errors = ops(json!({"temp": 3, "name": 4, "born": "2024-02-02", "zzz": 1})).unwrap_err();
    let pointers: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(pointers, ["/temp", "/name", "/zzz"]);

    let many: Map<String, Json> = (0..5000).map(|i| (format!("x{i}"), json!(1))).collect();
    assert_eq!(
        ops_from_patch(&collection(), &many).unwrap_err().len(),
        FIELD_ERRORS_MAX
    );
}
