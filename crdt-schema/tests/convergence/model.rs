//! What a device shows that has seen certain events, read from the rules of each policy.

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::ident::Dot;
use crdt_schema::op::Op;
use crdt_schema::resolution::Life;
use crdt_schema::schema::DeletePolicy;
use serde_json::{Value as Json, json};

use super::{DAY_MS, Event, History, REGISTERS, SETS, START_MS};

/// What the model says a device shows: fields, life, and for each review the dots that conflict.
#[derive(Debug, PartialEq)]
pub(super) struct Shown {
    pub(super) fields: BTreeMap<String, Json>,
    pub(super) life: Life,
    pub(super) reviews: BTreeMap<String, BTreeSet<Dot>>,
}

/// The one thing that an op writes, as text; no two additions write the same.
pub(super) fn thing(op: &Op) -> Option<String> {
    match op {
        Op::Set { key, .. } | Op::Resolve { key, .. } => Some(key.clone()),
        Op::Insert { key, element } | Op::Remove { key, element } => {
            Some(format!("{key}/{element}"))
        }
        Op::Delete { .. } | Op::Restore { .. } => Some("!".to_owned()),
        Op::Add { .. } | Op::Accept { .. } => None,
    }
}

pub(super) type Write<'a> = (Dot, &'a Event);

impl Event {
    pub(super) fn op(&self) -> &Op {
        &self.edit.ops[0]
    }

    pub(super) fn value(&self) -> Json {
        match self.op() {
            Op::Set { value, .. } | Op::Resolve { value, .. } => value.to_json(),
            op => json!(matches!(op, Op::Insert { .. } | Op::Delete { .. })),
        }
    }
}

/// The events that write a thing and that no other such event had seen.
pub(super) fn standing<'a>(seen: &'a History, what: &str) -> Vec<Write<'a>> {
    let writes: Vec<Write<'a>> = seen
        .iter()
        .filter(|(_, event)| thing(event.op()).as_deref() == Some(what))
        .map(|(dot, event)| (*dot, event))
        .collect();
    let covered = |dot: Dot| writes.iter().any(|(_, other)| other.past.contains(&dot));
    writes
        .iter()
        .filter(|(dot, _)| !covered(*dot))
        .copied()
        .collect()
}

pub(super) fn latest<'a>(writes: &[Write<'a>]) -> Option<Write<'a>> {
    writes
        .iter()
        .max_by_key(|(dot, event)| (event.hlc, *dot))
        .copied()
}

/// How a value fares against concurrent ones, before clocks are asked; and whether the field takes it.
pub(super) fn weight(key: &str, value: &Json) -> (u64, bool) {
    match (key, value) {
        ("top", Json::Number(number)) => {
            let number = number.as_u64().expect("acts write no negative numbers");
            (1 + number, number <= 6)
        }
        ("low", Json::String(date)) => match date.strip_prefix("2026-11-0") {
            Some(day) => (
                100 - day.parse::<u64>().expect("acts write good dates"),
                true,
            ),
            None => (0, false),
        },
        ("step", Json::String(word)) => match word.as_str() {
            "open" => (1, true),
            "half" => (2, true),
            "done" => (3, true),
            _ => (0, false),
        },
        (_, Json::Null) => (0, true),
        (key, _) => (0, key != "top"),
    }
}

/// What the model makes of one register.
pub(super) struct Settled<'a> {
    pub(super) candidates: Vec<Write<'a>>,
    pub(super) shown: Write<'a>,
    /// The subject of the review that is open on it.
    pub(super) review: Option<String>,
}

pub(super) fn settle<'a>(seen: &'a History, key: &str) -> Option<Settled<'a>> {
    let candidates = standing(seen, key);
    let shown = candidates
        .iter()
        .max_by_key(|(dot, event)| (weight(key, &event.value()).0, event.hlc, *dot))
        .copied()?;
    let values: BTreeSet<String> = candidates
        .iter()
        .map(|(_, event)| event.value().to_string())
        .collect();
    let decided = candidates
        .iter()
        .all(|(_, event)| matches!(event.op(), Op::Resolve { .. }));
    if ["ask", "held"].contains(&key) && values.len() > 1 && !decided {
        let before = match key {
            "held" => before(seen, &candidates, key),
            _ => None,
        };
        return Some(Settled {
            shown: before.unwrap_or(shown),
            candidates,
            review: Some(key.to_owned()),
        });
    }
    let review = match weight(key, &shown.1.value()).1 {
        false => Some(format!("{key}!invalid")),
        true => is_suspect(key, &candidates, shown).then(|| format!("{key}!clock")),
    };
    Some(Settled {
        candidates,
        shown,
        review,
    })
}

