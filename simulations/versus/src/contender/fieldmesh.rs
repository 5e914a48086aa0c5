//! fieldmesh itself: two engines over two stores in files. One change set a record, as people enter them.
//!
//! What a daemon puts between engine and network, a runtime and an encrypted stream, is left out, as it is
//! for the others. Commits are durable: every frame that arrives is a transaction, which a daemon would
//! often put together.

use std::path::Path;
use std::sync::Arc;

use crdt_schema::ident::{DeviceId, OrganisationId, RecordKey, SpaceName};
use crdt_schema::intent::ops_from_patch;
use crdt_schema::op::Op;
use crdt_schema::schema::Schema;
use ed25519_dalek::SigningKey;
use fieldmesh::engine::batch::{LocalEdit, SchemaInUse, SessionId, WriteMode};
use fieldmesh::engine::effect::Effect;
use fieldmesh::engine::input::{Input, LocalWrite, Now};
use fieldmesh::engine::{Engine, EngineConfig};
use fieldmesh::store::{Store, StoreOptions};
use fieldmesh::wire::chain::JoinSecret;
use serde_json::{Map, Value as Json};

use super::Contender;
use crate::link::{Link, Side, Traffic, talk};
use crate::records::{Record, SCHEMA, Update, id, pause_ms};

const ORGANISATION: OrganisationId = OrganisationId([7; 16]);
/// How many people's writes wait for one transaction while a device is loaded.
const WRITES_AT_ONCE: usize = 200;
/// The time from one meeting to the next.
const BETWEEN_MEETINGS_MS: u64 = 3_600_000;

pub(super) struct Pair {
    devices: [Device; 2],
}

struct Device {
    engine: Engine,
    store: Store,
    schema: Arc<Schema>,
    peer: DeviceId,
    session: SessionId,
    requests: u64,
    /// How many change sets the store holds.
    arrival: u64,
    /// When the present meeting began.
    began_ms: u64,
    now_ms: u64,
}

impl Pair {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            devices: [1, 2].map(|number| Device::new(dir, number)),
        }
    }
}

impl Contender for Pair {
    fn load(&mut self, records: &[Record]) {
        let schema = Arc::clone(&self.devices[0].schema);
        let collection = schema.collection("item").expect("the schema has it");
        let edits = records.iter().map(|record| {
            let ops = ops_from_patch(collection, &record.fields).expect("records keep the schema");
            (record.id.clone(), ops)
        });
        self.devices[0].write(edits.collect());
    }

    fn update(&mut self, updates: &[Update]) {
        let schema = Arc::clone(&self.devices[0].schema);
        let collection = schema.collection("item").expect("the schema has it");
        let edits = updates.iter().map(|update| {
            let patch = Map::from_iter([(update.field.to_owned(), update.value.clone())]);
            let ops = ops_from_patch(collection, &patch).expect("updates keep the schema");
            (id(update.record), ops)
        });
        self.devices[0].write(edits.collect());
    }

    fn sync(&mut self, link: Link) -> Traffic {
        let [a, b] = &mut self.devices;
        let traffic = talk(link, a, b);
        a.close();
        b.close();
        traffic
    }

    fn record(&mut self, device: usize, id: &str) -> Option<Map<String, Json>> {
        let key = RecordKey {
            space: SpaceName::default(),
            collection: "item".to_owned(),
            id: id.to_owned(),
        };
        let record = self.devices[device].store.reader().get(&key);
        Some(record.expect("the store can be read")?.view.fields)
    }
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn device(number: u8) -> DeviceId {
    DeviceId(key(number).verifying_key().to_bytes())
}

impl Device {
    fn new(dir: &Path, number: u8) -> Self {
        let schema = Arc::new(Schema::parse(SCHEMA).expect("the schema is good"));
        let options = StoreOptions {
            organisation: ORGANISATION,
            signer: key(number),
            schema: Arc::clone(&schema),
            cache_bytes: 16 << 20,
            new_store_id: [number; 16],
            schema_follow: true,
        };
        let file = dir.join(format!("{number}.redb"));
        let store = Store::open_file(&file, options).expect("a store can be made");
        let config = EngineConfig {
            organisation: ORGANISATION,
            device: device(number),
            name: format!("device {number}"),
            hub: number == 2,
            join_secret: JoinSecret([9; 32]),
            schema: SchemaInUse::of(&schema),
            metered: false,
        };
        let opening = store.opening().expect("the store can be read");
        Self {
            engine: Engine::new(config, opening, [number; 32]),
            store,
            schema,
            peer: device(3 - number),
            session: 0,
            requests: 0,
            arrival: 0,
            began_ms: 0,
            now_ms: 0,
        }
    }

