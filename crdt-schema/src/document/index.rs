//! Which change of a document is which dot.

use std::collections::BTreeMap;

use automerge::{Automerge, ChangeHash};

use super::DocumentError;
use crate::hlc::Timestamp;
use crate::ident::{Dot, LogId};

/// One change of a document.
#[derive(Debug, Clone)]
pub(super) struct IndexedChange {
    pub(super) dot: Dot,
    pub(super) hlc: Timestamp,
    /// The version of the schema that it was written under.
    pub(super) version: u32,
    pub(super) hash: ChangeHash,
    /// The counter of its last operation.
    pub(super) max_op: u64,
    pub(super) deps: Vec<ChangeHash>,
}

/// All changes of a document, causes before effects, and where each log's are among them.
#[derive(Debug, Clone, Default)]
pub(super) struct ChangeIndex {
    changes: Vec<IndexedChange>,
    by_log: BTreeMap<LogId, Vec<usize>>,
}

impl ChangeIndex {
    /// Reads the index back from a document's own change metadata.
    pub(super) fn read(doc: &Automerge) -> Result<Self, DocumentError> {
        let mut index = Self::default();
        for meta in doc.get_changes_meta(&[]) {
            let named = named(meta.actor.to_bytes(), meta.message.as_deref());
            let (dot, version) = named.ok_or_else(|| {
                DocumentError::Damaged(format!("change {} has no dot", meta.hash))
            })?;
            index.push(IndexedChange {
                dot,
                hlc: Timestamp(meta.timestamp.cast_unsigned()),
                version,
                hash: meta.hash,
                max_op: meta.max_op,
                deps: meta.deps,
            });
        }
        Ok(index)
    }

    pub(super) fn push(&mut self, change: IndexedChange) {
        self.by_log
            .entry(change.dot.log)
            .or_default()
            .push(self.changes.len());
        self.changes.push(change);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &IndexedChange> {
        self.changes.iter()
    }

    /// The changes of one log, in its order.
    pub(super) fn of_log(&self, log: LogId) -> impl DoubleEndedIterator<Item = &IndexedChange> {
        self.by_log
            .get(&log)
            .into_iter()
            .flatten()
            .map(|&at| &self.changes[at])
    }

    /// How many changes of one log there are.
    pub(super) fn count_of_log(&self, log: LogId) -> u64 {
        self.by_log
            .get(&log)
            .map_or(0, |changes| changes.len() as u64)
    }

    pub(super) fn find(&self, dot: Dot) -> Option<&IndexedChange> {
        let of_log = self.by_log.get(&dot.log)?;
        let at = of_log
            .binary_search_by_key(&dot.seq, |&at| self.changes[at].dot.seq)
            .ok()?;
        Some(&self.changes[of_log[at]])
    }

    /// The change of `log` that made the operation with counter `op`.
    pub(super) fn by_op(&self, log: LogId, op: u64) -> Option<&IndexedChange> {
        let of_log = self.by_log.get(&log)?;
        let at = of_log.partition_point(|&at| self.changes[at].max_op < op);
        of_log.get(at).map(|&at| &self.changes[at])
    }

    pub(super) fn dot_of(&self, hash: &ChangeHash) -> Option<Dot> {
        self.changes
            .iter()
            .rev()
            .find(|change| change.hash == *hash)
            .map(|change| change.dot)
    }
}

/// The message of a change: its position in its log and, if it is not the first, the schema's version.
pub(super) fn message(dot: Dot, version: u32) -> String {
    match version {
        1 => dot.seq.to_string(),
        _ => format!("{}@{version}", dot.seq),
    }
}

/// Reads back what [`message`] wrote.
fn named(actor: &[u8], message: Option<&str>) -> Option<(Dot, u32)> {
    let log = LogId(actor.try_into().ok()?);
    let (seq, version) = message?.split_once('@').unwrap_or((message?, "1"));
    Some((Dot::new(log, seq.parse().ok()?), version.parse().ok()?))
}
