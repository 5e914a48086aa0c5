//! `lww`: of concurrent writes the latest wins, by hybrid clock, then by log id.
//!
//! The order on candidates is total and depends on signed data only, so every device picks the same one.
//! The losers stay readable.

use super::Merged;
use crate::resolution::Candidate;

pub(super) fn merge(candidates: &[Candidate]) -> Merged {
    let mut ranked = ranked(candidates);
    let Some(winner) = (!ranked.is_empty()).then(|| ranked.remove(0)) else {
        return Merged {
            value: None,
            winner: None,
            others: ranked,
            review: None,
            why: UNSET.to_owned(),
        };
    };
    let why = if ranked.is_empty() {
        "the only standing write: it came after every earlier one".to_owned()
    } else {
        format!(
            "{} concurrent writes; the one of {} is the latest, so it wins",
            ranked.len() + 1,
            winner.hlc
        )
    };
    let value = Some(winner.value.to_json()).filter(|value| !value.is_null());
    Merged {
        value,
        winner: Some(winner),
        others: ranked,
        review: None,
        why,
    }
}

pub(super) const UNSET: &str = "nobody has written it";

/// The candidates, the winner first.
pub(super) fn ranked(candidates: &[Candidate]) -> Vec<Candidate> {
    let mut ranked = candidates.to_vec();
    ranked.sort_by_key(|candidate| std::cmp::Reverse((candidate.hlc, candidate.dot)));
    ranked
}