    /// One change set for each edit; many share a transaction.
    fn write(&mut self, edits: Vec<(String, Vec<Op>)>) {
        for several in edits.chunks(WRITES_AT_ONCE) {
            for (id, ops) in several {
                self.requests += 1;
                self.now_ms += pause_ms(self.requests);
                let edit = LocalEdit {
                    collection: "item".to_owned(),
                    id: id.clone(),
                    mode: WriteMode::Upsert,
                    if_match: None,
                    ops: ops.clone(),
                };
                let write = LocalWrite {
                    request: self.requests,
                    space: SpaceName::default(),
                    person: "amina".to_owned(),
                    schema_version: self.schema.version,
                    edits: vec![edit],
                    idempotency: None,
                    answering: None,
                };
                self.engine.handle(self.time(), Input::Local(write));
            }
            let unsent = self.carry_out();
            assert!(unsent.is_empty(), "nobody is connected");
        }
    }

    fn time(&self) -> Now {
        Now {
            mono_ms: self.now_ms,
            unix_ms: 1_790_000_000_000 + self.now_ms,
        }
    }

    fn set_time(&mut self, seconds: f64) {
        self.now_ms = self.began_ms + (seconds * 1000.0).round() as u64;
    }

    /// Carries out what the engine asks for. Returns the frames to send.
    fn carry_out(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut batches = Vec::new();
        loop {
            while let Some(effect) = self.engine.poll_effect() {
                match effect {
                    Effect::Commit(batch) => batches.push(batch),
                    Effect::Send { frame, .. } => frames.push(frame),
                    Effect::Fetch {
                        session,
                        walk,
                        known,
                        bytes_max,
                    } => {
                        let result = self.store.reader().fetch(&walk, &known, bytes_max);
                        let result = result.map_err(|error| error.to_string());
                        self.engine
                            .handle(self.time(), Input::Fetched { session, result });
                    }
                    Effect::Reply { result, .. } => drop(result.expect("writes are taken")),
                    Effect::Publish { arrival } => self.arrival = arrival,
                    Effect::Look { .. } => panic!("nothing is damaged"),
                    Effect::Close { reason, .. } => panic!("a session was closed: {reason}"),
                }
            }
            if batches.is_empty() {
                return frames;
            }
            let report = self.store.commit(std::mem::take(&mut batches));
            self.engine.handle(self.time(), Input::Committed(report));
        }
    }

    fn close(&mut self) {
        let session = self.session;
        self.engine
            .handle(self.time(), Input::SessionClosed { session });
        self.carry_out();
        self.now_ms += BETWEEN_MEETINGS_MS;
    }
}

impl Side for Device {
    fn open(&mut self, _: f64) -> Vec<Vec<u8>> {
        self.began_ms = self.now_ms;
        self.session += 1;
        let (session, device) = (self.session, self.peer);
        let opened = Input::SessionOpened { session, device };
        self.engine.handle(self.time(), opened);
        self.carry_out()
    }

    fn receive(&mut self, now: f64, bytes: Vec<u8>) -> Vec<Vec<u8>> {
        self.set_time(now);
        let session = self.session;
        self.engine
            .handle(self.time(), Input::Frame { session, bytes });
        self.carry_out()
    }

    fn taken(&self) -> u64 {
        self.arrival
    }

    fn due(&self) -> Option<f64> {
        let due_ms = self.engine.poll_timeout()?;
        Some(due_ms.saturating_sub(self.began_ms) as f64 / 1000.0)
    }

    fn wake(&mut self, now: f64) -> Vec<Vec<u8>> {
        self.set_time(now);
        self.engine.handle(self.time(), Input::Timeout);
        self.carry_out()
    }
}
