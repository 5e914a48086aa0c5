//! One record's merge state: a flat Automerge document that is rebuilt from edits, never taken from a peer.
//!
//! Invariants:
//! - The same edits give the same document, whatever the order, as long as causes come before effects.
//!   Author and receiver run the same [`Document::apply`]; the Automerge change is a pure function of the
//!   dot, the time, the dependencies and the ops.
//! - Only root keys, only puts: no Automerge delete, counter or nested object, because concurrent ones hide
//!   or lose a side. `keys` names the keys.
//! - The change's actor is the log and its message is the position in the log and the version of the schema
//!   that it was written under, so a document knows its dots and what each of them meant.
//!
//! It does not know policies: what candidates mean is decided in `merge`.

mod ancestry;
mod answers;
mod carry;
mod index;
mod keys;
mod lineage;
mod rebuild;
mod state;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use automerge::{Automerge, ChangeHash};

use crate::hlc::Timestamp;
use crate::ident::{Dot, LogId};
use crate::merge;
use crate::op::Edit;
use crate::resolution::{Answered, RecordView, Resolution, Review};
use crate::schema::{Collection, Provisional};

use index::ChangeIndex;
pub(crate) use lineage::{Lineage, Meeting};
pub(crate) use state::{LifeMark, SetElement, State};

/// Why an edit could not be applied, or stored bytes could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The stored bytes are damaged.
    #[error("stored document is damaged: {0}")]
    Damaged(String),
    /// The edit names a change that the document lacks.
    #[error("edit depends on {0}, which is not in the document")]
    MissingDependency(Dot),
    /// The edit's dot is not after the log's last edit of this record.
    #[error("edit {0} is not after the log's last edit of this record")]
    OutOfOrder(Dot),
    /// The document has taken all the operations that its format can number.
    #[error("the record has had {0} operations, the most a document can hold")]
    Exhausted(u64),
}

/// One record's merge state.
#[derive(Debug, Clone)]
pub struct Document {
    doc: Automerge,
    index: ChangeIndex,
}

impl Default for Document {
    fn default() -> Self {
        Self::new()
    }
}

impl Document {
    /// A record that nobody has written.
    pub fn new() -> Self {
        Self {
            doc: Automerge::new(),
            index: ChangeIndex::default(),
        }
    }

    /// Reads a document that this device saved. Never given bytes from a peer.
    pub fn load(bytes: &[u8]) -> Result<Self, DocumentError> {
        let doc =
            Automerge::load(bytes).map_err(|error| DocumentError::Damaged(error.to_string()))?;
        let index = ChangeIndex::read(&doc)?;
        Ok(Self { doc, index })
    }

    /// The document, uncompressed (compress it outside: deflated bytes spoil zstd).
    pub fn save(&self) -> Vec<u8> {
        self.doc.save_nocompress()
    }

    /// The dots of the changes that no other change follows, ascending.
    pub fn heads(&self) -> Vec<Dot> {
        let heads = self.doc.get_heads();
        let mut dots: Vec<Dot> = heads
            .iter()
            .filter_map(|hash| self.index.dot_of(hash))
            .collect();
        dots.sort_unstable();
        dots
    }

    /// When the changes were written that no other change follows.
    pub fn head_times(&self) -> impl Iterator<Item = Timestamp> {
        let heads = self.heads().into_iter();
        heads.filter_map(|dot| Some(self.index.find(dot)?.hlc))
    }

    /// Whether no edit has been applied yet.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Whether it holds that change set's edit.
    pub fn contains(&self, dot: Dot) -> bool {
        self.index.find(dot).is_some()
    }

    /// The last change of one log.
    pub fn last_of(&self, log: LogId) -> Option<Dot> {
        let last = self.index.of_log(log).next_back();
        last.map(|change| change.dot)
    }

    /// Whether both documents hold the same changes.
    pub fn is_same(&self, other: &Self) -> bool {
        let heads = |document: &Self| {
            let mut heads = document.doc.get_heads();
            heads.sort_unstable();
            heads
        };
        heads(self) == heads(other)
    }

    /// Every change with its time, causes before effects.
    pub fn changes(&self) -> Vec<(Dot, Timestamp)> {
        self.index
            .iter()
            .map(|change| (change.dot, change.hlc))
            .collect()
    }

    /// The version of the schema that each change was written under.
    pub fn versions(&self) -> BTreeMap<Dot, u32> {
        let changes = self.index.iter();
        changes.map(|change| (change.dot, change.version)).collect()
    }

    /// Rebuilds the Automerge change of `edit`, which was written under that version of the schema, and
    /// applies it. Applying a held dot again does nothing.
    ///
    /// # Errors
    /// The document is unchanged after an error.
    pub fn apply(
        &mut self,
        dot: Dot,
        hlc: Timestamp,
        version: u32,
        edit: &Edit,
    ) -> Result<(), DocumentError> {
        if self.contains(dot) {
            return Ok(());
        }
        let change = rebuild::change(self, dot, hlc, version, edit)?;
        let hash = change.hash();
        let max_op = change.max_op();
        let deps = change.deps().to_vec();
        self.doc
            .apply_changes([change])
            .map_err(|error| DocumentError::Damaged(error.to_string()))?;
        self.index.push(index::IndexedChange {
            dot,
            hlc,
            version,
            hash,
            max_op,
            deps,
        });
        Ok(())
    }

    /// The record as shown under `collection`.
    pub fn view(&self, collection: &Collection, id: &str) -> RecordView {
        let state = self.state(collection);
        let mut view = merge::view(&state, collection, id, self.heads());
        let answered = answers::of_registers(self, &state, collection, id);
        view.answered.extend(answered);
        let latest_first = |answer: &Answered| {
            let Answered {
                review, hlc, dot, ..
            } = answer;
            (review.clone(), Reverse((*hlc, *dot)))
        };
        view.answered.sort_by_key(latest_first);
        view
    }

    /// The review that an answer was given to, with what there was to choose from.
    pub fn review_answered(
        &self,
        collection: &Collection,
        id: &str,
        answer: &Answered,
    ) -> Option<Review> {
        answers::reviews(self, collection, id, answer)
            .into_iter()
            .find(|review| review.id == answer.review)
    }

    /// How every field came to its value, in the schema's order.
    pub fn resolve(&self, collection: &Collection, id: &str) -> Vec<Resolution> {
        merge::explain(&self.state(collection), collection, id)
    }

    /// The unmerged contents as `collection` reads them, with what its policies ask for.
    pub(crate) fn state(&self, collection: &Collection) -> State {
        let mut state = state::read(self);
        carry::carry(self, collection, &mut state);
        let asking = collection
            .fields
            .values()
            .filter(|field| field.provisional == Provisional::Previous);
        for field in asking {
            let candidates = state.registers.get(&field.key);
            if let Some(candidates) = candidates.filter(|standing| standing.len() > 1) {
                let heads = state::shared_heads(self, candidates);
                let (previous, _) = carry::standing_at(self, &collection.lens, &field.key, &heads);
                state.previous.insert(field.key.clone(), previous);
            }
        }
        state
    }

    fn deps_cover_heads(&self, deps: &[ChangeHash]) -> bool {
        self.doc.get_heads().iter().all(|head| deps.contains(head))
    }
}

#[cfg(test)]
mod tests;
