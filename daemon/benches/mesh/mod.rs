//! Devices joined by links that count what passes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crdt_schema::ident::{DeviceId, OrganisationId, SpaceName};
use crdt_schema::intent::ops_from_patch;
use crdt_schema::op::Op;
use crdt_schema::schema::Schema;
use crdt_schema::value::Value;
use ed25519_dalek::SigningKey;
use fieldmesh::engine::batch::{Batch, LocalEdit, SchemaInUse, SessionId, WriteMode};
use fieldmesh::engine::effect::Effect;
use fieldmesh::engine::input::{Input, LocalWrite, Now};
use fieldmesh::engine::{Engine, EngineConfig};
use fieldmesh::store::{Store, StoreOptions};
use fieldmesh::wire::chain::JoinSecret;
use redb::backends::InMemoryBackend;

use crate::records::{SCHEMA, item};

const ORGANISATION: OrganisationId = OrganisationId([9; 16]);

/// Records in one change set when a device is loaded.
const BATCH: u64 = 200;

/// How long a meeting lasts after all has been said: the delays of the protocol pass in it.
const MEETING_MS: u64 = 10_000;

/// What passed in a meeting, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// HELLO, NAME, FRONT, TELL, RANGE, ANSWER and FRONT END.
    pub(crate) search: u64,
    pub(crate) data: u64,
    /// Everything else.
    pub(crate) acks: u64,
    /// Deliveries until the last entries had arrived, or the opening had ended.
    deliveries: u64,
}

impl Tally {
    pub(crate) fn total(&self) -> u64 {
        self.search + self.data + self.acks
    }

    pub(crate) fn round_trips(&self) -> f64 {
        self.deliveries as f64 / 2.0
    }

    fn count(&mut self, frame: &[u8], delivery: u64) {
        let bytes = frame.len() as u64;
        match frame.first() {
            Some(1..=4 | 20..=22) => self.search += bytes,
            Some(5 | 12) => {
                self.data += bytes;
                self.deliveries = delivery;
            }
            Some(_) | None => self.acks += bytes,
        }
    }
}

struct Device {
    id: DeviceId,
    engine: Engine,
    store: Store,
    pending: Vec<Batch>,
    outbox: VecDeque<(SessionId, Vec<u8>)>,
}

impl Device {
    fn new(number: usize, schema: &Arc<Schema>, metered: bool) -> Self {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let signer = SigningKey::from_bytes(&seed);
        let id = DeviceId(signer.verifying_key().to_bytes());
        let options = StoreOptions {
            organisation: ORGANISATION,
            signer,
            schema: Arc::clone(schema),
            cache_bytes: 16 << 20,
            new_store_id: [number as u8; 16],
            schema_follow: true,
        };
        let store = Store::open(InMemoryBackend::new(), options).expect("the store opens");
        let config = EngineConfig {
            organisation: ORGANISATION,
            device: id,
            name: format!("tablet {number}"),
            hub: number == 0,
            join_secret: JoinSecret([3; 32]),
            schema: SchemaInUse::of(schema),
            metered,
        };
        let opening = store.opening().expect("the store reads");
        Self {
            id,
            engine: Engine::new(config, opening, seed),
            store,
            pending: Vec::new(),
            outbox: VecDeque::new(),
        }
    }

    fn handle(&mut self, now: Now, input: Input) {
        self.engine.handle(now, input);
        self.carry_out(now);
        while !self.pending.is_empty() {
            let report = self.store.commit(std::mem::take(&mut self.pending));
            self.engine.handle(now, Input::Committed(report));
            self.carry_out(now);
        }
    }

    fn carry_out(&mut self, now: Now) {
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Commit(batch) => self.pending.push(batch),
                Effect::Reply { result, .. } => drop(result.expect("a good write")),
                Effect::Publish { .. } => {}
                Effect::Send { session, frame } => self.outbox.push_back((session, frame)),
                Effect::Fetch {
                    session,
                    walk,
                    known,
                    bytes_max,
                } => {
                    let result = self.store.reader().fetch(&walk, &known, bytes_max);
                    let result = result.map_err(|error| error.to_string());
                    self.engine.handle(now, Input::Fetched { session, result });
                }
                Effect::Look { session, .. } => panic!("session {session}: something is damaged"),
                Effect::Close { session, reason } => panic!("session {session}: {reason}"),
            }
        }
    }

    fn entries(&self) -> u64 {
        let opening = self.store.opening().expect("the store reads");
        opening.frontier.iter().map(|row| row.seq).sum()
    }
}

/// The devices, and the clock that only the benchmark moves.
pub(crate) struct Mesh {
    schema: Arc<Schema>,
    devices: Vec<Device>,
    /// The device and the other end of each open session.
    links: BTreeMap<SessionId, (usize, SessionId)>,
    now: Now,
    sessions: SessionId,
    /// Makes a record's id of its number.
    id_of: fn(u64) -> String,
}

/// Ids that follow each other, which compress well.
fn counted(number: u64) -> String {
    format!("i{number:07}")
}

/// Ids like those that a client draws at random.
fn random(number: u64) -> String {
    let digits = blake3::hash(&number.to_le_bytes()).to_hex();
    let part = |from: usize, to: usize| &digits[from..to];
    [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ]
    .join("-")
}

impl Mesh {
    pub(crate) fn new(count: usize) -> Self {
        Self::with(count, false)
    }

