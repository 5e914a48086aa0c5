//! Joins batches into one durable transaction.
//!
//! Each batch is refused or written as a whole, in order; a refused one leaves nothing behind and
//! the others go on. If the transaction itself fails, every outcome says so.
//!
//! Remote entries have been verified by the engine, but against what it expected to be written by
//! now. If a transaction before this one failed, or left something out, that is more than there is, so here
//! they are asked again to continue their logs and to come after their causes; those that do not are left
//! out. An entry that a document cannot take is kept in its log all the same, because the log is the truth
//! and replicas must not differ in it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::document::Document;
use crdt_schema::ident::{Dot, LogId, OrganisationId, RecordKey};
use crdt_schema::op::{ChangeSet, Edit, Op};
use crdt_schema::schema::Schema;
use ed25519_dalek::SigningKey;
use redb::WriteTransaction;

use crate::engine::batch::repair::{Outcome, Repair, Repaired};
use crate::engine::batch::{
    Arrival, Batch, CommitOutcome, CommitReport, FrontierRow, LocalCommit, PeerRow, Rejection,
    RemoteOutcome, SessionId, StoreFault,
};
use crate::mutation::{Mutation, is_planted};

use super::author::{Author, Refusal};
use super::branches::continued;
use super::catalogue::Found;
use super::database::Ending;
use super::fork::Sealing;
use super::kept::Kept;
use super::log::LogWriter;
use super::reading::Stamp;
use super::record::RecordWriter;
use super::retry::RetryWriter;
use super::settle::Settlement;
use super::trouble::Trouble;
use super::{catalogue, fork, heal, meta, peers};

mod remote;

type LocalResult = Result<CommitOutcome, Rejection>;

/// Fixed facts that every transaction needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'s> {
    pub(super) organisation: OrganisationId,
    pub(super) signer: &'s SigningKey,
    pub(super) schema: &'s Schema,
    pub(super) stamp: Stamp,
    /// The last arrival so far.
    pub(super) arrival: Arrival,
}

/// Writes the batches.
pub(super) fn commit(
    tx: &WriteTransaction,
    facts: Facts<'_>,
    batches: &[Batch],
    kept: Kept,
) -> Result<Ending<Committed>, Trouble> {
    if batches.iter().all(|batch| matches!(batch, Batch::Peer(_))) {
        return peers::commit(tx, facts, batches, kept);
    }
    let mut joined = Joined::new(tx, facts, kept)?;
    for batch in batches {
        joined.records.relieve()?;
        match batch {
            Batch::Local(commit) => {
                let result = joined.local(commit)?;
                joined.report.local.push((commit.request, result));
            }
            Batch::Remote { batch, runs } => {
                let seals = fork::seals(tx, runs)?;
                let result = joined.remote(runs, &seals)?;
                let (result, left_out) = match result {
                    Ok(left_out) => (Ok(()), left_out),
                    Err(fault) => (Err(fault), Vec::new()),
                };
                joined.report.remote.push(RemoteOutcome {
                    batch: *batch,
                    result,
                    left_out,
                });
            }
            Batch::Peer(peer) => joined.peer(tx, peer)?,
            Batch::Repair(session, repair) => joined.repair(tx, *session, repair)?,
        }
    }
    joined.finish(tx)
}

/// What a transaction has done.
pub(super) struct Committed {
    pub(super) report: CommitReport,
    /// Whether a schema was published in it.
    pub(super) has_published: bool,
    /// For the next transaction.
    pub(super) kept: Kept,
}

/// The report of a transaction that failed.
pub(super) fn failed_report(
    batches: &[Batch],
    trouble: &Trouble,
    arrival: Arrival,
) -> CommitReport {
    let fault = &trouble.fault();
    let mut report = CommitReport {
        arrival,
        damaged: trouble.place().into_iter().collect(),
        ..CommitReport::default()
    };
    for batch in batches {
        match batch {
            Batch::Local(commit) => {
                report
                    .local
                    .push((commit.request, Err(Rejection::Store(fault.clone()))));
            }
            Batch::Remote { batch, .. } => {
                let result = match is_planted(Mutation::FailureSwallowed) {
                    true => Ok(()),
                    false => Err(fault.clone()),
                };
                report.remote.push(RemoteOutcome {
                    batch: *batch,
                    result,
                    left_out: Vec::new(),
                });
            }
            Batch::Repair(session, repair) => report.repairs.push(Repaired {
                session: *session,
                log: repair.log(),
                result: Err(fault.to_string()),
            }),
            Batch::Peer(_) => {}
        }
    }
    report
}

