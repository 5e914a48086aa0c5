//! What records must show, worked out from the entries by rules as short as can be: counters (5),
//! registers and sets (6), deletions (7) and reviews (8).
//!
//! This shares no code with the merge. It needs only what a change set says: its edits, its time and what
//! it had seen. What it has no short rule for, it leaves to the oracles of convergence and rebuilding: fields
//! that a migration changes, trials, other provisional values than the latest, removals that win, the
//! life of records that references decide over (see [`is_modelled`]), and records that a branch of a forked log
//! has edited.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{Dot, LogId};
use crdt_schema::op::{ChangeSet, Edit, Op};
use crdt_schema::resolution::{Life, RecordView, ReviewSubject};
use crdt_schema::schema::{
    Collection, DeletePolicy, Field, FieldType, MergePolicy, Provisional, Schema,
};
use crdt_schema::value::Value;
use fieldmesh::store::{FeedItem, Reader};
use serde_json::Value as Json;

use super::shown::{reader, shown};
use super::{Judged, Oracle};
use crate::sometimes::Sometimes;
use crate::world::World;

/// One record's edits, causes first.
#[derive(Default)]
pub(crate) struct Record {
    edits: Vec<Node>,
    by_dot: BTreeMap<Dot, usize>,
    last_of: BTreeMap<LogId, usize>,
    /// A branch of a forked log has edited it: what its authors had seen stands under other names, which the
    /// store must read.
    is_branched: bool,
}

pub(crate) struct Node {
    dot: Dot,
    hlc: Timestamp,
    /// The version of the schema that it was written under.
    pub(crate) version: u32,
    ops: Vec<Op>,
    /// Everything that its author had seen of the record.
    seen: BTreeSet<usize>,
}

impl Record {
    fn add(&mut self, dot: Dot, set: &ChangeSet, edit: &Edit) {
        let deps = edit.deps.iter().filter_map(|dep| self.by_dot.get(dep));
        let causes: Vec<usize> = deps.chain(self.last_of.get(&dot.log)).copied().collect();
        let mut seen: BTreeSet<usize> = causes.iter().copied().collect();
        for cause in causes {
            seen.extend(&self.edits[cause].seen);
        }
        let index = self.edits.len();
        self.by_dot.insert(dot, index);
        self.last_of.insert(dot.log, index);
        let ops = edit.ops.clone();
        self.edits.push(Node {
            dot,
            hlc: set.hlc,
            version: set.schema_version,
            ops,
            seen,
        });
    }

    /// The ops that `is_one` accepts and that no later one of them had seen; the latest first.
    pub(crate) fn standing(&self, is_one: impl Fn(&Op) -> bool) -> Vec<(&Node, &Op)> {
        let all: Vec<(usize, &Node, &Op)> = self
            .edits
            .iter()
            .enumerate()
            .filter_map(|(index, node)| Some((index, node, node.ops.iter().find(|op| is_one(op))?)))
            .collect();
        let is_seen = |index: usize| all.iter().any(|(_, node, _)| node.seen.contains(&index));
        let mut standing: Vec<_> = all
            .iter()
            .filter(|(index, ..)| !is_seen(*index))
            .map(|(_, node, op)| (*node, *op))
            .collect();
        standing.sort_by_key(|(node, _)| Reverse((node.hlc, node.dot)));
        standing
    }
}

impl Record {
    /// The ops that `is_one` accepts, each with those before it in the log that neither had seen: what one
    /// person did without knowing of the other.
    pub(crate) fn raced(&self, is_one: impl Fn(&Op) -> bool) -> Vec<(&Op, Vec<&Op>)> {
        let mut before: Vec<(usize, &Op)> = Vec::new();
        let mut raced = Vec::new();
        for (index, node) in self.edits.iter().enumerate() {
            for op in node.ops.iter().filter(|op| is_one(op)) {
                let unseen = before
                    .iter()
                    .filter(|(other, _)| !node.seen.contains(other));
                let unseen = unseen.filter(|(other, _)| *other != index);
                raced.push((op, unseen.map(|(_, op)| *op).collect()));
                before.push((index, op));
            }
        }
        raced
    }

    /// Whether some edit of a field neither saw a deletion nor was seen by it.
    pub(crate) fn has_raced_deletion(&self) -> bool {
        let raced = self.raced(|_| true);
        let is_delete = |op: &Op| matches!(op, Op::Delete { .. });
        let is_edit = |op: &Op| op.key().is_some();
        raced.iter().any(|(op, others)| {
            others
                .iter()
                .any(|other| (is_delete(op) && is_edit(other)) || (is_edit(op) && is_delete(other)))
        })
    }
}

