//! How far every log is held: durable in the store, and staged on its way there.
//!
//! A log's staged end is never before its durable end. The two differ only while a batch that was handed
//! to the store has no outcome yet. Only durable ends are ever told to anybody.
//!
//! This module does not know sessions or peers.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{LogId, OrganisationId, SpaceName};

use super::batch::fork::ForkProof;
use super::batch::{FrontierRow, LogHeader, VerifiedRun};
use super::forks::Forks;
use crate::wire::chain;

/// A position in a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) seq: u64,
    pub(super) chain: [u8; 32],
    /// The time of the entry at `seq`; 0 before the first.
    pub(super) hlc: Timestamp,
}

/// One log, and how far it is held.
#[derive(Clone, Debug)]
pub(super) struct Log {
    pub(super) header: LogHeader,
    pub(super) durable: End,
    pub(super) staged: End,
}

/// All logs.
#[derive(Debug)]
pub(super) struct Frontier {
    organisation: OrganisationId,
    logs: BTreeMap<LogId, Log>,
    /// The logs of each space that have a durable entry.
    spaces: BTreeMap<SpaceName, BTreeSet<LogId>>,
    /// Grows with every change of a durable end: what was derived from them is old then.
    version: u64,
    pub(super) forks: Forks,
}

impl Log {
    /// Whether it has a durable entry.
    fn is_durable(&self) -> bool {
        self.durable.seq > self.header.base()
    }

    /// The last durable entry: 0 if there is none.
    fn durable_seq(&self) -> u64 {
        match self.is_durable() {
            true => self.durable.seq,
            false => 0,
        }
    }
}

impl Frontier {
    pub(super) fn new(
        organisation: OrganisationId,
        rows: Vec<FrontierRow>,
        forks: Vec<Arc<ForkProof>>,
    ) -> Self {
        let mut frontier = Self {
            organisation,
            logs: BTreeMap::new(),
            spaces: BTreeMap::new(),
            version: 0,
            forks: Forks::default(),
        };
        forks
            .into_iter()
            .for_each(|proof| frontier.forks.learn(proof));
        for row in rows {
            frontier.adopt(row);
        }
        frontier
    }

    pub(super) fn organisation(&self) -> &OrganisationId {
        &self.organisation
    }

