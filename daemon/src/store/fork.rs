//! Settles a fork that has spread: seals the log at the fork point and keeps what is held beyond it as a branch.
//!
//! Everything happens in one transaction: the log's rows, the arrivals, the proof, and the records that the moved
//! entries have touched, which are rebuilt from the logs. So it has happened or it has not.
//! While a log is damaged the records cannot be rebuilt, so the fork waits until the log is mended.
//!
//! The proof is kept, because other devices must be told, and because entries may be on their way to the store when
//! the log is sealed: what follows its end is not written to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crdt_schema::ident::RecordKey;
use redb::{ReadableTable, ReadableTableMetadata, WriteTransaction};

use crate::engine::batch::fork::{ForkProof, Forked, Side};
use crate::engine::batch::repair::Outcome;
use crate::engine::batch::{ForkPoint, LogHeader, Run, VerifiedRun};
use crate::wire::branch::{encode_fork, is_proved};
use crate::wire::chain::{entry_digest, verify_point};
use crate::wire::limits::FORK_DIGESTS_MAX;

use super::commit::Facts;
use super::log::LogWriter;
use super::tables;
use super::trouble::Trouble;

/// The parts of a transaction that the sealing of a log needs.
pub(super) struct Sealing<'a, 'txn> {
    pub(super) tx: &'a WriteTransaction,
    pub(super) facts: Facts<'txn>,
    pub(super) logs: &'a mut LogWriter<'txn>,
    /// The records that must be rebuilt from the logs when all is written.
    pub(super) stale: &'a mut BTreeSet<RecordKey>,
}

/// Where the logs of some runs end for ever.
pub(super) fn seals(
    tx: &WriteTransaction,
    runs: &[VerifiedRun],
) -> Result<BTreeSet<ForkPoint>, Trouble> {
    let forks = tx.open_table(tables::FORKS)?;
    let mut seals = BTreeSet::new();
    if forks.is_empty()? {
        return Ok(seals);
    }
    for log in runs.iter().map(|verified| verified.run.header.signed_as()) {
        let (first, last) = ((log.0, 0, [0; 32]), (log.0, u64::MAX, [u8::MAX; 32]));
        for row in forks.range(first..=last)? {
            let (_, after, chain) = row?.0.value();
            seals.insert(ForkPoint { log, after, chain });
        }
    }
    Ok(seals)
}

/// Whether a log ends at the point for ever.
pub(super) fn is_seal(tx: &WriteTransaction, point: &ForkPoint) -> Result<bool, Trouble> {
    let forks = tx.open_table(tables::FORKS)?;
    Ok(forks.get(tables::fork_key(point))?.is_some())
}

impl Sealing<'_, '_> {
    /// Seals the log of which `run` is another history than is held, or says in words why not.
    pub(super) fn branch(&mut self, run: &Run) -> Result<Result<Outcome, String>, Trouble> {
        let log = run.header.log;
        let Some(row) = self.logs.find(log)?.cloned() else {
            return Ok(Err("the log is not held".to_owned()));
        };
        let is_fitting = row.header.signed_as() == run.header.signed_as()
            && run.from > row.header.base()
            && run.from <= row.seq
            && (1..=FORK_DIGESTS_MAX).contains(&run.entries.len());
        if !is_fitting {
            return Ok(Err("the run is not of what is held".to_owned()));
        }
        let chain = match self.logs.fork_point(log, run.from)? {
            Ok((chain, _)) => chain,
            Err(why) => return Ok(Err(why)),
        };
        let ours = match self.logs.side(log, run.from)? {
            Ok(side) => side,
            Err(why) => return Ok(Err(why)),
        };
        let theirs = Side {
            digests: run
                .entries
                .iter()
                .map(|entry| entry_digest(entry))
                .collect(),
            signature: run.signature,
        };
        let mut sides = [ours, theirs];
        sides.sort_by_key(|side| side.digests.first().copied());
        self.seal(&Arc::new(ForkProof {
            header: row.header.whole(),
            after: run.from - 1,
            chain,
            sides,
        }))
    }

    /// Seals the log that forks as `proof` says, whether its end is held or not.
    pub(super) fn seal(
        &mut self,
        proof: &Arc<ForkProof>,
    ) -> Result<Result<Outcome, String>, Trouble> {
        let organisation = &self.facts.organisation;
        let is_signed = |header: &LogHeader, seq, chain: &[u8; 32], signature: &[u8; 64]| {
            verify_point(organisation, header, seq, chain, signature)
        };
        if !is_proved(proof, is_signed) {
            return Ok(Err("the fork is not proved".to_owned()));
        }
        let point = proof.point();
        {
            let mut forks = self.tx.open_table(tables::FORKS)?;
            let key = tables::fork_key(&point);
            if forks.get(key)?.is_some() {
                return Ok(Ok(Outcome::Known));
            }
            forks.insert(key, encode_fork(proof).as_slice())?;
        }
        let mut forked = Forked {
            proof: Arc::clone(proof),
            ends: Vec::new(),
            moved: 0,
        };
        if let Some(log) = self.logs.beyond(&point)? {
            let split = self.logs.split(self.tx, log, point)?;
            forked.moved = split.sets.len() as u64;
            // A proof may name another space than the log is in, if its author has made two logs of one name.
            let space = &split.ends[0].header.space;
            for edit in split.sets.iter().flat_map(|set| &set.edits) {
                self.stale.insert(RecordKey {
                    space: space.clone(),
                    collection: edit.collection.clone(),
                    id: edit.id.clone(),
                });
            }
            forked.ends.extend(split.ends);
        }
        Ok(Ok(Outcome::Forked(forked)))
    }
}
