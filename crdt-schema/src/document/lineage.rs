//! Which change of a record replaced what, and how changes met whose authors had not seen each other.
//!
//! All of it is read from the document, so it is the same on every device that holds the same changes.

use std::collections::BTreeMap;

use automerge::legacy::{Key as MapKey, Op as ChangeOp, OpId, OpType};
use automerge::{ChangeHash, ScalarValue};

use super::ancestry::Ancestry;
use super::{Document, keys};
use crate::hlc::Timestamp;
use crate::ident::{Dot, LogId};
use crate::op::Op;

/// How two edits met that had not seen each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meeting {
    /// They wrote different things, or the same value: information only.
    Parallel,
    /// They wrote different values of one thing, or one deleted what the other edited.
    Conflict,
}

/// The changes of a document, for questions about how they relate.
#[derive(Debug)]
pub(crate) struct Lineage {
    ancestry: Ancestry,
    /// What each change put, by root key.
    puts: BTreeMap<Dot, BTreeMap<String, ScalarValue>>,
    /// What a change put at a key → the earliest change that replaced it.
    replaced: BTreeMap<(Dot, String), (Timestamp, Dot)>,
}

impl Lineage {
    pub(crate) fn read(document: &Document) -> Self {
        let mut lineage = Self {
            ancestry: Ancestry::read(document),
            puts: BTreeMap::new(),
            replaced: BTreeMap::new(),
        };
        let known: BTreeMap<ChangeHash, (Dot, Timestamp)> = document
            .index
            .iter()
            .map(|change| (change.hash, (change.dot, change.hlc)))
            .collect();
        // All at once: one change at a time takes a walk over the whole document each.
        for change in document.doc.get_changes(&[]) {
            let Some(&(dot, hlc)) = known.get(&change.hash()) else {
                continue;
            };
            for op in change.decode().operations {
                lineage.take(document, dot, hlc, &op);
            }
        }
        lineage
    }

    fn take(&mut self, document: &Document, dot: Dot, hlc: Timestamp, op: &ChangeOp) {
        // Documents hold puts at root keys only; see the module's parent.
        let (MapKey::Map(key), OpType::Put(value)) = (&op.key, &op.action) else {
            return;
        };
        for pred in op.pred.iter() {
            let Some(before) = dot_of(document, pred) else {
                continue;
            };
            let by = self
                .replaced
                .entry((before, key.to_string()))
                .or_insert((hlc, dot));
            *by = (hlc, dot).min(*by);
        }
        let puts = self.puts.entry(dot).or_default();
        puts.insert(key.to_string(), value.clone());
    }

    /// The earliest change that replaced what `op` of the change wrote. Additions are never replaced.
    pub(crate) fn replaced_by(&self, dot: Dot, op: &Op) -> Option<Dot> {
        let key = match op {
            Op::Add { .. } => return None,
            Op::Set { key, .. } | Op::Resolve { key, .. } => key.clone(),
            Op::Insert { key, element } | Op::Remove { key, element } => {
                keys::element(key, element)
            }
            Op::Delete { .. } | Op::Restore { .. } => keys::LIFE.to_owned(),
            Op::Accept { review, .. } => keys::accept(review),
        };
        self.replaced.get(&(dot, key)).map(|&(_, by)| by)
    }

    /// The changes that had not seen this one, nor it them, by their dots.
    pub(crate) fn concurrent(&self, dot: Dot) -> Vec<(Dot, Meeting)> {
        let others = self.ancestry.concurrent(dot).into_iter();
        others
            .map(|other| (other, self.meeting(dot, other)))
            .collect()
    }

    fn meeting(&self, a: Dot, b: Dot) -> Meeting {
        let (Some(a), Some(b)) = (self.puts.get(&a), self.puts.get(&b)) else {
            return Meeting::Parallel;
        };
        let differ = a
            .iter()
            .filter(|(key, _)| {
                // Two notes may differ where the answers agree.
                !matches!(
                    keys::parse(key),
                    Some(keys::Key::Answer(_) | keys::Key::Accept(_))
                )
            })
            .any(|(key, value)| b.get(key).is_some_and(|other| other != value));
        match differ || (deletes(a) && edits(b)) || (deletes(b) && edits(a)) {
            true => Meeting::Conflict,
            false => Meeting::Parallel,
        }
    }
}

fn dot_of(document: &Document, op: &OpId) -> Option<Dot> {
    let log = LogId(op.actor().to_bytes().try_into().ok()?);
    Some(document.index.by_op(log, op.counter())?.dot)
}

fn deletes(puts: &BTreeMap<String, ScalarValue>) -> bool {
    match puts.get(keys::LIFE) {
        Some(ScalarValue::Str(mark)) => mark.starts_with('d'),
        _ => false,
    }
}

fn edits(puts: &BTreeMap<String, ScalarValue>) -> bool {
    puts.keys().any(|key| keys::is_of_field(key))
}
