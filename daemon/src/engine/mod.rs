//! The sans-I/O engine: everything that can happen goes in, everything to be done comes out.
//!
//! A local write becomes a batch for the store; a peer's frames are verified, staged and become batches
//! too; what the store has made durable is answered, published and announced, in this order. Whoever owns
//! the engine calls [`Engine::handle`] with each input and then carries out what [`Engine::poll_effect`]
//! gives, in order, and hands in [`Input::Timeout`] once [`Engine::poll_timeout`] has passed.
//!
//! Invariants:
//! - Nothing is answered, published, announced or sent that is not durable in the store.
//! - A peer is told nothing but HELLO until it has proved that it belongs to the organisation.
//! - Nothing that a peer sends can panic or take memory without bound, and one peer's faults are never
//!   another session's.
//! - The same inputs and the same seed give the same effects: there is no clock, no other randomness and no
//!   iteration in hash order.
//!
//! The engine does not know sockets, threads, tables, documents or schemas.

#![warn(missing_docs)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crdt_schema::hlc::Hlc;
use crdt_schema::ident::{DeviceId, Dot, LogId, OrganisationId, SpaceName};
use crdt_schema::op::ChangeSet;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::mutation::{Mutation, is_planted};
use crate::wire::chain::{self, JoinSecret};
use crate::wire::message::Message;
use crate::wire::{WireError, changeset};

use self::accord::Accords;
use self::batch::{
    Arrival, Batch, CommitOutcome, CommitReport, LocalCommit, LogHeader, Opening, RemoteOutcome,
    RequestId, SchemaInUse, SessionId, StoreFault,
};
use self::checkpoint::Roots;
use self::effect::{CloseReason, Effect};
use self::fleet::Fleet;
use self::frontier::Frontier;
use self::ingest::Staging;
use self::input::{Input, LocalWrite, Now};
use self::inquiry::Inquiries;
use self::parts::Parts;
use self::peers::Peers;
use self::repair::Damage;
use self::session::Session;

pub mod batch;
pub mod effect;
pub mod fleet;
pub mod input;

mod accord;
mod announce;
mod checkpoint;
mod fork_talk;
mod forks;
mod front;
mod frontier;
mod greeting;
mod held_back;
mod ingest;
mod inquiry;
mod lanes;
mod lifting;
mod limits;
mod listening;
mod opening;
mod outsize;
mod pace;
mod parts;
mod peers;
mod pump;
mod repair;
mod session;
mod telling;
mod timers;
mod turns;

#[cfg(test)]
mod tests;

/// Fixed facts about this device.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The organisation.
    pub organisation: OrganisationId,
    /// This device.
    pub device: DeviceId,
    /// Its name, for people; goes into the header of every log that it begins.
    pub name: String,
    /// Whether it counts as a durable copy.
    pub hub: bool,
    /// What tells members from strangers.
    pub join_secret: JoinSecret,
    /// The schema in use; [`Input::Schema`] replaces it.
    pub schema: SchemaInUse,
    /// Whether bytes are worth more than this device's time: it compresses what it sends thoroughly.
    pub metered: bool,
}

/// The engine of one device. See the module's documentation.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    rng: ChaCha12Rng,
    hlc: Hlc,
    frontier: Frontier,
    /// The log that this incarnation writes in each space.
    own_logs: BTreeMap<SpaceName, LogHeader>,
    /// The log of each local write that has no outcome yet.
    writing: BTreeMap<RequestId, LogId>,
    staging: Staging,
    sessions: BTreeMap<SessionId, Session>,
    peers: Peers,
    accords: Accords,
    roots: Roots,
    damage: Damage,
    inquiries: Inquiries,
    parts: Parts,
    arrival: Arrival,
    /// The time of the input that is handled.
    mono_ms: u64,
    effects: VecDeque<Effect>,
    check_point: PointCheck,
    read_entry: EntryReader,
}

/// Whether a signature is that of a log's device over the log's chain value at a position, as
/// [`chain::verify_point`] judges it.
pub type PointCheck = fn(&OrganisationId, &LogHeader, u64, &[u8; 32], &[u8; 64]) -> bool;

/// The change set of an entry's bytes, as [`changeset::decode_change_set`] reads it.
pub type EntryReader = fn(&[u8]) -> Result<Arc<ChangeSet>, WireError>;

