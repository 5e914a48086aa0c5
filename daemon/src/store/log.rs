//! Appends to logs: entries, signed points and the order of arrival.
//!
//! Invariants, at the end of every transaction:
//! - A log is held as a prefix without gaps; its row tells the last entry and the chain value
//!   there.
//! - A *stretch* is a run of arrivals that are consecutive entries of one log. Stretches follow
//!   each other without gaps, and every stretch ends at a signed point. So whoever sends stretches,
//!   cut at points, in order, sends causes before effects.
//! - Every stretch is listed under the space of its log, so that one space is read without the others. A list
//!   may name stretches that have become void since.
//! - Points inside a stretch may be thinned out; the one that ends a stretch never is, because the
//!   entries of other logs that follow it may be effects of what lies before it and causes of what
//!   lies behind it.
//!
//! It does not know what entries mean.

use std::collections::BTreeMap;
use std::collections::btree_map;

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{LogId, OrganisationId, SpaceName};
use crdt_schema::op::ChangeSet;
use ed25519_dalek::SigningKey;
use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use crate::engine::batch::{Arrival, FrontierRow, LogHeader};
use crate::mutation::{Mutation, is_planted};
use crate::wire::chain::{chain_next, chain_start, sign_point};
use crate::wire::limits::POINT_GAP_BYTES;

use super::feed::number_of;
use super::implied::{self as names, EntryReader};
use super::lazy::Lazy;
use super::pack::Packer;
use super::rows::LogRow;
use super::tables;
use super::trouble::Trouble;

pub(super) mod branches;
mod implied;
mod mend;
pub(super) mod settle;
mod tags;

/// The number of no log: stands in stretches whose entries were taken out.
const VOID: u32 = u32::MAX;

/// Consecutive arrivals that are consecutive entries of one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// The first arrival.
    pub(super) first: Arrival,
    /// The log's number.
    pub(super) log: u32,
    /// The seq of the first entry.
    pub(super) from: u64,
    pub(super) count: u64,
}

impl Stretch {
    pub(super) fn of_row(first: Arrival, (log, from, count): (u32, u64, u64)) -> Self {
        Self {
            first,
            log,
            from,
            count,
        }
    }

    /// The last arrival; the one before `first` if the stretch is empty.
    pub(super) fn last(&self) -> Arrival {
        self.first + self.count - 1
    }

    /// Whether its entries were written again elsewhere, see [`settle`]: the arrivals stay and mean nothing.
    pub(super) fn is_void(&self) -> bool {
        self.log == VOID
    }

    /// The arrival of the entry `seq`, which is in the stretch.
    pub(super) fn arrival_of(&self, seq: u64) -> Arrival {
        self.first + (seq - self.from)
    }
}

/// A log as this transaction has it.
struct OpenLog {
    number: u32,
    row: LogRow,
    /// The newest signed point; equal to `row.seq` between appends.
    point: u64,
    /// Entry bytes after the newest point.
    fresh_bytes: u64,
    is_moved: bool,
}

/// The definition of [`tables::BRANCHES`].
type Branches = TableDefinition<'static, ([u8; 16], [u8; 16]), u32>;

/// The logs in one write transaction.
pub(super) struct LogWriter<'txn> {
    organisation: OrganisationId,
    signer: &'txn SigningKey,
    logs: Table<'txn, u32, &'static [u8]>,
    numbers: Table<'txn, [u8; 16], u32>,
    entries: Table<'txn, (u32, u64), &'static [u8]>,
    points: Table<'txn, (u32, u64), &'static [u8; 64]>,
    stretches: Table<'txn, u64, (u32, u64, u64)>,
    arrived_in: Lazy<'txn, TableDefinition<'static, (&'static str, u64), ()>>,
    own: Lazy<'txn, TableDefinition<'static, &'static str, [u8; 16]>>,
    branches: Lazy<'txn, Branches>,
    implied: Lazy<'txn, TableDefinition<'static, (u32, u64), &'static [u8]>>,
    open: BTreeMap<LogId, OpenLog>,
    /// The stretch that the last append was to, not yet written.
    stretch: Option<Stretch>,
    /// Our own log, when its last entries await a signature.
    unsigned: Option<LogId>,
    arrival: Arrival,
    pub(super) packer: Packer,
    /// Logs that are known to be our own in their spaces.
    pub(super) adopted: BTreeMap<SpaceName, LogId>,
    reader: EntryReader,
}

