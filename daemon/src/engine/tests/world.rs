//! Devices with an engine and a store each, joined by links that deliver frames in order, in one thread
//! and with a clock that only the test moves.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crdt_schema::ident::{DeviceId, LogId, OrganisationId, SpaceName};
use crdt_schema::op::Op;
use crdt_schema::schema::Schema;
use crdt_schema::value::Value;
use ed25519_dalek::SigningKey;
use redb::backends::InMemoryBackend;

use crate::engine::batch::repair::Repaired;
use crate::engine::batch::{
    Batch, CommitReport, Held, LocalEdit, Rejection, RemoteOutcome, RequestId, SchemaInUse,
    SessionId, StoreFault, WriteMode,
};
use crate::engine::effect::{CloseReason, Effect};
use crate::engine::fleet::Fleet;
use crate::engine::input::{Input, LocalResult, LocalWrite, Now};
use crate::engine::{Engine, EngineConfig};
use crate::store::{Store, StoreOptions};
use crate::wire::chain::JoinSecret;
use crate::wire::message::{FrameDecoder, Message};

pub(super) const ORGANISATION: OrganisationId = OrganisationId([9; 16]);
pub(super) const SECRET: JoinSecret = JoinSecret([3; 32]);
pub(super) const START: Now = Now {
    mono_ms: 1_000,
    unix_ms: 1_790_000_000_000,
};

const SCHEMA: &str = r#"
schema = "clinic"
version = 1

[collections.patient.fields]
name = { type = "text" }
"#;

pub(super) fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

pub(super) fn device(number: u8) -> DeviceId {
    DeviceId(key(number).verifying_key().to_bytes())
}

pub(super) fn config(number: u8) -> EngineConfig {
    EngineConfig {
        organisation: ORGANISATION,
        device: device(number),
        name: format!("tablet {number}"),
        hub: number == 1,
        join_secret: SECRET,
        schema: SchemaInUse::of(&schema()),
        metered: false,
    }
}

pub(super) fn schema() -> Schema {
    Schema::parse(SCHEMA).expect("a good schema")
}

pub(super) fn options(number: u8) -> StoreOptions {
    StoreOptions {
        organisation: ORGANISATION,
        signer: key(number),
        schema: Arc::new(schema()),
        schema_follow: true,
        cache_bytes: 1 << 20,
        new_store_id: [number; 16],
    }
}

pub(super) fn set_name(value: &str) -> Op {
    Op::Set {
        key: "name".to_owned(),
        value: Value::Text(value.to_owned()),
    }
}

/// A device: an engine, its store, and what came out of it.
pub(super) struct Node {
    pub(super) engine: Engine,
    pub(super) store: Store,
    /// Batches that the store has been given and has not written.
    pub(super) pending: Vec<Batch>,
    /// While set, the store writes nothing.
    pub(super) holds_commits: bool,
    /// What the next commit fails with.
    pub(super) fault: Option<StoreFault>,
    pub(super) outbox: VecDeque<(SessionId, Vec<u8>)>,
    pub(super) closed: Vec<(SessionId, CloseReason)>,
    pub(super) replies: BTreeMap<RequestId, LocalResult>,
    pub(super) published: u64,
    pub(super) fleet: Arc<Fleet>,
    /// Every effect in short, in order.
    pub(super) trace: Vec<String>,
    /// Whether effects are traced: with thousands of logs their texts are what a test spends its time on.
    pub(super) is_traced: bool,
    requests: RequestId,
}

impl Node {
    pub(super) fn new(number: u8) -> Self {
        let store = Store::open(InMemoryBackend::new(), options(number)).expect("the store opens");
        Self::on(store, number, 0)
    }

    /// A device over a store that may hold something; `start` varies its randomness.
    pub(super) fn on(store: Store, number: u8, start: u8) -> Self {
        let opening = store.opening().expect("the store reads");
        let mut seed = [number; 32];
        seed[0] = start;
        Self {
            engine: Engine::new(config(number), opening, seed),
            store,
            pending: Vec::new(),
            holds_commits: false,
            fault: None,
            outbox: VecDeque::new(),
            closed: Vec::new(),
            replies: BTreeMap::new(),
            published: 0,
            fleet: Arc::default(),
            trace: Vec::new(),
            is_traced: true,
            requests: 0,
        }
    }

