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
            let dot = dot_of(meta.actor.to_bytes(), meta.message.as_deref()).ok_or_else(|| {
                DocumentError::Damaged(format!("change {} has no dot", meta.hash))
            })?;
            index.push(IndexedChange {
                dot,
                hlc: Timestamp(meta.timestamp.cast_unsigned()),
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

fn dot_of(actor: &[u8], message: Option<&str>) -> Option<Dot> {
    let log = LogId(actor.try_into().ok()?);
    Some(Dot::new(log, message?.parse().ok()?))
}