/// Whether nothing but clocks decided, and clocks that were never set or are more than 180 days apart.
fn is_suspect(key: &str, candidates: &[Write<'_>], shown: Write<'_>) -> bool {
    let (_, winner) = shown;
    let (value, ms) = (winner.value(), winner.hlc.ms());
    let is_unset = |ms: u64| ms < START_MS / 2;
    let decided = candidates.iter().any(|(_, loser)| {
        let other = loser.value();
        let is_tie = weight(key, &other).0 == weight(key, &value).0 && other != value;
        let apart = loser.hlc.ms().abs_diff(ms) > 180 * DAY_MS;
        is_tie && (apart || is_unset(ms) || is_unset(loser.hlc.ms()))
    });
    let by_people = ["ask", "held"].contains(&key) || matches!(winner.op(), Op::Resolve { .. });
    decided && !by_people
}

/// The last write of the register that all of the candidates had seen.
pub(super) fn before<'a>(
    seen: &'a History,
    candidates: &[Write<'a>],
    key: &str,
) -> Option<Write<'a>> {
    let all_saw = |dot: &Dot| candidates.iter().all(|(_, event)| event.past.contains(dot));
    let shared: History = seen
        .iter()
        .filter(|(dot, _)| all_saw(dot))
        .map(|(dot, event)| (*dot, event.clone()))
        .collect();
    let (dot, _) = latest(&standing(&shared, key))?;
    Some((dot, &seen[&dot]))
}

/// The standing marks of an element, and whether it is in the set.
pub(super) fn mark<'a>(seen: &'a History, set: &str, element: &str) -> (Vec<Write<'a>>, bool) {
    let marks = standing(seen, &format!("{set}/{element}"));
    let mut inserts = marks
        .iter()
        .map(|(_, event)| matches!(event.op(), Op::Insert { .. }));
    let is_in = match set {
        "bag" => inserts.any(|insert| insert),
        _ => !marks.is_empty() && inserts.all(|insert| insert),
    };
    (marks, is_in)
}

pub(super) fn model(seen: &History, delete: DeletePolicy) -> Shown {
    let mut fields = BTreeMap::new();
    let mut reviews = BTreeMap::new();
    let dots = |writes: &[Write<'_>]| writes.iter().map(|(dot, _)| *dot).collect();
    for key in REGISTERS {
        let Some(settled) = settle(seen, key) else {
            continue;
        };
        fields.insert(key.to_owned(), settled.shown.1.value());
        if let Some(subject) = settled.review {
            reviews.insert(subject, dots(&settled.candidates));
        }
    }
    fields.retain(|_, value| !value.is_null());
    model_sum(seen, &mut fields, &mut reviews);
    for set in SETS {
        let elements = (0..3u8).map(|element| element.to_string());
        let present: Vec<String> = elements
            .filter(|element| mark(seen, set, element).1)
            .collect();
        if !present.is_empty() {
            fields.insert(set.to_owned(), json!(present));
        }
    }
    let (life, contested) = model_life(seen, delete);
    if let Some(dots) = contested {
        reviews.insert("!".to_owned(), dots);
    }
    Shown {
        fields,
        life,
        reviews,
    }
}

pub(super) fn model_sum(
    seen: &History,
    fields: &mut BTreeMap<String, Json>,
    reviews: &mut BTreeMap<String, BTreeSet<Dot>>,
) {
    let mut sum = 0;
    let mut last = BTreeMap::new();
    for (dot, event) in seen {
        if let Op::Add { delta, .. } = event.op() {
            sum += delta;
            last.insert(dot.log, *dot);
        }
    }
    fields.insert("sum".to_owned(), json!(sum));
    if !(-12..=12).contains(&sum) {
        reviews.insert("sum!bounds".to_owned(), last.into_values().collect());
    }
}

pub(super) fn model_life(seen: &History, policy: DeletePolicy) -> (Life, Option<BTreeSet<Dot>>) {
    let marks = standing(seen, "!");
    let deletes: Vec<_> = marks
        .iter()
        .filter(|(_, event)| matches!(event.op(), Op::Delete { .. }))
        .collect();
    if deletes.is_empty() {
        return (Life::Live, None);
    }
    let racing: BTreeSet<Dot> = seen
        .iter()
        .filter(|(_, event)| event.op().key().is_some())
        .filter(|(dot, event)| {
            deletes
                .iter()
                .all(|(delete, d)| !d.past.contains(dot) && !event.past.contains(delete))
        })
        .map(|(dot, _)| *dot)
        .collect();
    if racing.is_empty() && deletes.len() == marks.len() {
        return (Life::Deleted, None);
    }
    match policy {
        DeletePolicy::DeleteWins => (Life::Deleted, None),
        DeletePolicy::EditWins => (Life::Live, None),
        DeletePolicy::Review => {
            let dots = marks.iter().map(|(dot, _)| *dot).chain(racing).collect();
            (Life::Contested, Some(dots))
        }
    }
}
