//! What all devices of a run share: every entry, once, and the history of every record.
//!
//! Honest logs do not fork, so an entry is the same wherever it is held, and a device needs to keep only how
//! far it holds each log. A record's document is a function of that too: of the edits in its history that lie
//! within the device's logs. It is made with the real merge when somebody writes or looks at the record.
//!
//! It does not know which device holds what, except how many hold each entry.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use crdt_schema::document::{Document, DocumentError};
use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{Dot, LogId};
use crdt_schema::op::{ChangeSet, DotTag, Edit};
use fieldmesh::engine::batch::{FrontierRow, LogHeader};
use fieldmesh::wire::chain::{chain_next, chain_start};

use super::spread::Spread;
use crate::device::ORGANISATION;

/// Collection and id of a record; there is one space.
pub(super) type RecordName = (String, String);

/// The pool of a run. A run has one thread.
pub(super) type SharedPool = Rc<RefCell<Pool>>;

/// One entry.
#[derive(Debug)]
struct Entry {
    bytes: Arc<[u8]>,
    /// The causes of all its edits.
    deps: Box<[Dot]>,
    chain: [u8; 32],
    hlc: Timestamp,
    spread: usize,
}

/// One log, as far as its author has written it.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) header: LogHeader,
    start: [u8; 32],
    entries: Vec<Entry>,
    /// The signatures by the seq that they are over.
    signatures: HashMap<u32, [u8; 64]>,
}

/// One record's part of an entry.
#[derive(Debug)]
struct PooledEdit {
    log: u32,
    seq: u32,
    /// Its place in its entry.
    place: u32,
    edit: Edit,
    hlc: Timestamp,
    version: u32,
}

/// All edits of a record, causes first, and the document that was made last.
#[derive(Debug, Default)]
struct History {
    edits: Vec<PooledEdit>,
    /// The places of its edits, ascending, and the document.
    made: Option<(Vec<u32>, Document)>,
}

/// Everything that has been written in a run.
#[derive(Debug, Default)]
pub(super) struct Pool {
    logs: Vec<Log>,
    numbers: HashMap<LogId, u32>,
    records: BTreeMap<RecordName, History>,
    pub(super) spread: Spread,
}

impl Pool {
    /// An empty pool for so many devices.
    pub(super) fn of(devices: usize) -> Self {
        Self {
            spread: Spread::new(devices),
            ..Self::default()
        }
    }

    /// The number of a log, if anybody has written it.
    pub(super) fn number(&self, log: &LogId) -> Option<u32> {
        self.numbers.get(log).copied()
    }

    /// The number of a log; begins it if nobody has written it.
    pub(super) fn begin(&mut self, header: &LogHeader) -> u32 {
        if let Some(number) = self.number(&header.log) {
            return number;
        }
        let number = self.logs.len() as u32;
        self.numbers.insert(header.log, number);
        self.logs.push(Log {
            header: header.clone(),
            start: chain_start(&ORGANISATION, header),
            entries: Vec::new(),
            signatures: HashMap::new(),
        });
        number
    }

    pub(super) fn log(&self, number: u32) -> &Log {
        &self.logs[number as usize]
    }

    /// How many logs there are.
    pub(super) fn len(&self) -> usize {
        self.logs.len()
    }

    /// What tells an entry from one of another branch.
    pub(super) fn tag(&self, dot: &Dot) -> Option<DotTag> {
        let log = self.log(self.number(&dot.log)?);
        let chain = log.chain(dot.seq);
        Some([chain[0], chain[1]])
    }

    /// Which edit of an entry is of the same record as `edit`.
    pub(super) fn place_of(&self, earlier: Dot, edit: &Edit) -> Option<usize> {
        let log = self.number(&earlier.log)?;
        let history = self
            .records
            .get(&(edit.collection.clone(), edit.id.clone()))?;
        let is_it = |it: &&PooledEdit| (it.log, u64::from(it.seq)) == (log, earlier.seq);
        let found = history.edits.iter().rev().find(is_it)?;
        Some(found.place as usize)
    }

