//! One Automerge document a record, synced by Automerge's own protocol.
//!
//! In its favour: the sync state of every document is kept between meetings, all documents' messages of a
//! turn travel together, and nothing is written to disk. Automerge has no notion of a set of documents, so
//! each of them is asked about at every meeting. The variant that is told asks only about those that
//! differ, as if something else had found them out at no cost: no layer over Automerge's sync can be better.

use std::collections::BTreeMap;

use automerge::sync::{Message, State, SyncDoc};
use automerge::transaction::{CommitOptions, Transactable};
use automerge::{AutoCommit, ROOT, ReadDoc, ScalarValue, Value};
use serde_json::{Map, Value as Json};

use super::Contender;
use crate::link::{Link, Side, Traffic, talk};
use crate::records::{Record, Update, id, pause_ms, raw_id};

/// How many bytes of documents' messages travel together, so that the other end can begin before all is there.
const BATCH_BYTES: usize = 16 << 10;

pub(super) struct Pair {
    devices: [Device; 2],
    is_told: bool,
}

#[derive(Default)]
struct Device {
    docs: BTreeMap<[u8; 16], (AutoCommit, State)>,
    /// Which documents to ask about at the next meeting.
    asked: Vec<[u8; 16]>,
    taken: u64,
}

impl Pair {
    /// `is_told`: whether documents that do not differ are left out of a meeting.
    pub(super) fn new(is_told: bool) -> Self {
        let devices = [Device::default(), Device::default()];
        Self { devices, is_told }
    }
}

impl Contender for Pair {
    fn load(&mut self, records: &[Record]) {
        for record in records {
            let doc = document(record);
            let id = raw_id(&record.id);
            self.devices[0].docs.insert(id, (doc, State::new()));
            self.devices[0].asked.push(id);
        }
    }

    fn update(&mut self, updates: &[Update]) {
        let device = &mut self.devices[0];
        for update in updates {
            let id = raw_id(&id(update.record));
            let (doc, _) = device.docs.get_mut(&id).expect("it was loaded");
            put(doc, update.field, &update.value);
            doc.commit_with(written(update.record + 1_000_000));
            device.asked.push(id);
        }
    }

    fn sync(&mut self, link: Link) -> Traffic {
        let [a, b] = &mut self.devices;
        if !self.is_told {
            for device in [&mut *a, &mut *b] {
                device.asked = device.docs.keys().copied().collect();
            }
        }
        let traffic = talk(link, a, b);
        a.asked.clear();
        traffic
    }

    fn record(&mut self, device: usize, id: &str) -> Option<Map<String, Json>> {
        let (doc, _) = self.devices[device].docs.get(&raw_id(id))?;
        Some(fields(doc))
    }
}

/// The record as a flat document, in one change.
pub(super) fn document(record: &Record) -> AutoCommit {
    let mut doc = AutoCommit::new();
    for (name, value) in &record.fields {
        put(&mut doc, name, value);
    }
    doc.commit_with(written(record.fields.len()));
    doc
}

/// Sets a field of a flat document.
pub(super) fn put(doc: &mut impl Transactable, name: &str, value: &Json) {
    let put = match value {
        Json::String(text) => doc.put(ROOT, name, text.as_str()),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => doc.put(ROOT, name, whole),
            None => doc.put(ROOT, name, number.as_f64().unwrap_or_default()),
        },
        other => panic!("records hold texts and numbers, not {other}"),
    };
    put.expect("the root takes a value");
}

/// A change carries the second in which it was written, as a change set of fieldmesh does.
fn written(draw: usize) -> CommitOptions {
    CommitOptions::default().with_time((1_790_000_000 + pause_ms(draw as u64)) as i64)
}

/// The fields of a flat document.
pub(super) fn fields(doc: &impl ReadDoc) -> Map<String, Json> {
    let fields = doc.keys(ROOT).map(|key| {
        let found = doc.get(ROOT, key.as_str()).expect("the root can be read");
        let Some((Value::Scalar(value), _)) = found else {
            panic!("documents are flat");
        };
        let value = match value.as_ref() {
            ScalarValue::Str(text) => Json::from(text.as_str()),
            ScalarValue::Int(number) => Json::from(*number),
            ScalarValue::F64(number) => Json::from(*number),
            other => panic!("documents hold what records do, not {other:?}"),
        };
        (key, value)
    });
    fields.collect()
}

impl Side for Device {
    fn open(&mut self, _: f64) -> Vec<Vec<u8>> {
        let mut batch = Batch::default();
        for id in &self.asked {
            let Some((doc, state)) = self.docs.get_mut(id) else {
                continue;
            };
            // What a program keeps of the state between connections.
            *state = State::decode(&state.encode()).expect("a state reads back");
            if let Some(message) = doc.sync().generate_sync_message(state) {
                batch.push(id, &message.encode());
            }
        }
        batch.finish()
    }

    fn receive(&mut self, _: f64, message: Vec<u8>) -> Vec<Vec<u8>> {
        let mut batch = Batch::default();
        for (id, message) in Batch::read(&message) {
            let (doc, state) = self.docs.entry(id).or_default();
            let message = Message::decode(&message).expect("messages are good");
            let before = doc.get_heads();
            doc.sync()
                .receive_sync_message(state, message)
                .expect("messages apply");
            self.taken += u64::from(doc.get_heads() != before);
            if let Some(message) = doc.sync().generate_sync_message(state) {
                batch.push(&id, &message.encode());
            }
        }
        batch.finish()
    }

    fn taken(&self) -> u64 {
        self.taken
    }
}

/// Several documents' messages in one: of each its id of sixteen bytes, two bytes of length, and its bytes.
#[derive(Default)]
struct Batch {
    full: Vec<Vec<u8>>,
    last: Vec<u8>,
}

impl Batch {
    fn push(&mut self, id: &[u8; 16], message: &[u8]) {
        self.last.extend(id);
        let length = u16::try_from(message.len()).expect("messages are short");
        self.last.extend(length.to_le_bytes());
        self.last.extend(message);
        if self.last.len() >= BATCH_BYTES {
            self.full.push(std::mem::take(&mut self.last));
        }
    }

    fn finish(mut self) -> Vec<Vec<u8>> {
        if !self.last.is_empty() {
            self.full.push(self.last);
        }
        self.full
    }

    fn read(mut bytes: &[u8]) -> Vec<([u8; 16], Vec<u8>)> {
        let mut take = |count: usize| {
            let (head, rest) = bytes.split_at_checked(count)?;
            bytes = rest;
            Some(head)
        };
        let mut next = || {
            let id = take(16)?.try_into().ok()?;
            let length = u16::from_le_bytes(take(2)?.try_into().ok()?);
            Some((id, take(usize::from(length))?.to_vec()))
        };
        std::iter::from_fn(&mut next).collect()
    }
}
