//! Suspect clocks: a choice between concurrent values that only clocks made, and clocks that cannot be
//! trusted with it.
//!
//! Clocks that lie further apart than the schema's bound, or that were never set, may have chosen the
//! wrong value. It is shown all the same, and a review opens on it: a function of the standing writes
//! alone, never of the clock of the device that looks. It closes when the field is written anew or a
//! person lets it stand. What a person decided is not asked again.

use super::{Merged, Record, lww, max, rank, review};
use crate::resolution::{Candidate, Review, ReviewSubject};
use crate::schema::{Field, MergePolicy};

/// A day in milliseconds.
pub(super) const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The start of 2020, before which no device of this program can have been: such a clock was never set.
const NEVER_SET_BEFORE_MS: u64 = 1_577_836_800_000;

/// Opens a review if suspect clocks decided. `policy` is the one that merged the field.
pub(super) fn check(
    mut merged: Merged,
    field: &Field,
    policy: MergePolicy,
    record: &Record<'_>,
) -> Merged {
    let Some(winner) = merged.winner.as_ref().filter(|_| merged.review.is_none()) else {
        return merged;
    };
    let losers = merged.others.iter();
    let mut losers = losers.filter(|loser| clocks_decided(field, policy, winner, loser));
    let apart = |loser: &Candidate| winner.hlc.ms().abs_diff(loser.hlc.ms());
    let is_unset = |write: &Candidate| write.hlc.ms() < NEVER_SET_BEFORE_MS;
    let suspect = losers
        .find(|loser| apart(loser) > record.clock_bound_ms || is_unset(loser) || is_unset(winner));
    let Some(loser) = suspect.filter(|_| winner.answer.is_none()) else {
        return merged;
    };
    let reason = match (is_unset(loser) || is_unset(winner), apart(loser) / DAY_MS) {
        (true, _) => "one of the clocks was never set".to_owned(),
        (false, days) => format!("the clocks are {days} days apart"),
    };
    let mut candidates = vec![winner.clone()];
    candidates.extend(lww::ranked(&merged.others));
    let subject = format!("{}!clock", field.key);
    merged.review = Some(Review {
        id: review::name(record, &subject, candidates.iter().map(|write| write.dot)),
        subject: ReviewSubject::Clock {
            key: field.key.clone(),
        },
        provisional: winner.dot,
        candidates,
    });
    merged.why = format!("{}; {reason}, so it waits for a person", merged.why);
    merged
}

/// Whether nothing but the clocks put the winner before the loser.
fn clocks_decided(
    field: &Field,
    policy: MergePolicy,
    winner: &Candidate,
    loser: &Candidate,
) -> bool {
    let is_tie = match policy {
        MergePolicy::Lww => true,
        MergePolicy::Max => {
            max::compare(field, max::End::Greatest, &winner.value, &loser.value).is_eq()
        }
        MergePolicy::Min => {
            max::compare(field, max::End::Least, &winner.value, &loser.value).is_eq()
        }
        MergePolicy::Rank => rank::rank(field, &winner.value) == rank::rank(field, &loser.value),
        // A person decides, or nothing is chosen.
        MergePolicy::Review | MergePolicy::Counter | MergePolicy::Set | MergePolicy::RemoveWins => {
            false
        }
    };
    is_tie && winner.value != loser.value
}
