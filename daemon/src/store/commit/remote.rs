//! Takes what peers sent: checks that it continues what is held, looks up the records that its bytes do not name,
//! and appends it, log by log.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::ident::{Dot, LogId, RecordKey, SpaceName};
use crdt_schema::op::ChangeSet;

use crate::engine::batch::{
    ForkPoint, FrontierRow, LeftOut, LogHeader, Run, StoreFault, VerifiedRun,
};
use crate::wire::chain::chain_next;
use crate::wire::limits::ENTRY_BYTES_MAX;

use super::super::trouble::Trouble;
use super::{Joined, mutated};

impl Joined<'_> {
    /// Writes what can be written. Returns the logs that were left out, each with the reason.
    pub(super) fn remote(
        &mut self,
        runs: &[VerifiedRun],
        seals: &BTreeSet<ForkPoint>,
    ) -> Result<Result<Vec<(LogId, LeftOut)>, StoreFault>, Trouble> {
        // Everything is checked before anything is written.
        let mut ends = BTreeMap::new();
        // From which entry on, and why.
        let mut left_out: BTreeMap<LogId, (u64, LeftOut)> = BTreeMap::new();
        for run in runs {
            if let Some(cause) = self.lacks(&ends, run)? {
                let (log, from) = (run.run.header.log, run.run.from);
                let why = LeftOut::LeftOutBefore(cause);
                left_out.entry(log).or_insert((from, why));
            } else if let Err(why) = self.admit(&mut ends, run)? {
                return Ok(Err(StoreFault::Failed(why)));
            }
        }
        for run in runs {
            let (log, from) = (run.run.header.log, run.run.from);
            if left_out.get(&log).is_some_and(|(first, _)| from >= *first) {
                continue;
            }
            let named = match self.beyond_seal(seals, run)? {
                Some(beyond) => Err(LeftOut::Sealed(beyond)),
                None => self.named(run)?,
            };
            match named {
                Ok(sets) => {
                    self.append_run(run, &sets)?;
                }
                Err(why) => {
                    let why = match why {
                        LeftOut::OtherBranch(dep) if left_out.contains_key(&dep.log) => {
                            LeftOut::LeftOutBefore(dep.log)
                        }
                        why => why,
                    };
                    left_out.insert(log, (from, why));
                    ends.remove(&log);
                }
            }
        }
        // A peer that repeats itself is told where the log ends even if nothing of it was new.
        self.held_rows.extend(ends);
        let left_out = left_out.into_iter().map(|(log, (_, why))| (log, why));
        Ok(Ok(left_out.collect()))
    }

    /// The log that does not reach as far as the run continues it or depends on it: what is missing was left out
    /// or lost. The run was verified when that was not known yet, so it is nobody's fault.
    fn lacks(
        &mut self,
        ends: &BTreeMap<LogId, FrontierRow>,
        verified: &VerifiedRun,
    ) -> Result<Option<LogId>, Trouble> {
        let (run, header) = (&verified.run, &verified.run.header);
        let held = self.end_among(ends, header)?.seq;
        if run.from > held + 1 {
            return Ok(Some(header.log));
        }
        let fresh = verified.sets.iter().skip(held_of_run(held, run));
        let edits = fresh.flat_map(|set| &set.edits);
        for dep in edits.flat_map(|edit| &edit.deps) {
            if !self.holds(ends, &header.space, dep)? {
                return Ok(Some(dep.log));
            }
        }
        Ok(None)
    }

    /// Moves the end of the run's log among `ends` to the end of the run, or says in words why the
    /// run cannot be written.
    fn admit(
        &mut self,
        ends: &mut BTreeMap<LogId, FrontierRow>,
        verified: &VerifiedRun,
    ) -> Result<Result<(), String>, Trouble> {
        let header = &verified.run.header;
        let mut end = self.end_among(ends, header)?;
        if let Err(why) = follow(&mut end, verified) {
            return Ok(Err(why));
        }
        ends.insert(header.log, end);
        Ok(Ok(()))
    }

    /// The first entry of the run that follows the end of a sealed log. It was on its way when the fork was settled.
    fn beyond_seal(
        &mut self,
        seals: &BTreeSet<ForkPoint>,
        verified: &VerifiedRun,
    ) -> Result<Option<Dot>, Trouble> {
        if seals.is_empty() {
            return Ok(None);
        }
        let (run, header) = (&verified.run, &verified.run.header);
        let end = self.end_of(header)?;
        let mut at = ForkPoint {
            log: header.signed_as(),
            after: end.seq,
            chain: end.chain,
        };
        for entry in run.entries.iter().skip(held_of_run(end.seq, run)) {
            if seals.contains(&at) && header.branch_of != Some(at) {
                return Ok(Some(Dot::new(header.log, at.after + 1)));
            }
            (at.after, at.chain) = (at.after + 1, chain_next(&at.chain, entry));
        }
        Ok(None)
    }

    /// A dependency of the run's that is not here: of its log another branch is.
    fn absent(&mut self, verified: &VerifiedRun) -> Result<Option<Dot>, Trouble> {
        let tags = verified.sets.iter().flat_map(|set| &set.tags);
        for (dot, tag) in tags {
            if self.logs.resolve(*dot, *tag)?.is_none() {
                return Ok(Some(*dot));
            }
        }
        Ok(None)
    }

    /// What is new of a run, with the names of all records, or why it cannot be written.
    #[allow(clippy::type_complexity, reason = "three kinds of answers")]
    fn named<'r>(
        &mut self,
        verified: &'r VerifiedRun,
    ) -> Result<Result<Vec<Cow<'r, ChangeSet>>, LeftOut>, Trouble> {
        if let Some(dep) = self.absent(verified)? {
            return Ok(Err(LeftOut::OtherBranch(dep)));
        }
        let run = &verified.run;
        let held = self.end_of(&run.header)?.seq;
        let fresh = verified.sets.iter().skip(held_of_run(held, run));
        let fresh = fresh.map(AsRef::as_ref);
        match self.logs.named(&run.header, run.from.max(held + 1), fresh) {
            Err(Trouble::Unread(place, why)) => {
                tracing::error!(%place, why, "a damaged entry keeps others from being taken");
                self.report.damaged.push(place);
                Ok(Err(LeftOut::Unread(place)))
            }
            other => Ok(other?.map_err(LeftOut::Malformed)),
        }
    }

    /// Whether the entry `dot` of a log of `space` is held, if logs reach to `ends` where these
    /// differ from what has been written.
    fn holds(
        &mut self,
        ends: &BTreeMap<LogId, FrontierRow>,
        space: &SpaceName,
        dot: &Dot,
    ) -> Result<bool, Trouble> {
        if ends.values().any(|end| {
            let is_of = end.header.log == dot.log || end.header.signed_as() == dot.log;
            is_of && end.header.space == *space && dot.seq <= end.seq
        }) {
            return Ok(true);
        }
        if self
            .logs
            .find(dot.log)?
            .is_some_and(|row| row.header.space != *space)
        {
            return Ok(false);
        }
        self.logs.covers(*dot)
    }

    /// Where a log ends, among `ends` if it is there.
    fn end_among(
        &mut self,
        ends: &BTreeMap<LogId, FrontierRow>,
        header: &LogHeader,
    ) -> Result<FrontierRow, Trouble> {
        match ends.get(&header.log) {
            Some(end) => Ok(end.clone()),
            None => self.end_of(header),
        }
    }

    fn end_of(&mut self, header: &LogHeader) -> Result<FrontierRow, Trouble> {
        Ok(match self.logs.find(header.log)? {
            Some(row) => row.frontier(),
            None => self.logs.start_of(header).frontier(),
        })
    }

    /// Writes the end of a run that is new, with its change sets.
    fn append_run(
        &mut self,
        verified: &VerifiedRun,
        fresh: &[Cow<'_, ChangeSet>],
    ) -> Result<(), Trouble> {
        let run = &verified.run;
        let held = self.end_of(&run.header)?.seq;
        let entries = run.entries.iter().skip(held_of_run(held, run));
        let entries = entries
            .zip(fresh)
            .map(|(entry, set)| (entry.as_slice(), &**set));
        self.logs
            .append_signed(&run.header, entries, &run.signature)?;
        if run.last() > held {
            // Only this store writes its own logs. If a peer has more of one, this store is older
            // than what it once sent, and the engine has begun another.
            self.logs.disown(&run.header)?;
        }
        let first = run.from.max(held + 1);
        let ancestors = self.logs.ancestors(&run.header)?;
        for (seq, set) in (first..).zip(fresh) {
            let set = &*self.logs.renamed(set)?;
            for edit in &set.edits {
                let key = RecordKey {
                    space: run.header.space.clone(),
                    collection: edit.collection.clone(),
                    id: edit.id.clone(),
                };
                let edit = mutated(edit, verified.sets.len());
                self.apply(key, Dot::new(run.header.log, seq), set, &edit, &ancestors)?;
            }
            self.records.relieve()?;
        }
        Ok(())
    }
}