    /// Devices that spend time to save bytes.
    pub(crate) fn metered(count: usize) -> Self {
        Self::with(count, true)
    }

    /// Devices whose records have random ids.
    pub(crate) fn with_random_ids(count: usize) -> Self {
        Self {
            id_of: random,
            ..Self::new(count)
        }
    }

    fn with(count: usize, metered: bool) -> Self {
        let schema = Arc::new(Schema::parse(SCHEMA).expect("a good schema"));
        Self {
            devices: (0..count)
                .map(|number| Device::new(number, &schema, metered))
                .collect(),
            schema,
            links: BTreeMap::new(),
            now: Now {
                mono_ms: 1_000,
                unix_ms: 1_790_000_000_000,
            },
            sessions: 0,
            id_of: counted,
        }
    }

    /// Writes records at a device, many to a change set. Returns their size as JSON.
    pub(crate) fn load(&mut self, device: usize, count: u64) -> u64 {
        let collection = self.schema.collection("item").expect("it is in the schema");
        let id_of = self.id_of;
        let mut json_bytes = 0;
        for first in (0..count).step_by(BATCH as usize) {
            let edits = (first..(first + BATCH).min(count)).map(|number| {
                let fields = item(number);
                json_bytes += fields.to_string().len() as u64;
                let fields = fields.as_object().expect("it is an object").clone();
                let ops = ops_from_patch(collection, &fields).expect("it fits the schema");
                edit(&id_of(number), ops)
            });
            let edits = edits.collect();
            Self::write(&mut self.now, &mut self.devices[device], edits);
        }
        json_bytes
    }

    /// Changes one field of one record, as a change set of its own.
    pub(crate) fn update(&mut self, device: usize, number: u64) {
        let status = ["open", "assigned", "done", "closed"][(number % 4) as usize];
        let op = Op::Set {
            key: "status".to_owned(),
            value: Value::Text(status.to_owned()),
        };
        let number = number.wrapping_mul(617) % 1_000;
        let edits = vec![edit(&(self.id_of)(number), vec![op])];
        Self::write(&mut self.now, &mut self.devices[device], edits);
    }

    fn write(now: &mut Now, device: &mut Device, edits: Vec<LocalEdit>) {
        // People do not write every millisecond, nor at a fixed rate.
        let pause = 3_000 + (now.unix_ms.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 51);
        now.unix_ms += pause;
        now.mono_ms += pause;
        let write = LocalWrite {
            request: now.mono_ms,
            space: SpaceName::default(),
            person: "amina".to_owned(),
            schema_version: 1,
            edits,
            idempotency: None,
            answering: None,
        };
        device.handle(*now, Input::Local(write));
    }

    /// Joins two devices until they have nothing to say, and parts them.
    pub(crate) fn meet(&mut self, a: usize, b: usize) -> Tally {
        self.meet_all(&[(a, b)])
    }

    /// Joins several pairs at the same time.
    pub(crate) fn meet_all(&mut self, pairs: &[(usize, usize)]) -> Tally {
        for &(a, b) in pairs {
            let (at_a, at_b) = (self.sessions + 1, self.sessions + 2);
            self.sessions += 2;
            self.links.insert(at_a, (a, at_b));
            self.links.insert(at_b, (b, at_a));
            for (node, session, other) in [(a, at_a, b), (b, at_b, a)] {
                let device = self.devices[other].id;
                self.devices[node].handle(self.now, Input::SessionOpened { session, device });
            }
        }
        let tally = self.converse();
        for (session, (device, _)) in std::mem::take(&mut self.links) {
            self.devices[device].handle(self.now, Input::SessionClosed { session });
        }
        for &(a, b) in pairs {
            assert_eq!(self.devices[a].entries(), self.devices[b].entries());
        }
        tally
    }

    fn converse(&mut self) -> Tally {
        let mut tally = Tally::default();
        let end = self.now.mono_ms + MEETING_MS;
        let mut delivery = 0;
        loop {
            while self.deliver(&mut tally, delivery + 1) {
                delivery += 1;
            }
            let due = self
                .devices
                .iter()
                .filter_map(|device| device.engine.poll_timeout());
            let Some(due) = due.min().filter(|due| *due <= end) else {
                break;
            };
            let passed = due.saturating_sub(self.now.mono_ms);
            self.now.mono_ms += passed;
            self.now.unix_ms += passed;
            for device in &mut self.devices {
                if device.engine.poll_timeout().is_some_and(|at| at <= due) {
                    device.handle(self.now, Input::Timeout);
                }
            }
        }
        tally.deliveries = tally.deliveries.max(1);
        tally
    }

    /// Delivers everything that is under way at once. Returns whether there was anything.
    fn deliver(&mut self, tally: &mut Tally, delivery: u64) -> bool {
        let mut arriving = Vec::new();
        for device in &mut self.devices {
            arriving.extend(device.outbox.drain(..));
        }
        let any = !arriving.is_empty();
        for (session, bytes) in arriving {
            tally.count(&bytes, delivery);
            let (_, other) = self.links[&session];
            let (to, _) = self.links[&other];
            let input = Input::Frame {
                session: other,
                bytes,
            };
            self.devices[to].handle(self.now, input);
        }
        any
    }
}

fn edit(id: &str, ops: Vec<Op>) -> LocalEdit {
    LocalEdit {
        collection: "item".to_owned(),
        id: id.to_owned(),
        mode: WriteMode::Upsert,
        if_match: None,
        ops,
    }
}
