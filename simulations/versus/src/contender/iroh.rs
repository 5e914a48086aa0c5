//! iroh-docs: one entry a record, keyed by its id of sixteen bytes, whose content is the other fields as JSON.
//!
//! The store is on disk and is driven by iroh-docs' own actor; the sync messages are its own, in the encoding
//! and framing that it sends. Contents are fetched as iroh-blobs would, all at once as soon as they are known
//! to be missing: counted is 33 bytes for a request and 8 beside the content itself, the least that its
//! format needs. Contents are kept in memory. All this is in its favour.

use std::collections::BTreeMap;
use std::path::Path;

use async_channel::Receiver;
use futures::executor::block_on;
use iroh_docs::actor::{OpenOpts, SyncHandle};
use iroh_docs::store::fs::Store;
use iroh_docs::sync::{Event, ProtocolMessage, SignedEntry, SyncOutcome};
use iroh_docs::{Author, AuthorId, Capability, NamespaceId, NamespaceSecret};
use serde_json::{Map, Value as Json};

use super::Contender;
use crate::link::{Link, Side, Traffic, talk};
use crate::records::{Record, Update, id, raw_id};

pub(super) struct Pair {
    // The actors of the devices run on it.
    _runtime: tokio::runtime::Runtime,
    devices: [Device; 2],
}

struct Device {
    docs: SyncHandle,
    events: Receiver<Event>,
    namespace: NamespaceId,
    author: AuthorId,
    opens: bool,
    outcome: SyncOutcome,
    /// Content by its hash.
    contents: BTreeMap<[u8; 32], Vec<u8>>,
    taken: u64,
    peer: [u8; 32],
}

/// The first byte of a message.
const ENTRIES: u8 = 0;
const REQUESTS: u8 = 1;
const CONTENTS: u8 = 2;

/// What iroh-docs puts before a message: four bytes of length, and the kind. Our own first byte stands for the kind.
const FRAMING: [u8; 4] = [0; 4];

impl Pair {
    pub(super) fn new(dir: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime can be made");
        let devices = [1, 2].map(|number| runtime.block_on(Device::new(dir, number)));
        Self {
            _runtime: runtime,
            devices,
        }
    }
}

impl Contender for Pair {
    fn load(&mut self, records: &[Record]) {
        for record in records {
            self.devices[0].put(&record.id, &record.fields);
        }
        self.devices[0].flush();
    }

    fn update(&mut self, updates: &[Update]) {
        let device = &mut self.devices[0];
        for update in updates {
            let id = id(update.record);
            let mut fields = device.fields(&id).expect("it was loaded");
            fields.insert(update.field.to_owned(), update.value.clone());
            device.put(&id, &fields);
        }
        device.flush();
    }

    fn sync(&mut self, link: Link) -> Traffic {
        let [a, b] = &mut self.devices;
        let traffic = talk(link, a, b);
        b.flush();
        traffic
    }

    fn record(&mut self, device: usize, id: &str) -> Option<Map<String, Json>> {
        self.devices[device].fields(id)
    }
}

impl Device {
    async fn new(dir: &Path, number: u8) -> Self {
        let file = dir.join(format!("{number}.redb"));
        let store = Store::persistent(file).expect("a store can be made");
        let docs = SyncHandle::spawn(store, None, number.to_string());
        let secret = NamespaceSecret::from_bytes(&[1; 32]);
        let imported = docs.import_namespace(Capability::Write(secret)).await;
        let namespace = imported.expect("a namespace can be added");
        let author = docs.import_author(Author::from_bytes(&[2; 32])).await;
        let (sender, events) = async_channel::unbounded();
        let opts = OpenOpts::default().sync().subscribe(sender);
        docs.open(namespace, opts).await.expect("the replica opens");
        Self {
            docs,
            events,
            namespace,
            author: author.expect("an author can be added"),
            opens: number == 1,
            outcome: SyncOutcome::default(),
            contents: BTreeMap::new(),
            taken: 0,
            peer: [3 - number; 32],
        }
    }

