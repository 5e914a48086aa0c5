//! Refusals that end: the cause that was missing has come, or the branch that was meant, or the log that was
//! followed goes on, or the fork that was not proved is settled.
//!
//! Whoever lacks a cause refuses its effects, and the peer sends no more of their logs in that session. The cause
//! may come from another peer, or later. As soon as it is durable here, the session in which its effects were
//! refused begins anew, and no peer is shown any longer to leave them out, whether it is connected or not.
//!
//! While a fork that a peer has proved waits for the store, what needs it is *put off* instead: neither taken nor
//! refused, so that the peer does not take it for a fork of its own. The session begins anew once it is settled.
//!
//! Invariants:
//! - Nothing goes in circles: a session ends only when there is more here of what it waits for than when it refused
//!   ([`Frontier::progress`]), and that cannot go on for ever. A fork that cannot be settled ends none.
//! - A session remembers at most [`CAUSES_AWAITED_MAX`] causes. The effects of further ones come with its next
//!   beginning, which the first of those that it remembers brings about.

use std::collections::BTreeMap;

use crdt_schema::ident::LogId;

use super::Engine;
use super::batch::SessionId;
use super::effect::CloseReason;
use super::frontier::Frontier;
use super::ingest::Refusal;
use super::limits::{CAUSES_AWAITED_MAX, LOGS_MAX};

/// What one session waits for before it takes what it has refused or put off.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    /// Why logs were refused, and how much there was of what would end that.
    causes: Vec<(Refusal, u64)>,
    /// The logs of which the peer has proved forks that the store has not answered for.
    forks: Vec<LogId>,
    /// The logs that are put off, and why they would be refused.
    put_off: BTreeMap<LogId, Refusal>,
}

impl Awaited {
    /// Takes note of why a log is refused.
    pub(super) fn note(&mut self, refusal: &Refusal, frontier: &Frontier) {
        let is_new = self.causes.iter().all(|(known, _)| known != refusal);
        if let Some(progress) = frontier.progress(refusal)
            && is_new
            && self.causes.len() < CAUSES_AWAITED_MAX
        {
            self.causes.push((refusal.clone(), progress));
        }
    }

    fn is_over(&self, frontier: &Frontier) -> bool {
        let mut causes = self.causes.iter();
        causes.any(|(refusal, was)| frontier.progress(refusal).is_some_and(|is| is > *was))
    }

    /// Takes note of a fork that was handed to the store.
    pub(super) fn expect_fork(&mut self, log: LogId) {
        self.forks.push(log);
    }

    /// What is put off, and why it would be refused.
    pub(super) fn put_off(&self) -> impl Iterator<Item = (&LogId, &Refusal)> {
        self.put_off.iter()
    }

    fn puts_off(&mut self, log: LogId, refusal: &Refusal) -> bool {
        let may_end = matches!(
            refusal,
            Refusal::UnprovedFork(_) | Refusal::MissingDependency { .. }
        );
        let is_put_off = may_end && !self.forks.is_empty() && self.put_off.len() < LOGS_MAX;
        if is_put_off {
            self.put_off.insert(log, refusal.clone());
        }
        is_put_off
    }
}

impl Frontier {
    /// How much there is of what a refusal waits for; `None` if nothing that may come ends it.
    fn progress(&self, refusal: &Refusal) -> Option<u64> {
        match refusal {
            Refusal::MissingDependency { cause, space } => {
                Some(u64::from(self.covers(space, cause)))
            }
            Refusal::OtherBranch(dep) => Some(self.branches_at(dep)),
            Refusal::LeftOutBefore(log) => Some(self.get(log).map_or(0, |log| log.durable.seq)),
            // Ended by the mend, see [`Engine::lift_mended`].
            Refusal::Unread(_) => Some(0),
            _ => None,
        }
    }
}

impl Engine {
    /// Whether a session has put a log off.
    pub(super) fn is_put_off(&self, id: SessionId, log: &LogId) -> bool {
        let session = self.sessions.get(&id);
        session.is_some_and(|session| session.awaited.put_off.contains_key(log))
    }

    /// Puts a log off rather than refusing it, if a fork that is being settled may be why.
    pub(super) fn puts_off(&mut self, id: SessionId, log: LogId, refusal: &Refusal) -> bool {
        let session = self.sessions.get_mut(&id);
        session.is_some_and(|session| session.awaited.puts_off(log, refusal))
    }

    /// Lets what was refused for the lack of a cause come again, if the cause is here now. Of logs that have
    /// `moved` nobody is shown any longer to wait for a cause.
    pub(super) fn lift(&mut self, moved: &[(LogId, u64)]) {
        let frontier = &self.frontier;
        self.peers.lift(None, |log, refusal| match refusal {
            Refusal::MissingDependency { cause, space } => frontier.covers(space, cause),
            waiting if frontier.progress(waiting).is_some() => {
                moved.iter().any(|(moved, _)| moved == log)
            }
            _ => false,
        });
        self.begin_anew(|awaited, frontier| awaited.is_over(frontier));
    }

    /// Lets what follows the damaged entries of a log come again: they are mended.
    pub(super) fn lift_mended(&mut self, log: &LogId) {
        let is_of = |refusal: &Refusal| matches!(refusal, Refusal::Unread(dot) if dot.log == *log);
        self.peers.lift(None, |_, refusal| is_of(refusal));
        self.begin_anew(|awaited, _| awaited.causes.iter().any(|(refusal, _)| is_of(refusal)));
    }

    /// Ends the sessions that need wait no longer, so that they begin anew.
    fn begin_anew(&mut self, is_over: impl Fn(&Awaited, &Frontier) -> bool) {
        let awaiting = self.sessions.values();
        let over = awaiting.filter(|session| is_over(&session.awaited, &self.frontier));
        let over: Vec<SessionId> = over.map(|session| session.id).collect();
        for id in over {
            self.close(id, &CloseReason::Repaired);
        }
    }

    /// Shows no longer what was refused because a log has two histories: both can be taken now. The sessions begin
    /// anew as well; this is about peers that have gone.
    pub(super) fn lift_fork(&mut self, family: LogId) {
        let frontier = &self.frontier;
        self.peers.lift(None, |log, refusal| match refusal {
            Refusal::Forked
            | Refusal::Sealed
            | Refusal::UnprovedFork(_)
            | Refusal::OtherBranch(_) => true,
            _ => frontier.whole(log) == family,
        });
        self.lift(&[]);
    }

    /// The store has answered for the fork of a log without anything new: begins the session anew if the fork is
    /// settled, and refuses what was put off if it cannot be.
    pub(super) fn end_settling(&mut self, id: SessionId, log: LogId, is_settled: bool) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let awaited = &mut session.awaited;
        let Some(at) = awaited.forks.iter().position(|fork| *fork == log) else {
            return;
        };
        awaited.forks.swap_remove(at);
        if is_settled && !awaited.put_off.is_empty() {
            return self.close(id, &CloseReason::Repaired);
        }
        if awaited.forks.is_empty() {
            for (log, refusal) in std::mem::take(&mut awaited.put_off) {
                self.refuse(id, log, refusal);
            }
        }
    }
}
