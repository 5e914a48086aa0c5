//! What became of each event, and which others it met.

use crdt_schema::history::Concurrent;
use crdt_schema::ident::Dot;
use crdt_schema::op::Op;
use crdt_schema::resolution::{Fate, Life, ReviewId};
use crdt_schema::schema::DeletePolicy;

use super::model::{Write, latest, mark, model_life, settle, thing};
use super::{Event, History};

/// What has become of an event, by the model.
pub(super) fn model_fate(seen: &History, dot: Dot, delete: DeletePolicy) -> Fate {
    let event = &seen[&dot];
    let Some(what) = thing(event.op()) else {
        return Fate::Stands;
    };
    let later: Vec<Write<'_>> = seen
        .iter()
        .filter(|(_, other)| thing(other.op()).as_ref() == Some(&what) && other.past.contains(&dot))
        .map(|(dot, other)| (*dot, other))
        .collect();
    // Of those that had seen it, the ones that were the first to do so on their branch.
    let first = later
        .iter()
        .filter(|(_, event)| later.iter().all(|(other, _)| !event.past.contains(other)))
        .min_by_key(|(dot, event)| (event.hlc, *dot));
    if let Some(&(by, _)) = first {
        return Fate::Superseded { by };
    }
    match event.op() {
        Op::Delete { .. } | Op::Restore { .. } => life_fate(seen, event, delete),
        Op::Insert { key, element } | Op::Remove { key, element } => {
            let (marks, is_in) = mark(seen, key, &element.to_string());
            let winners: Vec<Write<'_>> = marks
                .into_iter()
                .filter(|(_, mark)| matches!(mark.op(), Op::Insert { .. }) == is_in)
                .collect();
            stands_or_lost(dot, &winners)
        }
        _ => {
            let settled = settle(seen, &what).expect("the event itself writes it");
            let waits = match &settled.review {
                None => false,
                Some(subject) => *subject == what || settled.shown.0 == dot,
            };
            match waits {
                true => WAITS,
                false => stands_or_lost(dot, &[settled.shown]),
            }
        }
    }
}

/// A fate that waits for some review: the model knows no names of reviews.
pub(super) const WAITS: Fate = Fate::Waits {
    review: ReviewId(String::new()),
};

pub(super) fn stands_or_lost(dot: Dot, winners: &[Write<'_>]) -> Fate {
    match latest(winners) {
        Some((to, _)) if winners.iter().all(|(winner, _)| *winner != dot) => Fate::Lost { to },
        _ => Fate::Stands,
    }
}

pub(super) fn life_fate(seen: &History, event: &Event, delete: DeletePolicy) -> Fate {
    let (life, contested) = model_life(seen, delete);
    let deletes = matches!(event.op(), Op::Delete { .. });
    if contested.is_some() {
        return WAITS;
    }
    if deletes == (life == Life::Deleted) {
        return Fate::Stands;
    }
    let (_, sides) = model_life(seen, DeletePolicy::Review);
    let winners: Vec<Write<'_>> = sides
        .into_iter()
        .flatten()
        .map(|dot| (dot, &seen[&dot]))
        .filter(|(_, side)| matches!(side.op(), Op::Delete { .. }) != deletes)
        .collect();
    latest(&winners).map_or(Fate::Stands, |(to, _)| Fate::Lost { to })
}

/// The events concurrent with one, the newest first.
pub(super) fn model_concurrent(seen: &History, dot: Dot) -> Concurrent {
    let event = &seen[&dot];
    let mut others: Vec<Write<'_>> = seen
        .iter()
        .filter(|(other, e)| {
            **other != dot && !event.past.contains(other) && !e.past.contains(&dot)
        })
        .map(|(dot, event)| (*dot, event))
        .collect();
    others.sort_by_key(|(dot, event)| std::cmp::Reverse((event.hlc, *dot)));
    let deletes = |event: &Event| matches!(event.op(), Op::Delete { .. });
    let conflict = |other: &Event| match (thing(event.op()), thing(other.op())) {
        (Some(a), Some(b)) if a == b => event.value() != other.value(),
        _ => {
            deletes(event) != deletes(other)
                && (event.op().key().is_some() || other.op().key().is_some())
        }
    };
    let (conflicts, parallel) = others.into_iter().partition(|(_, other)| conflict(other));
    let dots = |writes: Vec<Write<'_>>| writes.into_iter().map(|(dot, _)| dot).collect();
    Concurrent {
        parallel: dots(parallel),
        conflicts: dots(conflicts),
    }
}