fn read_entry(bytes: &[u8]) -> Result<Arc<ChangeSet>, WireError> {
    changeset::decode_change_set(bytes).map(Arc::new)
}

impl Engine {
    /// An engine over a store that holds what `opening` says. The seed is the only source of randomness.
    pub fn new(config: EngineConfig, opening: Opening, seed: [u8; 32]) -> Self {
        let frontier = Frontier::new(config.organisation, opening.frontier, opening.forks);
        let held = frontier
            .durable()
            .map(|(id, log)| (*id, log.durable.seq))
            .collect();
        let own = opening.own_logs.into_iter();
        Self {
            config,
            rng: ChaCha12Rng::from_seed(seed),
            hlc: Hlc::after(opening.last_hlc),
            frontier,
            own_logs: own.map(|header| (header.space.clone(), header)).collect(),
            writing: BTreeMap::new(),
            staging: Staging::default(),
            sessions: BTreeMap::new(),
            peers: Peers::new(held, opening.peers),
            accords: Accords::default(),
            roots: Roots::default(),
            damage: Damage::default(),
            inquiries: Inquiries::default(),
            parts: Parts::default(),
            arrival: opening.arrival,
            mono_ms: 0,
            effects: VecDeque::new(),
            check_point: chain::verify_point,
            read_entry,
        }
    }

    /// The same engine with another way to the answer of [`chain::verify_point`]: a program that runs a
    /// thousand engines can remember what one of them has verified.
    pub fn with_point_check(mut self, check: PointCheck) -> Self {
        self.check_point = check;
        self
    }

    /// The same engine with another way to the answer of [`changeset::decode_change_set`], for such a program.
    pub fn with_entry_reader(mut self, read: EntryReader) -> Self {
        self.read_entry = read;
        self
    }

