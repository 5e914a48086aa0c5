//! The engine: everything the daemon decides about logs, peers and their sessions, without doing any of it.
//!
//! It is fed with [`input::Input`]s, each with its time, and asks for [`effect::Effect`]s in one ordered queue.
//! It reads no clock, draws no randomness but its seed's, and does no I/O, so the simulator and the daemon
//! run the same engine, and the same inputs give the same effects.
//!
//! Rules that the rest relies on:
//! - Nothing leaves before it is durable: a reply, a publication, an acknowledgement or an entry follows the
//!   commit that contains it.
//! - What a peer may cause is bounded ([`limits`]) and confined to its own session.
//! - Until a peer has proved that it belongs, it gets HELLO and nothing else.
//!
//! A session opens with HELLO from both sides at once. Spaces whose roots are equal are done; of the others
//! both send their FRONT. From then on each side pushes what the other lacks, in its own arrival order, and
//! acknowledges what it has committed. Later, own writes are pushed at once; what came from others is only
//! announced (the same ACK), and a peer that misses it asks (WANT). A log that does not fit what is held here
//! is left out of the session (REFUSE); all others go on.

pub mod batch;
pub mod effect;
pub mod fleet;
mod greeting;
mod ingest;
pub mod input;
pub mod limits;
mod logs;
mod peers;
mod pump;
mod session;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crdt_schema::hlc::Hlc;
use crdt_schema::ident::{DeviceId, LogId, OrganisationId, SpaceName};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::wire::chain::JoinSecret;
use crate::wire::message::Message;
use batch::{Arrival, Batch, BatchId, CommitReport, LocalCommit, LogHeader, Opening, SessionId};
use effect::{CloseReason, Effect};
use fleet::Fleet;
use input::{Input, LocalWrite, Now};
use logs::Logs;
use peers::Peers;
use session::Session;

/// Fixed facts about this device.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The organisation.
    pub organisation: OrganisationId,
    /// This device.
    pub device: DeviceId,
    /// Its name, for people.
    pub name: String,
    /// Whether it counts as a durable copy.
    pub hub: bool,
    /// What members prove to each other.
    pub join_secret: JoinSecret,
    /// The version of its schema.
    pub schema_version: u32,
}

/// A remote batch that the store has not yet reported.
#[derive(Debug)]
struct Staged {
    session: SessionId,
    bytes: usize,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    rng: ChaCha12Rng,
    clock: Hlc,
    logs: Logs,
    /// The log of each space that the next local write goes to.
    own: BTreeMap<SpaceName, LogHeader>,
    arrival: Arrival,
    sessions: BTreeMap<SessionId, Session>,
    peers: Peers,
    staged: BTreeMap<BatchId, Staged>,
    next_batch: BatchId,
    online: bool,
    /// Until when (monotonic milliseconds) no session is accepted, because the store failed.
    store_pause: u64,
    /// When entries last arrived from any peer.
    last_data: u64,
    refusals: BTreeMap<&'static str, u64>,
    last_refusal: Option<(DeviceId, String)>,
    fleet_changed: bool,
    effects: VecDeque<Effect>,
}

impl Engine {
    /// An engine that takes up where the store left off. All its randomness follows from `seed`.
    pub fn new(config: EngineConfig, opening: Opening, seed: [u8; 32]) -> Self {
        let Opening {
            frontier,
            own_logs,
            peers,
            last_hlc,
            arrival,
        } = opening;
        Self {
            logs: Logs::new(config.organisation, frontier),
            config,
            rng: ChaCha12Rng::from_seed(seed),
            clock: Hlc::after(last_hlc),
            own: own_logs
                .into_iter()
                .map(|header| (header.space.clone(), header))
                .collect(),
            arrival,
            sessions: BTreeMap::new(),
            peers: Peers::new(peers),
            staged: BTreeMap::new(),
            next_batch: 1,
            online: true,
            store_pause: 0,
            last_data: 0,
            refusals: BTreeMap::new(),
            last_refusal: None,
            fleet_changed: true,
            effects: VecDeque::new(),
        }
    }

    /// Takes note of something that happened. Every effect must have been polled before.
    pub fn handle(&mut self, now: Now, input: Input) {
        assert!(
            self.effects.is_empty(),
            "effects are drained before the next input"
        );
        match input {
            Input::Local(write) => self.on_local(now, write),
            Input::SessionOpened { session, device } => {
                self.on_session_opened(now, session, device)
            }
            Input::Frame { session, bytes } => self.on_frame(now, session, &bytes),
            Input::SessionClosed { session } => self.on_session_closed(session),
            Input::Committed(report) => self.on_committed(now, report),
            Input::Fetched { session, result } => self.on_fetched(session, result),
            Input::Timeout => {}
            Input::Network { online } => self.on_network(online),
        }
        self.on_time(now);
    }

    /// The next thing to be done; `None` when there is nothing until the next input.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When (monotonic milliseconds) [`Input::Timeout`] is due at the latest.
    pub fn poll_timeout(&self) -> Option<u64> {
        let of_session = |session: &Session| {
            let opening = (!matches!(session.phase, session::Phase::Live))
                .then_some(session.opening_deadline);
            opening.into_iter().chain(session.want_at)
        };
        let unsaved = self
            .peers
            .oldest_unsaved()
            .map(|since| since + limits::PEER_SAVE_MS);
        self.sessions
            .values()
            .flat_map(of_session)
            .chain(unsaved)
            .min()
    }