/// How many entries of `run` are held when its log is held up to `held`.
fn held_of_run(held: u64, run: &Run) -> usize {
    usize::try_from((held + 1).saturating_sub(run.from)).unwrap_or(usize::MAX)
}

/// Moves `end` to the end of `run`, or says in words why the run does not continue the log.
///
/// A run may begin before the log's end, and never after it: after a failed write nobody knows for sure how far it got.
fn follow(end: &mut FrontierRow, verified: &VerifiedRun) -> Result<(), String> {
    let run = &verified.run;
    let log = run.header.log;
    if run.entries.is_empty() || run.from == 0 || run.entries.len() != verified.sets.len() {
        return Err(format!("a run of log {log} is malformed"));
    }
    if run.header != end.header {
        return Err(format!("log {log} began with another header"));
    }
    if run
        .entries
        .iter()
        .any(|entry| entry.len() > ENTRY_BYTES_MAX)
    {
        return Err(format!(
            "an entry of log {log} has more than {ENTRY_BYTES_MAX} bytes"
        ));
    }
    if run.last() < end.seq {
        return Ok(());
    }
    let fresh = run.entries.iter().skip(held_of_run(end.seq, run));
    end.chain = fresh.fold(end.chain, |chain, entry| chain_next(&chain, entry));
    end.seq = run.last();
    if end.chain != verified.chain {
        return Err(format!(
            "the entries of log {log} do not continue its chain"
        ));
    }
    Ok(())
}
