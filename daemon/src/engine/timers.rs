//! What happens because time has passed. All times are of the caller's monotonic clock.

use rand_chacha::rand_core::RngCore;

use super::Engine;
use super::batch::SessionId;
use super::effect::CloseReason;
use super::input::Now;
use super::limits::{WANT_DELAY_MAX_MS, WANT_DELAY_MS, WANT_JITTER_MS};
use super::session::Session;
use crate::mutation::{Mutation, is_planted};

/// An announced entry is awaited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    /// When to ask for it.
    due_ms: u64,
    /// How far arriving entries may put that off.
    latest_ms: u64,
    /// How long after the last of them to ask.
    pause_ms: u64,
}

impl Want {
    /// To be asked for `pause_ms` after the last arrival, and at the latest `most_ms` from now.
    pub(super) fn new(now: Now, pause_ms: u64, most_ms: u64) -> Self {
        Self {
            due_ms: now.mono_ms + pause_ms.min(most_ms),
            latest_ms: now.mono_ms + most_ms,
            pause_ms,
        }
    }
}

impl Engine {
    /// When to hand in [`super::input::Input::Timeout`], on the clock of [`Now::mono_ms`].
    pub fn poll_timeout(&self) -> Option<u64> {
        self.sessions.values().filter_map(next_due).min()
    }

    pub(super) fn on_timeout(&mut self, now: Now) {
        let is_due = |session: &&Session| next_due(session).is_some_and(|due| due <= now.mono_ms);
        let due: Vec<SessionId> = self
            .sessions
            .values()
            .filter(is_due)
            .map(|s| s.id)
            .collect();
        for id in due {
            self.on_session_timeout(now, id);
        }
    }

    fn on_session_timeout(&mut self, now: Now, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if !session.is_live() && session.deadline_ms <= now.mono_ms {
            return self.close(id, &CloseReason::Timeout);
        }
        if session.save_due_ms.is_some_and(|due| due <= now.mono_ms) {
            session.save_due_ms = None;
            let device = session.device;
            self.save_peer(&device);
        }
        let marks = self.sessions.get_mut(&id).is_some_and(|session| {
            let is_due = session.mark_due_ms.is_some_and(|due| due <= now.mono_ms);
            is_due && session.mark_due_ms.take().is_some()
        });
        if marks {
            self.mark(id);
            if is_planted(Mutation::MarkRepeated)
                && let Some(session) = self.sessions.get_mut(&id)
            {
                session.marked = None;
                Self::expect_mark(session, now);
            }
        }
        let want = self.sessions.get(&id).and_then(|session| session.want);
        if want.is_some_and(|want| want.due_ms <= now.mono_ms) {
            self.ask(id);
            // The answer may hold what the others announced as well.
            self.put_off_wants(now);
        }
    }

    /// Begins to wait for what a peer has announced.
    pub(super) fn await_news(&mut self, now: Now, id: SessionId) {
        if is_planted(Mutation::NewsIgnored) {
            return;
        }
        let want = Want::new(now, self.want_delay_ms(), WANT_DELAY_MAX_MS);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.want.get_or_insert(want);
        }
    }

    /// Entries are arriving: what was announced may be among them.
    pub(super) fn put_off_wants(&mut self, now: Now) {
        let jitter_ms = self.rng.next_u64() % WANT_JITTER_MS;
        for want in self
            .sessions
            .values_mut()
            .filter_map(|session| session.want.as_mut())
        {
            want.due_ms = (now.mono_ms + want.pause_ms + jitter_ms).min(want.latest_ms);
        }
    }

    fn want_delay_ms(&mut self) -> u64 {
        WANT_DELAY_MS + self.rng.next_u64() % WANT_JITTER_MS
    }
}

fn next_due(session: &Session) -> Option<u64> {
    let handshake = (!session.is_live()).then_some(session.deadline_ms);
    let want = session.want.map(|want| want.due_ms);
    [handshake, want, session.save_due_ms, session.mark_due_ms]
        .into_iter()
        .flatten()
        .min()
}