impl<'txn> LogWriter<'txn> {
    pub(super) fn new(
        tx: &'txn WriteTransaction,
        organisation: OrganisationId,
        signer: &'txn SigningKey,
    ) -> Result<Self, Trouble> {
        let stretches = tx.open_table(tables::STRETCHES)?;
        let stretch = stretches
            .last()?
            .map(|(first, row)| Stretch::of_row(first.value(), row.value()));
        Ok(Self {
            organisation,
            signer,
            logs: tx.open_table(tables::LOGS)?,
            numbers: tx.open_table(tables::LOG_NUMBERS)?,
            entries: tx.open_table(tables::ENTRIES)?,
            points: tx.open_table(tables::POINTS)?,
            arrived_in: Lazy::new(tx, tables::ARRIVED_IN),
            own: Lazy::new(tx, tables::OWN_LOGS),
            branches: Lazy::new(tx, tables::BRANCHES),
            implied: Lazy::new(tx, tables::IMPLIED),
            open: BTreeMap::new(),
            stretch,
            unsigned: None,
            arrival: stretch.map_or(0, |stretch| stretch.last()),
            stretches,
            packer: Packer::default(),
            adopted: BTreeMap::new(),
            reader: EntryReader::default(),
        })
    }

    /// How far a log is held, if it is known.
    pub(super) fn find(&mut self, log: LogId) -> Result<Option<&LogRow>, Trouble> {
        match self.open.entry(log) {
            btree_map::Entry::Occupied(open) => Ok(Some(&open.into_mut().row)),
            btree_map::Entry::Vacant(vacant) => {
                let Some(number) = number_of(&self.numbers, log)? else {
                    return Ok(None);
                };
                let row = self.logs.get(number)?;
                let row = row
                    .and_then(|row| LogRow::decode(row.value()).ok())
                    .ok_or_else(|| {
                        Trouble::Damaged(format!("the row of log {log} cannot be read"))
                    })?;
                let point = row.seq;
                let open = OpenLog {
                    number,
                    row,
                    point,
                    fresh_bytes: 0,
                    is_moved: false,
                };
                Ok(Some(&vacant.insert(open).row))
            }
        }
    }

    /// How far a log would be held if it began now.
    pub(super) fn start_of(&self, header: &LogHeader) -> LogRow {
        LogRow {
            header: header.clone(),
            seq: header.base(),
            chain: chain_start(&self.organisation, header),
            gap_bytes: 0,
            hlc: Timestamp::default(),
        }
    }

    /// Remembers which log is our own in its space.
    pub(super) fn adopt(&mut self, space: &SpaceName, log: LogId) -> Result<(), Trouble> {
        if self.adopted.get(space) == Some(&log) {
            return Ok(());
        }
        let held = self.own.get()?.get(space.as_str())?.map(|log| log.value());
        if held != Some(log.0) {
            self.own.get_mut()?.insert(space.as_str(), log.0)?;
        }
        self.adopted.insert(space.clone(), log);
        Ok(())
    }

    /// Forgets that the log is our own, if it is the one that is written in its space.
    pub(super) fn disown(&mut self, header: &LogHeader) -> Result<(), Trouble> {
        // Nearly all that is taken is of others, for whose logs the table need not be opened.
        if header.device.0 != self.signer.verifying_key().to_bytes() {
            return Ok(());
        }
        let space = header.space.as_str();
        self.adopted.remove(&header.space);
        let own = self.own.get()?.get(space)?.map(|log| log.value());
        if own == Some(header.log.0) {
            self.own.get_mut()?.remove(space)?;
        }
        Ok(())
    }

    /// Appends an entry of our own, to be signed before anything of another log follows.
    pub(super) fn append_own(
        &mut self,
        header: &LogHeader,
        entry: &[u8],
        set: &ChangeSet,
    ) -> Result<(), Trouble> {
        let fresh_bytes = self
            .open
            .get(&header.log)
            .map_or(0, |open| open.fresh_bytes);
        if fresh_bytes + entry.len() as u64 > POINT_GAP_BYTES as u64 {
            self.sign_own()?;
        }
        self.append(header, entry, set)?;
        self.unsigned = Some(header.log);
        Ok(())
    }

