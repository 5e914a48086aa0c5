//! How far every log is held: durable in the store, and staged on its way there.
//!
//! A log's staged end is never before its durable end. The two differ only while a batch that was handed
//! to the store has no outcome yet. Only durable ends are ever told to anybody.
//!
//! This module does not know sessions or peers.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{LogId, OrganisationId, SpaceName};

use super::batch::{FrontierRow, LogHeader, VerifiedRun};
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
}

impl Frontier {
    pub(super) fn new(organisation: OrganisationId, rows: Vec<FrontierRow>) -> Self {
        let mut frontier = Self {
            organisation,
            logs: BTreeMap::new(),
            spaces: BTreeMap::new(),
            version: 0,
        };
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
        self.logs.get(log).map_or(0, |log| log.durable.seq)
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
        self.logs.iter().filter(|(_, log)| log.durable.seq > 0)
    }

    /// The logs of a space that have durable entries, ascending.
    pub(super) fn durable_in(&self, space: &SpaceName) -> impl Iterator<Item = (&LogId, &Log)> {
        let ids = self.spaces.get(space).into_iter().flatten();
        ids.filter_map(|id| self.logs.get_key_value(id))
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
            .map_or_else(|| self.start(header), |log| log.staged)
    }

    /// Takes over a row that the store has made durable.
    pub(super) fn adopt(&mut self, row: FrontierRow) {
        let start = self.start(&row.header);
        let space = row.header.space.clone();
        self.spaces.entry(space).or_default().insert(row.header.log);
        let log = self.logs.entry(row.header.log).or_insert_with(|| Log {
            header: row.header,
            durable: start,
            staged: start,
        });
        // A mended row says the same place with another chain value.
        if row.seq < log.durable.seq {
            return;
        }
        self.version += 1;
        log.durable = End {
            seq: row.seq,
            chain: row.chain,
            hlc: row.hlc,
        };
        if log.staged.seq <= row.seq {
            log.staged = log.durable;
        }
    }

    /// Takes over a row whose log has become shorter; nothing of it is staged.
    pub(super) fn rewind(&mut self, row: FrontierRow) {
        let FrontierRow {
            header,
            seq,
            chain,
            hlc,
        } = row;
        if seq == 0 {
            self.logs.remove(&header.log);
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
        let header = &verified.run.header;
        let start = self.start(header);
        let log = self.logs.entry(header.log).or_insert_with(|| Log {
            header: header.clone(),
            durable: start,
            staged: start,
        });
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
        self.logs.retain(|_, log| log.durable.seq > 0);
        for log in self.logs.values_mut() {
            log.staged = log.durable;
        }
    }

    fn start(&self, header: &LogHeader) -> End {
        let chain = chain::chain_start(&self.organisation, header);
        End {
            seq: 0,
            chain,
            hlc: Timestamp::default(),
        }
    }
}
