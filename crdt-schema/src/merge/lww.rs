//! `lww`: of concurrent writes the latest wins, by hybrid clock, then by log id.
//!
//! The order on candidates is total and depends on signed data only, so every device picks the same one.
//! The losers stay readable. A `json` field is one such register, replaced as a whole.

use super::Merged;
use crate::resolution::Candidate;

pub(super) fn merge(candidates: &[Candidate]) -> Merged {
    first_of(ranked(candidates), |winner, count| {
        format!(
            "{count} concurrent writes; the one of {} is the latest, so it wins",
            winner.hlc
        )
    })
}

pub(super) const UNSET: &str = "nobody has written it";

/// The candidates, the winner first.
pub(super) fn ranked(candidates: &[Candidate]) -> Vec<Candidate> {
    let mut ranked = candidates.to_vec();
    ranked.sort_by_key(|candidate| std::cmp::Reverse((candidate.hlc, candidate.dot)));
    ranked
}

/// Lets the first of the candidates win. `why` says why, of the winner and the number of them, where
/// there was a choice.
pub(super) fn first_of(
    mut ranked: Vec<Candidate>,
    why: impl FnOnce(&Candidate, usize) -> String,
) -> Merged {
    let Some(winner) = (!ranked.is_empty()).then(|| ranked.remove(0)) else {
        return Merged {
            value: None,
            winner: None,
            others: ranked,
            review: None,
            accepted: Vec::new(),
            why: UNSET.to_owned(),
        };
    };
    let why = match (&winner.answer, ranked.len()) {
        (Some(note), 0) => decided(note),
        (None, 0) => "the only standing write: it came after every earlier one".to_owned(),
        (_, others) => why(&winner, others + 1),
    };
    let value = Some(winner.value.to_json()).filter(|value| !value.is_null());
    Merged {
        value,
        winner: Some(winner),
        others: ranked,
        review: None,
        accepted: Vec::new(),
        why,
    }
}

/// That a person has answered a review.
pub(super) fn decided(note: &str) -> String {
    match note {
        "" => "a person decided in a review".to_owned(),
        note => format!("a person decided in a review: {note}"),
    }
}