/// The name that a change set has after a repair, if it has another one than before.
fn new_name(outcome: &Outcome, dot: Dot) -> Option<Dot> {
    match outcome {
        Outcome::Settled { moved, .. } => {
            let moved = moved.iter().find(|(was, _)| *was == dot);
            moved.map(|(_, is)| *is)
        }
        Outcome::Forked(forked) => {
            let point = forked.proof.point();
            let mut ends = forked.ends.iter();
            let has_moved = ends.any(|end| end.header.log == dot.log && end.seq < dot.seq);
            let mut ends = forked.ends.iter().filter(|_| has_moved);
            let branch = ends.find(|end| end.header.branch_of == Some(point))?;
            Some(Dot::new(branch.header.log, dot.seq))
        }
        Outcome::Mended { .. } | Outcome::Known => None,
    }
}

/// One transaction over several batches.
struct Joined<'txn> {
    facts: Facts<'txn>,
    logs: LogWriter<'txn>,
    records: RecordWriter<'txn>,
    retries: RetryWriter<'txn>,
    report: CommitReport,
    /// Where the logs end that remote batches were about.
    held_rows: BTreeMap<LogId, FrontierRow>,
    /// Records whose stored document does not read back.
    damaged: BTreeSet<RecordKey>,
    /// Schemas that were published.
    found: Vec<Found>,
    has_writes: bool,
}

impl<'txn> Joined<'txn> {
    fn new(
        tx: &'txn WriteTransaction,
        facts: Facts<'txn>,
        mut kept: Kept,
    ) -> Result<Self, Trouble> {
        let mut logs = LogWriter::new(tx, facts.organisation, facts.signer)?;
        logs.packer = std::mem::take(&mut kept.entry_packer);
        logs.adopted = std::mem::take(&mut kept.adopted);
        Ok(Self {
            facts,
            logs,
            records: RecordWriter::new(tx, facts.schema, facts.stamp, kept)?,
            retries: RetryWriter::new(tx),
            report: CommitReport::default(),
            held_rows: BTreeMap::new(),
            damaged: BTreeSet::new(),
            found: Vec::new(),
            has_writes: false,
        })
    }

    fn local(&mut self, commit: &LocalCommit) -> Result<LocalResult, Trouble> {
        let Self {
            facts,
            logs,
            records,
            retries,
            report,
            ..
        } = self;
        records.settle()?;
        let mut author = Author {
            schema: facts.schema,
            logs,
            records,
            retries,
            damaged: &mut report.damaged,
        };
        match author.write(commit) {
            Ok(outcome) => {
                self.has_writes |= !outcome.replayed;
                if !outcome.replayed {
                    let (dot, hlc) = (outcome.dot, outcome.hlc);
                    let edits = commit.edits.iter();
                    self.found.extend(edits.filter_map(|edit| {
                        Found::read(&edit.collection, &edit.id, &edit.ops, dot, hlc)
                    }));
                }
                Ok(Ok(outcome))
            }
            Err(Refusal::Rejected(rejection)) => Ok(Err(rejection)),
            Err(Refusal::Damaged(key, why)) => {
                self.mark_damaged(key, &why);
                let fault = StoreFault::Failed(format!("{why}; it is rebuilt from the log, retry"));
                Ok(Err(Rejection::Store(fault)))
            }
            Err(Refusal::Failed(trouble)) => Err(trouble),
        }
    }

