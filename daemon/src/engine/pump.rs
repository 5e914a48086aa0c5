//! What goes out: entries that the peer lacks, as fast as the peer makes them durable.
//!
//! The pump runs until every space has reached its target: the end at the opening and when the peer asks. What
//! this device writes is sent when it is written. Which frame is next is up to the [`super::lanes`]; each walks
//! causes first, and the pump leaves out only what the peer holds or has been sent, so whatever prefix of a
//! session arrives is causally closed. Between targets, entries from other peers are announced (see
//! [`super::announce`]) and not sent.

use std::collections::{BTreeMap, VecDeque};

use crdt_schema::ident::{Dot, LogId, SpaceName};

use super::Engine;
use super::batch::{Arrival, Fetched, Held, Run, SessionId};
use super::effect::{CloseReason, Effect};
use super::frontier::Frontier;
use super::held_back::HeldBack;
use super::input::Now;
use super::lanes::{Lanes, Turn};
use super::limits::{FRESH_BYTES_MAX, MESSAGE_BYTES_MAX, RUN_OVERHEAD_BYTES, SEQ_MAX};
use super::outsize::Outsize;
use super::pace::Pace;
use crate::mutation::{Mutation, is_planted};
use crate::wire::limits::POINT_GAP_BYTES;
use crate::wire::message::Message;

/// The outgoing side of one session.
#[derive(Debug, Default)]
pub(super) struct Pump {
    pub(super) lanes: Lanes,
    /// What the fetch in flight is for.
    asked: Option<Turn>,
    /// What the peer holds or has been sent. Refused logs, and those of which something is held back, stand at
    /// their greatest possible end.
    pub(super) known: Held,
    held_back: HeldBack,
    /// The last entry and the bytes of each run that was sent and is not acknowledged, oldest first.
    unacked: BTreeMap<LogId, VecDeque<Sent>>,
    pub(super) unacked_bytes: usize,
    pub(super) pace: Pace,
    /// When the newest of what was acknowledged since the last measure was sent.
    acked_sent_ms: Option<u64>,
    /// How many bytes were acknowledged since.
    acked_bytes: usize,
    /// Whether the peer takes nothing until it asks.
    pub(super) is_held: bool,
    /// Whether it is known what the peer holds.
    pub(super) has_begun: bool,
    /// The run that goes out in parts.
    pub(super) outsize: Outsize,
    /// What the store has written and not yet reported, read by a fetch that overtook the report.
    early: Option<Fetched>,
}

/// A run that was sent and is not acknowledged.
#[derive(Clone, Copy, Debug)]
struct Sent {
    last: u64,
    bytes: usize,
    sent_ms: u64,
}

impl Pump {
    pub(super) fn begin(&mut self, cursor: Arrival, held: &Held, refused: &[LogId]) {
        self.known = held.clone();
        self.known.extend(refused.iter().map(|log| (*log, SEQ_MAX)));
        self.lanes = Lanes::from(cursor);
        self.has_begun = true;
    }

    /// Notes that the peer holds a log as far as `seq`.
    pub(super) fn acknowledge(&mut self, log: LogId, seq: u64) {
        self.note_known(log, seq);
        let Some(runs) = self.unacked.get_mut(&log) else {
            return;
        };
        while let Some(sent) = runs.front().copied() {
            if sent.last > seq {
                return;
            }
            runs.pop_front();
            self.unacked_bytes -= sent.bytes;
            self.acked_bytes += sent.bytes;
            self.acked_sent_ms = self.acked_sent_ms.max(Some(sent.sent_ms));
        }
        self.unacked.remove(&log);
    }

    /// Notes all that the peer holds.
    pub(super) fn acknowledge_all(&mut self, held: &Held) {
        let known = self.known.clone();
        for (log, before, seq) in known.differences(held) {
            if seq > before {
                self.known.insert(log, seq);
            }
        }
        let awaited: Vec<LogId> = self.unacked.keys().copied().collect();
        for log in awaited {
            self.acknowledge(log, held.seq(&log));
        }
    }

    /// Adapts the pace to how long what was just acknowledged took.
    pub(super) fn measure(&mut self, now: Now) {
        let bytes = std::mem::take(&mut self.acked_bytes);
        if let Some(sent_ms) = self.acked_sent_ms.take() {
            self.pace.acknowledged(now.mono_ms, sent_ms, bytes);
        }
    }

    /// How far each log was sent whose last run is not acknowledged.
    pub(super) fn unacked_ends(&self) -> impl Iterator<Item = (LogId, u64)> {
        let logs = self.unacked.iter();
        logs.filter_map(|(log, runs)| Some((*log, runs.back()?.last)))
    }

