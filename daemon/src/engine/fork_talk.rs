//! What is said of forks: which proofs a peer is told, which of a peer's are taken, and which forks are settled
//! however many their device has signed.
//!
//! Anybody who has a key can sign forks without end, of logs that nobody holds. So a proof goes only where it is of
//! use, and is taken only where it is:
//! - A peer is told a fork if it holds entries beyond it that it may not know to be of a branch, or if it lacks a
//!   branch or a sealed end that this device is going to send.
//! - A proof is taken if entries beyond the fork are held here, if the peer says that it holds a branch, or if
//!   something of the peer's was refused for the lack of the proof.
//!
//! At the beginning of a session [`FORK_BYTES_FIRST`] are told. The others follow as they turn out to be lacking:
//! when either side refuses what the other has sent. So they are paced by DATA, and a session tells
//! [`FORK_BYTES_TOLD_MAX`] in all. No more than that of a peer's waits for the store.
//!
//! An entry of an honest device may depend on a branch of a log whose device has forked its logs too often. The
//! bounds on its forks and branches do not hold for that log: refusing it would be to refuse the honest device.

use std::collections::BTreeSet;
use std::sync::Arc;

use crdt_schema::ident::LogId;
use rand_chacha::rand_core::RngCore;

use super::Engine;
use super::batch::fork::ForkProof;
use super::batch::{Held, SessionId};
use super::effect::CloseReason;
use super::frontier::Frontier;
use super::ingest::Refusal;
use super::limits::{FORK_BYTES_FIRST, FORK_BYTES_TOLD_MAX};
use super::session::Session;
use crate::wire::message::Message;

/// What the two sides of a session have told each other of forks.
#[derive(Debug, Default)]
pub(super) struct ToldForks {
    bytes: usize,
    /// How many bytes of the peer's proofs were taken.
    taken_bytes: usize,
    /// The forked logs of which something was refused, so that their forks have been told.
    refused: BTreeSet<LogId>,
}

impl Session {
    /// Whether something of a forked log was refused or put off until its fork is proved.
    pub(super) fn lacks_fork(&self, family: &LogId) -> bool {
        let lacks = |(log, refusal): (&LogId, &Refusal)| {
            log == family || matches!(refusal, Refusal::UnprovedFork(of) if of == family)
        };
        self.refused.iter().any(lacks) || self.awaited.put_off().any(lacks)
    }

