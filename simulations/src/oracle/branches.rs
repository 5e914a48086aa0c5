//! What entries of a settled store mean by each other, where logs have forked.
//!
//! An author names an entry by the log that it saw it in. That log may have been sealed since, and then the entry lies
//! in a branch of it: the tag beside the name, the first bytes of the entry's chain value, tells in which. The
//! author's own entries are not named at all: what a branch continues is the author's too.
//!
//! The chain values are worked out from the bytes of the entries, so nothing here asks the store what it makes of a
//! name. Two branches of a log may have entries of one tag at one place; then the store's choice is the rule: the log
//! that is named, or else the branch with the smallest id.

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::ident::{Dot, LogId};
use crdt_schema::op::DotTag;
use fieldmesh::engine::batch::{ForkPoint, Held, LogHeader, Walk};
use fieldmesh::store::{Reader, StoreError};
use fieldmesh::wire::chain::{chain_next, chain_start};

use crate::device::ORGANISATION;

/// The logs and branches of a store, by what is hashed into them. The default is for stores without a branch: there
/// every name means what it says.
#[derive(Default)]
pub(super) struct Branches {
    pub(super) chains: BTreeMap<Dot, [u8; 32]>,
    points: BTreeMap<LogId, ForkPoint>,
    /// The branches of each forked log, by the id that its device gave it.
    families: BTreeMap<LogId, BTreeSet<LogId>>,
}

impl Branches {
    /// Reads all logs.
    pub(super) fn read(reader: &Reader) -> Result<Self, StoreError> {
        let mut this = Self::default();
        for run in reader
            .fetch(&Walk::default(), &Held::new(), usize::MAX)?
            .runs
        {
            let log = run.header.log;
            let before = this.chains.get(&Dot::new(log, run.from - 1)).copied();
            let mut chain = before.unwrap_or_else(|| chain_start(&ORGANISATION, &run.header));
            for (seq, entry) in (run.from..).zip(&run.entries) {
                chain = chain_next(&chain, entry);
                this.chains.insert(Dot::new(log, seq), chain);
            }
            this.note(&run.header);
        }
        Ok(this)
    }

    pub(super) fn note(&mut self, header: &LogHeader) {
        if let Some(point) = header.branch_of {
            self.points.insert(header.log, point);
            self.families
                .entry(point.log)
                .or_default()
                .insert(header.log);
        }
    }

    /// The names that an entry may have here: the given one, then those in the branches of its log.
    fn names(&self, dot: Dot) -> impl Iterator<Item = Dot> {
        let whole = self.points.get(&dot.log).map_or(dot.log, |point| point.log);
        let family = self.families.get(&whole).into_iter().flatten();
        let logs = [dot.log].into_iter().chain(family.copied());
        logs.map(move |log| Dot::new(log, dot.seq))
    }

    /// The name here of the entry that an author named `dot` and tagged; nothing if it is not held.
    pub(super) fn meant(&self, dot: Dot, tag: Option<&DotTag>) -> Option<Dot> {
        if self.families.is_empty() {
            return Some(dot);
        }
        let is_it = |name: &Dot| {
            let chain = self.chains.get(name);
            chain.is_some_and(|chain| tag.is_none_or(|tag| chain.starts_with(tag)))
        };
        self.names(dot).find(is_it)
    }

    /// The log that a branch continues; nothing of a log, or of a branch that leaves its log at the beginning.
    pub(super) fn continued(&self, branch: LogId) -> Option<LogId> {
        let point = self.points.get(&branch)?;
        let mut ends = self.names(Dot::new(point.log, point.after));
        let end = ends.find(|end| self.chains.get(end) == Some(&point.chain));
        end.map(|end| end.log)
    }
}

/// A log that is sealed after its first entry and goes on in two branches.
#[cfg(test)]
pub(super) fn forked() -> (Branches, [LogHeader; 3]) {
    let whole = LogHeader {
        log: LogId([1; 16]),
        space: crdt_schema::ident::SpaceName::default(),
        device: crdt_schema::ident::DeviceId([1; 32]),
        name: String::new(),
        branch_of: None,
    };
    let point = ForkPoint {
        log: whole.log,
        after: 1,
        chain: [1; 32],
    };
    let headers = [5, 6].map(|id| whole.branch(point, LogId([id; 16])));
    let mut branches = Branches::default();
    branches.chains.insert(Dot::new(whole.log, 1), [1; 32]);
    for header in &headers {
        branches
            .chains
            .insert(Dot::new(header.log, 2), [header.log.0[0]; 32]);
        branches.note(header);
    }
    let [one, other] = headers;
    (branches, [whole, one, other])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogId = LogId([1; 16]);

    #[test]
    fn a_name_means_the_branch_that_its_tag_tells() {
        let (branches, [_, one, other]) = forked();
        let meant = |seq, tag: DotTag| branches.meant(Dot::new(LOG, seq), Some(&tag));

        assert_eq!(meant(1, [1; 2]), Some(Dot::new(LOG, 1)));
        assert_eq!(meant(2, [5; 2]), Some(Dot::new(one.log, 2)));
        assert_eq!(meant(2, [6; 2]), Some(Dot::new(other.log, 2)));
        assert_eq!(meant(2, [7; 2]), None);
        let named = branches.meant(Dot::new(one.log, 2), Some(&[6; 2]));
        assert_eq!(named, Some(Dot::new(other.log, 2)), "a branch forks again");
    }

    #[test]
    fn a_branch_continues_the_log_that_ends_where_it_begins() {
        let (mut branches, [whole, one, _]) = forked();
        let again = ForkPoint {
            log: LOG,
            after: 2,
            chain: [5; 32],
        };
        branches.note(&whole.branch(again, LogId([7; 16])));

        assert_eq!(branches.continued(LOG), None);
        assert_eq!(branches.continued(one.log), Some(LOG));
        assert_eq!(branches.continued(LogId([7; 16])), Some(one.log));
    }
}