    /// Sends no more of a log from a place on, nor from before it what has not been sent yet.
    fn hold_back(&mut self, frontier: &Frontier, place: Dot) {
        let next = self.known.seq(&place.log) + 1;
        let from = place.seq.min(next);
        self.held_back.note(frontier, Dot::new(place.log, from));
        self.note_known(place.log, SEQ_MAX);
    }

    /// Whether entries of the log, or parts of one, were sent and are not acknowledged.
    pub(super) fn awaits(&self, log: &LogId) -> bool {
        self.unacked.contains_key(log) || self.outsize.is_of(log)
    }

    /// Sends no more of a log, and awaits no acknowledgement of it.
    pub(super) fn give_up(&mut self, log: LogId) {
        self.acknowledge(log, SEQ_MAX);
    }

    fn note_known(&mut self, log: LogId, seq: u64) {
        self.known.raise(log, seq);
    }

    pub(super) fn note_sent(&mut self, now: Now, log: LogId, last: u64, bytes: usize) {
        self.note_known(log, last);
        let sent_ms = now.mono_ms;
        let sent = Sent {
            last,
            bytes,
            sent_ms,
        };
        self.unacked.entry(log).or_default().push_back(sent);
        self.unacked_bytes += bytes;
    }

    /// What may be sent next, if there is room for it.
    fn next_turn(&mut self, frontier: &Frontier) -> Option<Turn> {
        if !self.has_begun || self.asked.is_some() {
            return None;
        }
        let window_bytes = self.pace.window_bytes();
        let may_others = !self.is_held
            && self.unacked_bytes < window_bytes
            && !self.outsize.is_under_way(&self.known);
        // What was just written neither waits for what is under way nor for another peer to finish.
        if self.unacked_bytes < window_bytes + FRESH_BYTES_MAX
            && let Some(turn) = self.lanes.fresh_turn(may_others)
        {
            return Some(turn);
        }
        if !may_others {
            return None;
        }
        let known = &self.known;
        self.lanes.next_turn(|space| {
            let logs = frontier.durable_in(space).map(|(log, _)| log);
            logs.map(|log| lacking(frontier, known, log)).sum()
        })
    }

    /// Whether a run is to be sent in parts: one of its entries is larger than what goes out at a time.
    fn is_outsize(&self, run: &Run) -> bool {
        let bytes_max = self.pace.frame_bytes().max(POINT_GAP_BYTES);
        run.entries.iter().any(|entry| entry.len() > bytes_max) && self.lacks(run)
    }

    fn lacks(&self, run: &Run) -> bool {
        !run.entries.is_empty() && self.known.seq(&run.header.log) < run.last()
    }
}

