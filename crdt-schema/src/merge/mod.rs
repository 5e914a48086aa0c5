//! From a document's unmerged contents to what people see: one small module for each policy.
//!
//! Laws that every policy keeps, because it is a function of the set of standing candidates alone:
//! commutative, associative and idempotent in the edits delivered; a causally later write has superseded
//! the earlier one before any policy looks, so clocks only order *concurrent* writes. Where a policy must
//! choose one candidate it does so by a total order on them.

mod answer;
mod clock;
mod counter;
pub(crate) mod fate;
mod invalid;
mod legacy;
mod lww;
mod max;
mod rank;
mod review;
mod rule;
mod set;
#[cfg(test)]
pub(crate) mod tests;
mod tombstone;
mod trial;

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::document::{SetElement, State};
use crate::ident::{Dot, check_record_id};
use crate::lens::Stuck;
use crate::resolution::{
    Candidate, Life, RecordView, Reference, Resolution, Review, ReviewId, Target,
};
use crate::schema::{Collection, Field, MergePolicy};

/// What a policy made of one field.
struct Merged {
    /// `None` if nobody has set the field, or it was cleared.
    value: Option<Json>,
    winner: Option<Candidate>,
    others: Vec<Candidate>,
    review: Option<Review>,
    /// Reviews that would be open if a person had not let stand what they are about.
    accepted: Vec<Review>,
    why: String,
}

/// Which record is merged: part of a review's name.
struct Record<'a> {
    collection: &'a str,
    id: &'a str,
    /// See [`Collection::clock_bound_days`].
    clock_bound_ms: u64,
}

impl<'a> Record<'a> {
    fn new(collection: &'a Collection, id: &'a str) -> Self {
        Self {
            collection: &collection.name,
            id,
            clock_bound_ms: u64::from(collection.clock_bound_days) * clock::DAY_MS,
        }
    }
}

pub(crate) fn view(
    state: &State,
    collection: &Collection,
    id: &str,
    heads: Vec<Dot>,
) -> RecordView {
    let record = Record::new(collection, id);
    let mut fields = Map::new();
    let mut reviews = Vec::new();
    let mut accepted = Vec::new();
    let mut refs = Vec::new();
    for field in collection.fields.values() {
        let merged = merge(state, field, &record);
        refs.extend(reference(field, &merged));
        if let Some(value) = merged.value {
            fields.insert(field.name.clone(), value);
        }
        reviews.extend(merged.review);
        accepted.extend(merged.accepted);
    }
    let fate = tombstone::judge(state, collection.delete, &record);
    reviews.extend(fate.review);
    if fate.life != Life::Deleted {
        let asked = rule::check(state, collection, &fields, &heads, &record);
        let (let_stand, open): (Vec<Review>, Vec<Review>) =
            asked.partition(|review| is_accepted(state, review));
        accepted.extend(let_stand);
        reviews.extend(open);
    }
    let deletes = state.life.iter().filter(|mark| mark.deleted);
    RecordView {
        fields,
        life: fate.life,
        reviews,
        partial: legacy::partial(state, collection),
        legacy: legacy::values(state, collection, &record),
        heads,
        updated: state.updated,
        answered: answer::accepts(state, &accepted),
        refs,
        deleted_by: match fate.life {
            Life::Deleted => deletes.map(|mark| mark.dot).collect(),
            Life::Live | Life::Contested => Vec::new(),
        },
    }
}

/// What the field refers to. An id that no record can have refers to nothing.
fn reference(field: &Field, merged: &Merged) -> Option<Reference> {
    let winner = merged.winner.as_ref()?;
    let id = merged.value.as_ref()?.as_str()?;
    check_record_id(id).ok()?;
    Some(Reference {
        key: field.key.clone(),
        collection: field.refers_to()?.to_owned(),
        id: id.to_owned(),
        dot: winner.dot,
        hlc: winner.hlc,
        version: winner.version,
        target: Target::Here,
    })
}

/// Whether a person has let stand what the review is about.
fn is_accepted(state: &State, review: &Review) -> bool {
    review.subject.can_be_accepted() && state.accepts.contains_key(&review.id.0)
}

/// The review that was open on the register when these writes stood. `stuck` says which of them no
/// migration could carry.
pub(crate) fn review_of(
    field: &Field,
    collection: &Collection,
    id: &str,
    standing: Vec<Candidate>,
    stuck: BTreeMap<(String, Dot), Stuck>,
) -> Option<Review> {
    let mut state = State {
        stuck,
        ..State::default()
    };
    state.registers.insert(field.key.clone(), standing);
    merge(&state, field, &Record::new(collection, id)).review
}

pub(crate) fn explain(state: &State, collection: &Collection, id: &str) -> Vec<Resolution> {
    let record = Record::new(collection, id);
    let mut resolutions: Vec<Resolution> = collection
        .fields
        .values()
        .map(|field| {
            let merged = merge(state, field, &record);
            Resolution {
                field: field.name.clone(),
                policy: trial::policy(state, field).name().to_owned(),
                value: merged.value.unwrap_or(Json::Null),
                winner: merged.winner,
                others: merged.others,
                review: merged.review.map(|review| review.id),
                why: merged.why,
            }
        })
        .collect();
    resolutions.extend(tombstone::explain(state, collection.delete, &record));
    resolutions
}

fn merge(state: &State, field: &Field, record: &Record<'_>) -> Merged {
    if let Some(assumed) = state.assumed.get(&field.key) {
        return legacy::assumed(assumed);
    }
    let policy = trial::policy(state, field);
    let merged = match policy {
        MergePolicy::Lww => lww::merge(register(state, field)),
        MergePolicy::Max => max::merge(register(state, field), field, max::End::Greatest),
        MergePolicy::Min => max::merge(register(state, field), field, max::End::Least),
        MergePolicy::Rank => rank::merge(register(state, field), field),
        MergePolicy::Review => {
            let previous = state
                .previous
                .get(&field.key)
                .map_or(&[][..], Vec::as_slice);
            review::merge(register(state, field), previous, field, record)
        }
        MergePolicy::Counter => {
            return settle(state, counter::merge(sums(state, field), field, record));
        }
        MergePolicy::Set => return set::merge(elements(state, field), set::Bias::Insert),
        MergePolicy::RemoveWins => return set::merge(elements(state, field), set::Bias::Remove),
    };
    let merged = settle(state, invalid::check(merged, field, record, &state.stuck));
    settle(state, clock::check(merged, field, policy, record))
}

/// Closes the review if a person has let stand what it is about.
fn settle(state: &State, mut merged: Merged) -> Merged {
    if let Some(review) = merged.review.take_if(|review| is_accepted(state, review)) {
        merged.why = format!("{}; a person has let it stand", merged.why);
        merged.accepted.push(review);
    }
    merged
}

fn elements<'a>(state: &'a State, field: &Field) -> &'a [SetElement] {
    state.sets.get(&field.key).map_or(&[], Vec::as_slice)
}

fn register<'a>(state: &'a State, field: &Field) -> &'a [Candidate] {
    state.registers.get(&field.key).map_or(&[], Vec::as_slice)
}

fn sums<'a>(state: &'a State, field: &Field) -> &'a [Candidate] {
    state.counters.get(&field.key).map_or(&[], Vec::as_slice)
}

/// The name of a review of that record on that subject, over these dots.
pub(crate) fn name_of_review(
    collection: &Collection,
    id: &str,
    subject: &str,
    dots: &[Dot],
) -> ReviewId {
    let record = Record::new(collection, id);
    review::name(&record, subject, dots.iter().copied())
}