    /// Hands in an input and carries out what comes of it.
    pub(super) fn handle(&mut self, now: Now, input: Input) {
        self.engine.handle(now, input);
        self.carry_out(now);
        while !self.pending.is_empty() && !self.holds_commits {
            self.commit(now);
        }
    }

    /// Lets the store write what it has been given, in one transaction.
    pub(super) fn commit(&mut self, now: Now) {
        let batches = std::mem::take(&mut self.pending);
        let report = match self.fault.take() {
            Some(fault) => failed(&batches, &fault, self.published),
            None => self.store.commit(batches),
        };
        self.engine.handle(now, Input::Committed(report));
        self.carry_out(now);
    }

    fn carry_out(&mut self, now: Now) {
        while let Some(effect) = self.engine.poll_effect() {
            if self.is_traced {
                self.trace.push(format!("{effect:?}"));
            }
            match effect {
                Effect::Commit(batch) => self.pending.push(batch),
                Effect::Reply { request, result } => drop(self.replies.insert(request, result)),
                Effect::Publish { arrival } => {
                    assert!(
                        arrival > self.published,
                        "arrivals are published once, in order"
                    );
                    self.published = arrival;
                }
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
                Effect::Look {
                    session,
                    for_peer,
                    look,
                } => {
                    let result = self.store.reader().look(&look);
                    let result = result.map_err(|error| error.to_string());
                    let looked = Input::Looked {
                        session,
                        for_peer,
                        result,
                    };
                    self.engine.handle(now, looked);
                }
                Effect::Close { session, reason } => self.closed.push((session, reason)),
            }
        }
        if let Some(fleet) = self.engine.fleet() {
            self.fleet = fleet;
        }
    }

    /// Asks for a local write of one record; the name of the request that answers it.
    pub(super) fn write(&mut self, now: Now, id: &str, ops: Vec<Op>) -> RequestId {
        self.write_in(now, &SpaceName::default(), id, ops)
    }

    pub(super) fn write_in(
        &mut self,
        now: Now,
        space: &SpaceName,
        id: &str,
        ops: Vec<Op>,
    ) -> RequestId {
        self.requests += 1;
        let edit = LocalEdit {
            collection: "patient".to_owned(),
            id: id.to_owned(),
            mode: WriteMode::Upsert,
            if_match: None,
            ops,
        };
        let write = LocalWrite {
            request: self.requests,
            space: space.clone(),
            person: "Amina".to_owned(),
            schema_version: 1,
            edits: vec![edit],
            idempotency: None,
            answering: None,
        };
        self.handle(now, Input::Local(write));
        self.requests
    }

    /// Writes one change set of several records, each with such a name.
    pub(super) fn write_all(&mut self, now: Now, records: &[(String, String)]) {
        self.requests += 1;
        let edit = |(id, name): &(String, String)| LocalEdit {
            collection: "patient".to_owned(),
            id: id.clone(),
            mode: WriteMode::Upsert,
            if_match: None,
            ops: vec![set_name(name)],
        };
        let write = LocalWrite {
            request: self.requests,
            space: SpaceName::default(),
            person: "Amina".to_owned(),
            schema_version: 1,
            edits: records.iter().map(edit).collect(),
            idempotency: None,
            answering: None,
        };
        self.handle(now, Input::Local(write));
        assert!(self.replies[&self.requests].is_ok());
    }

    /// What the store holds durably.
    pub(super) fn held(&self) -> Held {
        let opening = self.store.opening().expect("the store reads");
        opening
            .frontier
            .iter()
            .map(|row| (row.header.log, row.seq))
            .collect()
    }

    /// How many entries the store holds.
    pub(super) fn entries(&self) -> u64 {
        self.held().entries()
    }

    /// What a fault of this session was closed with, if it was closed.
    pub(super) fn end_of(&self, session: SessionId) -> Option<&CloseReason> {
        self.closed
            .iter()
            .find(|(closed, _)| *closed == session)
            .map(|(_, reason)| reason)
    }
}

