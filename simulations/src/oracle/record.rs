//! The edits of one record as their change sets say them, causes first, and which of them had seen which.
//!
//! Edits stand under the names that their entries have in the store that is read, see [`Branches`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::iter::successors;

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{Dot, LogId};
use crdt_schema::op::{ChangeSet, Edit, Op};
use crdt_schema::value::Value;
use fieldmesh::store::{FeedItem, Reader, StoreError};

use super::branches::Branches;

/// One record's edits, causes first.
#[derive(Default)]
pub(crate) struct Record {
    pub(super) edits: Vec<Node>,
    pub(super) by_dot: BTreeMap<Dot, usize>,
    last_of: BTreeMap<LogId, usize>,
    /// An edit, and what its author had seen of the record and the store does not hold before it.
    pub(super) lacks: Option<(Dot, Dot)>,
}

pub(crate) struct Node {
    pub(super) dot: Dot,
    hlc: Timestamp,
    /// The version of the schema that it was written under.
    pub(crate) version: u32,
    pub(super) ops: Vec<Op>,
    /// Everything that its author had seen of the record.
    pub(super) seen: BTreeSet<usize>,
}

impl Record {
    fn add(&mut self, dot: Dot, set: &ChangeSet, edit: &Edit, branches: &Branches) {
        let mut causes = Vec::new();
        for dep in &edit.deps {
            let meant = branches.meant(*dep, set.tags.get(dep));
            match meant.and_then(|meant| self.by_dot.get(&meant)) {
                Some(index) => causes.push(*index),
                None => self.lacks = Some((dot, *dep)),
            }
        }
        let mut own = successors(Some(dot.log), |log| branches.continued(*log));
        causes.extend(own.find_map(|log| self.last_of.get(&log).copied()));
        let mut seen: BTreeSet<usize> = causes.iter().copied().collect();
        for cause in causes {
            seen.extend(&self.edits[cause].seen);
        }
        let index = self.edits.len();
        self.by_dot.insert(dot, index);
        self.last_of.insert(dot.log, index);
        let ops = edit.ops.clone();
        self.edits.push(Node {
            dot,
            hlc: set.hlc,
            version: set.schema_version,
            ops,
            seen,
        });
    }

    /// The edits that no other had seen, ascending.
    pub(super) fn heads(&self) -> Vec<Dot> {
        let seen: BTreeSet<&usize> = self.edits.iter().flat_map(|node| &node.seen).collect();
        let heads = self
            .by_dot
            .iter()
            .filter(|(_, index)| !seen.contains(index));
        heads.map(|(dot, _)| *dot).collect()
    }

    /// The ops that `is_one` accepts and that no later one of them had seen; the latest first.
    pub(crate) fn standing(&self, is_one: impl Fn(&Op) -> bool) -> Vec<(&Node, &Op)> {
        let all: Vec<(usize, &Node, &Op)> = self
            .edits
            .iter()
            .enumerate()
            .filter_map(|(index, node)| Some((index, node, node.ops.iter().find(|op| is_one(op))?)))
            .collect();
        let is_seen = |index: usize| all.iter().any(|(_, node, _)| node.seen.contains(&index));
        let mut standing: Vec<_> = all
            .iter()
            .filter(|(index, ..)| !is_seen(*index))
            .map(|(_, node, op)| (*node, *op))
            .collect();
        standing.sort_by_key(|(node, _)| Reverse((node.hlc, node.dot)));
        standing
    }

    /// The ops that `is_one` accepts, each with those before it in the log that neither had seen: what one
    /// person did without knowing of the other.
    pub(crate) fn raced(&self, is_one: impl Fn(&Op) -> bool) -> Vec<(Dot, &Op, Vec<&Op>)> {
        let mut before: Vec<(usize, &Op)> = Vec::new();
        let mut raced = Vec::new();
        for (index, node) in self.edits.iter().enumerate() {
            for op in node.ops.iter().filter(|op| is_one(op)) {
                let unseen = before
                    .iter()
                    .filter(|(other, _)| !node.seen.contains(other));
                let unseen = unseen.filter(|(other, _)| *other != index);
                raced.push((node.dot, op, unseen.map(|(_, op)| *op).collect()));
                before.push((index, op));
            }
        }
        raced
    }

    /// Whether some edit of a field neither saw a deletion nor was seen by it.
    pub(crate) fn has_raced_deletion(&self) -> bool {
        let raced = self.raced(|_| true);
        let is_delete = |op: &Op| matches!(op, Op::Delete { .. });
        let is_edit = |op: &Op| op.key().is_some();
        raced.iter().any(|(_, op, others)| {
            others
                .iter()
                .any(|other| (is_delete(op) && is_edit(other)) || (is_edit(op) && is_delete(other)))
        })
    }
}

/// All records, by collection and id.
pub(crate) type Records = BTreeMap<(String, String), Record>;

/// All records of a store.
pub(crate) fn records(reader: &Reader) -> Result<Records, StoreError> {
    let items = reader.feed(0, usize::MAX)?;
    let is_forked = items.iter().any(|item| item.header.branch_of.is_some());
    let branches = match is_forked {
        true => Branches::read(reader)?,
        false => Branches::default(),
    };
    Ok(gathered(&items, &branches))
}

pub(super) fn gathered(items: &[FeedItem], branches: &Branches) -> Records {
    let mut records = Records::new();
    for item in items {
        let dot = Dot::new(item.header.log, item.seq);
        for edit in &item.set.edits {
            let key = (edit.collection.clone(), edit.id.clone());
            let record = records.entry(key).or_default();
            record.add(dot, &item.set, edit, branches);
        }
    }
    records
}

pub(crate) fn written(op: &Op) -> &Value {
    match op {
        Op::Set { value, .. } | Op::Resolve { value, .. } => value,
        Op::Add { .. }
        | Op::Insert { .. }
        | Op::Remove { .. }
        | Op::Delete { .. }
        | Op::Restore { .. }
        | Op::Accept { .. } => &Value::Null,
    }
}
