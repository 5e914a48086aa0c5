//! `review`: concurrent, differing values wait for a person.
//!
//! Meanwhile the value that `lww` would choose is shown or, with `provisional = "previous"`, the last
//! value that all the writers had seen, if there is one. The answer is an ordinary write that has seen all
//! candidates and so supersedes them; it stands under any later sync until somebody writes again. Equal
//! values open nothing. Two people who answer at once have both decided: the later answer stands, both
//! stay in the history, and no new review opens.

use super::{Merged, Record, lww};
use crate::ident::Dot;
use crate::mutation::{Flaw, is_planted};
use crate::resolution::{Candidate, Review, ReviewId, ReviewSubject};
use crate::schema::Field;

/// `previous` are the writes that every candidate had seen and that stood then; empty if the field does
/// not ask for them.
pub(super) fn merge(
    candidates: &[Candidate],
    previous: &[Candidate],
    field: &Field,
    record: &Record<'_>,
) -> Merged {
    let mut merged = lww::merge(candidates);
    let Some(winner) = &merged.winner else {
        return merged;
    };
    if let Some(note) = &winner.answer {
        merged.why = lww::decided(note);
    }
    if !is_conflict(candidates) {
        return merged;
    }
    let ranked = lww::ranked(candidates);
    let before = lww::ranked(previous).into_iter().next();
    let provisional = before.as_ref().map_or(winner.dot, |before| before.dot);
    let shown = match &before {
        Some(_) => "the value from before them".to_owned(),
        None => format!("the latest, of {},", winner.hlc),
    };
    let review = Review {
        id: name(
            record,
            &field.key,
            candidates.iter().map(|candidate| candidate.dot),
        ),
        subject: ReviewSubject::Field {
            key: field.key.clone(),
        },
        candidates: ranked.clone(),
        provisional,
    };
    merged.why = format!(
        "{} concurrent writes differ and wait for a person; until then {shown} is shown",
        candidates.len()
    );
    if let Some(before) = before {
        merged.value = Some(before.value.to_json()).filter(|value| !value.is_null());
        merged.winner = Some(before);
        merged.others = ranked;
    }
    merged.review = Some(review);
    merged
}

fn is_conflict(candidates: &[Candidate]) -> bool {
    let differ = candidates
        .iter()
        .any(|candidate| candidate.value != candidates[0].value);
    let mut answers = candidates
        .iter()
        .map(|candidate| candidate.answer.is_some());
    let is_answered = match is_planted(Flaw::AnswerHidesOthers) {
        true => answers.any(|is_answer| is_answer),
        false => answers.all(|is_answer| is_answer),
    };
    differ && !is_answered
}

/// The name of a review: the same wherever the same dots conflict over the same thing.
pub(super) fn name(
    record: &Record<'_>,
    subject: &str,
    dots: impl Iterator<Item = Dot>,
) -> ReviewId {
    let mut dots: Vec<Dot> = dots.collect();
    dots.sort_unstable();
    let mut hasher = blake3::Hasher::new_derive_key("fieldmesh review v1");
    for part in [record.collection, record.id, subject] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    for dot in dots {
        hasher.update(&dot.log.0);
        hasher.update(&dot.seq.to_le_bytes());
    }
    ReviewId(hex::encode(&hasher.finalize().as_bytes()[..8]))
}
