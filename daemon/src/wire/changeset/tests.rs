use crdt_schema::value::Value;
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

use super::*;
use crate::wire::value::{DECIMAL, FLOAT, NULL};

fn log(n: u8) -> LogId {
    LogId([n; 16])
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

fn edit(id: &str, ops: Vec<Op>) -> Edit {
    Edit {
        collection: "visit".to_owned(),
        id: id.to_owned(),
        deps: Vec::new(),
        ops,
    }
}

fn change_set(edits: Vec<Edit>) -> ChangeSet {
    let hlc = Timestamp::from_ms(1_760_000_000_000);
    ChangeSet {
        implied: BTreeMap::new(),
        hlc,
        schema_version: 3,
        person: "amina".to_owned(),
        tags: tags_of(&edits),
        edits,
    }
}

/// A tag for everything that the edits depend on.
fn tags_of(edits: &[Edit]) -> BTreeMap<Dot, DotTag> {
    let deps = edits.iter().flat_map(|edit| &edit.deps);
    deps.map(|dep| (*dep, [dep.log.0[0], dep.seq as u8]))
        .collect()
}

/// A change set with one edit of one op.
fn single(op: Op) -> ChangeSet {
    change_set(vec![edit("KE-1", vec![op])])
}

/// The error that both the author and the receiver give.
fn refusal(set: &ChangeSet) -> WireError {
    let author = check_change_set(set).expect_err("the author's check passed");
    assert!(
        decode_change_set(&encode_change_set(set)).is_err(),
        "the decoder accepted {set:?}"
    );
    author
}

fn assert_malformed(set: &ChangeSet) {
    let error = refusal(set);
    assert!(matches!(error, WireError::Malformed(_)), "{error}");
}

fn assert_too_large(set: &ChangeSet) {
    let error = refusal(set);
    assert!(matches!(error, WireError::TooLarge { .. }), "{error}");
}

/// Any change set that an honest author could write.
fn any_change_set() -> impl Strategy<Value = ChangeSet> {
    let records = prop::collection::btree_map(
        (r"[a-z][a-z0-9_]{0,3}", r"[a-zA-Z0-9é-]{1,10}"),
        (any_deps(), any_ops(), any_implied()),
        1..6,
    );
    (0..=i64::MAX as u64, any::<u32>(), ".{0,20}", records).prop_map(
        |(hlc, schema_version, person, records)| {
            let mut edits = Vec::new();
            let mut implied = BTreeMap::new();
            for ((collection, id), (deps, ops, earlier)) in records {
                let (collection, id) = match earlier {
                    None => (collection, id),
                    Some(mut earlier) => {
                        earlier.back *= u64::from(deps.is_empty());
                        implied.insert(edits.len(), earlier);
                        Default::default()
                    }
                };
                edits.push(Edit {
                    collection,
                    id,
                    deps,
                    ops,
                });
            }
            ChangeSet {
                implied,
                hlc: Timestamp(hlc),
                schema_version,
                person,
                tags: tags_of(&edits),
                edits,
            }
        },
    )
}

fn any_implied() -> impl Strategy<Value = Option<Implied>> {
    let implied = (1..=u64::MAX, 0..EDITS_MAX).prop_map(|(back, edit)| Implied { back, edit });
    prop::option::of(implied)
}

fn any_deps() -> impl Strategy<Value = Vec<Dot>> {
    prop::collection::btree_map(0_u8..5, 1..=u64::MAX, 0..4).prop_map(|deps| {
        deps.into_iter()
            .map(|(n, seq)| Dot::new(log(n), seq))
            .collect()
    })
}

fn any_ops() -> impl Strategy<Value = Vec<Op>> {
    // Every key has one kind, and a set's elements differ, whichever of these are taken.
    let all = (
        prop::collection::vec(any_value(), 4),
        (
            any::<i64>(),
            ".{0,12}",
            any::<bool>(),
            any::<i64>(),
            any::<bool>(),
        ),
    );
    all.prop_map(|(values, (delta, note, alive, element, present))| {
        let [one, two, three, four] = values.try_into().expect("four were drawn");
        let key = |key: &str| key.to_owned();
        vec![
            set("status", one),
            set("notes_2", two),
            Op::Add {
                key: key("stock"),
                delta,
            },
            Op::Resolve {
                key: key("diagnosis"),
                value: three,
                note: note.clone(),
            },
            if present {
                Op::Insert {
                    key: key("tags"),
                    element: Value::Integer(element),
                }
            } else {
                Op::Remove {
                    key: key("tags"),
                    element: Value::Integer(element),
                }
            },
            Op::Insert {
                key: key("others"),
                element: four,
            },
            Op::Remove {
                key: key("tags"),
                element: Value::Bool(alive),
            },
            if alive {
                Op::Restore {
                    reason: note.clone(),
                }
            } else {
                Op::Delete {
                    reason: note.clone(),
                }
            },
            Op::Accept {
                review: "00ff00ff00ff00ff".to_owned(),
                note,
            },
        ]
    })
    .prop_flat_map(|ops| subsequence(ops, 1..=9))
    .prop_shuffle()
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Integer),
        any::<f64>().prop_filter_map("finite", Value::number),
        (-1_000_000_i32..1_000_000, 0_i32..8).prop_filter_map("finite", |(n, p)| Value::number(
            f64::from(n) / 10_f64.powi(p)
        )),
        ".{0,30}".prop_map(Value::Text),
        prop::collection::vec(any::<i32>(), 0..5).prop_map(|n| Value::Json(format!("{n:?}"))),
    ]
}

