//! How news spread: what a device has made durable it acknowledges to the sender and announces to all
//! others in one message, and a device that misses something announced asks for it.
//!
//! Whoever wrote an entry pushes it to every open session, so an announcement mostly names what is already
//! on its way; the asking waits a little, and longer while entries arrive. Our own entries are not
//! announced: they are sent.

use crdt_schema::ident::LogId;

use super::Engine;
use super::batch::SessionId;
use super::effect::{Breach, CloseReason};
use super::ingest::Refusal;
use super::input::Now;
use super::limits::{PEER_SAVE_MS, SEQ_MAX};
use super::session::Session;
use crate::mutation::{Mutation, is_planted};
use crate::wire::limits::ACK_ROWS_MAX;
use crate::wire::message::Message;

impl Engine {
    /// Tells a peer how far we hold these logs of others, as far as it has not been told.
    pub(super) fn announce(&mut self, id: SessionId, news: &[(LogId, u64)]) {
        let Some(session) = self.sessions.get(&id).filter(|session| session.has_told) else {
            return;
        };
        let rows: Vec<(LogId, u64)> = news
            .iter()
            .copied()
            .filter(|(log, seq)| *seq > session.told_seq(log) && !session.refused.contains_key(log))
            .collect();
        self.tell_held(id, &rows);
    }

    /// Sends ACK rows that each raise what the peer has been told.
    pub(super) fn tell_held(&mut self, id: SessionId, rows: &[(LogId, u64)]) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let more = u64::from(is_planted(Mutation::AckTooMuch));
        for rows in rows.chunks(ACK_ROWS_MAX) {
            session.told.extend(rows.iter().copied());
            let rows = rows.iter().map(|(log, seq)| (*log, seq + more));
            session.send(&Message::Ack(rows.collect()), &mut self.effects);
        }
    }

    pub(super) fn on_ack(
        &mut self,
        now: Now,
        id: SessionId,
        rows: Vec<(LogId, u64)>,
    ) -> Result<(), CloseReason> {
        let mut misses = false;
        for (log, seq) in rows {
            misses |= self.on_ack_row(now, id, log, seq)?;
        }
        if misses {
            self.await_news(now, id);
        }
        if let Some(session) = self.sessions.get_mut(&id) {
            session.pump.measure(now);
        }
        self.send_parts(now, id);
        self.pump(id);
        Ok(())
    }

    /// Returns whether the peer holds something that is neither here nor on its way into the store.
    fn on_ack_row(
        &mut self,
        now: Now,
        id: SessionId,
        log: LogId,
        seq: u64,
    ) -> Result<bool, CloseReason> {
        if seq > SEQ_MAX {
            return Err(Breach::LyingFrontier.of("ACK with a sequence number out of bounds"));
        }
        if self.is_own(&log) && seq > self.frontier.durable_seq(&log) {
            self.retire(id, &log)?;
        }
        let Some(session) = self.sessions.get_mut(&id) else {
            return Ok(false);
        };
        if session.refused.contains_key(&log) {
            session.pump.acknowledge(log, seq);
            return Ok(false);
        }
        let Some(before) = self.peers.their_log_moved(&session.device, log, seq) else {
            return Err(Breach::TooLarge.of("ACK names more logs than may be"));
        };
        if seq <= before {
            // A row that says nothing new says that what was sent above it is not taken, and one that takes back what
            // was told before, that it was of another history.
            session.pump.acknowledge(log, seq);
            if seq < before || session.pump.awaits(&log) {
                self.refuse(id, log, Refusal::ByPeer);
            }
            return Ok(false);
        }
        session.encoder.note_held(log);
        session
            .save_due_ms
            .get_or_insert(now.mono_ms + PEER_SAVE_MS);
        Self::expect_mark(session, now);
        session.pump.acknowledge(log, seq);
        self.seek_from(id, log, before, seq);
        Ok(seq > self.frontier.staged_seq(&log))
    }

    /// Whether the peer holds anything that is neither here nor on its way into the store.
    pub(super) fn misses_any(&self, session: &Session) -> bool {
        let held = self.peers.held(&session.device).into_iter();
        let mut more = held.flat_map(|held| self.peers.our_held().differences(held));
        more.any(|(log, ours, seq)| {
            ours < seq
                && self.frontier.staged_seq(&log) < seq
                && !session.refused.contains_key(&log)
        })
    }

    /// Asks a peer for what it announced, if that has not come.
    pub(super) fn ask(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let misses = session.waits || self.misses_any(session);
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.want = None;
        session.waits = false;
        if misses {
            session.send(&Message::Want, &mut self.effects);
        }
    }
}
