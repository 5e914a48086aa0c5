//! Everything a document holds, sorted out by kind and still unmerged: what the policies work on.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use automerge::iter::MapRangeItem;
use automerge::legacy::Key as MapKey;
use automerge::{Change, ChangeHash, ObjId, ROOT, ReadDoc, ScalarValue, Value as AutoValue};

use super::ancestry::Ancestry;
use super::index::IndexedChange;
use super::{Document, keys};
use crate::hlc::Timestamp;
use crate::ident::{Dot, LogId};
use crate::lens::{Assumed, Stuck};
use crate::resolution::Candidate;
use crate::value::Value;

/// A delete or restore that no other has superseded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LifeMark {
    pub(crate) deleted: bool,
    pub(crate) reason: String,
    pub(crate) dot: Dot,
    pub(crate) hlc: Timestamp,
    pub(crate) version: u32,
}

/// The concurrent inserts and removes of one element of a set.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SetElement {
    pub(crate) element: Value,
    /// Candidates whose value is `Bool(true)` for an insert and `Bool(false)` for a remove.
    pub(crate) marks: Vec<Candidate>,
}

/// A document's unmerged contents. Lists are in ascending order of their dots or elements, so equal
/// documents have equal states.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct State {
    pub(crate) registers: BTreeMap<String, Vec<Candidate>>,
    /// For registers that ask for it and have concurrent writes: the writes that stood when the last was
    /// made that all of them had seen.
    pub(crate) previous: BTreeMap<String, Vec<Candidate>>,
    /// Each log's running sum.
    pub(crate) counters: BTreeMap<String, Vec<Candidate>>,
    pub(crate) sets: BTreeMap<String, Vec<SetElement>>,
    pub(crate) life: Vec<LifeMark>,
    /// Who lets stand what a review is about, by the review's id. The note is the answer.
    pub(crate) accepts: BTreeMap<String, Vec<Candidate>>,
    /// Edits of fields that no standing delete had seen, and that had not seen one.
    pub(crate) unseen_by_delete: Vec<Candidate>,
    /// For registers that nobody has written: what they read as.
    pub(crate) assumed: BTreeMap<String, Assumed>,
    /// The candidates of registers, by stored key, that a migration could not carry.
    pub(crate) stuck: BTreeMap<(String, Dot), Stuck>,
    /// The newest time of any change.
    pub(crate) updated: Timestamp,
    /// The changes that created the record: those whose authors had seen none of it.
    pub(crate) created: Vec<Dot>,
}

/// The changes that stood last of what all the candidates had seen.
pub(super) fn shared_heads(document: &Document, candidates: &[Candidate]) -> Vec<ChangeHash> {
    let dots: Vec<Dot> = candidates.iter().map(|candidate| candidate.dot).collect();
    let shared = Ancestry::read(document).shared(&dots).into_iter();
    shared
        .filter_map(|dot| document.index.find(dot))
        .map(|change| change.hash)
        .collect()
}

/// The writes of a register that stood at these changes.
pub(super) fn register_at(document: &Document, key: &str, heads: &[ChangeHash]) -> Vec<Candidate> {
    if heads.is_empty() {
        return Vec::new();
    }
    let values = document.doc.get_all_at(ROOT, key, heads);
    candidates(
        written(document, values.unwrap_or_default()),
        register_value,
    )
}

pub(super) fn read(document: &Document) -> State {
    let mut state = State::default();
    let mut answers: BTreeMap<(String, Dot), String> = BTreeMap::new();
    for item in document.doc.map_range(ROOT, ..) {
        let Some(key) = keys::parse(&item.key) else {
            continue;
        };
        let visible = visible(document, &item);
        match key {
            keys::Key::Register(key) => {
                let values = candidates(visible, register_value);
                state.registers.insert(key.to_owned(), values);
            }
            keys::Key::Answer(key) => {
                for (change, value) in visible {
                    answers.insert((key.to_owned(), change.dot), text(&value).into_owned());
                }
            }
            keys::Key::Counter(key, _) => {
                let sums = candidates(visible, register_value);
                state
                    .counters
                    .entry(key.to_owned())
                    .or_default()
                    .extend(sums);
            }
            keys::Key::Element(key, element) => {
                let marks = candidates(visible, register_value);
                state
                    .sets
                    .entry(key.to_owned())
                    .or_default()
                    .push(SetElement { element, marks });
            }
            keys::Key::Life => state.life = life_marks(visible),
            keys::Key::Accept(review) => {
                state.accepts.insert(review.to_owned(), accepts(visible));
            }
        }
    }
    for (key, values) in &mut state.registers {
        for candidate in values {
            candidate.answer = answers.remove(&(key.clone(), candidate.dot));
        }
    }
    for sums in state.counters.values_mut() {
        sums.sort_by_key(|sum| sum.dot);
    }
    for elements in state.sets.values_mut() {
        elements.sort_by_cached_key(|element| element.element.canonical_bytes());
    }
    state.unseen_by_delete = unseen_by_delete(document, &state.life);
    let first = document
        .index
        .iter()
        .filter(|change| change.deps.is_empty());
    state.created = first.map(|change| change.dot).collect();
    state.created.sort_unstable();
    state.updated = document
        .index
        .iter()
        .map(|change| change.hlc)
        .max()
        .unwrap_or_default();
    state
}

/// The changes that wrote what stands at a key. To ask for all of it is a search, and nearly always the walk
/// over the keys has come by the only value.
fn visible<'a>(
    document: &'a Document,
    item: &MapRangeItem<'_>,
) -> Vec<(&'a IndexedChange, ScalarValue)> {
    let values = match item.conflict {
        true => document.doc.get_all(ROOT, &*item.key).unwrap_or_default(),
        false => vec![(item.value.clone().into_value(), item.id())],
    };
    written(document, values)
}

