//! What a session sends: the entries on a walk that a peer lacks, about a frame of them at a time.
//!
//! A walk over a space follows its stretches in arrival order, so effects never come before their causes (see
//! [`super::log`]). A walk over logs goes ahead of that order, and takes an entry only if everything that it
//! depends on is known to the peer or has been taken before it. Dependencies never leave a space, so both hold
//! whatever is sent of other spaces.
//!
//! An entry that does not read back holds back its own log and nothing else here: it is named in what a fetch
//! finds, so that the engine may hold back what depends on it and ask the peers for it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crdt_schema::ident::{Dot, LogId, SpaceName};
use redb::ReadTransaction;

use crate::engine::batch::{Arrival, Fetched, Held, LogHeader, Run, Walk};
use crate::mutation::{Mutation, is_planted};
use crate::wire::changeset::decode_change_set;
use crate::wire::limits::POINT_GAP_BYTES;

use super::feed::{LogReader, start};
use super::log::Stretch;
use super::open::last_arrival;
use super::trouble::Trouble;
use super::{Reader, StoreError, tables};

/// Runs are joined up to this many entry bytes, to save signatures. Whoever receives one has no points inside
/// it, so this is also the least that a relay can send at a time.
const RUN_BYTES_TARGET: usize = 2 * POINT_GAP_BYTES;

impl Reader {
    /// What lies on the walk and is not `known` to a peer, about `bytes_max` entry bytes of it. A run always
    /// reaches a signed point, even past `bytes_max`.
    ///
    /// # Errors
    /// The store's.
    pub fn fetch(
        &self,
        walk: &Walk,
        known: &Held,
        bytes_max: usize,
    ) -> Result<Fetched, StoreError> {
        self.handle.read(|tx| {
            let mut fetch = Fetch {
                log: LogReader::new(tx)?,
                known,
                bytes_max,
                runs: Vec::new(),
                run_bytes: 0,
                bytes: 0,
                arrival: 0,
                damaged: BTreeMap::new(),
            };
            let end = match walk {
                Walk::Space { space, after } => fetch.walk_space(tx, space, *after)?,
                Walk::Logs(logs) => fetch.walk_logs(logs)?,
            };
            Ok(Fetched {
                runs: fetch.runs,
                arrival: fetch.arrival,
                end,
                damaged: fetch.damaged.into_values().collect(),
            })
        })
    }
}

/// A fetch in progress.
struct Fetch<'k> {
    log: LogReader<'k>,
    known: &'k Held,
    bytes_max: usize,
    runs: Vec<Run>,
    /// Entry bytes of the last run.
    run_bytes: usize,
    bytes: usize,
    /// Everything in the space up to here is in `runs`, known or held back.
    arrival: Arrival,
    /// The logs that are held back, and from where on.
    damaged: BTreeMap<u32, Dot>,
}

