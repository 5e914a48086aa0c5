//! The short rules: what a field, a review and the life of a record must be, from the edits of the record.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::op::Op;
use crdt_schema::resolution::{Life, RecordView, ReviewSubject};
use crdt_schema::schema::{Collection, DeletePolicy, Field, FieldType, MergePolicy};
use crdt_schema::value::Value;
use serde_json::Value as Json;

use crate::oracle::record::{Node, Record, written};
use crate::oracle::{Judged, Oracle};

pub(super) fn counter(record: &Record, field: &Field) -> Json {
    let deltas = record.edits.iter().flat_map(|node| &node.ops);
    let deltas = deltas.filter_map(|op| match op {
        Op::Add { key, delta } if *key == field.key => Some(i128::from(*delta)),
        _ => None,
    });
    let sum: i128 = deltas.sum();
    (sum.clamp(i64::MIN.into(), i64::MAX.into()) as i64).into()
}

pub(super) fn set(record: &Record, field: &Field) -> Json {
    let of_field = |op: &Op| match op {
        Op::Insert { key, element } | Op::Remove { key, element } if *key == field.key => {
            Some(element.to_string())
        }
        _ => None,
    };
    let ops = record.edits.iter().flat_map(|node| &node.ops);
    let names: BTreeSet<String> = ops.filter_map(of_field).collect();
    let is_in = |name: &String| {
        let standing = record.standing(|op| of_field(op).as_ref() == Some(name));
        standing
            .iter()
            .any(|(_, op)| matches!(op, Op::Insert { .. }))
    };
    names.into_iter().filter(is_in).map(Json::String).collect()
}

fn writes<'a>(record: &'a Record, field: &Field) -> Vec<(&'a Node, &'a Op)> {
    record.standing(|op| match op {
        Op::Set { key, .. } | Op::Resolve { key, .. } => *key == field.key,
        _ => false,
    })
}

pub(super) fn register(record: &Record, field: &Field) -> Json {
    let mut standing = writes(record, field);
    // Stable sorts: what measures the same stays in the order of time.
    match field.merge {
        MergePolicy::Max => standing.sort_by(|(_, a), (_, b)| {
            let measure = |op: &Op| written(op).to_json().as_f64().unwrap_or(f64::NEG_INFINITY);
            measure(b).total_cmp(&measure(a))
        }),
        MergePolicy::Min => standing.sort_by_key(|(_, op)| match written(op) {
            Value::Text(date) => (0, date.clone()),
            _ => (1, String::new()),
        }),
        MergePolicy::Rank => standing.sort_by_key(|(_, op)| {
            let FieldType::Choice { of } = &field.kind else {
                return Reverse(None);
            };
            let Value::Text(text) = written(op) else {
                return Reverse(None);
            };
            Reverse(of.iter().position(|choice| choice == text))
        }),
        MergePolicy::Lww
        | MergePolicy::Counter
        | MergePolicy::Set
        | MergePolicy::RemoveWins
        | MergePolicy::Review => {}
    }
    standing
        .first()
        .map_or(Json::Null, |(_, op)| written(op).to_json())
}

pub(super) fn review(record: &Record, field: &Field, view: &RecordView) -> Judged {
    let standing = writes(record, field);
    let differ = standing
        .iter()
        .any(|(_, op)| written(op) != written(standing[0].1));
    let is_answered = standing
        .iter()
        .all(|(_, op)| matches!(op, Op::Resolve { .. }));
    let expected = differ && !is_answered;
    let found = view
        .reviews
        .iter()
        .any(|open| matches!(&open.subject, ReviewSubject::Field { key } if *key == field.key));
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (word(found), word(expected));
    let why = format!(
        "the review of {} is {found} and should be {expected}",
        field.name
    );
    Err((Oracle::Review, why))
}

/// A rule's review is open while its condition holds, unless somebody has accepted it. `known` tells which rule a
/// review that somebody set out to accept was of.
pub(super) fn flags(
    record: &Record,
    collection: &Collection,
    view: &RecordView,
    known: &BTreeMap<String, String>,
) -> Judged {
    if view.life != Life::Live {
        return Ok(());
    }
    let ops = record.edits.iter().flat_map(|node| &node.ops);
    let accepted = ops.filter_map(|op| match op {
        Op::Accept { review, .. } => known.get(review),
        _ => None,
    });
    let accepted: BTreeSet<&String> = accepted.collect();
    for rule in &collection.rules {
        let is_holding = rule.condition.holds(&view.fields);
        let mut subjects = view.reviews.iter().map(|open| &open.subject);
        let is_open = subjects
            .any(|subject| matches!(subject, ReviewSubject::Rule { name } if *name == rule.name));
        if is_open != is_holding && (is_open || !accepted.contains(&rule.name)) {
            let (found, expected) = (word(is_open), word(is_holding));
            let why = format!(
                "the review of rule {:?} is {found} and should be {expected}",
                rule.name
            );
            return Err((Oracle::Review, why));
        }
    }
    Ok(())
}

fn word(is_open: bool) -> &'static str {
    match is_open {
        true => "open",
        false => "closed",
    }
}

/// What becomes of the record by its own marks and edits alone.
pub(super) fn life(record: &Record, collection: &Collection) -> Life {
    let marks = record.standing(|op| matches!(op, Op::Delete { .. } | Op::Restore { .. }));
    let is_delete = |op: &Op| matches!(op, Op::Delete { .. });
    let deletes: Vec<usize> = marks
        .iter()
        .filter(|(_, op)| is_delete(op))
        .filter_map(|(node, _)| record.by_dot.get(&node.dot).copied())
        .collect();
    if deletes.is_empty() {
        return Life::Live;
    }
    let races = |(index, node): (usize, &Node)| {
        let is_edit = node.ops.iter().any(|op| op.key().is_some());
        let is_apart = |delete: &usize| {
            *delete != index
                && !record.edits[*delete].seen.contains(&index)
                && !node.seen.contains(delete)
        };
        is_edit && deletes.iter().all(is_apart)
    };
    let is_raced =
        marks.iter().any(|(_, op)| !is_delete(op)) || record.edits.iter().enumerate().any(races);
    match (is_raced, collection.delete) {
        (false, _) | (true, DeletePolicy::DeleteWins) => Life::Deleted,
        (true, DeletePolicy::EditWins) => Life::Live,
        (true, DeletePolicy::Review) => Life::Contested,
    }
}
