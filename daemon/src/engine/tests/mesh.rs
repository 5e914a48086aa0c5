//! Engines over real stores in memory, joined by links that deliver at once and in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crdt_schema::ident::{DeviceId, OrganisationId, RecordKey, SpaceName};
use crdt_schema::op::Op;
use crdt_schema::schema::{CLINIC, Schema};
use crdt_schema::value::Value;
use ed25519_dalek::SigningKey;
use redb::backends::InMemoryBackend;

use crate::engine::batch::{Batch, LocalEdit, SessionId, WriteMode};
use crate::engine::effect::{CloseReason, Effect};
use crate::engine::fleet::Fleet;
use crate::engine::input::{Input, LocalResult, LocalWrite, Now};
use crate::engine::{Engine, EngineConfig};
use crate::store::{Store, StoreOptions};
use crate::wire::chain::JoinSecret;
use crate::wire::message::{FrameDecoder, Message};

pub(super) const ORGANISATION: OrganisationId = OrganisationId([1; 16]);
pub(super) const SECRET: [u8; 32] = [2; 32];

pub(super) struct Node {
    pub(super) engine: Engine,
    pub(super) store: Store,
    pub(super) key: SigningKey,
    /// Batches that wait while the store is held up.
    pub(super) queue: Vec<Batch>,
    pub(super) store_held_up: bool,
    pub(super) replies: Vec<LocalResult>,
    pub(super) closed: Vec<CloseReason>,
    pub(super) fleet: Arc<Fleet>,
    /// Everything it asked for, for comparisons.
    pub(super) effects: Vec<Effect>,
}

/// One direction of a session, as an onlooker that can decode everything sees it.
pub(super) struct Lane {
    to: (usize, SessionId),
    decoder: FrameDecoder,
    pub(super) bytes: usize,
    pub(super) messages: Vec<Message>,
}

pub(super) struct Mesh {
    pub(super) nodes: Vec<Node>,
    pub(super) now: u64,
    pub(super) lanes: BTreeMap<(usize, SessionId), Lane>,
    wires: VecDeque<((usize, SessionId), Vec<u8>)>,
    next_session: SessionId,
    next_request: u64,
}

pub(super) fn config(
    number: usize,
    organisation: OrganisationId,
    secret: [u8; 32],
) -> EngineConfig {
    EngineConfig {
        organisation,
        device: device(number),
        name: format!("node {number}"),
        hub: false,
        join_secret: JoinSecret(secret),
        schema_version: 1,
    }
}

pub(super) fn key(number: usize) -> SigningKey {
    SigningKey::from_bytes(&[number as u8 + 10; 32])
}

pub(super) fn device(number: usize) -> DeviceId {
    DeviceId(key(number).verifying_key().to_bytes())
}

impl Node {
    pub(super) fn new(number: usize, config: EngineConfig) -> Self {
        let options = StoreOptions {
            organisation: config.organisation,
            signer: key(number),
            schema: Arc::new(Schema::parse(CLINIC).unwrap()),
            cache_bytes: 1 << 20,
            new_store_id: [number as u8; 16],
        };
        let store = Store::open(InMemoryBackend::new(), options).unwrap();
        let engine = Engine::new(config, store.opening().unwrap(), [number as u8; 32]);
        Self {
            engine,
            store,
            key: key(number),
            queue: Vec::new(),
            store_held_up: false,
            replies: Vec::new(),
            closed: Vec::new(),
            fleet: Arc::default(),
            effects: Vec::new(),
        }
    }

    /// The number of records it shows, and the visits of patient `p`.
    pub(super) fn visits(&self) -> Option<i64> {
        let key = RecordKey {
            space: SpaceName::default(),
            collection: "patient".to_owned(),
            id: "p".to_owned(),
        };
        let record = self.store.reader().get(&key).unwrap()?;
        record.view.fields["visits"].as_i64()
    }
}

impl Mesh {
    /// Members of one organisation.
    pub(super) fn new(count: usize) -> Self {
        Self::of(
            (0..count)
                .map(|n| Node::new(n, config(n, ORGANISATION, SECRET)))
                .collect(),
        )
    }

    pub(super) fn of(nodes: Vec<Node>) -> Self {
        let (lanes, wires) = (BTreeMap::new(), VecDeque::new());
        Self {
            nodes,
            now: 1,
            lanes,
            wires,
            next_session: 1,
            next_request: 1,
        }
    }

    /// Opens a session between two nodes and returns its names at both ends.
    pub(super) fn connect(&mut self, a: usize, b: usize) -> [SessionId; 2] {
        let names = [self.next_session, self.next_session + 1];
        self.next_session += 2;
        let ends = [(a, names[0]), (b, names[1])];
        for (from, to) in [(ends[0], ends[1]), (ends[1], ends[0])] {
            let lane = Lane {
                to,
                decoder: FrameDecoder::new(),
                bytes: 0,
                messages: Vec::new(),
            };
            self.lanes.insert(from, lane);
        }
        self.feed(
            a,
            Input::SessionOpened {
                session: names[0],
                device: device(b),
            },
        );
        self.feed(
            b,
            Input::SessionOpened {
                session: names[1],
                device: device(a),
            },
        );
        names
    }