    /// The log that a refused entry depends on, and the forked log that it is of, if histories of that are refused.
    fn depends_on_fork(&self, refusal: &Refusal, frontier: &Frontier) -> Option<(LogId, LogId)> {
        match refusal {
            Refusal::OtherBranch(dep) => Some((dep.log, frontier.whole(&dep.log))),
            Refusal::MissingDependency { cause, .. } => match self.refused.get(&cause.log)? {
                Refusal::UnprovedFork(of) | Refusal::TooManyBranches(of) => Some((cause.log, *of)),
                refused if refused.is_other_history() || *refused == Refusal::TooManyForks => {
                    Some((cause.log, frontier.whole(&cause.log)))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether a history of a forked log was refused because there are too many.
    fn lacks_room_for(&self, family: &LogId, frontier: &Frontier) -> bool {
        self.refused.iter().any(|(log, refusal)| match refusal {
            Refusal::TooManyForks => frontier.whole(log) == *family,
            Refusal::TooManyBranches(of) => of == family,
            _ => false,
        })
    }
}

impl Frontier {
    /// Whether a peer that holds this should be told a fork.
    fn is_fork_news(&self, proof: &ForkProof, held: &Held) -> bool {
        let (point, family) = (proof.point(), proof.header.log);
        let mut is_lacking = held.seq(&family) > point.after;
        for log in self.histories(family) {
            let (id, base) = (log.header.log, log.header.base());
            let is_branch = log.header.branch_of == Some(point);
            let is_sealed_end = (log.durable.seq, log.durable.chain) == (point.after, point.chain);
            if is_branch && held.contains_key(&id) {
                return false;
            }
            is_lacking |= is_branch && self.durable_seq(&id) > 0
                || is_sealed_end && self.durable_seq(&id) > held.seq(&id)
                || base <= point.after && point.after < held.seq(&id);
        }
        is_lacking && proof.branches().all(|id| !held.contains_key(&id))
    }
}

impl Engine {
    /// Proves to a peer the forks that it lacks, as many as go ahead of everything else. Which of many go first
    /// differs from session to session.
    pub(super) fn tell_forks(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let Some(held) = self.peers.held(&session.device) else {
            return;
        };
        let known = self.frontier.forks.known();
        let news = known.filter(|proof| self.frontier.is_fork_news(proof, held));
        let mut news: Vec<_> = news.cloned().collect();
        if news.iter().map(|proof| proof.weight()).sum::<usize>() > FORK_BYTES_FIRST {
            let first = self.rng.next_u64() % news.len() as u64;
            news.rotate_left(first as usize);
        }
        for proof in news {
            self.tell_fork(id, &proof, FORK_BYTES_FIRST);
        }
    }

    /// Proves the forks of a log to a peer: one side has refused what the other sent of it.
    pub(super) fn tell_forks_of(&mut self, id: SessionId, family: LogId) {
        let known = self.frontier.forks.known();
        let of_log: Vec<_> = known
            .filter(|it| it.header.log == family)
            .cloned()
            .collect();
        if let Some(session) = self.sessions.get_mut(&id)
            && !of_log.is_empty()
            && session.told_forks.refused.insert(family)
        {
            for proof in of_log {
                self.tell_fork(id, &proof, FORK_BYTES_TOLD_MAX);
            }
        }
    }

    fn tell_fork(&mut self, id: SessionId, proof: &Arc<ForkProof>, bytes_max: usize) {
        if let Some(session) = self.sessions.get_mut(&id)
            && session.told_forks.bytes + proof.weight() <= bytes_max
        {
            session.told_forks.bytes += proof.weight();
            let told = Message::Fork(Box::new(ForkProof::clone(proof)));
            session.send(&told, &mut self.effects);
        }
    }

    /// Whether a peer's proof of a fork is of use here.
    pub(super) fn is_fork_of_use(&self, id: SessionId, proof: &ForkProof) -> bool {
        let Some(session) = self.sessions.get(&id) else {
            return false;
        };
        let family = proof.header.log;
        let held = self.peers.held(&session.device);
        let is_theirs = held.is_some_and(|held| proof.branches().any(|id| held.contains_key(&id)));
        is_theirs
            || session.lacks_fork(&family)
            || self
                .frontier
                .histories(family)
                .any(|log| log.header.base() <= proof.after && proof.after < log.staged.seq)
    }

    /// Whether a session takes so many more bytes of proofs; if so, they count.
    pub(super) fn takes_fork(&mut self, id: SessionId, bytes: usize) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else {
            return false;
        };
        let taken_bytes = session.told_forks.taken_bytes + bytes;
        let is_taken = taken_bytes <= FORK_BYTES_TOLD_MAX;
        if is_taken {
            session.told_forks.taken_bytes = taken_bytes;
        }
        is_taken
    }

    /// Begins those sessions anew in which something was refused or put off until a fork of a log is proved.
    pub(super) fn resume_lacking(&mut self, family: &LogId) {
        let lacking = self.sessions.values().filter(|it| it.lacks_fork(family));
        let lacking: Vec<SessionId> = lacking.map(|session| session.id).collect();
        for id in lacking {
            self.close(id, &CloseReason::Repaired);
        }
    }

    /// Has the forks of a log settled, if that is what a refused entry waits for.
    pub(super) fn need_fork(&mut self, id: SessionId, refusal: &Refusal) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let Some((log, family)) = session.depends_on_fork(refusal, &self.frontier) else {
            return;
        };
        let lacked_room = session.lacks_room_for(&family, &self.frontier);
        if !self.frontier.forks.need(family) {
            return;
        }
        self.inquiries.forget(&log);
        match lacked_room {
            // The peer proves the fork, or sends the branch, once more.
            true => self.close(id, &CloseReason::Repaired),
            false => self.inquire(id, log),
        }
    }
}
