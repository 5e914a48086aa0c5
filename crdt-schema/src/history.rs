//! What became of every edit of a record: the answer to "where has my entry gone?".
//!
//! There is one entry for each original edit, however it arrived, and none is ever dropped: an edit that
//! lost or was replaced says to which. The order is by hybrid clock and then by dot, the newest first, so
//! every device that holds the same edits tells the same history.
//!
//! What an edit said is not here but in the log; a document keeps only what is needed to merge.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::document::{Document, Lineage, Meeting, State};
use crate::hlc::Timestamp;
use crate::ident::Dot;
use crate::merge::fate;
use crate::op::Op;
use crate::resolution::Fate;
use crate::schema::Collection;

/// The edits that had not seen a given edit, nor it them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Concurrent {
    /// Those that wrote other things, the newest first: information only.
    pub parallel: Vec<Dot>,
    /// Those that wrote different values of the same thing, or deleted what was edited.
    pub conflicts: Vec<Dot>,
}

/// One record's history.
#[derive(Debug)]
pub struct History<'a> {
    collection: &'a Collection,
    id: &'a str,
    state: State,
    lineage: Lineage,
    times: BTreeMap<Dot, Timestamp>,
    versions: BTreeMap<Dot, u32>,
    edits: Vec<(Dot, Timestamp)>,
}

impl<'a> History<'a> {
    /// The history of the record with that document and id.
    pub fn new(document: &Document, collection: &'a Collection, id: &'a str) -> Self {
        let mut edits = document.changes();
        edits.sort_by_key(|&(dot, hlc)| Reverse((hlc, dot)));
        Self {
            collection,
            id,
            state: document.state(collection),
            lineage: Lineage::read(document),
            times: edits.iter().copied().collect(),
            versions: document.versions(),
            edits,
        }
    }

    /// Every edit with its time, the newest first.
    pub fn edits(&self) -> &[(Dot, Timestamp)] {
        &self.edits
    }

    /// What became of one op of the edit.
    pub fn fate(&self, dot: Dot, op: &Op) -> Fate {
        match self.lineage.replaced_by(dot, op) {
            Some(by) => Fate::Superseded { by },
            None => {
                let version = self.versions.get(&dot).copied().unwrap_or_default();
                fate::of_standing(&self.state, self.collection, self.id, (dot, version), op)
            }
        }
    }

    /// The edits concurrent with this one.
    pub fn concurrent(&self, dot: Dot) -> Concurrent {
        let mut met = self.lineage.concurrent(dot);
        met.sort_by_key(|&(other, _)| Reverse((self.times.get(&other), other)));
        let mut concurrent = Concurrent::default();
        for (other, meeting) in met {
            match meeting {
                Meeting::Parallel => concurrent.parallel.push(other),
                Meeting::Conflict => concurrent.conflicts.push(other),
            }
        }
        concurrent
    }
}

#[cfg(test)]
mod tests;
