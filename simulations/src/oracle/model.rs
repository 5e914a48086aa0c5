//! What records must show, worked out from the entries by rules as short as can be: counters (5),
//! registers and sets (6), deletions (7) and reviews (8).
//!
//! This shares no code with the merge. It needs only what a change set says: its edits, its time and what
//! it had seen. What it has no short rule for, it leaves to the oracles of convergence and rebuilding: fields
//! that a migration changes where versions meet, trials, other provisional values than the latest, removals
//! that win, and the life of records whose restricted deletion a person may have let (see [`is_modelled`] and
//! [`relations`]).

mod relations;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crdt_schema::ident::Dot;
use crdt_schema::resolution::{Life, RecordView};
use crdt_schema::schema::{Collection, Field, FieldType, MergePolicy, Provisional, Schema};
use fieldmesh::store::Reader;
use serde_json::Value as Json;

use super::record::{Record, records};
use super::shown::{reader, shown};
use super::{Judged, Oracle};
use crate::sometimes::Sometimes;
use crate::world::World;
use relations::Lives;

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
    let records = records(reader).map_err(|error| read(error.to_string()))?;
    let mut lives = Lives::new(&schema, &records);
    for (key, view) in shown(reader).map_err(read)? {
        let (Some(record), Some(collection)) =
            (records.get(&key), modelled(world, &schema, &key.0))
        else {
            continue;
        };
        if view.life == Life::Contested {
            world.reached.note(Sometimes::DeletionContested);
        }
        let place = format!("{}/{}", key.0, key.1);
        let life = lives.of(&key);
        note_asked(world, &collection, life);
        follows(record, &view).map_err(|why| (Oracle::Order, format!("{place}: {why}")))?;
        judge_record(record, &collection, &view, life)
            .and_then(|()| rules::flags(record, &collection, &view, &world.ledger.flags))
            .map_err(|(oracle, why)| (oracle, format!("{place}: {why}")))?;
        answered_stay_closed(world, &place, &view)?;
    }
    Ok(())
}

/// Whether references have a say in what becomes of the collection's records: they refer to others, or others refer
/// to them.
pub(super) fn is_related(schema: &Schema, name: &str) -> bool {
    let mut all = schema.collections.values();
    all.any(|collection| {
        let mut references = collection.references();
        references.any(|field| collection.name == name || field.refers_to() == Some(name))
    })
}

/// Notes what is asked of a record of the collection.
fn note_asked(world: &mut World<'_>, collection: &Collection, life: Option<Life>) {
    let checks = &mut world.counts.checks;
    checks.note(Oracle::Order, 1);
    checks.note(Oracle::Tombstone, u64::from(life.is_some()));
    checks.note(Oracle::Review, collection.rules.len() as u64);
    for field in collection.fields.values() {
        let oracle = match field.kind {
            FieldType::Counter => Oracle::Counter,
            _ => Oracle::Register,
        };
        checks.note(oracle, 1);
        checks.note(
            Oracle::Review,
            u64::from(field.merge == MergePolicy::Review),
        );
    }
}

/// The collection with those of its fields that there are short rules for.
fn modelled(world: &World<'_>, schema: &Schema, name: &str) -> Option<Collection> {
    let mut collection = schema.collection(name)?.clone();
    let is_read_otherwise =
        |field: &str| world.plan.mixes_versions() && world.family.is_migrated(name, field);
    collection
        .fields
        .retain(|name, field| !is_read_otherwise(name) && is_modelled(field));
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

/// An edit follows what its author had seen, under whatever names that is held, and nothing else.
fn follows(record: &Record, view: &RecordView) -> Result<(), String> {
    if let Some((dot, dep)) = record.lacks {
        return Err(format!("{dot} is shown without {dep}, which it follows"));
    }
    let heads = record.heads();
    match view.heads == heads {
        true => Ok(()),
        false => Err(format!(
            "its last edits are {:?}, and the entries say {heads:?}",
            view.heads
        )),
    }
}

fn judge_record(
    record: &Record,
    collection: &Collection,
    view: &RecordView,
    life: Option<Life>,
) -> Judged {
    for field in collection.fields.values() {
        let found = view.fields.get(&field.name).cloned().unwrap_or(Json::Null);
        let (oracle, expected) = match field.kind {
            FieldType::Counter => (Oracle::Counter, rules::counter(record, field)),
            FieldType::Set { .. } => (Oracle::Register, rules::set(record, field)),
            _ => (Oracle::Register, rules::register(record, field)),
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
            rules::review(record, field, view)?;
        }
    }
    match life.filter(|life| *life != view.life) {
        None => Ok(()),
        Some(life) => {
            let why = format!("it is {:?} and should be {life:?}", view.life);
            Err((Oracle::Tombstone, why))
        }
    }
}

fn elements(json: &Json) -> BTreeSet<String> {
    let list = json.as_array().into_iter().flatten();
    list.filter_map(|element| element.as_str().map(str::to_owned))
        .collect()
}

/// A review that was answered is open nowhere: a new conflict has another name.
fn answered_stay_closed(world: &mut World<'_>, place: &str, view: &RecordView) -> Judged {
    // An answer that went with its device was heard by nobody.
    let living = world.living();
    let is_held = |review: &str, dot: &Dot| {
        let mut readers = living.iter().filter_map(|number| reader(world, *number));
        readers.any(|reader| {
            let names = world.ledger.names(*dot);
            let mut held = names.filter_map(|name| reader.entry(name).ok()?);
            held.any(|(_, set)| world.ledger.is_answer(review, &set))
        })
    };
    let open = view.reviews.iter().find(|review| {
        let answer = world.ledger.answered.get(&review.id.0);
        answer.is_some_and(|dot| !world.ledger.excused.contains(dot) && is_held(&review.id.0, dot))
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
