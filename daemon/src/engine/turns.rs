//! Who gives: when several peers that hold the same are met at once, one of them sends and the others wait.
//!
//! A device that is about to be sent much by one peer says HOLD to the next one in its opening. That peer then
//! sends nothing but what it writes itself until it is asked by WANT. It is asked as soon as
//! - most of what it holds more is held by none of those that are sending,
//! - those have sent everything, or their sessions have ended,
//! - they have been silent for a while, or have taken too long.
//!
//! Invariants:
//! - Whoever was told to hold is asked in the end: its later entries would wait otherwise.
//! - What arrives meanwhile is announced to those that wait, so they send only what is still lacking.
//! - A peer that ignores HOLD costs bytes and nothing else.

use crdt_schema::ident::LogId;

use super::Engine;
use super::batch::SessionId;
use super::input::Now;
use super::limits::{HOLD_ENTRIES_MIN, HOLD_MAX_MS, HOLD_STALL_MS};
use super::session::{Phase, Session};
use super::timers::Want;
use crate::wire::message::Message;

impl Engine {
    /// Whether a peer with so many entries had better wait, because another is about to send as many.
    pub(super) fn holds(&self, id: SessionId, entries: u64) -> bool {
        let ours = self.peers.our_held().entries();
        let is_much = |entries: u64| entries > ours.saturating_add(HOLD_ENTRIES_MIN);
        let mut others = self.sessions.values().filter(|other| other.id != id);
        is_much(entries) && others.any(|other| is_much(other.entries) && self.may_give(other))
    }

    /// Whether a session's peer is sending us entries, or will when it has told what it holds.
    fn may_give(&self, session: &Session) -> bool {
        !session.waits
            && match session.phase {
                Phase::Greeting(_) => false,
                Phase::Opening { .. } => true,
                Phase::Live => self.lacks(session).next().is_some(),
            }
    }

    /// The logs that a session's peer holds further than is durable here: how far we do, and it does.
    fn lacks(&self, session: &Session) -> impl Iterator<Item = (LogId, u64, u64)> {
        let held = self.peers.held(&session.device).into_iter();
        let rows = held.flat_map(|held| self.peers.our_held().differences(held));
        rows.filter(|(log, ours, theirs)| ours < theirs && !session.refused.contains_key(log))
    }

    /// Whether most of what a peer holds more is held by none of the givers.
    fn holds_more_than(&self, session: &Session, givers: &[&Session]) -> bool {
        let (mut lacking, mut alone) = (0, 0);
        for (log, ours, theirs) in self.lacks(session) {
            let missing = theirs - ours;
            let told = givers.iter().filter(|it| !it.refused.contains_key(&log));
            let given = told
                .map(|giver| self.peers.held_seq(&giver.device, &log))
                .max();
            let offered = given.unwrap_or(0).saturating_sub(ours).min(missing);
            lacking += missing;
            alone += missing - offered;
        }
        alone * 2 >= lacking
    }

    /// Asks those that wait, if nobody else sends what they hold; lets them wait on otherwise.
    pub(super) fn review_holds(&mut self, now: Now) {
        let waiting: Vec<SessionId> = self
            .sessions
            .values()
            .filter(|session| session.waits && session.is_live())
            .map(|session| session.id)
            .collect();
        for id in waiting {
            let Some(session) = self.sessions.get(&id) else {
                continue;
            };
            let givers = self.sessions.values().filter(|it| self.may_give(it));
            let givers: Vec<&Session> = givers.collect();
            let is_opening = givers.iter().any(|giver| !giver.is_live());
            if givers.is_empty() || (!is_opening && self.holds_more_than(session, &givers)) {
                self.ask(id);
            } else if let Some(session) = self.sessions.get_mut(&id) {
                let want = Want::new(now, HOLD_STALL_MS, HOLD_MAX_MS);
                session.want.get_or_insert(want);
            }
        }
    }

    /// Tells a peer to send nothing until it is asked.
    pub(super) fn hold(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.waits = true;
            session.send(&Message::Hold, &mut self.effects);
        }
    }
}