    fn put(&mut self, id: &str, fields: &Map<String, Json>) {
        let content = serde_json::to_vec(fields).expect("fields can be written as JSON");
        let hash = hash(&content);
        let key = raw_id(id).to_vec().into();
        let put = self.docs.insert_local(
            self.namespace,
            self.author,
            key,
            hash.into(),
            content.len() as u64,
        );
        block_on(put).expect("entries are taken");
        self.contents.insert(hash, content);
        // Local entries are told as well.
        while self.events.try_recv().is_ok() {}
    }

    fn flush(&self) {
        block_on(self.docs.flush_store()).expect("the store can be written");
    }

    fn entry(&self, id: &str) -> Option<SignedEntry> {
        let key = raw_id(id).to_vec().into();
        let found = self.docs.get_exact(self.namespace, self.author, key, false);
        block_on(found).expect("the store can be read")
    }

    fn fields(&self, id: &str) -> Option<Map<String, Json>> {
        let content = self
            .contents
            .get(self.entry(id)?.content_hash().as_bytes())?;
        serde_json::from_slice(content).ok()
    }

    fn entries(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let bytes = bytes.strip_prefix(&FRAMING).expect("messages are framed");
        let message: ProtocolMessage = postcard::from_bytes(bytes).expect("messages are good");
        let outcome = std::mem::take(&mut self.outcome);
        let answer = self
            .docs
            .sync_process_message(self.namespace, message, self.peer, outcome);
        let (answer, outcome) = block_on(answer).expect("messages are good");
        self.outcome = outcome;
        let mut say: Vec<Vec<u8>> = answer.iter().map(framed).collect();
        let mut requests = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            let Event::RemoteInsert { entry, .. } = event else {
                continue;
            };
            let hash = entry.content_hash();
            if !self.contents.contains_key(hash.as_bytes()) {
                requests.push(REQUESTS);
                requests.extend(hash.as_bytes());
            }
        }
        if !requests.is_empty() {
            say.push(requests);
        }
        say
    }

    /// The contents that are asked for, each in a message, as each is a stream of its own.
    fn answer(&self, requests: &[u8]) -> Vec<Vec<u8>> {
        let answers = requests.chunks_exact(33).map(|wanted| {
            let hash: [u8; 32] = wanted[1..].try_into().expect("33 less one is 32");
            let content = &self.contents[&hash];
            let length = (content.len() as u64).to_le_bytes();
            [&[CONTENTS], length.as_slice(), content].concat()
        });
        answers.collect()
    }

    fn take(&mut self, content: &[u8]) {
        let content = content.get(8..).expect("contents have a length");
        self.contents.insert(hash(content), content.to_vec());
        self.taken += 1;
    }
}

/// iroh-blobs names contents by BLAKE3.
fn hash(content: &[u8]) -> [u8; 32] {
    *blake3::hash(content).as_bytes()
}

fn framed(message: &ProtocolMessage) -> Vec<u8> {
    let message = postcard::to_stdvec(message).expect("messages can be written");
    [&[ENTRIES], FRAMING.as_slice(), &message].concat()
}

impl Side for Device {
    fn open(&mut self, _: f64) -> Vec<Vec<u8>> {
        self.outcome = SyncOutcome::default();
        if !self.opens {
            return Vec::new();
        }
        let message = block_on(self.docs.sync_initial_message(self.namespace));
        vec![framed(&message.expect("the store can be read"))]
    }

    fn receive(&mut self, _: f64, message: Vec<u8>) -> Vec<Vec<u8>> {
        match message.split_first().expect("messages are not empty") {
            (&ENTRIES, entries) => self.entries(entries),
            (&REQUESTS, _) => self.answer(&message),
            (_, content) => {
                self.take(content);
                Vec::new()
            }
        }
    }

    fn taken(&self) -> u64 {
        self.taken
    }
}