    fn apply(
        &mut self,
        key: RecordKey,
        dot: Dot,
        set: &ChangeSet,
        edit: &Edit,
        ancestors: &[LogId],
    ) -> Result<(), Trouble> {
        let (hlc, version) = (set.hlc, set.schema_version);
        self.found
            .extend(Found::read(&key.collection, &key.id, &edit.ops, dot, hlc));
        let applied = |doc: &mut Document| {
            let edit = continued(doc, dot, edit, ancestors);
            doc.apply(dot, hlc, version, &edit)
        };
        match self.records.change(&key, applied) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::error!(%key, %dot, %error, "an entry was kept but not applied");
                Ok(())
            }
            Err(Trouble::Damaged(why)) => {
                self.mark_damaged(key, &why);
                Ok(())
            }
            Err(trouble) => Err(trouble),
        }
    }

    fn mark_damaged(&mut self, key: RecordKey, why: &str) {
        tracing::error!(why, "a damaged record is rebuilt from the log");
        self.damaged.insert(key);
    }

    fn peer(&mut self, tx: &WriteTransaction, peer: &PeerRow) -> Result<(), Trouble> {
        self.has_writes = true;
        peers::put(tx, peer)
    }

    fn repair(
        &mut self,
        tx: &WriteTransaction,
        session: SessionId,
        repair: &Repair,
    ) -> Result<(), Trouble> {
        let result = match repair {
            Repair::Mend(run) => {
                let mended = self.logs.mend(tx, run)?;
                mended.map(|entries| Outcome::Mended { entries })
            }
            Repair::Settle { run, shared, into } => {
                let mut settlement = Settlement {
                    tx,
                    facts: self.facts,
                    logs: &mut self.logs,
                    records: &mut self.records,
                    stale: &mut self.damaged,
                };
                match settlement.settle(run, shared, into) {
                    // Others hold this end of the log as well: both stay.
                    Ok(Err(_)) => self.sealed(tx, |sealing| sealing.branch(run))?,
                    Err(trouble @ (Trouble::Damaged(_) | Trouble::Unread(..))) => {
                        Err(trouble.words())
                    }
                    other => other?,
                }
            }
            Repair::Branch(run) => self.sealed(tx, |sealing| sealing.branch(run))?,
            Repair::Fork(proof) => self.sealed(tx, |sealing| sealing.seal(proof))?,
        };
        if let Ok(outcome) = &result {
            self.has_writes = true;
            self.retries.rename(|dot| new_name(outcome, dot))?;
        }
        self.report.repairs.push(Repaired {
            session,
            log: repair.log(),
            result,
        });
        Ok(())
    }

    fn sealed(
        &mut self,
        tx: &WriteTransaction,
        seal: impl FnOnce(&mut Sealing<'_, 'txn>) -> Result<Result<Outcome, String>, Trouble>,
    ) -> Result<Result<Outcome, String>, Trouble> {
        seal(&mut Sealing {
            tx,
            facts: self.facts,
            logs: &mut self.logs,
            stale: &mut self.damaged,
        })
    }

    fn finish(self, tx: &WriteTransaction) -> Result<Ending<Committed>, Trouble> {
        let Self {
            facts,
            mut logs,
            mut records,
            retries,
            mut report,
            mut held_rows,
            ..
        } = self;
        records.flush()?;
        // The tables must be closed before they are opened again below.
        let mut kept = records.into_kept();
        kept.entry_packer = std::mem::take(&mut logs.packer);
        kept.adopted = std::mem::take(&mut logs.adopted);
        drop(retries);
        let (moved, arrival) = logs.finish()?;
        if !self.damaged.is_empty() {
            // Their documents are others from here on.
            kept = Kept::default();
            let healed = heal::rebuild_records(tx, facts.schema, facts.stamp, &self.damaged)?;
            match healed {
                Ok(()) => {}
                Err(trouble) if report.repairs.is_empty() => {
                    let why = trouble.fault();
                    tracing::error!(%why, "the log is damaged too: records stay unreadable");
                    report.damaged.extend(trouble.place());
                }
                // The records would know entries by names that these no longer have. The log must be mended first.
                Err(trouble) => return Err(trouble),
            }
        }
        let has_published = catalogue::write_found(tx, &facts.schema.name, &self.found)?;
        let has_writes = self.has_writes || !moved.is_empty() || !self.damaged.is_empty();
        held_rows.extend(moved.into_iter().map(|row| (row.header.log, row)));
        report.rows = held_rows.into_values().collect();
        report.arrival = arrival;
        if !has_writes {
            kept.adopted.clear();
        }
        let committed = Committed {
            report,
            has_published,
            kept,
        };
        if !has_writes {
            return Ok(Ending::Abort(committed));
        }
        meta::count_commit(tx)?;
        Ok(Ending::Commit(committed))
    }
}

/// The edit as it came, unless a bug is planted that spoils it. `company` is how many came together.
fn mutated(edit: &Edit, company: usize) -> Cow<'_, Edit> {
    let mut edit = Cow::Borrowed(edit);
    if is_planted(Mutation::TombstoneDropped) {
        let is_kept = |op: &Op| !matches!(op, Op::Delete { .. });
        edit.to_mut().ops.retain(is_kept);
    }
    if company > 1 && is_planted(Mutation::AdditionTwice) {
        for op in &mut edit.to_mut().ops {
            if let Op::Add { delta, .. } = op {
                *delta *= 2;
            }
        }
    }
    edit
}