    /// Differs whenever the durable ends do.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn get(&self, log: &LogId) -> Option<&Log> {
        self.logs.get(log)
    }

    pub(super) fn durable_seq(&self, log: &LogId) -> u64 {
        self.logs.get(log).map_or(0, Log::durable_seq)
    }

    pub(super) fn staged_seq(&self, log: &LogId) -> u64 {
        self.logs.get(log).map_or(0, |log| log.staged.seq)
    }

    /// How many logs are known, staged ones included.
    pub(super) fn len(&self) -> usize {
        self.logs.len()
    }

    /// The spaces that have durable entries.
    pub(super) fn spaces(&self) -> impl Iterator<Item = &SpaceName> {
        self.spaces.keys()
    }

    /// The logs that have durable entries, ascending.
    pub(super) fn durable(&self) -> impl Iterator<Item = (&LogId, &Log)> {
        self.logs.iter().filter(|(_, log)| log.is_durable())
    }

    /// The logs of a space that have durable entries, ascending.
    pub(super) fn durable_in(&self, space: &SpaceName) -> impl Iterator<Item = (&LogId, &Log)> {
        let ids = self.spaces.get(space);
        // Most devices have one space: what is durable at all is then durable in it.
        let all = ids.filter(|_| self.spaces.len() == 1);
        let ids = ids.filter(|_| all.is_none()).into_iter().flatten();
        let all = all.map(|_| self.durable()).into_iter().flatten();
        all.chain(ids.filter_map(|id| self.logs.get_key_value(id)))
    }

    /// The same, between two ends of which the first is the smaller.
    pub(super) fn durable_between(
        &self,
        space: &SpaceName,
        ends: (Bound<LogId>, Bound<LogId>),
    ) -> impl Iterator<Item = (&LogId, &Log)> {
        let ids = self.spaces.get(space);
        let ids = ids.into_iter().flat_map(move |ids| ids.range(ends));
        ids.filter_map(|id| self.logs.get_key_value(id))
    }

    /// Where a log stands for the next run: its staged end, or its beginning if it is new.
    pub(super) fn end_of(&self, header: &LogHeader) -> End {
        self.logs
            .get(&header.log)
            .map_or_else(|| start(&self.organisation, header), |log| log.staged)
    }

    /// Takes over a row that the store has made durable. Returns how far the log was durable before and is now.
    pub(super) fn adopt(&mut self, row: FrontierRow) -> (u64, u64) {
        let log = self.begin(&row.header);
        let is_first = !log.is_durable();
        let before = log.durable_seq();
        // A mended row says the same place with another chain value.
        if row.seq < log.durable.seq {
            return (before, before);
        }
        log.durable = End {
            seq: row.seq,
            chain: row.chain,
            hlc: row.hlc,
        };
        if log.staged.seq <= row.seq {
            log.staged = log.durable;
        }
        let after = log.durable_seq();
        if is_first && log.is_durable() {
            let LogHeader { space, log, .. } = row.header;
            self.spaces.entry(space).or_default().insert(log);
        }
        self.version += 1;
        (before, after)
    }

    /// Takes over a row whose log has become shorter; nothing of it is staged.
    pub(super) fn rewind(&mut self, row: FrontierRow) {
        let FrontierRow {
            header,
            seq,
            chain,
            hlc,
        } = row;
        self.version += 1;
        if seq == header.base() {
            self.logs.remove(&header.log);
            self.forks.forget(&header);
            if let Some(logs) = self.spaces.get_mut(&header.space) {
                logs.remove(&header.log);
                if logs.is_empty() {
                    self.spaces.remove(&header.space);
                }
            }
        } else if let Some(log) = self.logs.get_mut(&header.log) {
            log.durable = End { seq, chain, hlc };
            log.staged = log.durable;
        }
    }

    /// Moves a log's staged end over a run that continues it.
    pub(super) fn stage(&mut self, verified: &VerifiedRun) {
        let log = self.begin(&verified.run.header);
        assert_eq!(
            log.staged.seq + 1,
            verified.run.from,
            "a staged run continues its log"
        );
        let hlc = verified.sets.last().map_or(log.staged.hlc, |set| set.hlc);
        log.staged = End {
            seq: verified.run.last(),
            chain: verified.chain,
            hlc,
        };
    }

    /// Forgets everything that is staged. Right only while the store has no batch of it.
    pub(super) fn unstage(&mut self) {
        let (kept, gone) = std::mem::take(&mut self.logs)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(_, log)| log.is_durable());
        self.logs = kept;
        gone.values().for_each(|log| self.forks.forget(&log.header));
        for log in self.logs.values_mut() {
            log.staged = log.durable;
        }
    }

    /// Forgets what is staged of one log: the store has left it out.
    pub(super) fn unstage_log(&mut self, id: &LogId) {
        match self.logs.get_mut(id) {
            Some(log) if log.is_durable() => log.staged = log.durable,
            Some(log) => {
                self.forks.forget(&log.header);
                self.logs.remove(id);
            }
            None => {}
        }
    }

    /// A log before its first entry.
    pub(super) fn start(&self, header: &LogHeader) -> End {
        start(&self.organisation, header)
    }

    /// The log with this header; held nowhere yet if it is new.
    fn begin(&mut self, header: &LogHeader) -> &mut Log {
        self.forks.note(header);
        let organisation = &self.organisation;
        self.logs.entry(header.log).or_insert_with(|| {
            let start = start(organisation, header);
            Log {
                header: header.clone(),
                durable: start,
                staged: start,
            }
        })
    }
}

fn start(organisation: &OrganisationId, header: &LogHeader) -> End {
    End {
        seq: header.base(),
        chain: chain::chain_start(organisation, header),
        hlc: Timestamp::default(),
    }
}
