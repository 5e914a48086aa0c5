//! One session with one peer: what is remembered of it, how its frames are routed, how it ends.
//!
//! A session is *greeting* until the peer's HELLO has been accepted, *opening* until the peer has told its
//! whole frontier, then *live*. A message that does not belong to the phase ends the session. A device has
//! at most one session; a newer one takes over.
//!
//! What a session has *told* its peer (by FRONT, ACK or DATA) and what the peer is known to *hold* mirror
//! each other: each side's record of what it said is the other side's record of what it heard. So an ACK
//! row that says nothing new can mean something else: that what was sent above it is refused.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crdt_schema::ident::{DeviceId, LogId, SpaceName};

use super::Engine;
use super::batch::repair::Look;
use super::batch::{Arrival, Batch, Checkpoint, CheckpointId, Held, SessionId};
use super::effect::{Breach, CloseReason, Effect};
use super::fork_talk::ToldForks;
use super::ingest::Refusal;
use super::input::Now;
use super::lifting::Awaited;
use super::limits::{FAULTS_MAX, HANDSHAKE_MS, LOGS_MAX, STRANGER_FRAME_BYTES_MAX};
use super::pump::Pump;
use super::repair::RepairTalk;
use super::telling::Way;
use super::timers::Want;
use crate::wire::WireError;
use crate::wire::dictionary::Dictionary;
use crate::wire::limits::FRAME_BYTES_MAX;
use crate::wire::message::{FrameDecoder, FrameEncoder, Hello, Message, is_data};

/// How far the conversation has come.
#[derive(Debug)]
pub(super) enum Phase {
    /// Our HELLO is sent, the peer's has not been accepted.
    Greeting(Greeting),
    /// The peer is telling its frontier.
    Opening {
        /// What it has told so far, spaces with equal roots included.
        held: Held,
        /// Where to start sending: everything in our arrival order up to here is held by both.
        cursor: Arrival,
        /// The logs that its FRONT has named.
        named: BTreeSet<LogId>,
        /// How many entries its HELLO said that it holds: what is built on and what is told must add up to.
        count: Option<u64>,
        /// The logs of which it holds another history, or another log under their name: refused once everything
        /// is told.
        others: BTreeMap<LogId, Refusal>,
        /// Who tells, and how.
        way: Way,
    },
    /// Entries flow.
    Live,
}

/// What our HELLO said. Both sides compare the two HELLOs as they were sent, so they agree on which spaces
/// differ even if one of them commits meanwhile.
#[derive(Debug)]
pub(super) struct Greeting {
    /// The root of each space by its tag.
    pub(super) roots: BTreeMap<[u8; 8], [u8; 16]>,
    /// Whether every space was named.
    pub(super) is_whole: bool,
    /// How many entries the spaces have.
    pub(super) count: u64,
    /// What we held.
    pub(super) held: Held,
    /// Our last arrival.
    pub(super) arrival: Arrival,
    /// The checkpoints that we named.
    pub(super) checkpoints: Vec<Checkpoint>,
    /// What names our frontier as it was.
    pub(super) id: CheckpointId,
    /// The dictionary that we named.
    pub(super) dictionary: Dictionary,
}

