//! The structure that every honest change set has, whoever wrote it and whatever its schema.
//!
//! One function serves both borders: the author's store before it commits, and the decoder of what a
//! peer sent. It does not know the author's log (so not whether a dependency is the author's own), nor
//! the size of the encoding.

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{Dot, check_key, check_record_id};
use crdt_schema::op::{ChangeSet, Edit, Implied, Op};
use crdt_schema::value::Value;

use super::WireError;
use super::limits::{
    DEPS_MAX, EDITS_MAX, NAME_BYTES_MAX, OPS_MAX, REVIEW_ID_BYTES, TEXT_BYTES_MAX,
};

/// Whether a change set is one that [`super::changeset::decode_change_set`] would accept, but for its
/// size: compare the encoding with [`super::limits::ENTRY_BYTES_MAX`].
pub fn check_change_set(set: &ChangeSet) -> Result<(), WireError> {
    if set.hlc > Timestamp::MAX {
        return Err(WireError::Malformed("change set: time out of range"));
    }
    within("person", set.person.len(), NAME_BYTES_MAX)?;
    at_least_one("change set: no edits", set.edits.len())?;
    within("number of edits", set.edits.len(), EDITS_MAX)?;

    for (place, edit) in set.edits.iter().enumerate() {
        check_implied(set.implied.get(&place), edit)?;
        check_edit(edit)?;
    }
    check_records(set)?;
    let beyond = set.implied.range(set.edits.len()..).next();
    unless(
        beyond.is_some(),
        WireError::Malformed("change set: an implied record of no edit"),
    )?;
    let deps: BTreeSet<&Dot> = set.edits.iter().flat_map(|edit| &edit.deps).collect();
    unless(
        !deps.into_iter().eq(set.tags.keys()),
        WireError::Malformed("change set: tags that are not those of its dependencies"),
    )
}

/// Whether a change set has at most one edit of each record. Of implied ones that is known once they have been
/// looked up.
///
/// # Errors
/// That it has two.
pub fn check_records(set: &ChangeSet) -> Result<(), WireError> {
    let mut records = BTreeSet::new();
    let known = set.edits.iter().filter(|edit| !edit.id.is_empty());
    for edit in known {
        unless(
            !records.insert((&edit.collection, &edit.id)),
            WireError::Malformed("change set: two edits of one record"),
        )?;
    }
    Ok(())
}

fn check_implied(implied: Option<&Implied>, edit: &Edit) -> Result<(), WireError> {
    let Some(implied) = implied else {
        return check_name(edit);
    };
    let number = implied.edit.saturating_add(1);
    within("number of an earlier edit", number, EDITS_MAX)?;
    unless(
        (implied.back == 0) == edit.deps.is_empty(),
        WireError::Malformed("distance of an earlier entry"),
    )?;
    match edit.collection.is_empty() && edit.id.is_empty() {
        true => Ok(()),
        false => check_name(edit),
    }
}

fn check_name(edit: &Edit) -> Result<(), WireError> {
    check_key(&edit.collection).map_err(|_| WireError::Malformed("collection name"))?;
    check_record_id(&edit.id).map_err(|_| WireError::Malformed("record id"))
}

fn check_edit(edit: &Edit) -> Result<(), WireError> {
    check_deps(&edit.deps)?;
    at_least_one("edit: no ops", edit.ops.len())?;
    within("number of ops", edit.ops.len(), OPS_MAX)?;
    check_ops(&edit.ops)
}

fn check_deps(deps: &[Dot]) -> Result<(), WireError> {
    within("number of dependencies", deps.len(), DEPS_MAX)?;
    if !deps.is_sorted_by(|a, b| a < b) {
        return Err(WireError::Malformed("dependencies: not in ascending order"));
    }
    if deps.iter().any(|dep| dep.seq == 0) {
        return Err(WireError::Malformed("dependency: sequence number 0"));
    }
    Ok(())
}

/// What a field's key is used as within one edit.
#[derive(PartialEq)]
enum Use {
    Register,
    Counter,
    Set,
}

fn check_ops(ops: &[Op]) -> Result<(), WireError> {
    const TWICE: WireError = WireError::Malformed("edit: two ops on one field");
    let mut uses = BTreeMap::new();
    let mut elements = BTreeSet::new();
    let mut life = false;
    let mut accepted = BTreeSet::new();
    for op in ops {
        if let Some(key) = op.key() {
            check_key(key).map_err(|_| WireError::Malformed("field key"))?;
        }
        match op {
            Op::Set { key, value } => {
                check_value(value)?;
                unless(uses.insert(key, Use::Register).is_some(), TWICE)?;
            }
            Op::Resolve { key, value, note } => {
                check_value(value)?;
                within("note", note.len(), TEXT_BYTES_MAX)?;
                unless(uses.insert(key, Use::Register).is_some(), TWICE)?;
            }
            Op::Add { key, delta: _ } => {
                unless(uses.insert(key, Use::Counter).is_some(), TWICE)?;
            }
            Op::Insert { key, element } | Op::Remove { key, element } => {
                check_value(element)?;
                unless(
                    uses.insert(key, Use::Set).is_some_and(|it| it != Use::Set),
                    TWICE,
                )?;
                unless(!elements.insert((key, element.canonical_bytes())), TWICE)?;
            }
            Op::Accept { review, note } => {
                check_review_id(review)?;
                within("note", note.len(), TEXT_BYTES_MAX)?;
                unless(
                    !accepted.insert(review),
                    WireError::Malformed("edit: a review accepted twice"),
                )?;
            }
            Op::Delete { reason } | Op::Restore { reason } => {
                within("reason", reason.len(), TEXT_BYTES_MAX)?;
                let before = std::mem::replace(&mut life, true);
                unless(
                    before,
                    WireError::Malformed("edit: two deletes or restores"),
                )?;
            }
        }
    }
    Ok(())
}

fn check_review_id(review: &str) -> Result<(), WireError> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let good = review.len() == REVIEW_ID_BYTES && review.bytes().all(is_digit);
    unless(!good, WireError::Malformed("review id"))
}

fn check_value(value: &Value) -> Result<(), WireError> {
    match value {
        Value::Null | Value::Bool(_) | Value::Integer(_) => Ok(()),
        Value::Number(n) => {
            let negative_zero = *n == 0.0 && n.is_sign_negative();
            unless(
                !n.is_finite() || negative_zero,
                WireError::Malformed("number"),
            )
        }
        Value::Text(text) => within("text", text.len(), TEXT_BYTES_MAX),
        Value::Json(text) => {
            within("json", text.len(), TEXT_BYTES_MAX)?;
            // Parsing into a value, and not only past it, bounds the depth of nesting.
            let parsed = serde_json::from_str::<serde_json::Value>(text);
            parsed
                .map(drop)
                .map_err(|_| WireError::Malformed("json value"))
        }
    }
}

fn unless(wrong: bool, error: WireError) -> Result<(), WireError> {
    if wrong { Err(error) } else { Ok(()) }
}

fn at_least_one(what: &'static str, count: usize) -> Result<(), WireError> {
    unless(count == 0, WireError::Malformed(what))
}

fn within(what: &'static str, found: usize, limit: usize) -> Result<(), WireError> {
    let error = WireError::TooLarge {
        what,
        found: found as u64,
        limit: limit as u64,
    };
    unless(found > limit, error)
}