impl Engine {
    /// Lets a session's pump run to the present end of every space.
    pub(super) fn push(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            let Pump { lanes, known, .. } = &mut session.pump;
            let mut lacking: BTreeMap<&SpaceName, Vec<(LogId, u64)>> = BTreeMap::new();
            // What a session has in common with the other side is mostly shared memory, and costs nothing here.
            for (log, known, held) in known.differences(self.peers.our_held()) {
                if held > known
                    && let Some(log_held) = self.frontier.get(&log)
                {
                    let logs = lacking.entry(&log_held.header.space).or_default();
                    logs.push((log, held - known));
                }
            }
            for (space, logs) in lacking {
                lanes.aim_at(space, logs.into_iter(), self.arrival);
            }
            lanes.choose_short();
        }
    }

    /// Sends what this device has written in some of its logs.
    pub(super) fn push_own(&mut self, id: SessionId, logs: &[LogId]) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let pump = &mut session.pump;
        // Before it has begun, the opening will push everything.
        if !pump.has_begun || (pump.asked.is_some() && is_planted(Mutation::PushSkipped)) {
            return;
        }
        for log in logs {
            if let Some(known) = self.frontier.get(log) {
                let lacking = lacking(&self.frontier, &pump.known, log);
                let space = &known.header.space;
                pump.lanes.overtake(*log, space, lacking, self.arrival);
            }
        }
    }

    /// Asks the store for what comes next, unless enough is on its way.
    pub(super) fn pump(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let pump = &mut session.pump;
        let Some(turn) = pump.next_turn(&self.frontier) else {
            return;
        };
        self.effects.push_back(Effect::Fetch {
            session: id,
            walk: turn.walk(),
            known: pump.known.clone(),
            bytes_max: pump.pace.frame_bytes(),
        });
        pump.asked = Some(turn);
    }

    pub(super) fn on_fetched(&mut self, now: Now, id: SessionId, result: Result<Fetched, String>) {
        if !self.sessions.contains_key(&id) {
            return;
        }
        match result {
            Ok(fetched) => self.take_fetched(now, id, fetched),
            Err(why) => self.close(id, &CloseReason::Store(why)),
        }
    }

    /// Takes up what was fetched too early, now that the store has reported more.
    pub(super) fn resume(&mut self, now: Now, id: SessionId) {
        let session = self.sessions.get_mut(&id);
        if let Some(fetched) = session.and_then(|session| session.pump.early.take()) {
            self.take_fetched(now, id, fetched);
        }
    }

    fn take_fetched(&mut self, now: Now, id: SessionId, fetched: Fetched) {
        let is_early = self.is_early(&fetched);
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let pump = &mut session.pump;
        if is_early {
            pump.early = Some(fetched);
            return;
        }
        let Some(turn) = pump.asked.take() else {
            return;
        };
        let (arrival, end) = (fetched.arrival, fetched.end);
        if !end && !turn.gets_on(arrival, &fetched.runs) {
            let why = "a read made no progress".to_owned();
            return self.close(id, &CloseReason::Store(why));
        }
        let (mut runs, mut arrival, mut end) = (fetched.runs, fetched.arrival, fetched.end);
        let damaged = fetched.damaged;
        for place in &damaged {
            pump.held_back.note(&self.frontier, *place);
        }
        let theirs = self.peers.held(&session.device);
        let dependent = pump.held_back.take_out(&self.frontier, theirs, &mut runs);
        if let Some(at) = runs.iter().position(|run| pump.is_outsize(run)) {
            runs.truncate(at + 1);
            let whole = runs.pop();
            // What comes after it is read again once it has been sent. What was just written and is large does
            // not interrupt another whole: it goes in the turn of its space.
            end = pump.outsize.is_under_way(&pump.known);
            if !end {
                pump.outsize.begin(whole);
                arrival = 0;
            }
        }
        self.send_runs(now, id, runs);
        if let Some(session) = self.sessions.get_mut(&id) {
            for place in damaged.iter().chain(&dependent) {
                session.pump.hold_back(&self.frontier, *place);
            }
        }
        self.send_parts(now, id);
        self.end_turn(id, turn, arrival, end);
        self.pump(id);
        damaged
            .into_iter()
            .for_each(|place| self.note_damage(place));
    }

    /// Notes how far a turn has come, and what of it is still to be sent.
    fn end_turn(&mut self, id: SessionId, turn: Turn, arrival: Arrival, end: bool) {
        if let Some(session) = self.sessions.get_mut(&id) {
            let Pump { lanes, known, .. } = &mut session.pump;
            let lacks = |log: &LogId| lacking(&self.frontier, known, log) > 0;
            match turn {
                Turn::Space { space, .. } => lanes.reach(&space, arrival, end),
                Turn::Fresh(logs) => lanes.end_fresh(logs, lacks, end, self.arrival),
                Turn::Short(logs) => lanes.end_short(logs, lacks, end),
            }
        }
    }

    /// Whether entries were read whose commit has not been reported: replies and publications go first.
    /// With nothing left to be reported, what can be read is durable.
    fn is_early(&self, fetched: &Fetched) -> bool {
        let is_ahead = |run: &Run| run.last() > self.frontier.durable_seq(&run.header.log);
        let is_awaited = !self.writing.is_empty() || !self.staging.is_empty();
        is_awaited && fetched.runs.iter().any(is_ahead)
    }

    fn send_runs(&mut self, now: Now, id: SessionId, mut runs: Vec<Run>) {
        if is_planted(Mutation::EffectBeforeCause) {
            runs.sort_by_key(|run| run.header.log);
        }
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let mut message = Vec::new();
        let mut message_bytes = 0;
        for run in runs {
            if !session.pump.lacks(&run) {
                continue;
            }
            let bytes = run_bytes(&run);
            if message_bytes + bytes > MESSAGE_BYTES_MAX && !message.is_empty() {
                let full = Message::Data(std::mem::take(&mut message));
                session.send(&full, &mut self.effects);
                message_bytes = 0;
            }
            session
                .pump
                .note_sent(now, run.header.log, run.last(), bytes);
            session.note_told(run.header.log, run.last());
            if is_planted(Mutation::SentCountsAsHeld) {
                let (log, last) = (run.header.log, run.last());
                self.peers.their_log_moved(&session.device, log, last);
            }
            message_bytes += bytes;
            message.push(run);
        }
        if !message.is_empty() {
            session.send(&Message::Data(message), &mut self.effects);
        }
    }
}

/// What a run weighs in a window.
pub(super) fn run_bytes(run: &Run) -> usize {
    run.entries.iter().map(Vec::len).sum::<usize>() + RUN_OVERHEAD_BYTES
}

/// How many of our entries of a log the peer neither holds nor has been sent.
fn lacking(frontier: &Frontier, known: &Held, log: &LogId) -> u64 {
    frontier.durable_seq(log).saturating_sub(known.seq(log))
}
