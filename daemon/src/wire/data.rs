//! The body of DATA before compression: runs of logs, each log's header once a session.
//!
//! Both sides remember which headers have passed, and forget all of them at the same point when they are
//! too many. The receiver refuses a run whose header it has not seen, and a second header that differs
//! from the first. It does not verify chains or signatures.

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::ident::{DeviceId, LogId, SpaceName};

use super::WireError;
use super::codec::{Reader, Writer};
use super::limits::{DATA_BYTES_MAX, ENTRY_BYTES_MAX, HEADERS_MAX, NAME_BYTES_MAX};
use crate::engine::batch::{LogHeader, Run};

/// Writes DATA bodies of one direction.
#[derive(Debug, Default)]
pub(super) struct RunWriter {
    sent: BTreeSet<LogId>,
}

impl RunWriter {
    pub(super) fn write(&mut self, runs: &[Run]) -> Vec<u8> {
        let mut writer = Writer::new();
        for run in runs {
            self.write_run(&mut writer, run);
        }
        writer.into_bytes()
    }

    fn write_run(&mut self, writer: &mut Writer, run: &Run) {
        let header = &run.header;
        writer.raw(&header.log.0);
        writer.varint(run.from);
        let first = !self.sent.contains(&header.log);
        writer.flag(first);
        if first {
            if self.sent.len() == HEADERS_MAX {
                self.sent.clear();
            }
            self.sent.insert(header.log);
            writer.text(header.space.as_str());
            writer.raw(&header.device.0);
            writer.text(&header.name);
        }
        writer.count(run.entries.len());
        for entry in &run.entries {
            writer.bytes(entry);
        }
        writer.raw(&run.signature);
    }
}

/// Reads DATA bodies of one direction.
#[derive(Debug, Default)]
pub(super) struct RunReader {
    seen: BTreeMap<LogId, LogHeader>,
}

impl RunReader {
    pub(super) fn read(&mut self, body: &[u8]) -> Result<Vec<Run>, WireError> {
        let mut reader = Reader::new(body);
        let mut runs = Vec::new();
        while !reader.is_empty() {
            runs.push(self.read_run(&mut reader)?);
        }
        if runs.is_empty() {
            return Err(WireError::Malformed("data: no runs"));
        }
        Ok(runs)
    }

    fn read_run(&mut self, reader: &mut Reader<'_>) -> Result<Run, WireError> {
        let log = LogId(reader.array("log")?);
        let from = reader.varint("run's first sequence number")?;
        let header = self.read_header(reader, log)?;
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

    fn read_header(&mut self, reader: &mut Reader<'_>, log: LogId) -> Result<LogHeader, WireError> {
        let seen = self.seen.get(&log);
        if !reader.flag("header flag")? {
            return seen
                .cloned()
                .ok_or(WireError::Malformed("run: its log has no header yet"));
        }
        let space = reader.text("space name", SpaceName::BYTES_MAX)?;
        let header = LogHeader {
            log,
            space: SpaceName::new(space).map_err(|_| WireError::Malformed("space name"))?,
            device: DeviceId(reader.array("device")?),
            name: reader.text("device name", NAME_BYTES_MAX)?.to_owned(),
        };
        match seen {
            Some(seen) if *seen == header => {}
            Some(_) => return Err(WireError::Malformed("run: a second header of its log")),
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
