//! When an author leaves the name of an edit's record out of a change set: it is told by the edit's first
//! dependency, or by the author's own edit of the record before, wherever that is shorter.
//!
//! It does not know where entries are kept, so it asks for the place of the earlier edit.

use std::collections::BTreeMap;

use crdt_schema::document::Document;
use crdt_schema::ident::Dot;
use crdt_schema::op::{Edit, Implied};

/// What is implied in a change set of these edits that becomes the entry `dot`. `docs` are the records' documents
/// before it; `place_of` tells which edit of an entry is of the same record as the one given, if it can.
///
/// # Errors
/// Those of `place_of`.
pub fn implied<E>(
    dot: Dot,
    edits: &[Edit],
    docs: &[&Document],
    mut place_of: impl FnMut(Dot, &Edit) -> Result<Option<usize>, E>,
) -> Result<BTreeMap<usize, Implied>, E> {
    let mut implied = BTreeMap::new();
    for (place, (edit, doc)) in edits.iter().zip(docs).enumerate() {
        let earlier = edit.deps.first().copied();
        let Some(earlier) = earlier.or_else(|| doc.last_of(dot.log)) else {
            continue;
        };
        let back = match edit.deps.is_empty() {
            true => dot.seq.saturating_sub(earlier.seq),
            false => 0,
        };
        if let Some(edit_of) = place_of(earlier, edit)? {
            let told = Implied {
                back,
                edit: edit_of,
            };
            if is_shorter(told, edit) {
                implied.insert(place, told);
            }
        }
    }
    Ok(implied)
}

/// Whether a record is told in fewer bytes than its name takes when the name of the collection is already known.
fn is_shorter(implied: Implied, edit: &Edit) -> bool {
    let number = varint_bytes(implied.edit as u64 + 1);
    let distance = match implied.back {
        0 => 0,
        back => varint_bytes(back),
    };
    number + distance < 2 + edit.id.len()
}

fn varint_bytes(value: u64) -> usize {
    let bits = u64::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(id: &str) -> Edit {
        Edit {
            collection: "patient".to_owned(),
            id: id.to_owned(),
            deps: Vec::new(),
            ops: Vec::new(),
        }
    }

    #[test]
    fn a_name_is_left_out_only_where_that_is_shorter() {
        let far = |back, edit| Implied { back, edit };

        assert!(is_shorter(far(0, 0), &edit("1")));
        assert!(is_shorter(far(127, 0), &edit("1")));
        assert!(!is_shorter(far(128, 0), &edit("1")));
        assert!(!is_shorter(far(1, 127), &edit("1")));
        assert!(is_shorter(far(128, 127), &edit("KE-1")));
    }

    #[test]
    fn the_length_of_a_varint_is_that_of_its_bytes() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::MAX] {
            let mut writer = crate::wire::codec::Writer::new();
            writer.varint(value);
            assert_eq!(varint_bytes(value), writer.into_bytes().len(), "{value}");
        }
    }
}
