//! What a patch leaves to the record: defaults, what is cleared, and what is judged after a merge.

use super::*;

#[test]
fn defaults_fill_what_a_new_record_does_not_name() {
    let collection = collection();

    assert_eq!(
        default_ops(&collection, &[]),
        [set("d", Value::Integer(1)), set("done", Value::Bool(false))]
    );
    let given = [
        set("d", Value::Null),
        Op::Add {
            key: "visits".to_owned(),
            delta: 1,
        },
    ];
    assert_eq!(
        default_ops(&collection, &given),
        [set("done", Value::Bool(false))]
    );
}

#[test]
fn replacing_a_record_clears_the_registers_that_are_not_named() {
    let given = [
        set("name", text("x")),
        set("d", Value::Integer(1)),
        set("extra", Value::Null),
    ];

    let keys = register_keys_to_clear(&collection(), &given);

    assert_eq!(keys, ["temp", "done", "status", "born", "at", "mother"]);
}

#[test]
fn a_merged_record_needs_its_required_fields_and_counters_within_bounds() {
    let check = |record: Json| -> Vec<(String, String)> {
        let errors = check_record(&collection(), record.as_object().unwrap());
        errors
            .into_iter()
            .map(|error| (error.pointer, error.code))
            .collect()
    };
    let one = |pointer: &str, code: &str| vec![(pointer.to_owned(), code.to_owned())];

    assert_eq!(check(json!({"name": "x"})), []);
    assert_eq!(check(json!({"name": "x", "visits": 100})), []);
    assert_eq!(check(json!({})), one("/name", "missing_required"));
    assert_eq!(
        check(json!({"name": null})),
        one("/name", "missing_required")
    );
    assert_eq!(
        check(json!({"name": "x", "visits": -1})),
        one("/visits", "below_min")
    );
    assert_eq!(
        check(json!({"name": "x", "visits": 101})),
        one("/visits", "above_max")
    );
    assert_eq!(
        check(json!({"name": "x", "visits": i64::MAX})),
        one("/visits", "above_max")
    );
    assert_eq!(
        check(json!({"name": "x", "visits": i64::MIN})),
        one("/visits", "below_min")
    );
    assert_eq!(
        check(json!({"name": "x", "visits": "1"})),
        one("/visits", "wrong_type")
    );
}

fn change_errors(before: Json, after: Json) -> Vec<(String, String)> {
    let text = "schema = \"s\"\nversion = 1\n[collections.c.fields]\n\
                visits = { type = \"counter\", min = 0, max = 100 }\n\
                stage = { type = \"choice\", of = [\"open\", \"sent\", \"paid\"], merge = \"rank\" }";
    let schema = Schema::parse(text).unwrap();
    let (before, after) = (before.as_object().unwrap(), after.as_object().unwrap());
    let errors = check_change(&schema.collections["c"], before, after);
    errors
        .into_iter()
        .map(|error| (error.code, error.message))
        .collect()
}

#[test]
fn a_counter_that_a_merge_has_carried_out_of_its_bounds_may_only_come_nearer() {
    let codes = |before: i64, after: i64| -> Vec<String> {
        let errors = change_errors(json!({"visits": before}), json!({"visits": after}));
        errors.into_iter().map(|(code, _)| code).collect()
    };

    assert!(codes(-5, -4).is_empty() && codes(-5, 0).is_empty() && codes(107, 101).is_empty());
    assert_eq!(codes(-5, -6), ["below_min"]);
    assert_eq!(codes(0, -1), ["below_min"]);
    assert_eq!(codes(107, 108), ["above_max"]);
    assert_eq!(codes(-5, 105), ["above_max"]);
    assert!(codes(-5, 104).is_empty());
}

#[test]
fn a_rank_moves_forward_only() {
    let step = |before: Json, after: Json| {
        change_errors(json!({"stage": before}), json!({"stage": after}))
    };
    let refused = |message: &str| vec![("moves_back".to_owned(), message.to_owned())];

    for (before, after) in [
        (Json::Null, json!("open")),
        (json!("open"), json!("paid")),
        (json!("sent"), json!("sent")),
        (json!("unknown"), json!("open")),
    ] {
        assert_eq!(step(before, after), []);
    }
    assert_eq!(
        step(json!("paid"), json!("sent")),
        refused("stage only moves forward: it is \"paid\", and \"sent\" comes before that")
    );
    assert_eq!(
        step(json!("open"), Json::Null),
        refused("stage only moves forward: it is \"open\" and cannot be cleared")
    );
}

#[test]
fn an_unbounded_counter_is_kept_far_from_the_end_of_64_bits() {
    let clinic = Schema::parse(CLINIC).unwrap();
    let stock = clinic.collection("stock").unwrap();
    let codes = |sum: i64| -> Vec<String> {
        let record = json!({"item": "x", "on_hand": sum});
        let errors = check_record(stock, record.as_object().unwrap());
        errors.into_iter().map(|error| error.code).collect()
    };

    assert!(codes(COUNTER_MAX).is_empty() && codes(-COUNTER_MAX).is_empty());
    assert_eq!(codes(COUNTER_MAX + 1), ["above_max"]);
    assert_eq!(codes(-COUNTER_MAX - 1), ["below_min"]);
}
