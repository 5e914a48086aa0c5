//! Settles a fork of a log of this device: what only this device has is written again in a new log.
//!
//! A store that went back in time unnoticed, or a copy, writes other entries at positions that others hold.
//! The signature of one of theirs is the proof. The tail that nobody else holds leaves its log and becomes
//! change sets of a new one: the same ops by the same person, after the same causes, in the same order. Its
//! own logs' entries that build on the tail move with it.
//!
//! Everything happens in one transaction, so it happens once. What other devices are known to hold is never
//! taken out: then nothing moves, and the caller seals the log at the fork and keeps both ends as branches.

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::document::Document;
use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{Dot, LogId, RecordKey};
use crdt_schema::op::{ChangeSet, Edit};
use redb::WriteTransaction;

use crate::engine::batch::repair::Outcome;
use crate::engine::batch::{Held, LogHeader, Run};
use crate::wire::chain::{chain_next, verify_point};
use crate::wire::changeset::encode_change_set;
use crate::wire::limits::{DEPS_MAX, ENTRY_BYTES_MAX};

use super::commit::Facts;
use super::log::LogWriter;
use super::record::RecordWriter;
use super::trouble::Trouble;

/// What is to move: for each log the first entry that does, and every change set.
#[derive(Default)]
struct Moving {
    cuts: BTreeMap<LogId, u64>,
    sets: BTreeMap<Dot, ChangeSet>,
}

/// The parts of a transaction that a settlement needs.
pub(super) struct Settlement<'a, 'txn> {
    pub(super) tx: &'a WriteTransaction,
    pub(super) facts: Facts<'txn>,
    pub(super) logs: &'a mut LogWriter<'txn>,
    pub(super) records: &'a mut RecordWriter<'txn>,
    /// The records that must be rebuilt from the logs when all is written.
    pub(super) stale: &'a mut BTreeSet<RecordKey>,
}

impl Settlement<'_, '_> {
    /// Settles the fork that `run` proves, or says in words why not. Then nothing has been written.
    pub(super) fn settle(
        &mut self,
        run: &Run,
        shared: &Held,
        into: &LogHeader,
    ) -> Result<Result<Outcome, String>, Trouble> {
        if let Err(why) = self.prove(run, into)? {
            return Ok(Err(why));
        }
        let moving = self.gather(run)?;
        if let Some(dot) = moving.sets.keys().find(|dot| shared.holds(dot)) {
            return Ok(Err(format!("another device holds {dot} of this branch")));
        }
        if let Some(log) = self.followed_by(&moving, into)? {
            return Ok(Err(format!(
                "log {log} of another device builds on this branch"
            )));
        }
        let (moved, entries) = match self.write_again(&moving, into) {
            Ok(Ok(written)) => written,
            Ok(Err(why)) => return Ok(Err(why)),
            Err(trouble @ (Trouble::Damaged(_) | Trouble::Unread(..))) => {
                return Ok(Err(trouble.words()));
            }
            Err(trouble) => return Err(trouble),
        };
        let mut ends = Vec::new();
        for (&log, &from) in &moving.cuts {
            ends.extend(self.logs.cut(self.tx, log, from)?);
        }
        self.logs.adopt(&into.space, into.log)?;
        for (entry, set) in &entries {
            self.logs.append_own(into, entry, set)?;
        }
        for edit in moving.sets.values().flat_map(|set| &set.edits) {
            self.stale.insert(key_of(into, edit));
        }
        Ok(Ok(Outcome::Settled { ends, moved }))
    }

    /// Whether the run is this device's own and differs from what is held.
    fn prove(&mut self, run: &Run, into: &LogHeader) -> Result<Result<(), String>, Trouble> {
        let Some(row) = self.logs.find(run.header.log)?.cloned() else {
            return Ok(Err("the log is not held".to_owned()));
        };
        let own = self.facts.signer.verifying_key().to_bytes();
        let is_ours = row.header == run.header && row.header.device.0 == own;
        if !is_ours || into.device.0 != own || into.space != row.header.space {
            return Ok(Err("the log is not this device's".to_owned()));
        }
        if run.from == 0 || run.from > row.seq || run.entries.is_empty() {
            return Ok(Err("the run is not of what is held".to_owned()));
        }
        if self.logs.find(into.log)?.is_some() {
            return Ok(Err("the log to write in is not new".to_owned()));
        }
        let (before, ours) = match self.logs.fork_point(run.header.log, run.from)? {
            Ok(found) => found,
            Err(why) => return Ok(Err(why)),
        };
        if run.entries.first() == Some(&ours) {
            return Ok(Err("both branches have the same entry there".to_owned()));
        }
        let chain = run
            .entries
            .iter()
            .fold(before, |c, entry| chain_next(&c, entry));
        let (organisation, header) = (&self.facts.organisation, &run.header);
        if !verify_point(organisation, header, run.last(), &chain, &run.signature) {
            return Ok(Err("the run is no branch of what is held".to_owned()));
        }
        Ok(Ok(()))
    }

