//! Reads of the log: single entries, the feed of local subscribers, and what a session sends.
//!
//! Both walk stretches in arrival order, so effects never come before their causes (see
//! [`super::log`]). An entry that does not read back holds back its own log and nothing else: it is
//! named in what a fetch finds, so that somebody may ask the peers for it.

use std::collections::BTreeMap;

use crdt_schema::ident::{Dot, LogId};
use crdt_schema::op::ChangeSet;
use redb::{ReadOnlyTable, ReadTransaction};

use crate::engine::batch::{Arrival, Fetched, Held, LogHeader, Run};
use crate::wire::changeset::decode_change_set;
use crate::wire::limits::POINT_GAP_BYTES;

use super::log::Stretch;
use super::open::last_arrival;
use super::pack::Unpacker;
use super::rows::LogRow;
use super::trouble::Trouble;
use super::{FeedItem, Reader, StoreError, tables};

/// Runs are joined up to this many entry bytes, to save signatures. Whoever receives one has no points inside
/// it, so this is also the least that a relay can send at a time.
const RUN_BYTES_TARGET: usize = 2 * POINT_GAP_BYTES;

impl Reader {
    /// The change set at `dot`, if it is held.
    ///
    /// # Errors
    /// The store's, or that the entry is damaged.
    pub fn entry(&self, dot: Dot) -> Result<Option<(LogHeader, ChangeSet)>, StoreError> {
        self.handle.read(|tx| {
            let mut log = LogReader::new(tx)?;
            match log.number_of(dot.log)? {
                Some(number) if (1..=log.row(number)?.seq).contains(&dot.seq) => {
                    let set = log.change_set(number, dot.seq)?;
                    Ok(Some((log.row(number)?.header.clone(), set)))
                }
                _ => Ok(None),
            }
        })
    }

    /// How a log begins, if it is held.
    ///
    /// # Errors
    /// The store's.
    pub fn header(&self, log: LogId) -> Result<Option<LogHeader>, StoreError> {
        self.handle.read(|tx| {
            let mut logs = LogReader::new(tx)?;
            match logs.number_of(log)? {
                Some(number) => Ok(Some(logs.row(number)?.header.clone())),
                None => Ok(None),
            }
        })
    }

    /// Up to `limit` change sets after `after`, oldest arrival first.
    ///
    /// # Errors
    /// The store's, or that an entry is damaged.
    pub fn feed(&self, after: Arrival, limit: usize) -> Result<Vec<FeedItem>, StoreError> {
        self.handle.read(|tx| {
            let mut log = LogReader::new(tx)?;
            let mut items = Vec::new();
            for stretch in stretches(tx, after)? {
                let stretch = stretch?;
                if stretch.is_void() {
                    continue;
                }
                for seq in start(&stretch, after)..stretch.from + stretch.count {
                    if items.len() == limit {
                        return Ok(items);
                    }
                    let set = log.change_set(stretch.log, seq)?;
                    let header = log.row(stretch.log)?.header.clone();
                    items.push(FeedItem {
                        arrival: stretch.arrival_of(seq),
                        header,
                        seq,
                        set,
                    });
                }
            }
            Ok(items)
        })
    }

    /// What came after `after` and is not `known` to a peer, about `bytes_max` entry bytes of it. A
    /// run always reaches a signed point, even past `bytes_max`.
    ///
    /// # Errors
    /// The store's, or that an entry is damaged.
    pub fn fetch(
        &self,
        after: Arrival,
        known: &Held,
        bytes_max: usize,
    ) -> Result<Fetched, StoreError> {
        self.handle.read(|tx| {
            let mut fetch = Fetch {
                log: LogReader::new(tx)?,
                runs: Vec::new(),
                run_bytes: 0,
                bytes: 0,
                arrival: after,
                damaged: BTreeMap::new(),
            };
            let mut is_end = true;
            for stretch in stretches(tx, after)? {
                if !fetch.take(&stretch?, after, known, bytes_max)? {
                    is_end = false;
                    break;
                }
            }
            let arrival = if is_end {
                last_arrival(tx)?
            } else {
                fetch.arrival
            };
            Ok(Fetched {
                runs: fetch.runs,
                arrival,
                end: is_end,
                damaged: fetch.damaged.into_values().collect(),
            })
        })
    }
}

/// A fetch in progress.
struct Fetch {
    log: LogReader,
    runs: Vec<Run>,
    /// Entry bytes of the last run.
    run_bytes: usize,
    bytes: usize,
    /// Everything up to here is in `runs`, known or held back.
    arrival: Arrival,
    /// The logs that are held back, and from where on.
    damaged: BTreeMap<u32, Dot>,
}

impl Fetch {
    /// Takes what is unknown of a stretch. Returns whether all of it fitted.
    fn take(
        &mut self,
        stretch: &Stretch,
        after: Arrival,
        known: &Held,
        bytes_max: usize,
    ) -> Result<bool, Trouble> {
        if stretch.is_void() || self.damaged.contains_key(&stretch.log) {
            self.arrival = stretch.last();
            return Ok(true);
        }
        let header = self.log.row(stretch.log)?.header.clone();
        let held = known.get(&header.log).copied().unwrap_or(0);
        let mut from = start(stretch, after).max(held.saturating_add(1));
        let end = stretch.from + stretch.count;
        while from < end {
            if self.bytes >= bytes_max && !self.runs.is_empty() {
                return Ok(false);
            }
            let point = match self.take_point(&header, stretch.log, from, end) {
                Ok(point) => point,
                Err(Trouble::Damaged(why)) => {
                    tracing::error!(why, "a log is held back until its entry is mended");
                    self.damaged.insert(stretch.log, Dot::new(header.log, from));
                    break;
                }
                Err(trouble) => return Err(trouble),
            };
            self.arrival = stretch.arrival_of(point);
            from = point + 1;
        }
        self.arrival = stretch.last();
        Ok(true)
    }