impl Fetch<'_> {
    /// Walks a space. Returns whether its end was reached.
    fn walk_space(
        &mut self,
        tx: &ReadTransaction,
        space: &SpaceName,
        after: Arrival,
    ) -> Result<bool, Trouble> {
        self.arrival = after;
        let (listed, stretches) = (
            tx.open_table(tables::ARRIVED_IN)?,
            tx.open_table(tables::STRETCHES)?,
        );
        let (name, first) = (space.as_str(), after.saturating_add(1));
        // The stretch that holds the arrival may begin before it.
        let before = listed.range((name, 0)..=(name, first))?.next_back();
        let from = before.transpose()?.map_or(0, |(key, _)| key.value().1);
        for row in listed.range((name, from)..=(name, Arrival::MAX))? {
            let first = row?.0.value().1;
            let row = stretches.get(first)?.ok_or_else(|| {
                let why = format!("the stretch from arrival {first} on is missing");
                Trouble::Damaged(why)
            })?;
            let stretch = Stretch::of_row(first, row.value());
            if stretch.last() > after && !self.take(&stretch, after)? {
                return Ok(false);
            }
        }
        self.arrival = last_arrival(tx)?;
        Ok(true)
    }

    /// Takes what is unknown of a stretch. Returns whether all of it fitted.
    fn take(&mut self, stretch: &Stretch, after: Arrival) -> Result<bool, Trouble> {
        if stretch.is_void() || self.damaged.contains_key(&stretch.log) {
            self.arrival = stretch.last();
            return Ok(true);
        }
        let header = self.log.row(stretch.log)?.header.clone();
        let held = self.known.get(&header.log).copied().unwrap_or(0);
        let mut from = start(stretch, after).max(held.saturating_add(1));
        let end = stretch.from + stretch.count;
        while from < end {
            if self.is_full() {
                return Ok(false);
            }
            let Some(read) = self.read(&header.log, stretch.log, from, end)? else {
                break;
            };
            let point = *read.seqs.end();
            self.push(&header, read);
            self.arrival = stretch.arrival_of(point);
            from = point + 1;
        }
        self.arrival = stretch.last();
        Ok(true)
    }

    /// Walks logs, one after the other. Returns whether nothing was left out for lack of room.
    fn walk_logs(&mut self, logs: &[LogId]) -> Result<bool, Trouble> {
        let mut taken = BTreeMap::new();
        for log in logs {
            let Some(number) = self.log.number_of(*log)? else {
                continue;
            };
            let row = self.log.row(number)?;
            let (header, end) = (row.header.clone(), row.seq + 1);
            if header.branch_of.is_some() {
                // What it continues must come before it: it waits for its place in the order.
                continue;
            }
            let mut from = match is_planted(Mutation::LogRestarted) {
                true => 1,
                false => self.seq_known(&taken, log).saturating_add(1),
            };
            while from < end {
                if self.is_full() {
                    return Ok(false);
                }
                let Some(read) = self.read(log, number, from, end)? else {
                    break;
                };
                if !self.is_ready(&taken, &read) {
                    break;
                }
                from = *read.seqs.end() + 1;
                taken.insert(*log, *read.seqs.end());
                self.push(&header, read);
            }
        }
        Ok(true)
    }

    /// How far a log is known to the peer, or was taken on this walk.
    fn seq_known(&self, taken: &BTreeMap<LogId, u64>, log: &LogId) -> u64 {
        let known = self.known.get(log).copied().unwrap_or(0);
        known.max(taken.get(log).copied().unwrap_or(0))
    }

    /// Whether the peer has, or is about to have, everything that these entries depend on.
    fn is_ready(&self, taken: &BTreeMap<LogId, u64>, read: &Read) -> bool {
        read.entries.iter().all(|entry| {
            let is_known = |dep: &Dot| dep.seq <= self.seq_known(taken, &dep.log);
            // An entry that cannot be decoded waits for its place in the order, which needs no decoding.
            decode_change_set(entry)
                .is_ok_and(|set| set.edits.iter().flat_map(|edit| &edit.deps).all(is_known))
        })
    }

    fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max && !self.runs.is_empty()
    }

    /// Reads the entries from `from` to the first point there, before `end`. If one is damaged, its log is held
    /// back and nothing is read.
    fn read(
        &mut self,
        log: &LogId,
        number: u32,
        from: u64,
        end: u64,
    ) -> Result<Option<Read>, Trouble> {
        match self.read_point(number, from, end) {
            Ok(read) => Ok(Some(read)),
            Err(Trouble::Damaged(why)) => {
                tracing::error!(why, "a log is held back until its entry is mended");
                self.damaged.insert(number, Dot::new(*log, from));
                Ok(None)
            }
            Err(trouble) => Err(trouble),
        }
    }

    fn read_point(&mut self, number: u32, from: u64, end: u64) -> Result<Read, Trouble> {
        let (point, signature) = self.log.point_from(number, from, end)?;
        let seqs = from..=point;
        let entries = seqs.clone().map(|seq| self.log.entry(number, seq));
        let entries = entries.collect::<Result<_, _>>()?;
        Ok(Read {
            seqs,
            entries,
            signature,
        })
    }

    /// Adds entries that end at a point, to the last run if they continue it.
    fn push(&mut self, header: &LogHeader, read: Read) {
        let bytes: usize = read.entries.iter().map(Vec::len).sum();
        self.bytes += bytes;
        match self.runs.last_mut() {
            Some(run)
                if run.header.log == header.log
                    && run.last() + 1 == *read.seqs.start()
                    && self.run_bytes + bytes <= RUN_BYTES_TARGET =>
            {
                run.entries.extend(read.entries);
                run.signature = read.signature;
                self.run_bytes += bytes;
            }
            _ => {
                self.runs.push(Run {
                    header: header.clone(),
                    from: *read.seqs.start(),
                    entries: read.entries,
                    signature: read.signature,
                });
                self.run_bytes = bytes;
            }
        }
    }
}

/// Entries of one log that end at a point.
struct Read {
    seqs: RangeInclusive<u64>,
    entries: Vec<Vec<u8>>,
    signature: [u8; 64],
}
