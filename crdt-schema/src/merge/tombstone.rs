//! Deletion: a mark that stays, so it cannot be undone by a device that was away.
//!
//! A delete that had seen every edit deletes. One that raced an edit or a restore is judged by the
//! collection's policy: `review` keeps the record readable and opens a review, `delete-wins` deletes,
//! `edit-wins` keeps it alive. A later delete or restore that has seen both sides settles it.

use super::{Record, lww, review};
use crate::document::{LifeMark, State};
use crate::mutation::{Flaw, is_planted};
use crate::resolution::{Candidate, Life, Resolution, Review, ReviewSubject};
use crate::schema::DeletePolicy;
use crate::value::Value;

/// The name under which a record's deletion is explained; no field can have it.
const SUBJECT: &str = "!deleted";

pub(super) struct Fate {
    pub(super) life: Life,
    pub(super) review: Option<Review>,
}

pub(super) fn judge(state: &State, policy: DeletePolicy, record: &Record<'_>) -> Fate {
    if !state.life.iter().any(|mark| mark.deleted) {
        return Fate {
            life: Life::Live,
            review: None,
        };
    }
    let raced = !state.unseen_by_delete.is_empty() || state.life.iter().any(|mark| !mark.deleted);
    match (raced, policy) {
        (true, DeletePolicy::DeleteWins) if is_planted(Flaw::RacedDeleteUndone) => Fate {
            life: Life::Live,
            review: None,
        },
        (false, _) | (true, DeletePolicy::DeleteWins) => Fate {
            life: Life::Deleted,
            review: None,
        },
        (true, DeletePolicy::EditWins) => Fate {
            life: Life::Live,
            review: None,
        },
        (true, DeletePolicy::Review) => Fate {
            life: Life::Contested,
            review: Some(open_review(state, record)),
        },
    }
}

fn open_review(state: &State, record: &Record<'_>) -> Review {
    let candidates = sides(state);
    let dots = candidates.iter().map(|candidate| candidate.dot);
    let id = review::name(record, SUBJECT, dots);
    // Shown as alive meanwhile: some edit or restore stands against the delete.
    let alive = candidates
        .iter()
        .find(|candidate| candidate.value == Value::Bool(false));
    let provisional = alive.unwrap_or(&candidates[0]).dot;
    Review {
        id,
        subject: ReviewSubject::Deletion,
        candidates,
        provisional,
    }
}

/// Both sides, the latest first: deletes as `true`, restores and unseen edits as `false`.
pub(super) fn sides(state: &State) -> Vec<Candidate> {
    let marks = state.life.iter().map(as_candidate);
    lww::ranked(
        &marks
            .chain(state.unseen_by_delete.iter().cloned())
            .collect::<Vec<_>>(),
    )
}

fn as_candidate(mark: &LifeMark) -> Candidate {
    Candidate {
        value: Value::Bool(mark.deleted),
        dot: mark.dot,
        hlc: mark.hlc,
        version: mark.version,
        answer: (!mark.reason.is_empty()).then(|| mark.reason.clone()),
    }
}

/// How the record came to be alive, deleted or contested; `None` if nobody ever deleted it.
pub(super) fn explain(
    state: &State,
    policy: DeletePolicy,
    record: &Record<'_>,
) -> Option<Resolution> {
    let mut others = sides(state);
    if state.life.is_empty() {
        return None;
    }
    let fate = judge(state, policy, record);
    let shown = Value::Bool(fate.life == Life::Deleted);
    let at = others
        .iter()
        .position(|candidate| candidate.value == shown)
        .unwrap_or(0);
    let winner = others.remove(at);
    let why = match (fate.life, others.is_empty()) {
        (Life::Contested, _) => {
            "deleted on one device while it was edited on another; it stays readable until a person decides"
        }
        (Life::Deleted, true) => "deleted by somebody who had seen every edit",
        (Life::Deleted, false) if winner_stands_alone(state) => {
            "deleted on several devices at once"
        }
        (Life::Deleted, false) => {
            "deleted while it was edited elsewhere; in this collection deletes win"
        }
        (Life::Live, _) if state.life.iter().any(|mark| mark.deleted) => {
            "deleted while it was edited elsewhere; in this collection edits win"
        }
        (Life::Live, _) => "restored by somebody who had seen the delete",
    };
    Some(Resolution {
        field: SUBJECT.to_owned(),
        policy: policy.name().to_owned(),
        value: (fate.life == Life::Deleted).into(),
        winner: Some(winner),
        others,
        review: fate.review.map(|review| review.id),
        why: why.to_owned(),
    })
}

fn winner_stands_alone(state: &State) -> bool {
    state.unseen_by_delete.is_empty() && state.life.iter().all(|mark| mark.deleted)
}