/// The changes that wrote these values, in the order of their dots.
fn written<'a>(
    document: &'a Document,
    values: Vec<(AutoValue<'_>, ObjId)>,
) -> Vec<(&'a IndexedChange, ScalarValue)> {
    let written = values.into_iter().filter_map(|(value, id)| {
        let ObjId::Id(op, actor, _) = id else {
            return None;
        };
        let log = LogId(actor.to_bytes().try_into().ok()?);
        Some((document.index.by_op(log, op)?, value.as_scalar()?.clone()))
    });
    let mut written: Vec<_> = written.collect();
    written.sort_by_key(|(change, _)| change.dot);
    written
}

fn candidates(
    visible: Vec<(&IndexedChange, ScalarValue)>,
    read: fn(ScalarValue) -> Value,
) -> Vec<Candidate> {
    visible
        .into_iter()
        .map(|(change, value)| Candidate {
            value: read(value),
            dot: change.dot,
            hlc: change.hlc,
            version: change.version,
            answer: None,
        })
        .collect()
}

fn register_value(scalar: ScalarValue) -> Value {
    match scalar {
        ScalarValue::Boolean(b) => Value::Bool(b),
        ScalarValue::Int(i) => Value::Integer(i),
        ScalarValue::F64(n) => Value::Number(n),
        ScalarValue::Str(text) => Value::Text(text.to_string()),
        ScalarValue::Bytes(bytes) => Value::Json(String::from_utf8_lossy(&bytes).into_owned()),
        // `rebuild` writes no other kinds; Null is a cleared field.
        _ => Value::Null,
    }
}

fn text(scalar: &ScalarValue) -> Cow<'_, str> {
    match scalar {
        ScalarValue::Str(text) => Cow::Borrowed(text.as_str()),
        _ => Cow::Borrowed(""),
    }
}

fn accepts(visible: Vec<(&IndexedChange, ScalarValue)>) -> Vec<Candidate> {
    visible
        .into_iter()
        .map(|(change, note)| Candidate {
            value: Value::Null,
            dot: change.dot,
            hlc: change.hlc,
            version: change.version,
            answer: Some(text(&note).into_owned()),
        })
        .collect()
}

fn life_marks(visible: Vec<(&IndexedChange, ScalarValue)>) -> Vec<LifeMark> {
    visible
        .into_iter()
        .map(|(change, value)| {
            let text = text(&value);
            let deleted = text.starts_with('d');
            let reason = text.get(1..).unwrap_or_default().to_owned();
            LifeMark {
                deleted,
                reason,
                dot: change.dot,
                hlc: change.hlc,
                version: change.version,
            }
        })
        .collect()
}

/// The edits that race a standing delete: changes of fields that are neither causes nor effects of one.
fn unseen_by_delete(document: &Document, life: &[LifeMark]) -> Vec<Candidate> {
    let deletes: BTreeSet<Dot> = life
        .iter()
        .filter(|mark| mark.deleted)
        .map(|mark| mark.dot)
        .collect();
    if deletes.is_empty() || document.heads().iter().all(|head| deletes.contains(head)) {
        return Vec::new();
    }
    let delete_hashes: Vec<ChangeHash> = deletes
        .iter()
        .filter_map(|&dot| document.index.find(dot))
        .map(|change| change.hash)
        .collect();
    let seen = causes(document, &delete_hashes);
    let mut effects: BTreeSet<ChangeHash> = delete_hashes.into_iter().collect();
    let mut unseen = Vec::new();
    for change in document.index.iter() {
        if seen.contains(&change.hash) || effects.contains(&change.hash) {
            continue;
        }
        if change.deps.iter().any(|dep| effects.contains(dep)) {
            effects.insert(change.hash);
        } else {
            unseen.push(change);
        }
    }
    let editing = editing_fields(document, &unseen);
    let mut unseen: Vec<Candidate> = unseen
        .into_iter()
        .filter(|change| editing.contains(&change.hash))
        .map(|change| Candidate {
            value: Value::Bool(false),
            dot: change.dot,
            hlc: change.hlc,
            version: change.version,
            answer: None,
        })
        .collect();
    unseen.sort_by_key(|candidate| candidate.dot);
    unseen
}

/// The changes that come before any of `of`.
fn causes(document: &Document, of: &[ChangeHash]) -> BTreeSet<ChangeHash> {
    let deps: BTreeMap<ChangeHash, &[ChangeHash]> = document
        .index
        .iter()
        .map(|change| (change.hash, change.deps.as_slice()))
        .collect();
    let mut seen = BTreeSet::new();
    let mut open: Vec<ChangeHash> = of
        .iter()
        .flat_map(|hash| deps.get(hash))
        .copied()
        .flatten()
        .copied()
        .collect();
    while let Some(hash) = open.pop() {
        if seen.insert(hash) {
            open.extend(deps.get(&hash).copied().into_iter().flatten());
        }
    }
    seen
}

/// Those of the changes that edit a field. They are read all at once: one change at a time takes a walk
/// over the whole document each.
fn editing_fields(document: &Document, changes: &[&IndexedChange]) -> BTreeSet<ChangeHash> {
    let asked: BTreeSet<ChangeHash> = changes.iter().map(|change| change.hash).collect();
    if asked.is_empty() {
        return asked;
    }
    let stored = document.doc.get_changes(&[]).into_iter();
    let editing = stored.filter(|change| asked.contains(&change.hash()) && edits_a_field(change));
    editing.map(|change| change.hash()).collect()
}

fn edits_a_field(change: &Change) -> bool {
    change.decode().operations.iter().any(|op| match &op.key {
        MapKey::Map(key) => keys::is_of_field(key),
        MapKey::Seq(_) => false,
    })
}