impl Greeting {
    /// What both sides compress DATA with: the dictionary that both HELLOs name, and the logs of the checkpoint
    /// that both name.
    pub(super) fn agreed_dictionary(
        &self,
        hello: &Hello,
        base: Option<&Checkpoint>,
    ) -> Option<Dictionary> {
        let logs = base.into_iter().flat_map(|base| base.rows.iter());
        let agrees = hello.dictionary == self.dictionary.id();
        agrees.then(|| self.dictionary.with_logs(logs.map(|(log, _)| log)))
    }
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) device: DeviceId,
    pub(super) phase: Phase,
    pub(super) encoder: FrameEncoder,
    decoder: FrameDecoder,
    /// What both directions of DATA are compressed with.
    dictionary: Option<Dictionary>,
    /// When the opening must have got on.
    pub(super) deadline_ms: u64,
    /// What this side has told.
    pub(super) told: Held,
    /// Whether it has told everything, so that news may follow.
    pub(super) has_told: bool,
    /// The logs that are not exchanged in this session.
    pub(super) refused: BTreeMap<LogId, Refusal>,
    /// How many of `refused` no honest peer would have sent.
    faults: usize,
    /// What would end some of these refusals.
    pub(super) awaited: Awaited,
    /// The spaces in which the peer showed more of our own log than we hold.
    pub(super) retired: BTreeSet<SpaceName>,
    pub(super) pump: Pump,
    /// How many entries the peer's HELLO said that it holds.
    pub(super) entries: u64,
    /// Whether we told the peer to hold, and have not asked it since.
    pub(super) waits: bool,
    /// Entry bytes of this session that wait for the store.
    pub(super) staged_bytes: usize,
    /// Set while something announced is awaited.
    pub(super) want: Option<Want>,
    /// When the peer's row is to be written; set while it is newer than the store's.
    pub(super) save_due_ms: Option<u64>,
    /// When a checkpoint may be made; set while entries have passed since the last.
    pub(super) mark_due_ms: Option<u64>,
    /// The last frontier that we told the peer we both hold.
    pub(super) marked: Option<CheckpointId>,
    pub(super) repair: RepairTalk,
    pub(super) told_forks: ToldForks,
}

impl Session {
    fn new(
        id: SessionId,
        device: DeviceId,
        greeting: Greeting,
        encoder: FrameEncoder,
        now: Now,
    ) -> Self {
        Self {
            id,
            device,
            phase: Phase::Greeting(greeting),
            encoder,
            decoder: FrameDecoder::new(),
            dictionary: None,
            deadline_ms: now.mono_ms + HANDSHAKE_MS,
            told: Held::new(),
            has_told: false,
            refused: BTreeMap::new(),
            faults: 0,
            awaited: Awaited::default(),
            retired: BTreeSet::new(),
            pump: Pump::default(),
            entries: 0,
            waits: false,
            staged_bytes: 0,
            want: None,
            save_due_ms: None,
            mark_due_ms: None,
            marked: None,
            repair: RepairTalk::default(),
            told_forks: ToldForks::default(),
        }
    }

    /// Compresses DATA from here on with what both sides have named, if they named one dictionary.
    pub(super) fn agree(&mut self, dictionary: Option<Dictionary>) {
        if let Some(dictionary) = &dictionary {
            self.encoder.use_dictionary(dictionary.clone());
            self.decoder.use_dictionary(dictionary.clone());
        }
        self.dictionary = dictionary;
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    /// Whether the peer has proved to be a member.
    pub(super) fn is_introduced(&self) -> bool {
        !matches!(self.phase, Phase::Greeting(_))
    }

    pub(super) fn send(&mut self, message: &Message, effects: &mut VecDeque<Effect>) {
        let frame = self.encoder.encode(message);
        effects.push_back(Effect::Send {
            session: self.id,
            frame,
        });
    }

    /// Notes that the peer has been told that we hold a log as far as `seq`.
    pub(super) fn note_told(&mut self, log: LogId, seq: u64) {
        self.told.raise(log, seq);
    }

    pub(super) fn told_seq(&self, log: &LogId) -> u64 {
        self.told.seq(log)
    }

    /// What an ACK says of a log that is refused: no more than the peer was told before. Of another history it holds
    /// nothing, whatever it was told: one of the same length would seem to be acknowledged.
    fn refusal_seq(&self, log: &LogId, refusal: &Refusal) -> u64 {
        match refusal {
            Refusal::Forked => 0,
            _ => self.told_seq(log),
        }
    }

    /// Whether the peer offered more damaged or refused logs than any honest one would.
    pub(super) fn check_faults(&self) -> Result<(), CloseReason> {
        if self.faults > FAULTS_MAX || self.refused.len() > LOGS_MAX {
            return Err(Breach::ForgedLogs.of("too many damaged or forked logs"));
        }
        Ok(())
    }
}

/// The peer said something where it does not belong.
pub(super) fn protocol(what: impl Into<String>) -> CloseReason {
    Breach::Protocol.of(what)
}

/// What cannot be read: beyond a limit, or damaged.
fn unreadable(error: &WireError) -> CloseReason {
    let breach = match error {
        WireError::TooLarge { .. } => Breach::TooLarge,
        WireError::Truncated(_) | WireError::Malformed(_) | WireError::Compression(_) => {
            Breach::MalformedFrame
        }
        WireError::Dictionary => Breach::UnknownDictionary,
    };
    breach.of(error.to_string())
}

/// Text from a peer, made safe for terminals and logs.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

impl Engine {
    /// What DATA of a session is compressed with, for those who look on.
    pub fn dictionary(&self, session: SessionId) -> Option<&Dictionary> {
        self.sessions.get(&session)?.dictionary.as_ref()
    }

