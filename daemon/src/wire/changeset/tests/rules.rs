//! What a change set may say: names, values, dependencies, one edit of a record, and limits.

use super::*;

#[test]
fn an_earlier_edit_that_no_entry_can_have_is_refused() {
    let with = |deps: Vec<Dot>, back, edit| implying(vec![(deps, Implied { back, edit })]);
    let dep = vec![Dot::new(log(1), 1)];

    assert_too_large(&with(dep.clone(), 0, EDITS_MAX));
    assert_malformed(&with(Vec::new(), 0, 0));
    let distant = check_change_set(&with(dep, 1, 0));
    assert!(
        matches!(distant, Err(WireError::Malformed(_))),
        "{distant:?}"
    );
    let mut of_none = single(set("status", text("open")));
    of_none.implied.insert(1, Implied { back: 1, edit: 0 });
    assert_malformed(&of_none);
}

#[test]
fn numbers_that_are_not_finite_or_have_a_signed_zero_are_refused() {
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0] {
        assert_malformed(&single(set("lat", Value::Number(number))));
    }
}

#[test]
fn a_time_beyond_the_last_is_refused() {
    let mut late = single(set("status", Value::Null));
    late.hlc = Timestamp(Timestamp::MAX.0 + 1);
    assert_malformed(&late);
}

#[test]
fn names_and_ids_are_checked() {
    let good = set("status", Value::Null);
    for bad in ["", "Visit", "a b", &"x".repeat(KEY_BYTES_MAX + 1)] {
        let mut collection = single(good.clone());
        collection.edits[0].collection = bad.to_owned();
        assert_malformed(&collection);
        assert_malformed(&single(set(bad, Value::Null)));
    }
    for bad in ["", "a b", "a/b", &"x".repeat(RECORD_ID_BYTES_MAX + 1)] {
        assert_malformed(&change_set(vec![edit(bad, vec![good.clone()])]));
    }
}

