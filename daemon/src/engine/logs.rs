//! What this device holds of every log: durably, and staged in the store's queue.

use std::collections::BTreeMap;
use std::sync::Arc;

use crdt_schema::ident::{LogId, OrganisationId, SpaceName};

use super::batch::{FrontierRow, Held, LogHeader};
use crate::wire::chain::{JoinSecret, chain_start};
use crate::wire::message::{FrontRow, SpaceRoot};

/// How far one log is held.
#[derive(Clone, Debug)]
pub(super) struct Log {
    pub(super) header: LogHeader,
    /// The last durable entry and the chain value there.
    durable: (u64, [u8; 32]),
    /// The same with what the store has been given and has not yet confirmed.
    staged: Option<(u64, [u8; 32])>,
}

impl Log {
    /// The last entry held or staged, and the chain value there: where the next entry continues.
    pub(super) fn end(&self) -> (u64, [u8; 32]) {
        self.staged.unwrap_or(self.durable)
    }

    /// The last entry that a crash would leave.
    pub(super) fn durable_seq(&self) -> u64 {
        self.durable.0
    }

    /// Tells two histories apart at the durable end.
    pub(super) fn chain_tag(&self) -> [u8; 8] {
        std::array::from_fn(|index| self.durable.1[index])
    }
}

/// All logs this device knows.
#[derive(Clone, Debug)]
pub(super) struct Logs {
    organisation: OrganisationId,
    logs: BTreeMap<LogId, Log>,
    /// Log → last durable entry; shared with readers.
    held: Arc<Held>,
}

impl Logs {
    pub(super) fn new(organisation: OrganisationId, frontier: Vec<FrontierRow>) -> Self {
        let mut logs = Self {
            organisation,
            logs: BTreeMap::new(),
            held: Arc::default(),
        };
        logs.commit(&frontier);
        logs
    }

    pub(super) fn get(&self, log: LogId) -> Option<&Log> {
        self.logs.get(&log)
    }

    pub(super) fn held(&self) -> &Arc<Held> {
        &self.held
    }

    /// Where a log with this header is continued: at its end, or at its start if it is new.
    pub(super) fn end(&self, header: &LogHeader) -> (u64, [u8; 32]) {
        match self.logs.get(&header.log) {
            Some(log) => log.end(),
            None => (0, chain_start(&self.organisation, header)),
        }
    }

    /// The last entry of a log that is held or staged; 0 for an unknown one.
    pub(super) fn end_seq(&self, log: LogId) -> u64 {
        self.logs.get(&log).map_or(0, |log| log.end().0)
    }

    /// The last entry of a log that is held durably; 0 for an unknown one.
    pub(super) fn durable_seq(&self, log: LogId) -> u64 {
        self.held.get(&log).copied().unwrap_or(0)
    }

    /// The store has been given entries up to here.
    pub(super) fn stage(&mut self, header: &LogHeader, seq: u64, chain: [u8; 32]) {
        let start = (0, chain_start(&self.organisation, header));
        let log = self.logs.entry(header.log).or_insert_with(|| Log {
            header: header.clone(),
            durable: start,
            staged: None,
        });
        log.staged = Some((seq, chain));
    }

    /// The store has written these rows.
    pub(super) fn commit(&mut self, rows: &[FrontierRow]) {
        if rows.is_empty() {
            return;
        }
        let held = Arc::make_mut(&mut self.held);
        for row in rows {
            held.insert(row.header.log, row.seq);
            let end = (row.seq, row.chain);
            let log = self.logs.entry(row.header.log).or_insert_with(|| Log {
                header: row.header.clone(),
                durable: end,
                staged: None,
            });
            log.durable = end;
            log.staged = log.staged.filter(|staged| staged.0 > row.seq);
        }
    }

    /// The store has lost what it was given: what is durable is all there is.
    pub(super) fn unstage(&mut self) {
        self.logs.retain(|_, log| log.durable.0 > 0);
        for log in self.logs.values_mut() {
            log.staged = None;
        }
    }

    /// The spaces that have a durable entry.
    pub(super) fn spaces(&self) -> Vec<SpaceName> {
        let durable = self.logs.values().filter(|log| log.durable.0 > 0);
        let mut spaces: Vec<SpaceName> = durable.map(|log| log.header.space.clone()).collect();
        spaces.sort_unstable();
        spaces.dedup();
        spaces
    }

    /// The durable logs of one space, ascending.
    pub(super) fn of_space(&self, space: &SpaceName) -> impl Iterator<Item = (&LogId, &Log)> {
        self.logs
            .iter()
            .filter(move |(_, log)| log.durable.0 > 0 && log.header.space == *space)
    }

    /// The space's line in HELLO.
    pub(super) fn root(&self, secret: &JoinSecret, space: &SpaceName) -> SpaceRoot {
        let rows = self
            .of_space(space)
            .map(|(id, log)| (id, log.durable.0, &log.durable.1));
        SpaceRoot {
            tag: secret.space_tag(&self.organisation, space),
            root: secret.space_root(&self.organisation, space, rows),
            count: self.of_space(space).map(|(_, log)| log.durable.0).sum(),
        }
    }

    /// The space's opening frontier.
    pub(super) fn front(&self, space: &SpaceName) -> Vec<FrontRow> {
        self.of_space(space)
            .map(|(id, log)| FrontRow {
                log: *id,
                seq: log.durable.0,
                chain_tag: log.chain_tag(),
            })
            .collect()
    }
}