    /// Adds the next entry of a log.
    pub(super) fn write(&mut self, number: u32, bytes: &[u8], set: &ChangeSet) {
        let spread = self.spread.written();
        let log = &mut self.logs[number as usize];
        let chain = chain_next(&log.chain(log.entries.len() as u64), bytes);
        let deps = set.edits.iter().flat_map(|edit| &edit.deps);
        log.entries.push(Entry {
            bytes: bytes.into(),
            deps: deps.copied().collect(),
            chain,
            hlc: set.hlc,
            spread,
        });
        let seq = log.entries.len() as u32;
        for (place, edit) in (0..).zip(&set.edits) {
            let name = (edit.collection.clone(), edit.id.clone());
            self.records
                .entry(name)
                .or_default()
                .edits
                .push(PooledEdit {
                    log: number,
                    seq,
                    place,
                    edit: edit.clone(),
                    hlc: set.hlc,
                    version: set.schema_version,
                });
        }
    }

    /// Keeps the author's signature over a log up to `seq`.
    pub(super) fn sign(&mut self, number: u32, seq: u64, signature: [u8; 64]) {
        let log = &mut self.logs[number as usize];
        log.signatures.insert(seq as u32, signature);
    }

    /// Notes that one more device holds an entry.
    pub(super) fn arrived(&mut self, number: u32, seq: u64) {
        let entry = &self.logs[number as usize].entries[seq as usize - 1];
        self.spread.arrived(entry.spread);
    }

    /// The records that anybody has written, ascending.
    pub(super) fn records(&self) -> Vec<RecordName> {
        self.records.keys().cloned().collect()
    }

    /// The record's document as whoever holds the logs so far has it; empty if it has no edit of it.
    pub(super) fn document(
        &mut self,
        name: &RecordName,
        held: impl Fn(u32) -> u64,
    ) -> Result<Document, DocumentError> {
        let Some(history) = self.records.get_mut(name) else {
            return Ok(Document::new());
        };
        let is_held = |edit: &PooledEdit| u64::from(edit.seq) <= held(edit.log);
        let wanted: Vec<u32> = (0..)
            .zip(&history.edits)
            .filter(|(_, edit)| is_held(edit))
            .map(|(place, _)| place)
            .collect();
        let is_part = |made: &[u32]| {
            let wanted: BTreeSet<u32> = wanted.iter().copied().collect();
            made.iter().all(|place| wanted.contains(place))
        };
        let (made, mut document) = match history.made.take() {
            Some((made, document)) if is_part(&made) => (made, document),
            _ => (Vec::new(), Document::new()),
        };
        for place in &wanted {
            if made.binary_search(place).is_err() {
                let pooled = &history.edits[*place as usize];
                let log = self.logs[pooled.log as usize].header.log;
                let dot = Dot::new(log, u64::from(pooled.seq));
                document.apply(dot, pooled.hlc, pooled.version, &pooled.edit)?;
            }
        }
        history.made = Some((wanted, document.clone()));
        Ok(document)
    }
}

impl Log {
    /// The chain value at `seq`.
    fn chain(&self, seq: u64) -> [u8; 32] {
        match seq {
            0 => self.start,
            seq => self.entries[seq as usize - 1].chain,
        }
    }

    pub(super) fn bytes(&self, seq: u64) -> &Arc<[u8]> {
        &self.entries[seq as usize - 1].bytes
    }

    /// What an entry depends on.
    pub(super) fn deps(&self, seq: u64) -> &[Dot] {
        &self.entries[seq as usize - 1].deps
    }

    /// The author's signature at `seq`; there is one wherever a device has a point.
    pub(super) fn signature(&self, seq: u64) -> Option<[u8; 64]> {
        self.signatures.get(&(seq as u32)).copied()
    }

    /// The log as it ends at `seq`.
    pub(super) fn row(&self, seq: u64) -> FrontierRow {
        let hlc = match seq {
            0 => Timestamp::default(),
            seq => self.entries[seq as usize - 1].hlc,
        };
        FrontierRow {
            header: self.header.clone(),
            seq,
            chain: self.chain(seq),
            hlc,
        }
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> u64 {
        self.entries.len() as u64
    }
}