    /// Takes the entries from `from` to the first point there. Takes nothing if one is damaged.
    fn take_point(
        &mut self,
        header: &LogHeader,
        number: u32,
        from: u64,
        end: u64,
    ) -> Result<u64, Trouble> {
        let (point, signature) = self.log.point_from(number, from, end)?;
        self.push(header, number, from..=point, signature)?;
        Ok(point)
    }

    /// Adds entries that end at a point, to the last run if they continue it.
    fn push(
        &mut self,
        header: &LogHeader,
        number: u32,
        seqs: std::ops::RangeInclusive<u64>,
        signature: [u8; 64],
    ) -> Result<(), Trouble> {
        let from = *seqs.start();
        let entries: Vec<Vec<u8>> = seqs
            .map(|seq| self.log.entry(number, seq))
            .collect::<Result<_, _>>()?;
        let bytes: usize = entries.iter().map(Vec::len).sum();
        self.bytes += bytes;
        match self.runs.last_mut() {
            Some(run)
                if run.header.log == header.log
                    && run.last() + 1 == from
                    && self.run_bytes + bytes <= RUN_BYTES_TARGET =>
            {
                run.entries.extend(entries);
                run.signature = signature;
                self.run_bytes += bytes;
            }
            _ => {
                self.runs.push(Run {
                    header: header.clone(),
                    from,
                    entries,
                    signature,
                });
                self.run_bytes = bytes;
            }
        }
        Ok(())
    }
}

/// The stretches that reach beyond `after`, in order.
fn stretches(
    tx: &ReadTransaction,
    after: Arrival,
) -> Result<impl Iterator<Item = Result<Stretch, Trouble>> + use<>, Trouble> {
    let table = tx.open_table(tables::STRETCHES)?;
    let first = after.saturating_add(1);
    // The stretch that holds the arrival may begin before it.
    let from = table
        .range(..=first)?
        .next_back()
        .transpose()?
        .map_or(0, |(key, _)| key.value());
    let rows = table.range(from..)?.map(|row| {
        let (first, row) = row?;
        Ok(Stretch::of_row(first.value(), row.value()))
    });
    Ok(rows.filter(move |stretch| !matches!(stretch, Ok(stretch) if stretch.last() <= after)))
}

/// The first seq of the stretch that arrived after `after`.
fn start(stretch: &Stretch, after: Arrival) -> u64 {
    stretch.from + (after + 1).saturating_sub(stretch.first)
}

/// The tables of the logs, with the log rows that were needed so far.
pub(super) struct LogReader {
    numbers: ReadOnlyTable<[u8; 16], u32>,
    logs: ReadOnlyTable<u32, &'static [u8]>,
    entries: ReadOnlyTable<(u32, u64), &'static [u8]>,
    points: ReadOnlyTable<(u32, u64), &'static [u8; 64]>,
    rows: BTreeMap<u32, LogRow>,
    unpacker: Unpacker,
}

impl LogReader {
    pub(super) fn new(tx: &ReadTransaction) -> Result<Self, Trouble> {
        Ok(Self {
            numbers: tx.open_table(tables::LOG_NUMBERS)?,
            logs: tx.open_table(tables::LOGS)?,
            entries: tx.open_table(tables::ENTRIES)?,
            points: tx.open_table(tables::POINTS)?,
            rows: BTreeMap::new(),
            unpacker: Unpacker::default(),
        })
    }

    pub(super) fn number_of(&self, log: LogId) -> Result<Option<u32>, Trouble> {
        Ok(self.numbers.get(log.0)?.map(|number| number.value()))
    }

    pub(super) fn row(&mut self, number: u32) -> Result<&LogRow, Trouble> {
        if !self.rows.contains_key(&number) {
            let damaged = |why: &str| Trouble::Damaged(format!("the row of log {number}: {why}"));
            let row = self
                .logs
                .get(number)?
                .ok_or_else(|| damaged("it is missing"))?;
            let row = LogRow::decode(row.value()).map_err(|error| damaged(&error.to_string()))?;
            self.rows.insert(number, row);
        }
        Ok(&self.rows[&number])
    }

    pub(super) fn entry(&mut self, number: u32, seq: u64) -> Result<Vec<u8>, Trouble> {
        let log = self.row(number)?.header.log;
        let damaged = |why: &str| Trouble::Damaged(format!("entry {}: {why}", Dot::new(log, seq)));
        let row = self
            .entries
            .get((number, seq))?
            .ok_or_else(|| damaged("it is missing"))?;
        let entry = self.unpacker.unpack_entry((number, seq), row.value());
        Ok(entry.map_err(damaged)?.into_owned())
    }

    pub(super) fn change_set(&mut self, number: u32, seq: u64) -> Result<ChangeSet, Trouble> {
        let entry = self.entry(number, seq)?;
        decode_change_set(&entry).map_err(|error| {
            Trouble::Damaged(format!("entry {seq} of log number {number}: {error}"))
        })
    }

    /// The first point at or after `from` and before `end`.
    pub(super) fn point_from(
        &self,
        number: u32,
        from: u64,
        end: u64,
    ) -> Result<(u64, [u8; 64]), Trouble> {
        match self.points.range((number, from)..(number, end))?.next() {
            Some(row) => {
                let (key, signature) = row?;
                Ok((key.value().1, *signature.value()))
            }
            None => Err(Trouble::Damaged(format!(
                "entries {from} to {} of log number {number} end without a signature",
                end - 1
            ))),
        }
    }
}