/// What the store says when a whole transaction has failed.
fn failed(batches: &[Batch], fault: &StoreFault, arrival: u64) -> CommitReport {
    let mut report = CommitReport {
        arrival,
        ..CommitReport::default()
    };
    for batch in batches {
        match batch {
            Batch::Local(commit) => {
                report
                    .local
                    .push((commit.request, Err(Rejection::Store(fault.clone()))));
            }
            Batch::Remote { batch, .. } => {
                report.remote.push(RemoteOutcome {
                    batch: *batch,
                    result: Err(fault.clone()),
                    left_out: Vec::new(),
                });
            }
            Batch::Repair(session, repair) => report.repairs.push(Repaired {
                session: *session,
                log: repair.log(),
                result: Err(fault.to_string()),
            }),
            Batch::Peer(_) => {}
        }
    }
    report
}

/// One end of a link: whose, and what has been seen leaving it.
struct End {
    node: usize,
    other: SessionId,
    spy: FrameDecoder,
}

/// Several devices and the links between them.
pub(super) struct World {
    pub(super) nodes: Vec<Node>,
    pub(super) now: Now,
    ends: BTreeMap<SessionId, End>,
    /// Everything said, with who said it.
    pub(super) said: Vec<(usize, Message)>,
    /// Bytes of frames that each device sent.
    pub(super) bytes: Vec<usize>,
    sessions: SessionId,
}

impl World {
    /// Devices 1 to `count`; the first is a hub.
    pub(super) fn new(count: u8) -> Self {
        Self {
            nodes: (1..=count).map(Node::new).collect(),
            now: START,
            ends: BTreeMap::new(),
            said: Vec::new(),
            bytes: vec![0; usize::from(count)],
            sessions: 100,
        }
    }

    /// Joins two devices, without delivering anything yet. Returns the session at each end.
    pub(super) fn join(&mut self, a: usize, b: usize) -> (SessionId, SessionId) {
        let (at_a, at_b) = (self.sessions + 1, self.sessions + 2);
        self.sessions += 2;
        for (session, node, other) in [(at_a, a, at_b), (at_b, b, at_a)] {
            self.ends.insert(
                session,
                End {
                    node,
                    other,
                    spy: FrameDecoder::new(),
                },
            );
        }
        let ids = [a, b].map(|node| device(node as u8 + 1));
        self.nodes[a].handle(
            self.now,
            Input::SessionOpened {
                session: at_a,
                device: ids[1],
            },
        );
        self.nodes[b].handle(
            self.now,
            Input::SessionOpened {
                session: at_b,
                device: ids[0],
            },
        );
        (at_a, at_b)
    }

    /// Joins two devices and delivers everything.
    pub(super) fn meet(&mut self, a: usize, b: usize) -> (SessionId, SessionId) {
        let sessions = self.join(a, b);
        self.settle();
        sessions
    }

    /// Cuts a link; frames on their way are lost.
    pub(super) fn cut(&mut self, session: SessionId) {
        let Some(end) = self.ends.remove(&session) else {
            return;
        };
        let Some(other) = self.ends.remove(&end.other) else {
            return;
        };
        for (node, session) in [(end.node, session), (other.node, end.other)] {
            self.nodes[node].handle(self.now, Input::SessionClosed { session });
        }
    }

    /// Writes a record at a device, without delivering anything.
    pub(super) fn write(&mut self, node: usize, id: &str, name: &str) {
        let request = self.nodes[node].write(self.now, id, vec![set_name(name)]);
        self.now.unix_ms += 1;
        if !self.nodes[node].holds_commits {
            assert!(
                self.nodes[node].replies[&request].is_ok(),
                "{:?}",
                self.nodes[node].replies
            );
        }
    }

    /// Delivers frames until nobody has anything to say.
    pub(super) fn settle(&mut self) {
        while let Some(node) = (0..self.nodes.len()).find(|n| !self.nodes[*n].outbox.is_empty()) {
            self.deliver(node);
        }
    }

