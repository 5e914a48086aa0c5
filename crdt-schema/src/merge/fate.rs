//! What has become of one write that nothing has replaced: whether it stands, waits or has lost.

use super::{Record, elements, lww, merge, set, tombstone, trial};
use crate::document::State;
use crate::ident::Dot;
use crate::op::Op;
use crate::resolution::{Candidate, Fate, Life, ReviewSubject};
use crate::schema::{Collection, Field, MergePolicy};
use crate::value::Value;

/// The fate of an op that no later write has replaced. What the schema does not know stands.
pub(crate) fn of_standing(
    state: &State,
    collection: &Collection,
    id: &str,
    (dot, version): (Dot, u32),
    op: &Op,
) -> Fate {
    let record = Record::new(collection, id);
    if let Op::Accept { review, .. } = op {
        let accepts = state.accepts.get(review).map_or(&[][..], Vec::as_slice);
        return match lww::ranked(accepts).first() {
            Some(latest) if latest.dot != dot => Fate::Lost { to: latest.dot },
            _ => Fate::Stands,
        };
    }
    let Some(key) = op.key() else {
        return of_life(state, collection, &record, op);
    };
    let lens = &collection.lens;
    let carried = |element: &Value| {
        let (from, to) = (lens.place(version), lens.place(lens.reads));
        let carried = lens.carry(key, element, from, to);
        carried.unwrap_or_else(|_| element.clone())
    };
    match (collection.field_by_key(key), op) {
        (Some(field), Op::Insert { element, .. }) => of_mark(state, field, &carried(element), true),
        (Some(field), Op::Remove { element, .. }) => {
            of_mark(state, field, &carried(element), false)
        }
        (Some(field), Op::Set { .. } | Op::Resolve { .. }) if field.is_register() => {
            of_register(state, field, &record, dot)
        }
        _ => Fate::Stands,
    }
}

fn of_register(state: &State, field: &Field, record: &Record<'_>, dot: Dot) -> Fate {
    let merged = merge(state, field, record);
    let Some(winner) = merged.winner else {
        return Fate::Stands;
    };
    let waits = merged.review.filter(|review| {
        winner.dot == dot || matches!(review.subject, ReviewSubject::Field { .. })
    });
    match waits {
        Some(review) => Fate::Waits { review: review.id },
        None if winner.dot == dot => Fate::Stands,
        None => Fate::Lost { to: winner.dot },
    }
}

fn of_mark(state: &State, field: &Field, element: &Value, inserted: bool) -> Fate {
    let elements = elements(state, field);
    let bias = match trial::policy(state, field) {
        MergePolicy::RemoveWins => set::Bias::Remove,
        _ => set::Bias::Insert,
    };
    let found = elements.iter().find(|known| known.element == *element);
    let marks = found.map_or(&[][..], |known| known.marks.as_slice());
    if set::is_in(marks, bias) == inserted {
        return Fate::Stands;
    }
    lost_to_latest(marks, |mark| set::is_insert(mark) != inserted)
}

fn of_life(state: &State, collection: &Collection, record: &Record<'_>, op: &Op) -> Fate {
    let fate = tombstone::judge(state, collection.delete, record);
    let deletes = matches!(op, Op::Delete { .. });
    match (fate.review, fate.life) {
        (Some(review), _) => Fate::Waits { review: review.id },
        (None, life) if deletes == (life == Life::Deleted) => Fate::Stands,
        (None, _) => lost_to_latest(&tombstone::sides(state), |side| {
            (side.value == Value::Bool(true)) != deletes
        }),
    }
}

fn lost_to_latest(candidates: &[Candidate], won: impl Fn(&Candidate) -> bool) -> Fate {
    let winner = lww::ranked(candidates).into_iter().find(won);
    winner.map_or(Fate::Stands, |winner| Fate::Lost { to: winner.dot })
}