pub(super) fn judge(world: &mut World<'_>) -> Judged {
    let Some((number, reader)) = world
        .living()
        .into_iter()
        .find_map(|number| Some((number, reader(world, number)?)))
    else {
        return Ok(());
    };
    judge_device(world, number, &reader)
}

/// Judges what one device shows under the version that it uses.
pub(super) fn judge_device(world: &mut World<'_>, number: usize, reader: &Reader) -> Judged {
    let schema = reader.schema();
    let read = |why: String| (Oracle::Register, format!("device {number}: {why}"));
    let items = reader
        .feed(0, usize::MAX)
        .map_err(|error| read(error.to_string()))?;
    let records = records(&items);
    for (key, view) in shown(reader).map_err(read)? {
        let (Some(record), Some(collection)) =
            (records.get(&key), modelled(world, &schema, &key.0))
        else {
            continue;
        };
        if record.is_branched {
            continue;
        }
        world.counts.checks += collection.fields.len() as u64;
        if view.life == Life::Contested {
            world.reached.note(Sometimes::DeletionContested);
        }
        let place = format!("{}/{}", key.0, key.1);
        let has_references = schema.has_references();
        judge_record(record, &collection, &view, has_references)
            .map_err(|(oracle, why)| (oracle, format!("{place}: {why}")))?;
        answered_stay_closed(world, &place, &view)?;
    }
    Ok(())
}

/// The collection with those of its fields that there are short rules for.
fn modelled(world: &World<'_>, schema: &Schema, name: &str) -> Option<Collection> {
    let mut collection = schema.collection(name)?.clone();
    let family = &world.family;
    collection
        .fields
        .retain(|field_name, field| !family.is_migrated(name, field_name) && is_modelled(field));
    Some(collection)
}

/// Whether [`judge_record`] has a rule for the field.
fn is_modelled(field: &Field) -> bool {
    let has_rule = match (&field.kind, field.merge) {
        (FieldType::Set { of }, MergePolicy::Set) => **of == FieldType::Text,
        (FieldType::Set { .. }, _) | (_, MergePolicy::RemoveWins) => false,
        (FieldType::Ref { .. } | FieldType::Json, _) => false,
        (FieldType::Integer | FieldType::Number, MergePolicy::Max) => true,
        (FieldType::Date, MergePolicy::Min) => true,
        (_, MergePolicy::Max | MergePolicy::Min) => false,
        (_, MergePolicy::Lww | MergePolicy::Counter | MergePolicy::Set) => true,
        (_, MergePolicy::Rank) => true,
        (_, MergePolicy::Review) => field.provisional == Provisional::default(),
    };
    has_rule && field.trial.is_none()
}

pub(crate) fn records(items: &[FeedItem]) -> BTreeMap<(String, String), Record> {
    let mut records: BTreeMap<(String, String), Record> = BTreeMap::new();
    for item in items {
        let dot = Dot::new(item.header.log, item.seq);
        for edit in &item.set.edits {
            let key = (edit.collection.clone(), edit.id.clone());
            let record = records.entry(key).or_default();
            record.is_branched |= item.header.branch_of.is_some();
            record.add(dot, &item.set, edit);
        }
    }
    records
}

fn judge_record(
    record: &Record,
    collection: &Collection,
    view: &RecordView,
    has_references: bool,
) -> Judged {
    for field in collection.fields.values() {
        let found = view.fields.get(&field.name).cloned().unwrap_or(Json::Null);
        let (oracle, expected) = match field.kind {
            FieldType::Counter => (Oracle::Counter, counter(record, field)),
            FieldType::Set { .. } => (Oracle::Register, set(record, field)),
            _ => (Oracle::Register, register(record, field)),
        };
        let is_equal = match field.kind {
            FieldType::Set { .. } => elements(&found) == elements(&expected),
            _ => found == expected,
        };
        if !is_equal {
            let why = format!("{} is {found}, and the entries say {expected}", field.name);
            return Err((oracle, why));
        }
        if field.merge == MergePolicy::Review {
            review(record, field, view)?;
        }
    }
    flags(record, collection, view)?;
    match has_references {
        true => Ok(()),
        false => life(record, collection, view),
    }
}