    /// Delivers frames, each device's in turn, until so many bytes have passed; the frame that does not fit is
    /// lost. Returns whether nothing was left to deliver.
    pub(super) fn settle_bytes(&mut self, bytes: usize) -> bool {
        let start: usize = self.bytes.iter().sum();
        loop {
            let passed = self.bytes.iter().sum::<usize>() - start;
            let next = self.nodes.iter().filter_map(|node| node.outbox.front());
            match next.map(|(_, frame)| frame.len()).max() {
                None => return true,
                Some(frame) if passed + frame > bytes => return false,
                Some(_) => self.settle_some(self.nodes.len()),
            };
        }
    }

    /// Delivers at most so many frames, each device's in turn. Returns whether nothing was left to deliver.
    pub(super) fn settle_some(&mut self, frames: usize) -> bool {
        for turn in 0..frames {
            let count = self.nodes.len();
            let order = (0..count).map(|step| (turn + step) % count);
            let mut talking = order.filter(|n| !self.nodes[*n].outbox.is_empty());
            match talking.next() {
                Some(node) => self.deliver(node),
                None => return true,
            }
        }
        false
    }

    /// Delivers one frame of a device.
    pub(super) fn deliver(&mut self, from: usize) {
        let Some((session, frame)) = self.nodes[from].outbox.pop_front() else {
            return;
        };
        let Some(end) = self.ends.get_mut(&session) else {
            return;
        };
        if let Some(dictionary) = self.nodes[from].engine.dictionary(session) {
            end.spy.use_dictionary(dictionary.clone());
        }
        let reader = self.nodes[from].store.reader();
        let held = |log: &LogId| reader.header(*log).expect("a read");
        let message = end.spy.decode_with(&frame, &held);
        self.said.push((from, message.expect("an honest frame")));
        self.bytes[from] += frame.len();
        let other = end.other;
        let to = self.ends[&other].node;
        self.nodes[to].handle(
            self.now,
            Input::Frame {
                session: other,
                bytes: frame,
            },
        );
        self.drop_closed();
    }

    /// Cuts the links that a device has ended, once what it said before has arrived.
    fn drop_closed(&mut self) {
        let is_said = |node: &Node, id| node.outbox.iter().all(|(session, _)| *session != id);
        let closed = self.nodes.iter().flat_map(|node| {
            node.closed
                .iter()
                .map(|(id, _)| *id)
                .filter(|id| is_said(node, *id))
        });
        for session in closed.collect::<Vec<_>>() {
            self.cut(session);
        }
    }

    /// Moves the clock, in steps that hand in every timeout when it is due.
    pub(super) fn pass(&mut self, ms: u64) {
        let until = self.now.mono_ms + ms;
        loop {
            self.settle();
            let due = self
                .nodes
                .iter()
                .filter_map(|node| node.engine.poll_timeout())
                .min();
            let Some(due) = due.filter(|due| *due <= until) else {
                break;
            };
            self.advance(due.max(self.now.mono_ms));
            for node in &mut self.nodes {
                if node
                    .engine
                    .poll_timeout()
                    .is_some_and(|due| due <= self.now.mono_ms)
                {
                    node.handle(self.now, Input::Timeout);
                }
            }
        }
        self.advance(until);
    }

    fn advance(&mut self, mono_ms: u64) {
        self.now.unix_ms += mono_ms - self.now.mono_ms;
        self.now.mono_ms = mono_ms;
    }

    /// How many messages of a kind a device has sent.
    pub(super) fn count(&self, node: usize, is: impl Fn(&Message) -> bool) -> usize {
        self.said
            .iter()
            .filter(|(from, message)| *from == node && is(message))
            .count()
    }

    /// How many entries have been sent in DATA, by all devices.
    pub(super) fn entries_sent(&self) -> usize {
        let runs = self.said.iter().filter_map(|(_, message)| match message {
            Message::Data(runs) => Some(runs),
            _ => None,
        });
        runs.flatten().map(|run| run.entries.len()).sum()
    }

    pub(super) fn assert_converged(&self) {
        let ends = |node: &Node| {
            let rows = node
                .store
                .opening()
                .expect("the store reads")
                .frontier
                .into_iter();
            rows.map(|row| (row.header.log, (row.seq, row.chain)))
                .collect::<BTreeMap<_, _>>()
        };
        let first = ends(&self.nodes[0]);
        for node in &self.nodes[1..] {
            assert_eq!(ends(node), first);
        }
    }
}
