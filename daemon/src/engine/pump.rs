//! What goes out: entries in this store's arrival order, as fast as the peer makes them durable.
//!
//! The pump keeps one position in the arrival order and runs until it has reached a target: the end at the
//! opening, at each own commit, and when the peer asks. Entries arrive causes first, and the pump leaves out
//! only what the peer holds, so whatever prefix arrives is causally closed. Between targets, entries from
//! other peers are announced (see [`super::announce`]) and not sent.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crdt_schema::ident::LogId;

use super::Engine;
use super::batch::{Arrival, Fetched, Held, Run, SessionId};
use super::effect::{CloseReason, Effect};
use super::input::Now;
use super::limits::{MESSAGE_BYTES_MAX, RUN_OVERHEAD_BYTES, SEQ_MAX};
use super::outsize::Outsize;
use super::pace::Pace;
use crate::mutation::{Mutation, is_planted};
use crate::wire::limits::POINT_GAP_BYTES;
use crate::wire::message::Message;

/// The outgoing side of one session.
#[derive(Debug, Default)]
pub(super) struct Pump {
    /// Every arrival up to here has been sent or is held by the peer.
    cursor: Arrival,
    /// Where to stop.
    target: Arrival,
    /// The target when the fetch in flight was asked for.
    asked: Arrival,
    is_fetching: bool,
    /// What the peer holds or has been sent. Refused logs stand at their greatest possible end.
    pub(super) known: Arc<Held>,
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
        let mut known = held.clone();
        known.extend(refused.iter().map(|log| (*log, SEQ_MAX)));
        self.known = Arc::new(known);
        self.cursor = cursor;
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

    /// Leaves a log out that cannot be read.
    fn hold_back(&mut self, log: LogId) {
        self.note_known(log, SEQ_MAX);
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
        if self.known.get(&log).is_none_or(|known| *known < seq) {
            Arc::make_mut(&mut self.known).insert(log, seq);
        }
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

    /// Notes how far a fetch has come. The end that it saw is the store's end at the time it was asked for: a
    /// target that was set since lies beyond it and still has to be reached.
    fn reach(&mut self, arrival: Arrival, end: bool) {
        self.cursor = arrival.max(self.cursor);
        if end && (self.target == self.asked || is_planted(Mutation::PushSkipped)) {
            self.target = self.target.min(self.cursor);
        }
    }

    /// Whether a run is to be sent in parts: one of its entries is larger than what goes out at a time.
    fn is_outsize(&self, run: &Run) -> bool {
        let bytes_max = self.pace.frame_bytes().max(POINT_GAP_BYTES);
        self.lacks(run) && run.entries.iter().any(|entry| entry.len() > bytes_max)
    }

    fn lacks(&self, run: &Run) -> bool {
        !run.entries.is_empty()
            && self
                .known
                .get(&run.header.log)
                .is_none_or(|known| *known < run.last())
    }
}

impl Engine {
    /// Lets a session's pump run to the present end of the arrival order.
    pub(super) fn push(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.pump.target = self.arrival;
        }
    }

    /// Asks the store for what comes next, unless enough is on its way.
    pub(super) fn pump(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let pump = &mut session.pump;
        if pump.outsize.is_under_way(&pump.known) {
            return;
        }
        let has_room = pump.unacked_bytes < pump.pace.window_bytes();
        let is_waiting = !pump.has_begun || pump.is_held;
        if is_waiting || pump.is_fetching || !has_room || pump.cursor >= pump.target {
            return;
        }
        pump.is_fetching = true;
        pump.asked = pump.target;
        self.effects.push_back(Effect::Fetch {
            session: id,
            after: pump.cursor,
            known: Arc::clone(&pump.known),
            bytes_max: pump.pace.frame_bytes(),
        });
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
        pump.is_fetching = false;
        if fetched.arrival <= pump.cursor && !fetched.end {
            let why = "a read made no progress".to_owned();
            return self.close(id, &CloseReason::Store(why));
        }
        let mut runs = fetched.runs;
        let outsize = runs.iter().position(|run| pump.is_outsize(run));
        match outsize {
            // What comes after it is read again once it has been sent.
            Some(at) => {
                runs.truncate(at + 1);
                pump.outsize.begin(runs.pop());
            }
            None => pump.reach(fetched.arrival, fetched.end),
        }
        let damaged = fetched.damaged;
        for place in &damaged {
            pump.hold_back(place.log);
        }
        self.send_runs(now, id, runs);
        self.send_parts(now, id);
        self.pump(id);
        damaged
            .into_iter()
            .for_each(|place| self.note_damage(place));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_during_a_fetch_is_still_sent_after_it() {
        let mut pump = Pump {
            target: 1,
            asked: 1,
            ..Pump::default()
        };
        // Our own commit is reported while the store is still reading what it held before.
        pump.target = 2;

        pump.reach(1, true);

        assert!(
            pump.cursor < pump.target,
            "the second arrival is still to be sent"
        );
        pump.asked = pump.target;
        pump.reach(2, true);
        assert_eq!((pump.cursor, pump.target), (2, 2));
    }
}