    /// Who holds what, if that has changed since the last call.
    pub fn fleet(&mut self) -> Option<Arc<Fleet>> {
        if !std::mem::take(&mut self.fleet_changed) {
            return None;
        }
        Some(Arc::new(Fleet {
            refusals: self.refusals.clone(),
            last_refusal: self.last_refusal.clone(),
            online: self.online,
            ..self.peers.snapshot(&self.logs)
        }))
    }

    fn on_local(&mut self, now: Now, write: LocalWrite) {
        let LocalWrite {
            request,
            space,
            person,
            edits,
            idempotency,
        } = write;
        let commit = LocalCommit {
            request,
            log: self.own_log(space),
            hlc: self.clock.tick(now.unix_ms),
            unix_ms: now.unix_ms,
            person,
            edits,
            idempotency,
        };
        self.effects.push_back(Effect::Commit(Batch::Local(commit)));
    }

    /// The log that local writes of a space go to. A new one has a random id, so no two incarnations of a
    /// store, and no two devices, ever write into the same one.
    fn own_log(&mut self, space: SpaceName) -> LogHeader {
        if let Some(header) = self.own.get(&space) {
            return header.clone();
        }
        let mut id = [0; 16];
        self.rng.fill_bytes(&mut id);
        let header = LogHeader {
            log: LogId(id),
            space: space.clone(),
            device: self.config.device,
            name: self.config.name.clone(),
        };
        self.own.insert(space, header.clone());
        header
    }

    fn is_own(&self, log: LogId) -> bool {
        self.own.values().any(|header| header.log == log)
    }

    fn on_committed(&mut self, now: Now, report: CommitReport) {
        let CommitReport {
            local,
            remote,
            rows,
            arrival,
        } = report;
        for (request, result) in local {
            self.effects.push_back(Effect::Reply { request, result });
        }
        self.logs.commit(&rows);
        if arrival > self.arrival {
            self.arrival = arrival;
            self.effects.push_back(Effect::Publish { arrival });
        }
        if !rows.is_empty() {
            self.fleet_changed = true;
            self.announce(&rows);
        }
        let mut fault = None;
        for outcome in remote {
            if let Some(staged) = self.staged.remove(&outcome.batch)
                && let Some(session) = self.sessions.get_mut(&staged.session)
            {
                session.staged_bytes = session.staged_bytes.saturating_sub(staged.bytes);
            }
            fault = fault.or(outcome.result.err());
        }
        if let Some(fault) = fault {
            self.on_store_fault(now, &fault.to_string());
        }
        self.pump_all();
    }

    /// Entries that peers sent are not on disk. They keep them: every session starts over, later.
    fn on_store_fault(&mut self, now: Now, fault: &str) {
        tracing::error!(
            fault,
            "the store could not write what peers sent; sessions end for a while"
        );
        self.logs.unstage();
        self.staged.clear();
        self.store_pause = now.mono_ms + limits::STORE_PAUSE_MS;
        self.close_all(&CloseReason::Store(fault.to_owned()));
    }

    fn on_network(&mut self, online: bool) {
        self.online = online;
        self.fleet_changed = true;
        if !online {
            self.close_all(&CloseReason::Offline);
        }
    }

    fn on_time(&mut self, now: Now) {
        let late = |session: &Session| {
            !matches!(session.phase, session::Phase::Live)
                && session.opening_deadline <= now.mono_ms
        };
        let due: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, session)| late(session))
            .map(|(&id, _)| id)
            .collect();
        for session in due {
            self.close(session, CloseReason::Timeout);
        }
        self.ask_for_missing(now);
        if now.mono_ms >= limits::PEER_SAVE_MS {
            self.save_peers(now.mono_ms - limits::PEER_SAVE_MS);
        }
    }

    /// Hands the store what is known of peers and has been unsaved since `mono_ms`.
    fn save_peers(&mut self, mono_ms: u64) {
        for row in self.peers.take_unsaved(mono_ms) {
            self.effects.push_back(Effect::Commit(Batch::Peer(row)));
        }
    }

    fn send(&mut self, session: SessionId, message: &Message) {
        if let Some(open) = self.sessions.get_mut(&session) {
            let frame = open.encoder.encode(message);
            self.effects.push_back(Effect::Send { session, frame });
        }
    }

    fn close_all(&mut self, reason: &CloseReason) {
        let open: Vec<SessionId> = self.sessions.keys().copied().collect();
        for session in open {
            self.close(session, reason.clone());
        }
    }

    /// Ends a session from this side: the peer is told why, unless it has already gone.
    fn close(&mut self, session: SessionId, reason: CloseReason) {
        let Some(open) = self.sessions.get(&session) else {
            return;
        };
        if reason.is_refusal() {
            *self.refusals.entry(reason.code()).or_default() += 1;
            self.last_refusal = Some((open.device, reason.to_string()));
            tracing::warn!(peer = %open.device, %reason, "session refused");
        }
        let bye = Message::Bye {
            code: reason.code().to_owned(),
            text: reason.to_string(),
        };
        self.send(session, &bye);
        self.effects.push_back(Effect::Close { session, reason });
        self.on_session_closed(session);
    }

    fn on_session_closed(&mut self, session: SessionId) {
        let Some(closed) = self.sessions.remove(&session) else {
            return;
        };
        self.fleet_changed = true;
        if let Some(peer) = self.peers.get_mut(closed.device)
            && peer.session == Some(session)
        {
            peer.session = None;
        }
        self.save_peers(u64::MAX);
    }
}

#[cfg(test)]
mod tests;