/// A rule's review is open while its condition holds, unless somebody has accepted it.
fn flags(record: &Record, collection: &Collection, view: &RecordView) -> Judged {
    if view.life != Life::Live {
        return Ok(());
    }
    let mut ops = record.edits.iter().flat_map(|node| &node.ops);
    let is_accepted = ops.any(|op| matches!(op, Op::Accept { .. }));
    for rule in &collection.rules {
        let is_holding = rule.condition.holds(&view.fields);
        let mut subjects = view.reviews.iter().map(|open| &open.subject);
        let is_open = subjects
            .any(|subject| matches!(subject, ReviewSubject::Rule { name } if *name == rule.name));
        if is_open != is_holding && (is_open || !is_accepted) {
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

fn counter(record: &Record, field: &Field) -> Json {
    let deltas = record.edits.iter().flat_map(|node| &node.ops);
    let deltas = deltas.filter_map(|op| match op {
        Op::Add { key, delta } if *key == field.key => Some(i128::from(*delta)),
        _ => None,
    });
    let sum: i128 = deltas.sum();
    (sum.clamp(i64::MIN.into(), i64::MAX.into()) as i64).into()
}

fn set(record: &Record, field: &Field) -> Json {
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

fn elements(json: &Json) -> BTreeSet<String> {
    let list = json.as_array().into_iter().flatten();
    list.filter_map(|element| element.as_str().map(str::to_owned))
        .collect()
}

pub(crate) fn written(op: &Op) -> &Value {
    match op {
        Op::Set { value, .. } | Op::Resolve { value, .. } => value,
        Op::Add { .. }
        | Op::Insert { .. }
        | Op::Remove { .. }
        | Op::Delete { .. }
        | Op::Restore { .. }
        | Op::Accept { .. } => &Value::Null,
    }
}

fn writes<'a>(record: &'a Record, field: &Field) -> Vec<(&'a Node, &'a Op)> {
    record.standing(|op| match op {
        Op::Set { key, .. } | Op::Resolve { key, .. } => *key == field.key,
        _ => false,
    })
}

fn register(record: &Record, field: &Field) -> Json {
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

fn review(record: &Record, field: &Field, view: &RecordView) -> Judged {
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

fn word(is_open: bool) -> &'static str {
    match is_open {
        true => "open",
        false => "closed",
    }
}

fn life(record: &Record, collection: &Collection, view: &RecordView) -> Judged {
    let marks = record.standing(|op| matches!(op, Op::Delete { .. } | Op::Restore { .. }));
    let is_delete = |op: &Op| matches!(op, Op::Delete { .. });
    let deletes: Vec<usize> = marks
        .iter()
        .filter(|(_, op)| is_delete(op))
        .filter_map(|(node, _)| record.by_dot.get(&node.dot).copied())
        .collect();
    let expected = if deletes.is_empty() {
        Life::Live
    } else {
        let races = |index: usize, node: &Node| {
            let is_edit = node.ops.iter().any(|op| op.key().is_some());
            let is_apart = |delete: &usize| {
                *delete != index
                    && !record.edits[*delete].seen.contains(&index)
                    && !node.seen.contains(delete)
            };
            is_edit && deletes.iter().all(is_apart)
        };
        let is_raced = marks.iter().any(|(_, op)| !is_delete(op))
            || record
                .edits
                .iter()
                .enumerate()
                .any(|(index, node)| races(index, node));
        match (is_raced, collection.delete) {
            (false, _) | (true, DeletePolicy::DeleteWins) => Life::Deleted,
            (true, DeletePolicy::EditWins) => Life::Live,
            (true, DeletePolicy::Review) => Life::Contested,
        }
    };
    if view.life == expected {
        return Ok(());
    }
    let why = format!("it is {:?} and should be {expected:?}", view.life);
    Err((Oracle::Tombstone, why))
}

/// A review that was answered is open nowhere: a new conflict has another name.
fn answered_stay_closed(world: &mut World<'_>, place: &str, view: &RecordView) -> Judged {
    // An answer that went with its device was heard by nobody.
    let living = world.living();
    let is_held = |dot: &Dot| {
        living.iter().any(|number| {
            let durable = &world.seats[number].durable;
            let mut names = world.ledger.names(*dot);
            names.any(|name| durable.get(&name.log).is_some_and(|seq| *seq >= name.seq))
        })
    };
    let open = view.reviews.iter().find(|review| {
        let answer = world.ledger.answered.get(&review.id.0);
        answer.is_some_and(|dot| is_held(dot) && !world.ledger.excused.contains(dot))
    });
    match open {
        Some(review) => {
            let why = format!("{place}: review {} was answered and is open", review.id.0);
            Err((Oracle::Review, why))
        }
        None => {
            if world.ledger.open_elsewhere.contains(place) {
                world.reached.note(Sometimes::ReviewClosed);
            }
            Ok(())
        }
    }
}
