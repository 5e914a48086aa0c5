//! CONTRACT (implementation in progress): one record's merge state, an Automerge document.
use crate::hlc::Timestamp;
use crate::ident::Dot;
use crate::op::Edit;
use crate::resolution::{RecordView, Resolution};
use crate::schema::Collection;

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
}

/// One record's merge state.
#[derive(Debug, Clone)]
pub struct Document {}

#[allow(unused_variables, missing_docs, clippy::todo)]
impl Document {
    pub fn new() -> Self { todo!() }
    /// Reads a document that this device saved. Never given bytes from a peer.
    pub fn load(bytes: &[u8]) -> Result<Self, DocumentError> { todo!() }
    /// The document, uncompressed (compress it outside: deflated bytes spoil zstd).
    pub fn save(&self) -> Vec<u8> { todo!() }
    /// The dots of the changes that no other change follows, ascending.
    pub fn heads(&self) -> Vec<Dot> { todo!() }
    /// Whether no edit has been applied yet.
    pub fn is_empty(&self) -> bool { todo!() }
    /// Whether it holds that change set's edit.
    pub fn contains(&self, dot: Dot) -> bool { todo!() }
    /// Every change with its time, oldest first in causal order.
    pub fn changes(&self) -> Vec<(Dot, Timestamp)> { todo!() }
    /// Rebuilds the Automerge change of `edit` and applies it. Applying a held dot again does nothing.
    pub fn apply(&mut self, dot: Dot, hlc: Timestamp, edit: &Edit) -> Result<(), DocumentError> { todo!() }
    /// The record as shown under `collection`.
    pub fn view(&self, collection: &Collection, id: &str) -> RecordView { todo!() }
    /// How every field came to its value, in the schema's order.
    pub fn resolve(&self, collection: &Collection, id: &str) -> Vec<Resolution> { todo!() }
}
