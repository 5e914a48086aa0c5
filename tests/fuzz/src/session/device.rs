//! The device under fire: the engine over a store in memory, with a clock that the script moves.

use std::collections::BTreeMap;

use crdt_schema::ident::{DeviceId, LogId, SpaceName};
use crdt_schema::op::Op;
use crdt_schema::value::Value;
use fieldmesh::engine::batch::{Batch, LocalEdit, SchemaInUse, SessionId, WriteMode};
use fieldmesh::engine::effect::{CloseReason, Effect};
use fieldmesh::engine::input::{Input, LocalWrite, Now};
use fieldmesh::engine::{Engine, EngineConfig};
use fieldmesh::store::{Progress, Store};
use fieldmesh::wire::chain::JoinSecret;
use fieldmesh::wire::limits::FRAME_BYTES_MAX;
use fieldmesh::wire::message::{FrameDecoder, Message};
use redb::backends::InMemoryBackend;

use crate::seeds::{ORGANISATION, options, schema, signer};

pub(super) const SECRET: JoinSecret = JoinSecret([3; 32]);
/// The number of the device under fire.
pub(super) const NUMBER: u8 = 1;
/// Longer than any fault keeps sessions away.
const CALM_MS: u64 = 60_000;

pub(super) fn device_id(number: u8) -> DeviceId {
    DeviceId(signer(number).verifying_key().to_bytes())
}

struct Silent;

impl Progress for Silent {
    fn at(&mut self, _: &'static str, _: u64, _: u64) {}
}

pub(super) struct Device {
    engine: Engine,
    store: Store,
    pub(super) now: Now,
    /// While set, the store writes nothing.
    pub(super) holds_commits: bool,
    /// How sessions ended.
    pub(super) closed: BTreeMap<SessionId, CloseReason>,
    /// What was said on each session, for those who listen.
    said: BTreeMap<SessionId, Vec<Vec<u8>>>,
    pending: Vec<Batch>,
    writes: u64,
    sessions: SessionId,
}

impl Device {
    pub(super) fn new() -> Self {
        let store = Store::open(InMemoryBackend::new(), options(NUMBER)).expect("a new store");
        let config = EngineConfig {
            organisation: ORGANISATION,
            device: device_id(NUMBER),
            name: "under fire".to_owned(),
            hub: true,
            join_secret: SECRET,
            schema: SchemaInUse::of(schema()),
            metered: false,
        };
        let opening = store.opening().expect("a read");
        Self {
            engine: Engine::new(config, opening, [NUMBER; 32]),
            store,
            now: Now {
                mono_ms: 1_000,
                unix_ms: 1_790_000_000_000,
            },
            holds_commits: false,
            closed: BTreeMap::new(),
            said: BTreeMap::new(),
            pending: Vec::new(),
            writes: 0,
            sessions: 0,
        }
    }

    /// Opens a session with a peer.
    pub(super) fn open(&mut self, device: DeviceId) -> SessionId {
        self.sessions += 1;
        let session = self.sessions;
        self.said.insert(session, Vec::new());
        self.handle(Input::SessionOpened { session, device });
        session
    }

    /// Hands in an input and carries out all that comes of it.
    pub(super) fn handle(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        loop {
            while let Some(effect) = self.engine.poll_effect() {
                self.carry_out_one(effect);
            }
            if self.pending.is_empty() || self.holds_commits {
                return;
            }
            let report = self.store.commit(std::mem::take(&mut self.pending));
            self.engine.handle(self.now, Input::Committed(report));
        }
    }

    fn carry_out_one(&mut self, effect: Effect) {
        match effect {
            Effect::Commit(batch) => self.pending.push(batch),
            Effect::Reply { .. } | Effect::Publish { .. } => {}
            Effect::Send { session, frame } => {
                assert!(
                    frame.len() <= FRAME_BYTES_MAX,
                    "it sends {} bytes",
                    frame.len()
                );
                self.said.entry(session).or_default().push(frame);
            }
            Effect::Fetch {
                session,
                walk,
                known,
                bytes_max,
            } => {
                let result = self.store.reader().fetch(&walk, &known, bytes_max);
                let result = result.map_err(|error| error.to_string());
                self.engine
                    .handle(self.now, Input::Fetched { session, result });
            }
            Effect::Look {
                session,
                for_peer,
                look,
            } => {
                let result = self
                    .store
                    .reader()
                    .look(&look)
                    .map_err(|error| error.to_string());
                self.engine.handle(
                    self.now,
                    Input::Looked {
                        session,
                        for_peer,
                        result,
                    },
                );
            }
            Effect::Close { session, reason } => {
                self.closed.insert(session, reason);
                self.engine
                    .handle(self.now, Input::SessionClosed { session });
            }
        }
    }

    /// Lets time pass, with every timeout when it is due.
    pub(super) fn wait(&mut self, ms: u64) {
        let until = self.now.mono_ms + ms;
        while let Some(due) = self.engine.poll_timeout().filter(|due| *due <= until) {
            self.advance(due.max(self.now.mono_ms));
            self.handle(Input::Timeout);
        }
        self.advance(until);
    }

    fn advance(&mut self, mono_ms: u64) {
        self.now.unix_ms += mono_ms - self.now.mono_ms;
        self.now.mono_ms = mono_ms;
    }

    /// A person writes.
    pub(super) fn write(&mut self, record: u8) {
        self.writes += 1;
        let name = Value::Text(format!("name {}", self.writes));
        let edit = LocalEdit {
            collection: "place".to_owned(),
            id: format!("mine-{}", record % 4),
            mode: WriteMode::Upsert,
            if_match: None,
            ops: vec![Op::Set {
                key: "name".to_owned(),
                value: name,
            }],
        };
        self.handle(Input::Local(LocalWrite {
            request: self.writes,
            space: SpaceName::default(),
            person: "Amina".to_owned(),
            schema_version: 1,
            edits: vec![edit],
            idempotency: None,
            answering: None,
        }));
    }

    /// The script is over: the store writes, the network is there, and every refusal has run out.
    pub(super) fn recover(&mut self) {
        self.holds_commits = false;
        self.handle(Input::Network { online: true });
        self.wait(CALM_MS);
    }

    /// What the device has said on a session.
    pub(super) fn said(&self, session: SessionId) -> &[Vec<u8>] {
        self.said.get(&session).map_or(&[], Vec::as_slice)
    }

    /// How far it holds a log.
    pub(super) fn held(&self, log: &LogId) -> u64 {
        let opening = self.store.opening().expect("a read");
        let found = opening.frontier.iter().find(|row| row.header.log == *log);
        found.map_or(0, |row| row.seq)
    }

    /// Whether it has told the peer of a session that it holds a log so far.
    pub(super) fn acknowledged(&self, session: SessionId, row: (LogId, u64)) -> bool {
        let reader = self.store.reader();
        let held = |log: &LogId| reader.header(*log).expect("a read");
        let mut decoder = FrameDecoder::new();
        self.said(session).iter().any(|frame| {
            let message = decoder.decode_with(frame, &held).expect("an honest frame");
            matches!(message, Message::Ack(rows) if rows.contains(&row))
        })
    }

    pub(super) fn assert_whole(&self) {
        let checkup = self.store.reader().check(&mut Silent).expect("a check");
        assert_eq!(checkup.problems, 0, "{:?}", checkup.told);
    }
}