    /// The tail, and what builds on it in this device's other logs, which are prefixes too.
    fn gather(&mut self, run: &Run) -> Result<Moving, Trouble> {
        let mut moving = Moving::default();
        self.take(&mut moving, run.header.log, run.from)?;
        let Some(row) = self.logs.find(run.header.log)?.cloned() else {
            return Ok(moving);
        };
        let logs = self.logs.in_space(&row.header.space)?.into_iter();
        let own = logs.filter(|header| header.device == row.header.device);
        let own: Vec<LogId> = own.map(|header| header.log).collect();
        loop {
            let mut grown = false;
            for &log in &own {
                let until = moving.cuts.get(&log).copied().unwrap_or(u64::MAX);
                let first = self.logs.first(log, |set| builds_on(set, &moving))?;
                if let Some(from) = first.filter(|from| *from < until) {
                    self.take(&mut moving, log, from)?;
                    grown = true;
                }
            }
            if !grown {
                return Ok(moving);
            }
        }
    }

    /// The log of another device, held here, that builds on what is to move, or may: its author held it, whatever is
    /// told of that device now.
    fn followed_by(&mut self, moving: &Moving, into: &LogHeader) -> Result<Option<LogId>, Trouble> {
        let mut logs = self.logs.in_space(&into.space)?;
        logs.retain(|header| header.device != into.device);
        for LogHeader { log, .. } in logs {
            match self.logs.first(log, |set| builds_on(set, moving)) {
                Ok(None) => {}
                Ok(Some(_)) | Err(Trouble::Damaged(_) | Trouble::Unread(..)) => {
                    return Ok(Some(log));
                }
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(None)
    }

    fn take(&mut self, moving: &mut Moving, log: LogId, from: u64) -> Result<(), Trouble> {
        let sets = self.logs.tail(log, from)?;
        moving.cuts.insert(log, from);
        for (seq, set) in (from..).zip(sets) {
            moving.sets.insert(Dot::new(log, seq), set);
        }
        Ok(())
    }

    /// The new entries with their change sets, and which change set became which.
    #[allow(clippy::type_complexity, reason = "two lists of one walk")]
    fn write_again(
        &mut self,
        moving: &Moving,
        into: &LogHeader,
    ) -> Result<Result<(Vec<(Dot, Dot)>, Vec<(Vec<u8>, ChangeSet)>), String>, Trouble> {
        let mut order: Vec<(&Dot, &ChangeSet)> = moving.sets.iter().collect();
        // One device's times grow with its causes.
        order.sort_by_key(|(dot, set)| (set.hlc, **dot));
        let (mut moved, mut entries) = (Vec::new(), Vec::new());
        let mut last = Timestamp::default();
        for (seq, (dot, set)) in (1..).zip(order) {
            // A log that it depends on may have been sealed since.
            let mut set = self.logs.renamed(set)?.into_owned();
            set.hlc = set.hlc.max(Timestamp(last.0.saturating_add(1)));
            last = set.hlc;
            for edit in &mut set.edits {
                let key = key_of(into, edit);
                let previous = self.previous(&key, *dot, moving)?;
                let kept = edit.deps.iter().copied().chain(previous);
                let kept: BTreeSet<Dot> =
                    kept.filter(|dep| !moving.sets.contains_key(dep)).collect();
                edit.deps = kept.into_iter().take(DEPS_MAX).collect();
            }
            set.tags = self.logs.tags_of(&set.edits)?;
            // What it pointed to may move as well, so it names its records.
            set.implied.clear();
            let entry = encode_change_set(&set);
            if entry.len() > ENTRY_BYTES_MAX {
                return Ok(Err(format!(
                    "change set {dot} is too large to be written again"
                )));
            }
            moved.push((*dot, Dot::new(into.log, seq)));
            entries.push((entry, set));
        }
        Ok(Ok((moved, entries)))
    }

    /// The edit of the record that came before `dot` in its log: in that log it needed no mention.
    fn previous(
        &mut self,
        key: &RecordKey,
        dot: Dot,
        moving: &Moving,
    ) -> Result<Option<Dot>, Trouble> {
        let cut = moving.cuts.get(&dot.log).copied().unwrap_or(dot.seq);
        let changes = match self.records.document(key) {
            Ok(doc) => Document::changes(doc),
            // The document is rebuilt below; what its log had said before counts as not seen.
            Err(Trouble::Damaged(_)) => Vec::new(),
            Err(trouble) => return Err(trouble),
        };
        let before = changes.into_iter().map(|(dot, _)| dot);
        let before = before.filter(|other| other.log == dot.log && other.seq < cut);
        Ok(before.max())
    }
}

fn builds_on(set: &ChangeSet, moving: &Moving) -> bool {
    let mut deps = set.edits.iter().flat_map(|edit| &edit.deps);
    deps.any(|dep| moving.sets.contains_key(dep))
}

fn key_of(log: &LogHeader, edit: &Edit) -> RecordKey {
    RecordKey {
        space: log.space.clone(),
        collection: edit.collection.clone(),
        id: edit.id.clone(),
    }
}