#[test]
fn json_must_be_json_and_not_nest_without_end() {
    let json = |text: &str| single(set("form", Value::Json(text.to_owned())));
    assert_eq!(check_change_set(&json(r#"{"a":[1,2]}"#)), Ok(()));
    for bad in ["", "{", "{} {}", "nope", &"[".repeat(10_000)] {
        assert_malformed(&json(bad));
    }
}

#[test]
fn empty_change_sets_and_edits_are_refused() {
    assert_malformed(&change_set(Vec::new()));
    assert_malformed(&change_set(vec![edit("KE-1", Vec::new())]));
}

#[test]
fn dependencies_ascend_and_count_from_one() {
    let with = |deps: Vec<Dot>| {
        let mut set = single(set("status", Value::Null));
        set.edits[0].deps = deps;
        set.tags = tags_of(&set.edits);
        set
    };
    assert_eq!(
        check_change_set(&with(vec![Dot::new(log(1), 9), Dot::new(log(2), 1)])),
        Ok(())
    );
    assert_malformed(&with(vec![Dot::new(log(2), 1), Dot::new(log(1), 9)]));
    assert_malformed(&with(vec![Dot::new(log(1), 1), Dot::new(log(1), 1)]));
    assert_malformed(&with(vec![Dot::new(log(1), 0)]));
    assert_too_large(&with(
        (0..=DEPS_MAX as u64)
            .map(|n| Dot::new(log(1), n + 1))
            .collect(),
    ));
}

#[test]
fn every_dependency_has_a_tag_and_costs_two_bytes_however_often_it_is_named() {
    let dep = Dot::new(log(1), 9);
    let mut set = change_set(vec![
        edit("a", vec![set("status", Value::Null)]),
        edit("b", vec![set("status", Value::Null)]),
    ]);
    let free = encode_change_set(&set).len();
    set.edits[0].deps = vec![dep];
    set.edits[1].deps = vec![dep];
    assert_malformed(&set);

    set.tags = BTreeMap::from([(dep, [7, 8])]);
    let bytes = encode_change_set(&set);
    // The log's number, its id and the seq, once; both by their numbers in the second edit.
    assert_eq!(bytes.len(), free + (1 + 16 + 1) + 2 + 2);
    assert_eq!(bytes[bytes.len() - 2..], [7, 8]);
    assert_eq!(decode_change_set(&bytes), Ok(set.clone()));
    assert!(decode_change_set(&bytes[..bytes.len() - 1]).is_err());

    set.tags.insert(Dot::new(log(2), 1), [0, 0]);
    assert_eq!(
        check_change_set(&set),
        Err(WireError::Malformed(
            "change set: tags that are not those of its dependencies"
        ))
    );
}

#[test]
fn a_record_is_edited_once_and_a_field_in_one_way() {
    let op = set("status", Value::Null);
    assert_malformed(&change_set(vec![
        edit("a", vec![op.clone()]),
        edit("a", vec![op.clone()]),
    ]));

    let key = || "status".to_owned();
    let add = Op::Add {
        key: key(),
        delta: 1,
    };
    let insert = Op::Insert {
        key: key(),
        element: Value::Integer(1),
    };
    let remove = Op::Remove {
        key: key(),
        element: Value::Integer(1),
    };
    let resolve = Op::Resolve {
        key: key(),
        value: Value::Null,
        note: String::new(),
    };
    let delete = Op::Delete {
        reason: String::new(),
    };
    let restore = Op::Restore {
        reason: String::new(),
    };
    let accept = Op::Accept {
        review: "00ff00ff00ff00ff".to_owned(),
        note: String::new(),
    };
    for id in [
        "",
        "00FF00ff00ff00ff",
        "00ff",
        "00ff00ff00ff00ff0",
        "!life00000000000",
    ] {
        let (review, note) = (id.to_owned(), String::new());
        let set = single(Op::Accept { review, note });
        assert!(check_change_set(&set).is_err(), "{id:?}");
    }
    for (one, two) in [
        (&op, &op),
        (&accept, &accept),
        (&op, &resolve),
        (&op, &add),
        (&add, &add),
        (&add, &insert),
        (&insert, &resolve),
        (&insert, &insert),
        (&insert, &remove),
        (&delete, &restore),
        (&delete, &delete),
    ] {
        assert_malformed(&change_set(vec![edit("a", vec![one.clone(), two.clone()])]));
    }
    let other = Op::Insert {
        key: key(),
        element: Value::Bool(true),
    };
    assert_eq!(
        check_change_set(&change_set(vec![edit("a", vec![insert, other])])),
        Ok(())
    );
}

#[test]
fn everything_with_a_limit_is_accepted_at_it_and_refused_beyond_it() {
    let long = |more: usize| "x".repeat(TEXT_BYTES_MAX + more);
    let json = |more: usize| format!("\"{}\"", "x".repeat(TEXT_BYTES_MAX - 2 + more));
    let resolve = |note| Op::Resolve {
        key: "status".to_owned(),
        value: Value::Null,
        note,
    };
    let person = |more| {
        let mut set = single(set("status", Value::Null));
        set.person = "x".repeat(NAME_BYTES_MAX + more);
        set
    };
    let edits = |more| {
        let edits =
            (0..EDITS_MAX + more).map(|n| edit(&n.to_string(), vec![set("k", Value::Null)]));
        change_set(edits.collect())
    };
    let ops = |more| {
        let ops = (0..OPS_MAX + more).map(|n| set(&format!("k{n}"), Value::Null));
        change_set(vec![edit("a", ops.collect())])
    };
    let sets: [&dyn Fn(usize) -> ChangeSet; 8] = [
        &|more| single(set("notes", Value::Text(long(more)))),
        &|more| single(set("form", Value::Json(json(more)))),
        &|more| single(resolve(long(more))),
        &|more| single(Op::Delete { reason: long(more) }),
        &|more| single(Op::Restore { reason: long(more) }),
        &person,
        &edits,
        &ops,
    ];

    for make in sets {
        let largest = make(0);
        assert_eq!(decode_change_set(&encode_change_set(&largest)), Ok(largest));
        assert_too_large(&make(1));
    }
}