    pub(super) fn on_opened(&mut self, now: Now, id: SessionId, device: DeviceId) {
        let (hello, greeting) = self.greet(&device);
        let encoder = match self.config.metered {
            true => FrameEncoder::metered(),
            false => FrameEncoder::new(),
        };
        let mut session = Session::new(id, device, greeting, encoder, now);
        if let Err(reason) = self.admit(now, &device) {
            self.end(session, &reason);
            return;
        }
        let older = self
            .sessions
            .values()
            .find(|session| session.device == device);
        if let Some(older) = older.map(|session| session.id) {
            self.close(older, &CloseReason::Replaced);
        }
        session.send(&Message::Hello(hello), &mut self.effects);
        self.sessions.insert(id, session);
    }

    /// Whether a session may begin now.
    fn admit(&mut self, now: Now, device: &DeviceId) -> Result<(), CloseReason> {
        if !self.peers.is_online() {
            return Err(CloseReason::Offline);
        }
        if *device == self.config.device {
            return Err(protocol("own device"));
        }
        if !self.staging.accepts(now.mono_ms) {
            return Err(CloseReason::Store(
                "recovering from a failed write".to_owned(),
            ));
        }
        Ok(())
    }

    pub(super) fn on_frame(&mut self, now: Now, id: SessionId, bytes: &[u8]) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let is_stranger = !session.is_introduced();
        // Nothing of a stranger's is decompressed or kept.
        if is_stranger && bytes.len() > STRANGER_FRAME_BYTES_MAX {
            return self.close(id, &Breach::TooLarge.of("a large frame before HELLO"));
        }
        if is_stranger && is_data(bytes) {
            return self.close(id, &protocol("DATA before HELLO"));
        }
        let held = |log: &LogId| Some(self.frontier.get(log)?.header.clone());
        let outcome = match session.decoder.decode_with(bytes, &held) {
            Ok(message) => self.on_message(now, id, message),
            Err(error) => Err(unreadable(&error)),
        };
        if let Err(reason) = outcome {
            self.close(id, &reason);
            self.review_holds(now);
        }
    }

    /// The stream of a session cannot be read as frames any more.
    pub(super) fn on_bad_frame(&mut self, now: Now, id: SessionId, bytes: Option<usize>) {
        let reason = match bytes {
            Some(bytes) => Breach::TooLarge.of(format!(
                "it announced a frame of {bytes} bytes, more than the {FRAME_BYTES_MAX} allowed"
            )),
            None => Breach::MalformedFrame.of("a frame without a proper length"),
        };
        self.close(id, &reason);
        self.review_holds(now);
    }

