//! Change sets: what one commit says, in intents. They are the truth that devices exchange; documents
//! are rebuilt from them.

use std::collections::BTreeMap;

use crate::hlc::Timestamp;
use crate::ident::Dot;
use crate::value::Value;

/// One intent on one field, or on the record's life.
#[derive(Clone, PartialEq, Debug)]
pub enum Op {
    /// Sets a register.
    Set {
        /// The field's stored key.
        key: String,
        /// The new value; [`Value::Null`] clears it.
        value: Value,
    },
    /// Adds to a counter.
    Add {
        /// The field's stored key.
        key: String,
        /// What to add; may be negative.
        delta: i64,
    },
    /// Puts an element into a set.
    Insert {
        /// The field's stored key.
        key: String,
        /// The element.
        element: Value,
    },
    /// Takes an element out of a set.
    Remove {
        /// The field's stored key.
        key: String,
        /// The element.
        element: Value,
    },
    /// Marks the record deleted. The record's fields stay.
    Delete {
        /// Why, in the deleter's words; may be empty.
        reason: String,
    },
    /// Marks the record alive.
    Restore {
        /// Why, in the restorer's words; may be empty.
        reason: String,
    },
    /// A person's answer to a review of a register: sets it and supersedes every candidate seen.
    Resolve {
        /// The field's stored key.
        key: String,
        /// The value decided on.
        value: Value,
        /// Why, in the reviewer's words; may be empty.
        note: String,
    },
    /// A person has seen what a review is about, and it may stay.
    Accept {
        /// The review's id.
        review: String,
        /// Why, in the reviewer's words; may be empty.
        note: String,
    },
}

impl Op {
    /// The field's stored key, or `None` for ops on the record as a whole.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Set { key, .. }
            | Self::Add { key, .. }
            | Self::Insert { key, .. }
            | Self::Remove { key, .. }
            | Self::Resolve { key, .. } => Some(key),
            Self::Delete { .. } | Self::Restore { .. } | Self::Accept { .. } => None,
        }
    }
}

/// One record's part of a change set.
#[derive(Clone, PartialEq, Debug)]
pub struct Edit {
    /// The record's collection.
    pub collection: String,
    /// The record's id.
    pub id: String,
    /// What the author had seen of this record: its document's heads, in ascending order, *without* dots
    /// of the author's own log. The author's previous edit of the record is always implied.
    pub deps: Vec<Dot>,
    /// The intents, at most one for each register, counter or set element.
    pub ops: Vec<Op>,
}

/// One log entry: an atomic set of edits to one or more records of one space. At most one edit for each
/// record.
#[derive(Clone, PartialEq, Debug)]
pub struct ChangeSet {
    /// When it was written, by the author's hybrid clock. Grows within a log.
    pub hlc: Timestamp,
    /// The version of the schema that the author wrote under.
    pub schema_version: u32,
    /// The person who wrote it, as the device knows them; empty if it does not.
    pub person: String,
    /// The edits.
    pub edits: Vec<Edit>,
    /// Which entry is meant by each dependency, should its log be forked: one tag for every dot that an
    /// edit depends on.
    pub tags: BTreeMap<Dot, DotTag>,
    /// The edits whose record the change set's bytes do not name, by their places in `edits`. Until the record
    /// has been looked up, such an edit has an empty collection and id.
    pub implied: BTreeMap<usize, Implied>,
}

/// Tells the record of an edit by an earlier edit of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Implied {
    /// How many entries before this one the earlier edit is in the author's own log; 0 if it is in the entry of
    /// the edit's first dependency, as it is whenever there is one.
    pub back: u64,
    /// The earlier edit's place in its entry.
    pub edit: usize,
}

/// The first bytes of the chain value of an entry: tells it from an entry of another branch at the same
/// position, which its dot does not.
pub type DotTag = [u8; 2];
