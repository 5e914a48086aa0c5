//! Any change set that an honest author could write, and any bytes, are read canonically or not at all.

use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

use super::*;

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