    /// Takes note of something that happened. What is to be done about it waits in the effect queue.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.mono_ms = now.mono_ms;
        match input {
            Input::Local(write) => self.on_local(now, write),
            Input::SessionOpened { session, device } => self.on_opened(now, session, device),
            Input::Frame { session, bytes } => self.on_frame(now, session, &bytes),
            Input::BadFrame { session, bytes } => self.on_bad_frame(now, session, bytes),
            Input::SessionClosed { session } => self.on_closed(now, session),
            Input::Committed(report) => self.on_committed(now, report),
            Input::Fetched { session, result } => self.on_fetched(now, session, result),
            Input::Looked {
                session,
                for_peer,
                result,
            } => self.on_looked(session, for_peer, result),
            Input::Timeout => self.on_timeout(now),
            Input::Network { online } => self.on_network(online),
            Input::Schema(schema) => self.on_schema(schema),
        }
    }

    /// The next thing to be done.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// What is known of the fleet, if that changed since it was last asked.
    pub fn fleet(&mut self) -> Option<Arc<Fleet>> {
        self.peers.snapshot()
    }

    fn on_local(&mut self, now: Now, write: LocalWrite) {
        let hlc = self.hlc.tick(now.unix_ms);
        let log = self.own_log(&write.space);
        self.writing.insert(write.request, log.log);
        if is_planted(Mutation::ReplyBeforeCommit) {
            let dot = Dot::new(log.log, self.frontier.durable_seq(&log.log) + 1);
            let (request, result) = (write.request, Ok(CommitOutcome::promised(dot, hlc)));
            self.effects.push_back(Effect::Reply { request, result });
        }
        self.effects
            .push_back(Effect::Commit(Batch::Local(LocalCommit {
                request: write.request,
                log,
                hlc,
                unix_ms: now.unix_ms,
                person: write.person,
                schema_version: write.schema_version,
                edits: write.edits,
                idempotency: write.idempotency,
                answering: write.answering,
            })));
    }

    /// The log that this device writes in a space; begins one if there is none.
    fn own_log(&mut self, space: &SpaceName) -> LogHeader {
        if let Some(header) = self.own_logs.get(space) {
            return header.clone();
        }
        let mut nonce = [0; 8];
        self.rng.fill_bytes(&mut nonce);
        let (device, name) = (self.config.device, self.config.name.clone());
        let header = LogHeader {
            log: chain::log_id(nonce, space, &device, &name),
            space: space.clone(),
            device,
            name,
            branch_of: None,
        };
        self.own_logs.insert(space.clone(), header.clone());
        header
    }

    /// Whether this incarnation writes the log.
    fn is_own(&self, log: &LogId) -> bool {
        let mut own = self.own_logs.values();
        own.any(|own| own.log == *log) && self.frontier.get(log).is_some()
    }

    fn on_committed(&mut self, now: Now, report: CommitReport) {
        for (request, result) in report.local {
            self.writing.remove(&request);
            if is_planted(Mutation::ReplyBeforeCommit) {
                continue;
            }
            self.effects.push_back(Effect::Reply { request, result });
        }
        let mut moved = Vec::with_capacity(report.rows.len());
        for row in report.rows {
            let (log, device) = (row.header.log, row.header.device);
            let (before, after) = self.frontier.adopt(row);
            if after > before {
                if device == self.config.device {
                    self.note_taken_back(&log, after - before);
                }
                self.peers.our_log_moved(log, after);
                moved.push((log, after));
            }
        }
        if report.arrival > self.arrival {
            self.arrival = report.arrival;
            self.effects.push_back(Effect::Publish {
                arrival: self.arrival,
            });
        }
        report
            .repairs
            .into_iter()
            .for_each(|repaired| self.on_repaired(repaired));
        report
            .damaged
            .into_iter()
            .for_each(|place| self.note_damage(place));
        match self.settle(report.remote) {
            Ok(()) => {
                if !moved.is_empty() {
                    self.lift(&moved);
                }
                self.spread(now, &moved);
                self.review_holds(now);
            }
            Err(fault) => self.on_store_fault(now, &fault),
        }
    }

    /// Counts entries of a log of this device that it has lost, if it has, and got back from a peer.
    fn note_taken_back(&mut self, log: &LogId, entries: u64) {
        if !self.is_own(log) && !self.staging.is_empty() {
            tracing::warn!(%log, entries, "this device had lost entries of its own; a peer gave them back");
            self.peers.count_taken_back(entries);
        }
    }

    /// Tells the sessions what has become durable: our own entries themselves, news of all others.
    fn spread(&mut self, now: Now, moved: &[(LogId, u64)]) {
        let (wrote, news): (Vec<_>, Vec<_>) =
            moved.iter().copied().partition(|(log, _)| self.is_own(log));
        let wrote: Vec<LogId> = wrote.into_iter().map(|(log, _)| log).collect();
        let sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in sessions {
            self.resume(now, id);
            self.announce(id, &news);
            self.push_own(id, &wrote);
            self.pump(id);
        }
    }

    /// Strikes out the batches that have an outcome.
    fn settle(&mut self, outcomes: Vec<RemoteOutcome>) -> Result<(), StoreFault> {
        let mut settled = Ok(());
        for outcome in outcomes {
            if let Some((session, bytes)) = self.staging.settle(outcome.batch) {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.staged_bytes = session.staged_bytes.saturating_sub(bytes);
                }
                self.on_left_out(session, outcome.left_out);
            }
            if outcome.result.is_err() && settled.is_ok() {
                settled = outcome.result;
            }
        }
        if self.staging.has_failed() && self.staging.is_empty() {
            self.frontier.unstage();
        }
        settled
    }

    /// After a failed batch no staged end can be trusted. Every session ends, and none begins until the
    /// store has had time to recover and has answered for all that it was given.
    fn on_store_fault(&mut self, now: Now, fault: &StoreFault) {
        tracing::error!(%fault, "the store refused entries from a peer; ending every session");
        self.staging.fail(now.mono_ms);
        if self.staging.is_empty() {
            self.frontier.unstage();
        }
        self.close_all(&CloseReason::Store(fault.to_string()));
    }

    /// Tells every peer that another schema is in use. Sessions go on.
    fn on_schema(&mut self, schema: SchemaInUse) {
        if self.config.schema == schema {
            return;
        }
        self.config.schema = schema;
        for session in self.sessions.values_mut() {
            if session.is_introduced() {
                let told = Message::Schema(self.config.schema.tag.clone());
                session.send(&told, &mut self.effects);
            }
        }
    }

    fn on_network(&mut self, online: bool) {
        self.peers.set_online(online);
        if !online {
            self.close_all(&CloseReason::Offline);
        }
    }
}
