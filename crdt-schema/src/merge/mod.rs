//! From a document's unmerged contents to what people see: one small module for each policy.
//!
//! Laws that every policy keeps, because it is a function of the set of standing candidates alone:
//! commutative, associative and idempotent in the edits delivered; a causally later write has superseded
//! the earlier one before any policy looks, so clocks only order *concurrent* writes. Where a policy must
//! choose one candidate it does so by a total order on them.

mod counter;
pub(crate) mod fate;
mod invalid;
mod legacy;
mod lww;
mod max;
mod rank;
mod review;
mod set;
#[cfg(test)]
pub(crate) mod tests;
mod tombstone;
mod trial;

use serde_json::{Map, Value as Json};

use crate::document::{SetElement, State};
use crate::ident::Dot;
use crate::resolution::{Candidate, RecordView, Resolution, Review};
use crate::schema::{Collection, Field, MergePolicy};

/// What a policy made of one field.
struct Merged {
    /// `None` if nobody has set the field, or it was cleared.
    value: Option<Json>,
    winner: Option<Candidate>,
    others: Vec<Candidate>,
    review: Option<Review>,
    why: String,
}

/// Which record is merged: part of a review's name.
struct Record<'a> {
    collection: &'a str,
    id: &'a str,
}

pub(crate) fn view(
    state: &State,
    collection: &Collection,
    id: &str,
    heads: Vec<Dot>,
) -> RecordView {
    let record = Record {
        collection: &collection.name,
        id,
    };
    let mut fields = Map::new();
    let mut reviews = Vec::new();
    for field in collection.fields.values() {
        let merged = merge(state, field, &record);
        if let Some(value) = merged.value {
            fields.insert(field.name.clone(), value);
        }
        reviews.extend(merged.review);
    }
    let fate = tombstone::judge(state, collection.delete, &record);
    reviews.extend(fate.review);
    RecordView {
        fields,
        life: fate.life,
        reviews,
        partial: legacy::partial(state, collection),
        legacy: legacy::values(state, collection, &record),
        heads,
        updated: state.updated,
    }
}

pub(crate) fn explain(state: &State, collection: &Collection, id: &str) -> Vec<Resolution> {
    let record = Record {
        collection: &collection.name,
        id,
    };
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
    let merged = match trial::policy(state, field) {
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
        MergePolicy::Counter => return counter::merge(sums(state, field), field, record),
        MergePolicy::Set => return set::merge(elements(state, field), set::Bias::Insert),
        MergePolicy::RemoveWins => return set::merge(elements(state, field), set::Bias::Remove),
    };
    invalid::check(merged, field, record, &state.stuck)
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