    pub(super) fn feed(&mut self, node: usize, input: Input) {
        let now = Now {
            mono_ms: self.now,
            unix_ms: 1_700_000_000_000 + self.now,
        };
        self.nodes[node].engine.handle(now, input);
        while let Some(effect) = self.nodes[node].engine.poll_effect() {
            self.nodes[node].effects.push(effect.clone());
            self.carry_out(node, effect);
        }
        if let Some(fleet) = self.nodes[node].engine.fleet() {
            self.nodes[node].fleet = fleet;
        }
    }

    fn carry_out(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Commit(batch) => self.nodes[node].queue.push(batch),
            Effect::Reply { result, .. } => self.nodes[node].replies.push(result),
            Effect::Publish { .. } | Effect::Fetch { .. } => {}
            Effect::Send { session, frame } => {
                if let Some(lane) = self.lanes.get_mut(&(node, session)) {
                    lane.bytes += frame.len();
                    lane.messages.push(
                        lane.decoder
                            .decode(&frame)
                            .expect("engines send what decodes"),
                    );
                    self.wires.push_back((lane.to, frame));
                }
            }
            Effect::Close { session, reason } => {
                self.nodes[node].closed.push(reason);
                if let Some(lane) = self.lanes.get(&(node, session)) {
                    // The other end learns of it after what is still on its way.
                    self.wires.push_back((lane.to, Vec::new()));
                }
            }
        }
    }

    /// Delivers one thing that is on its way: a write to a store, a fetch, or a frame. `false` if there is none.
    pub(super) fn step(&mut self) -> bool {
        for node in 0..self.nodes.len() {
            if !self.nodes[node].store_held_up && !self.nodes[node].queue.is_empty() {
                let batches = std::mem::take(&mut self.nodes[node].queue);
                let report = self.nodes[node].store.commit(batches);
                self.feed(node, Input::Committed(report));
                return true;
            }
            if let Some(at) = self.nodes[node]
                .effects
                .iter()
                .position(|e| matches!(e, Effect::Fetch { .. }))
            {
                let Effect::Fetch {
                    session,
                    after,
                    known,
                    bytes_max,
                } = self.nodes[node].effects.remove(at)
                else {
                    return false;
                };
                let result = self.nodes[node]
                    .store
                    .reader()
                    .fetch(after, &known, bytes_max);
                self.feed(
                    node,
                    Input::Fetched {
                        session,
                        result: result.map_err(|e| e.to_string()),
                    },
                );
                return true;
            }
        }
        let Some(((node, session), bytes)) = self.wires.pop_front() else {
            return false;
        };
        if bytes.is_empty() {
            self.feed(node, Input::SessionClosed { session });
        } else {
            self.feed(node, Input::Frame { session, bytes });
        }
        true
    }

    /// Runs until nothing is on its way and no timer is due within `ms` more.
    pub(super) fn settle(&mut self, ms: u64) {
        let until = self.now + ms;
        loop {
            while self.step() {}
            let due = |node: &Node| node.engine.poll_timeout();
            let Some(next) = self
                .nodes
                .iter()
                .filter_map(due)
                .min()
                .filter(|&at| at <= until)
            else {
                break;
            };
            self.now = self.now.max(next);
            for node in 0..self.nodes.len() {
                if self.nodes[node]
                    .engine
                    .poll_timeout()
                    .is_some_and(|at| at <= self.now)
                {
                    self.feed(node, Input::Timeout);
                }
            }
        }
        self.now = until;
    }

    /// Adds to the visits of patient `p`.
    pub(super) fn visit(&mut self, node: usize, visits: i64) {
        let ops = vec![
            Op::Set {
                key: "name".to_owned(),
                value: Value::Text("Amina".to_owned()),
            },
            Op::Add {
                key: "visits".to_owned(),
                delta: visits,
            },
        ];
        self.write(node, "p", ops);
    }

    pub(super) fn write(&mut self, node: usize, id: &str, ops: Vec<Op>) {
        self.now += 1;
        let edit = LocalEdit {
            collection: "patient".to_owned(),
            id: id.to_owned(),
            mode: WriteMode::Upsert,
            if_match: None,
            ops,
        };
        let request = self.next_request;
        self.next_request += 1;
        let write = LocalWrite {
            request,
            space: SpaceName::default(),
            person: String::new(),
            edits: vec![edit],
            idempotency: None,
        };
        self.feed(node, Input::Local(write));
    }

    /// The kinds of messages that a node has sent in a session.
    pub(super) fn kinds(&self, node: usize, session: SessionId) -> Vec<&'static str> {
        self.lanes[&(node, session)]
            .messages
            .iter()
            .map(kind)
            .collect()
    }

    pub(super) fn bytes(&self, node: usize, session: SessionId) -> usize {
        self.lanes[&(node, session)].bytes
    }

    /// How many entries were sent in DATA frames over all lanes.
    pub(super) fn entries_sent(&self) -> usize {
        let runs = |message: &Message| match message {
            Message::Data(runs) => runs.iter().map(|run| run.entries.len()).sum(),
            _ => 0,
        };
        self.lanes
            .values()
            .flat_map(|lane| &lane.messages)
            .map(runs)
            .sum()
    }
}

fn kind(message: &Message) -> &'static str {
    match message {
        Message::Hello(_) => "hello",
        Message::Name(_) => "name",
        Message::Front { .. } => "front",
        Message::FrontEnd => "front end",
        Message::Data(_) => "data",
        Message::Ack(_) => "ack",
        Message::Want => "want",
        Message::Refuse { .. } => "refuse",
        Message::Bye { .. } => "bye",
    }
}