    /// Appends entries that end at a point with `signature`.
    pub(super) fn append_signed<'e>(
        &mut self,
        header: &LogHeader,
        entries: impl Iterator<Item = (&'e [u8], &'e ChangeSet)>,
        signature: &[u8; 64],
    ) -> Result<(), Trouble> {
        for (entry, set) in entries {
            self.append(header, entry, set)?;
        }
        self.put_point(header.log, signature)
    }

    /// Appends an entry, with its change set in which all records are known.
    fn append(&mut self, header: &LogHeader, entry: &[u8], set: &ChangeSet) -> Result<(), Trouble> {
        if self.find(header.log)?.is_none() {
            self.begin_log(header)?;
        }
        let Some((number, end)) = self
            .open
            .get(&header.log)
            .map(|log| (log.number, log.row.seq))
        else {
            return Err(Trouble::Damaged(format!("log {} vanished", header.log)));
        };
        if self.stretch.is_none_or(|stretch| stretch.log != number) {
            self.end_stretch()?;
            let first = self.arrival + 1;
            self.arrived_in
                .get_mut()?
                .insert((header.space.as_str(), first), ())?;
            self.stretch = Some(Stretch {
                first,
                log: number,
                from: end + 1,
                count: 0,
            });
        }
        if let (Some(log), Some(stretch)) = (self.open.get_mut(&header.log), &mut self.stretch) {
            log.row.seq = end + 1;
            log.row.chain = match is_planted(Mutation::ChainUnlinked) {
                true => chain_next(&[0; 32], entry),
                false => chain_next(&log.row.chain, entry),
            };
            let place = (number, end + 1);
            let row = self.packer.pack_entry(place, &log.row.chain, entry);
            self.entries.insert(place, row.as_slice())?;
            log.row.hlc = set.hlc;
            log.fresh_bytes += entry.len() as u64;
            log.is_moved = true;
            stretch.count += 1;
        }
        self.arrival += 1;
        self.keep_names((number, end + 1), set)
    }

    /// Keeps beside an entry of which records it is, if its bytes do not name them.
    fn keep_names(&mut self, place: (u32, u64), set: &ChangeSet) -> Result<(), Trouble> {
        if let Some(row) = names::row_of(&mut self.packer, place, set) {
            self.implied.get_mut()?.insert(place, row.as_slice())?;
        }
        Ok(())
    }

    fn begin_log(&mut self, header: &LogHeader) -> Result<(), Trouble> {
        let number = match self.logs.last()? {
            Some((last, _)) => last.value() + 1,
            None => 0,
        };
        let row = self.start_of(header);
        self.numbers.insert(header.log.0, number)?;
        if header.branch_of.is_some() {
            let key = (header.signed_as().0, header.log.0);
            self.branches.get_mut()?.insert(key, number)?;
        }
        // Also reserves the number. Written again, with its end, when the transaction ends.
        self.logs.insert(number, row.encode().as_slice())?;
        let log = OpenLog {
            number,
            point: row.seq,
            row,
            fresh_bytes: 0,
            is_moved: true,
        };
        self.open.insert(header.log, log);
        Ok(())
    }

    fn end_stretch(&mut self) -> Result<(), Trouble> {
        self.sign_own()?;
        if let Some(stretch) = self.stretch.filter(|stretch| stretch.count > 0) {
            let row = (stretch.log, stretch.from, stretch.count);
            self.stretches.insert(stretch.first, row)?;
        }
        Ok(())
    }

    fn sign_own(&mut self) -> Result<(), Trouble> {
        let Some(log) = self.unsigned.take() else {
            return Ok(());
        };
        let Some(LogRow {
            header, seq, chain, ..
        }) = self.open.get(&log).map(|open| &open.row)
        else {
            return Ok(());
        };
        let signature = sign_point(self.signer, &self.organisation, header, *seq, chain);
        self.put_point(log, &signature)
    }

    /// Sets a point at the log's end, and drops the one before it when the two lie close together
    /// in one stretch.
    fn put_point(&mut self, log: LogId, signature: &[u8; 64]) -> Result<(), Trouble> {
        let (Some(open), Some(stretch)) = (self.open.get_mut(&log), self.stretch) else {
            return Ok(());
        };
        if open.point == open.row.seq {
            return Ok(());
        }
        let is_inside = open.point >= stretch.from;
        if is_inside && open.row.gap_bytes + open.fresh_bytes <= POINT_GAP_BYTES as u64 {
            self.points.remove((open.number, open.point))?;
            open.row.gap_bytes += open.fresh_bytes;
        } else {
            open.row.gap_bytes = open.fresh_bytes;
        }
        self.points.insert((open.number, open.row.seq), signature)?;
        open.point = open.row.seq;
        open.fresh_bytes = 0;
        Ok(())
    }

    /// Writes what the appends left open. Returns the rows that moved, and the last arrival.
    pub(super) fn finish(mut self) -> Result<(Vec<FrontierRow>, Arrival), Trouble> {
        let is_moved = self.open.values().any(|log| log.is_moved);
        if is_moved {
            self.end_stretch()?;
        }
        let mut rows = Vec::new();
        for log in self.open.values().filter(|log| log.is_moved) {
            self.logs.insert(log.number, log.row.encode().as_slice())?;
            let mut row = log.row.frontier();
            row.seq += u64::from(is_planted(Mutation::FrontierAhead));
            rows.push(row);
        }
        Ok((rows, self.arrival))
    }
}