proptest! {
    #[test]
    fn a_change_set_comes_back_as_it_was_written(set in any_change_set()) {
        prop_assert_eq!(check_change_set(&set), Ok(()));
        let bytes = encode_change_set(&set);
        let kept = decode_kept_change_set(&bytes);
        prop_assert_eq!(kept.as_ref(), Ok(&set));
        prop_assert_eq!(decode_change_set(&bytes), Ok(set));
    }

    #[test]
    fn a_changed_byte_is_refused_or_means_something_else(
        set in any_change_set(), at in any::<Index>(), flip in 1_u8..
    ) {
        let mut bytes = encode_change_set(&set);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(other) = decode_change_set(&bytes) {
            prop_assert_ne!(&other, &set);
            prop_assert_eq!(encode_change_set(&other), bytes);
        }
    }

    #[test]
    fn a_cut_or_lengthened_encoding_is_refused(
        set in any_change_set(), at in any::<Index>(), more in any::<u8>()
    ) {
        let mut bytes = encode_change_set(&set);
        prop_assert!(decode_change_set(&bytes[..at.index(bytes.len())]).is_err());
        bytes.push(more);
        prop_assert!(decode_change_set(&bytes).is_err());
    }

    #[test]
    fn random_bytes_never_panic_and_are_read_canonically_or_not_at_all(
        mut bytes in prop::collection::vec(prop_oneof![0_u8..8, any::<u8>()], 0..80)
    ) {
        if let Some(first) = bytes.first_mut() {
            *first = FORMAT_NAMED + *first % 2;
        }
        let kept = decode_kept_change_set(&bytes);
        if let Ok(set) = decode_change_set(&bytes) {
            prop_assert_eq!(encode_change_set(&set), bytes);
            prop_assert_eq!(kept, Ok(set));
        }
    }
}

#[test]
fn the_bytes_of_a_change_set_stay_what_they_are() {
    let mut first = edit(
        "KE-1",
        vec![
            set("status", text("open")),
            Op::Add {
                key: "stock".to_owned(),
                delta: -3,
            },
        ],
    );
    first.deps = vec![Dot::new(log(0xaa), 7), Dot::new(log(0xbb), 300)];
    let mut second = edit(
        "KE-2",
        vec![
            set("status", Value::Number(-1.2921)),
            Op::Delete {
                reason: "double".to_owned(),
            },
        ],
    );
    second.deps = vec![Dot::new(log(0xbb), 301)];

    let bytes = encode_change_set(&change_set(vec![first, second]));

    let expected = [
        "01",                                     // format
        "80808080cc85f2cc01",                     // time
        "03",                                     // schema version
        "05616d696e61",                           // person
        "02",                                     // edits
        "00057669736974",                         // collection 0, new: visit
        "044b452d31",                             // id
        "02",                                     // dependencies
        "00aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa07",   // log 0, new; 7
        "01bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbac02", // log 1, new; 300
        "02",                                     // ops
        "0000067374617475730101",                 // set key 0, new: status; add to key 1, new
        "0573746f636b",                           // stock
        "00044b452d3201",                         // collection 0; id; one dependency
        "01ad02",                                 // log 1; 301
        "02000004",                               // two ops: set key 0; delete
        "06046f70656e",                           // column 0: text "open"
        "0404f1c901",                             // column 0: 4 places, -12921
        "05",                                     // column 1: -3
        "06646f75626c65",                         // reasons: "double"
        "aa07bb2cbb2d",                           // tags of the three dependencies
    ];
    assert_eq!(hex::encode(bytes), expected.concat());
}

/// A change set of edits without names, each told by an earlier edit.
fn implying(edits: Vec<(Vec<Dot>, Implied)>) -> ChangeSet {
    let mut all = change_set(Vec::new());
    for (deps, earlier) in edits {
        all.implied.insert(all.edits.len(), earlier);
        all.edits.push(Edit {
            collection: String::new(),
            deps,
            ..edit("", vec![set("status", text("open"))])
        });
    }
    all.tags = tags_of(&all.edits);
    all
}

