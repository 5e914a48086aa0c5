//! Cells of tables, and any input at all: it is read or refused, and never more.

use proptest::prelude::*;

use super::*;

#[test]
fn cells_are_read_by_the_field_s_type() {
    let collection = collection();
    let read = |name: &str, cell: &str| value_from_text(&collection.fields[name], cell);
    let good = |name: &str, cell: &str| read(name, cell).unwrap().unwrap();

    for name in collection.fields.keys() {
        assert_eq!(read(name, "").unwrap(), None);
        assert_eq!(read(name, " \t").unwrap(), None);
    }
    assert_eq!(good("name", " a "), text(" a "));
    assert_eq!(good("dose", " 07 "), Value::Integer(7));
    assert_eq!(good("dose", "2.0"), Value::Integer(2));
    assert_eq!(good("temp", "36.6"), Value::Number(36.6));
    for (cell, flag) in [
        ("TRUE", true),
        ("Yes", true),
        ("1", true),
        ("no", false),
        ("0", false),
    ] {
        assert_eq!(good("done", cell), Value::Bool(flag));
    }
    assert_eq!(good("status", "open "), text("open"));
    assert_eq!(good("born", "2024-02-29"), text("2024-02-29"));
    assert_eq!(
        good("at", "2026-11-21 10:30+03"),
        text("2026-11-21T07:30:00Z")
    );
    assert_eq!(good("visits", "-3"), Value::Integer(-3));
    assert_eq!(
        good("extra", " {\"b\": 1,\"a\":2} "),
        Value::Json("{\"b\":1,\"a\":2}".to_owned())
    );

    for (name, cell, code) in [
        ("dose", "1.5", "wrong_type"),
        ("dose", "11", "above_max"),
        ("temp", "36,6", "wrong_type"),
        ("temp", "inf", "wrong_type"),
        ("temp", "NaN", "wrong_type"),
        ("done", "maybe", "wrong_type"),
        ("status", "shut", "not_a_choice"),
        ("visits", "1.5", "wrong_type"),
        ("extra", "{", "wrong_type"),
        ("tags", "a", "wrong_type"),
        ("name", "abcdef", "above_max"),
    ] {
        assert_eq!(read(name, cell).unwrap_err().code, code, "{name} {cell}");
    }
}

#[test]
fn a_set_s_cell_holds_elements_between_semicolons() {
    let collection = collection();

    let tags = elements_from_text(&collection.fields["tags"], " b;a ; ;b;").unwrap();
    assert_eq!(tags, [text("a"), text("b")]);
    let days = elements_from_text(&collection.fields["days"], "3;-1").unwrap();
    assert_eq!(days, [Value::Integer(-1), Value::Integer(3)]);
    assert_eq!(
        elements_from_text(&collection.fields["tags"], "").unwrap(),
        []
    );
    assert!(elements_from_text(&collection.fields["days"], "3;x").is_err());
    assert!(elements_from_text(&collection.fields["name"], "x").is_err());
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        "\\PC{0,12}".prop_map(Json::from),
        "[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]{8}(Z|[+-]0[0-9]:00))?".prop_map(Json::from),
        prop_oneof!["open", "closed"].prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::vec(("[$a-c]{0,3}|\\$add|\\$insert", inner), 0..4)
                .prop_map(|entries| Json::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_value_reads_back_from_its_own_json(
        json in any_json(),
        at in any::<prop::sample::Index>(),
    ) {
        let collection = collection();
        let field = &collection.fields[at.index(collection.fields.len())];

        if let Ok(value) = value_from_json(field, &json) {
            prop_assert_eq!(value_from_json(field, &value.to_json()), Ok(value.clone()));
            if field.kind == FieldType::Json {
                prop_assert_eq!(value.to_json(), json);
            }
        }
    }

    #[test]
    fn any_patch_is_read_or_refused(
        patch in prop::collection::btree_map(
            prop_oneof!["name", "visits", "tags", "days", "extra", "at", "\\PC{0,4}"],
            any_json(),
            0..5,
        )
    ) {
        let patch: Map<String, Json> = patch.into_iter().collect();

        match ops_from_patch(&collection(), &patch) {
            Ok(ops) => prop_assert!(ops.iter().all(|op| op.key().is_some())),
            Err(errors) => prop_assert!(!errors.is_empty()),
        }
    }

    #[test]
    fn any_cell_is_read_or_refused(cell in "\\PC{0,16}") {
        for field in collection().fields.values() {
            if let Ok(Some(value)) = value_from_text(field, &cell) {
                prop_assert!(!value.is_null() || field.kind == FieldType::Json);
            }
            let _ = elements_from_text(field, &cell);
        }
    }
}
