//! The body of DATA before compression: runs of logs, each log's header once a session.
//!
//! Both sides remember which headers have passed, and forget all of them at the same point when they are
//! too many. The header of a log that the receiver has said it holds does not travel at all: the receiver takes
//! its own, and the chain tells whether it is the same. It refuses a run whose header it does not have, and a
//! second header that differs from the first. It does not verify chains or signatures.

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::ident::LogId;

use super::WireError;
use super::branch::{read_header, write_header};
use super::codec::{Reader, Writer};
use super::limits::{DATA_BYTES_MAX, ENTRY_BYTES_MAX, HEADERS_MAX};
use crate::engine::batch::{Held, LogHeader, Run};

/// What the length of an entry may take, as room is made for it.
const ENTRY_ROOM: usize = 3;
/// What a run takes besides its entries: a log, a signature, two numbers and mostly no header.
const RUN_ROOM: usize = 96;

/// Writes DATA bodies of one direction.
#[derive(Debug, Default)]
pub(super) struct RunWriter {
    sent: BTreeSet<LogId>,
    /// What the receiver held when it told.
    held: Held,
    /// The logs that it has said to hold since.
    since: BTreeSet<LogId>,
}

/// Where the receiver finds a run's header.
mod header_tag {
    /// Among those that have passed.
    pub(super) const SENT: u8 = 0;
    /// Here.
    pub(super) const HERE: u8 = 1;
    /// In its own store.
    pub(super) const HELD: u8 = 2;
}

impl RunWriter {
    pub(super) fn write(&mut self, runs: &[Run]) -> Vec<u8> {
        let bytes = runs.iter().map(|run| {
            let entries = run.entries.iter().map(Vec::len).sum::<usize>();
            entries + run.entries.len() * ENTRY_ROOM + RUN_ROOM
        });
        let mut writer = Writer::with_room(bytes.sum());
        for run in runs {
            self.write_run(&mut writer, run);
        }
        writer.into_bytes()
    }

    /// Notes that the receiver holds the beginning of a log.
    pub(super) fn note_held(&mut self, log: LogId) {
        if !self.held.contains_key(&log) {
            self.since.insert(log);
        }
    }

    /// Notes all that the receiver holds.
    pub(super) fn note_all_held(&mut self, held: Held) {
        self.held = held;
    }

    fn write_run(&mut self, writer: &mut Writer, run: &Run) {
        let header = &run.header;
        writer.raw(&header.log.0);
        writer.varint(run.from);
        let tag = if self.sent.contains(&header.log) {
            header_tag::SENT
        } else if self.held.contains_key(&header.log) || self.since.contains(&header.log) {
            header_tag::HELD
        } else {
            header_tag::HERE
        };
        writer.byte(tag);
        if tag == header_tag::HERE {
            if self.sent.len() == HEADERS_MAX {
                self.sent.clear();
            }
            self.sent.insert(header.log);
            write_header(writer, header);
        }
        write_rest(writer, run);
    }
}

/// Gives the header of a log that the receiver holds.
pub type Headers<'a> = dyn Fn(&LogId) -> Option<LogHeader> + 'a;

/// Reads DATA bodies of one direction.
#[derive(Debug, Default)]
pub(super) struct RunReader {
    seen: BTreeMap<LogId, LogHeader>,
}

impl RunReader {
    /// Reads a body; `held` gives the headers of the logs that are held here.
    pub(super) fn read(&mut self, body: &[u8], held: &Headers<'_>) -> Result<Vec<Run>, WireError> {
        let mut reader = Reader::new(body);
        let mut runs = Vec::new();
        while !reader.is_empty() {
            runs.push(self.read_run(&mut reader, held)?);
        }
        if runs.is_empty() {
            return Err(WireError::Malformed("data: no runs"));
        }
        Ok(runs)
    }

    fn read_run(&mut self, reader: &mut Reader<'_>, held: &Headers<'_>) -> Result<Run, WireError> {
        let log = LogId(reader.array("log")?);
        let from = reader.varint("run's first sequence number")?;
        let header = self.read_header(reader, log, held)?;
        read_rest(reader, header, from)
    }

    fn read_header(
        &mut self,
        reader: &mut Reader<'_>,
        log: LogId,
        held: &Headers<'_>,
    ) -> Result<LogHeader, WireError> {
        const UNKNOWN: WireError = WireError::Malformed("run: its log has no header yet");
        const SECOND: WireError = WireError::Malformed("run: a second header of its log");
        let seen = self.seen.get(&log);
        match reader.byte("header tag")? {
            header_tag::SENT => return seen.cloned().ok_or(UNKNOWN),
            header_tag::HELD => {
                let held = held(&log).ok_or(UNKNOWN)?;
                return match seen {
                    Some(seen) if *seen != held => Err(SECOND),
                    Some(_) | None => Ok(held),
                };
            }
            header_tag::HERE => {}
            _ => return Err(WireError::Malformed("header tag")),
        }
        let header = read_header(reader, log)?;
        match seen {
            Some(seen) if *seen == header => {}
            Some(_) => return Err(SECOND),
            None => {
                if self.seen.len() == HEADERS_MAX {
                    self.seen.clear();
                }
                self.seen.insert(log, header.clone());
            }
        }
        Ok(header)
    }
}

/// Writes what stands in a run after its log, place and header.
pub(super) fn write_rest(writer: &mut Writer, run: &Run) {
    writer.count(run.entries.len());
    run.entries.iter().for_each(|entry| writer.bytes(entry));
    writer.raw(&run.signature);
}

/// Reads what stands in a run after its log, place and header.
pub(super) fn read_rest(
    reader: &mut Reader<'_>,
    header: LogHeader,
    from: u64,
) -> Result<Run, WireError> {
    let count = reader.count("number of entries", DATA_BYTES_MAX)?;
    if from == 0 || count == 0 || from.checked_add(count as u64).is_none() {
        return Err(WireError::Malformed("run: sequence numbers"));
    }
    let mut entries = Vec::new();
    for _ in 0..count {
        let entry = reader.bytes("entry", ENTRY_BYTES_MAX)?;
        if entry.is_empty() {
            return Err(WireError::Malformed("run: an empty entry"));
        }
        entries.push(entry.to_vec());
    }
    Ok(Run {
        header,
        from,
        entries,
        signature: reader.array("signature")?,
    })
}