#[test]
fn the_bytes_of_a_change_set_that_implies_records_stay_what_they_are() {
    let back = |back, edit| Implied { back, edit };
    let dep = Dot::new(log(0xaa), 7);
    let mut all = implying(vec![(vec![dep], back(0, 0)), (Vec::new(), back(300, 199))]);
    all.edits
        .push(edit("KE-1", vec![set("status", Value::Null)]));

    let bytes = encode_change_set(&all);

    let expected = [
        "02",                                   // format
        "80808080cc85f2cc01",                   // time
        "03",                                   // schema version
        "05616d696e61",                         // person
        "03",                                   // edits
        "01",                                   // one dependency
        "00aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa07", // log 0, new; 7
        "01",                                   // the record of the first edit there
        "01000006737461747573",                 // one op: set key 0, new: status
        "00",                                   // no dependencies
        "c801",                                 // the record of the edit 199
        "ac02",                                 // 300 entries back
        "010000",                               // one op: set key 0
        "00",                                   // no dependencies
        "00",                                   // named
        "00057669736974",                       // collection 0, new: visit
        "044b452d31",                           // id
        "010000",                               // one op: set key 0
        "06046f70656e06046f70656e00",           // column 0: text "open", twice; null
        "aa07",                                 // tag of the dependency
    ];
    assert_eq!(hex::encode(&bytes), expected.concat());
    assert_eq!(decode_change_set(&bytes), Ok(all));
}

#[test]
fn a_change_set_that_implies_no_record_has_the_format_that_names_all() {
    let bytes = encode_change_set(&single(set("status", text("open"))));
    // Behind the format, the time, the version, the person and the number of edits come the name and the number
    // of dependencies.
    let (head, rest) = bytes.split_at(18);
    let (name, ops) = rest.split_at(12);
    assert_eq!(name, b"\x00\x05visit\x04KE-1");
    let other = [&[FORMAT_IMPLIED], &head[1..], &[0, 0], name, &ops[1..]].concat();

    assert_eq!(bytes[0], FORMAT_NAMED);
    assert_eq!(
        decode_change_set(&other),
        Err(WireError::Malformed("change set: not in canonical form"))
    );
}

#[test]
fn names_that_are_known_change_nothing_in_the_bytes() {
    let implied = implying(vec![(Vec::new(), Implied { back: 1, edit: 0 })]);
    let mut known = implied.clone();
    (known.edits[0].collection, known.edits[0].id) = ("visit".to_owned(), "KE-1".to_owned());

    assert_eq!(encode_change_set(&known), encode_change_set(&implied));
    assert_eq!(check_change_set(&known), Ok(()));
    let mut twice = known.clone();
    twice.edits.push(known.edits[0].clone());
    twice.implied.insert(1, Implied { back: 2, edit: 0 });
    assert_eq!(
        check_change_set(&twice),
        Err(WireError::Malformed("change set: two edits of one record"))
    );
}

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
fn another_format_is_refused() {
    let mut bytes = encode_change_set(&single(set("status", text("open"))));
    bytes[0] = FORMAT_IMPLIED + 1;
    assert_eq!(
        decode_change_set(&bytes),
        Err(WireError::Malformed("change set format"))
    );
}

#[test]
fn a_name_or_log_written_out_twice_is_refused() {
    let twice = change_set(vec![
        edit("a", vec![set("k", Value::Null)]),
        edit("b", vec![set("k", Value::Null)]),
    ]);
    let bytes = encode_change_set(&twice);
    let named_again: Vec<u8> = {
        let second = bytes.len() - 9;
        let (before, after) = bytes.split_at(second);
        assert_eq!(after, [0, 1, b'b', 0, 1, op_tag::SET, 0, NULL, NULL]);
        [before, b"\x01\x05visit", &after[1..]].concat()
    };
    assert_eq!(
        decode_change_set(&named_again),
        Err(WireError::Malformed("change set: not in canonical form"))
    );
}

#[test]
fn a_number_in_a_longer_form_than_needed_is_refused() {
    let bytes = encode_change_set(&single(set("lat", Value::Number(1.5))));
    let short = [DECIMAL, 1, 30];
    assert!(bytes.ends_with(&short));
    let before = &bytes[..bytes.len() - short.len()];

    let as_float = [before, &[FLOAT], &1.5_f64.to_le_bytes()].concat();
    let more_places = [before, &[DECIMAL, 2, 0xac, 2]].concat();
    let too_many_places = [before, &[DECIMAL, 10, 30]].concat();
    for other in [as_float, more_places, too_many_places] {
        assert!(matches!(
            decode_change_set(&other),
            Err(WireError::Malformed(_))
        ));
    }
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

#[test]
fn an_entry_beyond_the_limit_is_refused_unread() {
    let bytes = vec![FORMAT_NAMED; ENTRY_BYTES_MAX + 1];
    assert!(matches!(
        decode_change_set(&bytes),
        Err(WireError::TooLarge { .. })
    ));
}

#[test]
fn lengths_that_promise_more_than_there_is_take_no_memory() {
    let mut writer = Writer::new();
    writer.byte(FORMAT_NAMED);
    writer.varint(1);
    writer.varint(1);
    writer.text("");
    let start = writer.into_bytes();
    for length in [u64::MAX, 1_000] {
        let mut writer = Writer::new();
        writer.raw(&start);
        writer.varint(length);
        assert!(decode_change_set(&writer.into_bytes()).is_err());
    }
}

#[test]
fn one_small_edit_is_a_few_dozen_bytes() {
    let bytes = encode_change_set(&single(set("status", text("done"))));
    assert!(bytes.len() <= 48, "{} bytes", bytes.len());
}