    fn on_message(&mut self, now: Now, id: SessionId, message: Message) -> Result<(), CloseReason> {
        let Some(session) = self.sessions.get(&id) else {
            return Ok(());
        };
        self.peers.heard(&session.device, now.unix_ms);
        match (&session.phase, message) {
            (_, Message::Bye { code, text }) => {
                let device = session.device;
                let text = printable(&text);
                if let Some(code) = CloseReason::refusal_code(&code) {
                    let why = format!("it refused this device: {text}");
                    self.peers.count(device, code, Some(why));
                }
                if code == CloseReason::Repaired.code() {
                    self.peers.lift(Some(&device), |_, _| true);
                }
                Err(CloseReason::Peer(text))
            }
            (Phase::Greeting(_), Message::Hello(hello)) => self.on_hello(now, id, &hello),
            (Phase::Opening { .. }, Message::Name(name)) => {
                self.peers.set_name(&session.device, printable(&name));
                Ok(())
            }
            (Phase::Opening { .. } | Phase::Live, Message::Schema(schema)) => {
                self.peers.set_schema(&session.device, schema);
                Ok(())
            }
            (Phase::Opening { .. }, Message::Front { space, rows }) => {
                self.on_front(now, id, &space, &rows)
            }
            (Phase::Opening { .. }, Message::Tell { salt, base }) => {
                self.on_tell(now, id, salt, base)
            }
            (Phase::Opening { .. }, Message::Range { space, ends, rows }) => {
                self.on_range(now, id, space, ends, &rows)
            }
            (
                Phase::Opening { .. },
                Message::Answer {
                    more,
                    differs,
                    rows,
                },
            ) => self.on_answer(now, id, more, &differs, &rows),
            (Phase::Opening { .. }, Message::Hold) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.pump.is_held = true;
                }
                Ok(())
            }
            (Phase::Opening { .. }, Message::FrontEnd) => self.on_front_end(now, id),
            (Phase::Live, Message::Data(runs)) => self.on_data(now, id, runs),
            (Phase::Live, Message::Part(part)) => self.on_part(now, id, part),
            (Phase::Opening { .. } | Phase::Live, Message::Have { whole, bytes }) => {
                self.on_have(now, id, whole, bytes)
            }
            (Phase::Live, Message::Ack(rows)) => self.on_ack(now, id, rows),
            (Phase::Live, Message::Mark(mark)) => self.on_mark(now, id, mark),
            (Phase::Live, Message::Want) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.pump.is_held = false;
                }
                self.push(id);
                self.send_parts(now, id);
                self.pump(id);
                Ok(())
            }
            (Phase::Opening { .. } | Phase::Live, Message::Ask { log, from }) => {
                self.answer_look(id, Look::Run { log, from })
            }
            (Phase::Opening { .. } | Phase::Live, Message::Probe { log, seqs }) => {
                self.answer_look(id, Look::Tags { log, seqs })
            }
            (Phase::Opening { .. } | Phase::Live, Message::Given { log, run }) => {
                self.on_given(id, log, run)
            }
            (Phase::Opening { .. } | Phase::Live, Message::Tags { log, rows }) => {
                self.on_tags(id, log, rows)
            }
            (Phase::Opening { .. } | Phase::Live, Message::Fork(proof)) => self.on_fork(id, *proof),
            (phase, message) => Err(protocol(out_of_place(phase, &message))),
        }
    }

    /// Stops exchanging a log with a peer, and tells the peer so. The session goes on.
    pub(super) fn refuse(&mut self, id: SessionId, log: LogId, refusal: Refusal) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if session.refused.contains_key(&log) {
            return;
        }
        let device = session.device;
        tracing::warn!(peer = %device.short(), %log, %refusal, "a log is refused");
        let is_fault = refusal.is_fault(self.frontier.durable_seq(&log) > 0);
        session.faults += usize::from(is_fault);
        session.pump.give_up(log);
        if !matches!(refusal, Refusal::ByPeer) {
            let row = (log, session.refusal_seq(&log, &refusal));
            session.send(&Message::Ack(vec![row]), &mut self.effects);
        }
        self.peers.show_refused(&device, log, &refusal);
        if let Some(code) = refusal.code() {
            let why = format!("log {log}: {refusal}");
            self.peers.count(device, code, is_fault.then_some(why));
        }
        session.awaited.note(&refusal, &self.frontier);
        session.refused.insert(log, refusal.clone());
        if refusal == Refusal::ByPeer {
            self.tell_forks_of(id, self.frontier.whole(&log));
        }
        if refusal.is_other_history() {
            self.peers.forget_log(&device, &log);
            self.leave_forked_log(&log);
            self.inquire(id, log);
        }
        self.need_fork(id, &refusal);
    }

    /// Tells the peer again that a log is refused: it may have missed what the first refusal meant.
    pub(super) fn repeat_refusal(&mut self, id: SessionId, log: LogId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            let refusal = session.refused.get(&log);
            let seq = refusal.map_or_else(
                || session.told_seq(&log),
                |refusal| session.refusal_seq(&log, refusal),
            );
            session.send(&Message::Ack(vec![(log, seq)]), &mut self.effects);
        }
    }

    /// Begins a new log where others hold another history of the one that this device writes: what is
    /// written from here on reaches everybody.
    fn leave_forked_log(&mut self, log: &LogId) {
        if self.is_own(log) {
            tracing::warn!(%log, "others hold another history of this device's log; beginning a new one");
            self.own_logs.retain(|_, own| own.log != *log);
        }
    }

    pub(super) fn on_closed(&mut self, now: Now, id: SessionId) {
        if let Some(session) = self.sessions.remove(&id) {
            self.part(&session);
        }
        self.review_holds(now);
    }

    pub(super) fn close(&mut self, id: SessionId, reason: &CloseReason) {
        if let Some(session) = self.sessions.remove(&id) {
            self.end(session, reason);
        }
    }

    pub(super) fn close_all(&mut self, reason: &CloseReason) {
        while let Some((_, session)) = self.sessions.pop_first() {
            self.end(session, reason);
        }
    }

    /// Says goodbye, unless the peer has already, and ends a session that is no longer in the table.
    fn end(&mut self, mut session: Session, reason: &CloseReason) {
        tracing::debug!(session = session.id, peer = %session.device.short(), %reason, "session ends");
        if !matches!(reason, CloseReason::Peer(_)) {
            let bye = Message::Bye {
                code: reason.code().to_owned(),
                text: farewell(reason),
            };
            session.send(&bye, &mut self.effects);
        }
        self.effects.push_back(Effect::Close {
            session: session.id,
            reason: reason.clone(),
        });
        if *reason == CloseReason::Repaired {
            self.peers.lift(Some(&session.device), |_, _| true);
        }
        if is_trouble(reason) {
            let why = reason.is_refusal().then(|| reason.to_string());
            self.peers.count(session.device, reason.code(), why);
        }
        self.part(&session);
    }

    fn part(&mut self, session: &Session) {
        self.end_inquiry(session);
        if session.is_introduced() {
            self.peers.disconnect(&session.device);
            self.save_peer(&session.device);
        }
    }

    pub(super) fn save_peer(&mut self, device: &DeviceId) {
        if let Some(row) = self.peers.row(device) {
            self.effects.push_back(Effect::Commit(Batch::Peer(row)));
        }
    }
}

