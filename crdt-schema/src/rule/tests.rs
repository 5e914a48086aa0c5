use serde_json::{Value as Json, json};

use super::*;
use crate::schema::Schema;

fn fields() -> IndexMap<String, Field> {
    let schema = Schema::parse(
        "schema = \"s\"\nversion = 1\n[collections.c.fields]\n\
         on_hand = { type = \"counter\" }\nminimum = { type = \"number\" }\n\
         name = { type = \"text\" }\nborn = { type = \"date\" }\nat = { type = \"datetime\" }\n\
         outcome = { type = \"choice\", of = [\"treated\", \"deceased\"] }\n\
         urgent = { type = \"bool\" }\ntags = { type = \"set\", of = \"text\" }\nextra = { type = \"json\" }",
    );
    schema.unwrap().collections["c"].fields.clone()
}

fn holds(text: &str, record: Json) -> bool {
    let condition = Condition::parse(text, &fields()).unwrap_or_else(|e| panic!("{text}: {e:?}"));
    condition.holds(record.as_object().unwrap())
}

#[test]
fn conditions_hold_as_they_read() {
    let record = || {
        json!({
            "on_hand": -2, "minimum": 2.5, "name": "Amina", "born": "1990-01-02",
            "at": "2026-11-21T07:00:00.5Z", "outcome": "treated", "urgent": true, "tags": ["a", "b"],
        })
    };
    for (text, expected) in [
        ("on_hand < 0", true),
        ("on_hand >= -2 and on_hand <= -2", true),
        ("on_hand + 5 > minimum", true),
        ("on_hand - 5 > minimum", false),
        ("minimum = 2.5", true),
        ("name = 'Amina' or on_hand = 7", true),
        ("name != \"Amina\"", false),
        ("born < '2000-01-01'", true),
        ("at > '2026-11-21T10:00:00+03:00'", true),
        ("outcome = 'deceased'", false),
        ("urgent and not (outcome = 'deceased')", true),
        ("urgent = false", false),
        ("'a' in tags", true),
        ("not 'c' in tags", true),
        ("extra is empty and tags is set", true),
        ("name = 'x' or name = 'y' and urgent or on_hand < 0", true),
    ] {
        assert_eq!(holds(text, record()), expected, "{text}");
    }
}

#[test]
fn what_has_no_value_compares_with_nothing() {
    for text in [
        "on_hand < 0",
        "on_hand >= 0",
        "on_hand != 0",
        "urgent",
        "on_hand + 1 = 1",
    ] {
        assert!(!holds(text, json!({})), "{text}");
        assert!(
            !holds(text, json!({"on_hand": "seven", "urgent": 3})),
            "{text}"
        );
    }
    assert!(holds("not urgent", json!({})));
    assert!(holds("name is empty", json!({ "name": null })));
}

#[test]
fn a_condition_names_its_fields() {
    let condition = Condition::parse(
        "on_hand < minimum or ('a' in tags and not urgent)",
        &fields(),
    );

    let names: Vec<&str> = condition.as_ref().unwrap().fields().into_iter().collect();

    assert_eq!(names, ["minimum", "on_hand", "tags", "urgent"]);
}

#[test]
fn what_is_wrong_is_shown_at_its_place() {
    for (text, at, message) in [
        ("on_hnd < 0", "on_hnd", "no field"),
        ("on_hand", "on_hand", "neither true nor false"),
        ("on_hand < 'x'", "on_hand < 'x'", "cannot be compared"),
        ("outcome = 'dead'", "'dead'", "cannot be"),
        ("outcome < 'treated'", "outcome < 'treated'", "no order"),
        ("born < '21/11/2026'", "'21/11/2026'", "date"),
        ("name + 1 = 2", "name", "cannot be added"),
        ("'a' in name", "name", "sets only"),
        ("(on_hand < 0", "(", "not closed"),
        ("on_hand < 0 0", "0", "ended"),
        ("on_hand is 0", "0", "`set` or `empty`"),
        ("name = 'x", "'x", "no end"),
        ("on_hand <", "<", "missing"),
        ("on_hand < 1.2.3", "1.2.3", "not a number"),
        ("on_hand # 3", "#", "means nothing"),
        ("extra = 'x'", "extra = 'x'", "cannot be compared"),
        ("on_hand is set = true and -name", "-", "ended"),
    ] {
        let Err(error) = Condition::parse(text, &fields()) else {
            panic!("{text} was read");
        };
        assert!(error.message.contains(message), "{text}: {error:?}");
        let marked = &text[error.span.clone()];
        assert!(marked == at || message == "ended", "{text}: {marked}");
    }
}

#[test]
fn deep_and_long_conditions_are_refused_and_not_followed() {
    let deep = format!("{}urgent{}", "(".repeat(400), ")".repeat(400));
    let negated = "not ".repeat(200) + "urgent";
    let long = "urgent or ".repeat(200) + "urgent";
    for text in [deep, negated, long] {
        assert!(Condition::parse(&text, &fields()).is_err());
    }
    assert!(Condition::parse(&("urgent or ".repeat(98) + "urgent"), &fields()).is_ok());
}
