//! Reads of the log: single entries, and the feed of local subscribers.
//!
//! The feed walks stretches in arrival order, so effects never come before their causes (see
//! [`super::log`]). What a session sends is read by [`super::fetch`].

use std::collections::BTreeMap;

use crdt_schema::ident::{Dot, LogId};
use crdt_schema::op::ChangeSet;
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable};

use crate::engine::batch::{Arrival, LogHeader};

use super::branches::Names;
use super::implied::EntryReader;
use super::lazy::{LazyRead, Source};
use super::log::Stretch;
use super::pack::Unpacker;
use super::rows::LogRow;
use super::trouble::Trouble;
use super::{FeedItem, Reader, StoreError, tables};

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
pub(super) fn start(stretch: &Stretch, after: Arrival) -> u64 {
    stretch.from + (after + 1).saturating_sub(stretch.first)
}

/// The number of a log, if it is known.
pub(super) fn number_of(
    numbers: &impl ReadableTable<[u8; 16], u32>,
    log: LogId,
) -> Result<Option<u32>, Trouble> {
    Ok(numbers.get(log.0)?.map(|number| number.value()))
}

/// Reads the rows of logs by their ids.
pub(super) fn log_rows(
    numbers: &impl ReadableTable<[u8; 16], u32>,
    logs: &impl ReadableTable<u32, &'static [u8]>,
) -> impl FnMut(LogId) -> Result<Option<LogRow>, Trouble> {
    move |log| {
        let number = number_of(numbers, log)?;
        number.map(|number| read_log(logs, number)).transpose()
    }
}

/// How a log begins and how far it is held.
pub(super) fn read_log(
    logs: &impl ReadableTable<u32, &'static [u8]>,
    number: u32,
) -> Result<LogRow, Trouble> {
    let damaged = |why: &str| Trouble::Damaged(format!("the row of log number {number}: {why}"));
    let row = logs.get(number)?;
    let row = row.ok_or_else(|| damaged("it is missing"))?;
    LogRow::decode(row.value()).map_err(|error| damaged(&error.to_string()))
}

/// The tables of the logs, with the log rows that were needed so far.
pub(super) struct LogReader<'txn> {
    numbers: ReadOnlyTable<[u8; 16], u32>,
    logs: ReadOnlyTable<u32, &'static [u8]>,
    entries: ReadOnlyTable<(u32, u64), &'static [u8]>,
    points: LazyRead<'txn, (u32, u64), &'static [u8; 64]>,
    branches: LazyRead<'txn, ([u8; 16], [u8; 16]), u32>,
    implied: LazyRead<'txn, (u32, u64), &'static [u8]>,
    rows: BTreeMap<u32, LogRow>,
    unpacker: Unpacker,
    reader: EntryReader,
}

impl<'txn> LogReader<'txn> {
    pub(super) fn new(tx: &'txn ReadTransaction) -> Result<Self, Trouble> {
        Ok(Self {
            numbers: tx.open_table(tables::LOG_NUMBERS)?,
            logs: tx.open_table(tables::LOGS)?,
            entries: tx.open_table(tables::ENTRIES)?,
            points: LazyRead::new(tx, tables::POINTS),
            branches: LazyRead::new(tx, tables::BRANCHES),
            implied: LazyRead::new(tx, tables::IMPLIED),
            rows: BTreeMap::new(),
            unpacker: Unpacker::default(),
            reader: EntryReader::default(),
        })
    }

    pub(super) fn number_of(&self, log: LogId) -> Result<Option<u32>, Trouble> {
        number_of(&self.numbers, log)
    }

    pub(super) fn row(&mut self, number: u32) -> Result<&LogRow, Trouble> {
        if !self.rows.contains_key(&number) {
            self.rows.insert(number, read_log(&self.logs, number)?);
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
        let log = self.row(number)?.clone();
        let names = Names {
            numbers: &self.numbers,
            entries: &self.entries,
            branches: &self.branches,
            implied: &self.implied,
        };
        let mut rows = log_rows(&self.numbers, &self.logs);
        names.change_set(&mut rows, &mut self.reader, (number, &log), seq)
    }

    /// The first point at or after `from` and before `end`.
    pub(super) fn point_from(
        &self,
        number: u32,
        from: u64,
        end: u64,
    ) -> Result<(u64, [u8; 64]), Trouble> {
        let points = self.points.table()?;
        match points.range((number, from)..(number, end))?.next() {
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