/// Whether people should hear of it. What a peer said is counted when it says it.
fn is_trouble(reason: &CloseReason) -> bool {
    !matches!(
        reason,
        CloseReason::Replaced
            | CloseReason::Repaired
            | CloseReason::PartsLost
            | CloseReason::GroundLost
            | CloseReason::Offline
            | CloseReason::Peer(_)
    )
}

/// The words for the peer. What the store said stays here: it may name paths.
fn farewell(reason: &CloseReason) -> String {
    match reason {
        CloseReason::Store(_) => "store unavailable".to_owned(),
        CloseReason::Version { .. }
        | CloseReason::OtherOrganisation
        | CloseReason::WrongSecret
        | CloseReason::Breach(..)
        | CloseReason::Timeout
        | CloseReason::Replaced
        | CloseReason::Repaired
        | CloseReason::PartsLost
        | CloseReason::GroundLost
        | CloseReason::Offline
        | CloseReason::Peer(_) => reason.to_string(),
    }
}

fn out_of_place(phase: &Phase, message: &Message) -> String {
    let message = match message {
        Message::Hello(_) => "HELLO",
        Message::Name(_) => "NAME",
        Message::Schema(_) => "SCHEMA",
        Message::Front { .. } => "FRONT",
        Message::FrontEnd => "FRONT END",
        Message::Tell { .. } => "TELL",
        Message::Range { .. } => "RANGE",
        Message::Answer { .. } => "ANSWER",
        Message::Data(_) => "DATA",
        Message::Part(_) => "PART",
        Message::Have { .. } => "HAVE",
        Message::Ack(_) => "ACK",
        Message::Want => "WANT",
        Message::Mark(_) => "MARK",
        Message::Hold => "HOLD",
        Message::Ask { .. } => "ASK",
        Message::Given { .. } => "GIVEN",
        Message::Probe { .. } => "PROBE",
        Message::Tags { .. } => "TAGS",
        Message::Fork(_) => "FORK",
        Message::Bye { .. } => "BYE",
    };
    let phase = match phase {
        Phase::Greeting(_) => "before HELLO",
        Phase::Opening { .. } => "during the opening",
        Phase::Live => "after the opening",
    };
    format!("{message} {phase}")
}
