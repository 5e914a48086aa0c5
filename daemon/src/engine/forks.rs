//! Forks: a log of which its device has signed two histories.
//!
//! A store that was copied, or went back in time unnoticed, writes other entries at positions that it has used
//! before, and both histories spread. Once the proof of it is known (see [`super::batch::fork`]), the log is
//! *sealed* at the fork point: it ends there for ever. What follows it, in each history, is a *branch*: a log of its
//! own whose id is made of its first entry, so all devices name it alike, in whatever order and from whomever they
//! hear of it. Its entries keep their bytes, sequence numbers and signatures. A branch can fork again.
//!
//! So what is held is a function of the entries and the proofs alone: a log or branch ends at the first fork point
//! on its chain. The author is not needed, and when it comes back it begins a new log like after any other fork.
//!
//! A sealed end needs no signature: the chain value in the proof says what is before it.
//!
//! This module does not know how peers find a fork (see [`super::inquiry`]) or tell each other of it (see
//! [`super::fork_talk`]), nor how the store moves a branch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crdt_schema::ident::{Dot, LogId, SpaceName};

use super::Engine;
use super::batch::fork::{ForkProof, Forked, PROOF_BYTES_MAX};
use super::batch::repair::Repair;
use super::batch::{Batch, ForkPoint, LogHeader, SessionId};
use super::effect::{CloseReason, Effect};
use super::frontier::{End, Frontier, Log};
use super::ingest::Refusal;
use super::limits::{
    BRANCHES_OF_LOG_MAX, FORKS_BYTES_MAX, FORKS_NEEDED_MAX, FORKS_OF_DEVICE_MAX, SEQ_MAX,
};
use super::session::protocol;
use crate::wire::branch::is_proved;

/// The forks that are known, and the branches that are held.
#[derive(Debug, Default)]
pub(super) struct Forks {
    known: BTreeMap<ForkPoint, Arc<ForkProof>>,
    /// The branches of each forked log, by the id that its device gave it.
    families: BTreeMap<LogId, BTreeSet<LogId>>,
    /// What the proofs weigh.
    bytes: usize,
    /// The forked logs that refused entries depend on.
    needed: BTreeSet<LogId>,
}

impl Forks {
    pub(super) fn learn(&mut self, proof: Arc<ForkProof>) {
        self.bytes += proof.weight();
        let before = self.known.insert(proof.point(), proof);
        self.bytes -= before.map_or(0, |before| before.weight());
    }

    /// The proofs of all forks.
    pub(super) fn known(&self) -> impl Iterator<Item = &Arc<ForkProof>> {
        self.known.values()
    }

    /// Has the forks of a log settled however many there are. Returns whether that is new.
    pub(super) fn need(&mut self, family: LogId) -> bool {
        self.needed.len() < FORKS_NEEDED_MAX && self.needed.insert(family)
    }

    /// Notes that a log is known, should it be a branch.
    pub(super) fn note(&mut self, header: &LogHeader) {
        if header.branch_of.is_some() {
            let family = self.families.entry(header.signed_as()).or_default();
            family.insert(header.log);
        }
    }

    /// Notes that a log is no longer known.
    pub(super) fn forget(&mut self, header: &LogHeader) {
        if let Some(family) = self.families.get_mut(&header.signed_as()) {
            family.remove(&header.log);
        }
    }

    /// Whether a history ends here for ever.
    pub(super) fn is_sealed(&self, header: &LogHeader, end: &End) -> bool {
        let (log, after, chain) = (header.signed_as(), end.seq, end.chain);
        self.known.contains_key(&ForkPoint { log, after, chain })
    }

    /// Whether a fork of the log, or of the log that it is a branch of, is known.
    pub(super) fn is_forked(&self, header: &LogHeader) -> bool {
        let log = header.signed_as();
        let mut known = self.known.keys();
        known.any(|point| point.log == log)
    }

    /// The branches of a log, by the id that its device signs.
    fn family(&self, whole: LogId) -> impl Iterator<Item = &LogId> {
        self.families.get(&whole).into_iter().flatten()
    }

    /// Whether another fork of a log may be remembered, with a proof of so many bytes.
    fn has_room_for(&self, header: &LogHeader, bytes: usize) -> bool {
        let proofs = self.known.values();
        let of_device = proofs.filter(|proof| proof.header.device == header.device);
        let is_needed = self.needed.contains(&header.signed_as());
        self.bytes + bytes <= FORKS_BYTES_MAX
            && (is_needed || of_device.count() < FORKS_OF_DEVICE_MAX)
    }

    /// Whether another branch of a log may be held.
    fn has_branch_room(&self, whole: LogId) -> bool {
        self.needed.contains(&whole) || self.family(whole).count() < BRANCHES_OF_LOG_MAX
    }
}

impl Frontier {
    /// Whether a branch may be held, and where the log ends that it continues.
    pub(super) fn parent_of(&self, header: &LogHeader) -> Result<Option<End>, Refusal> {
        let Some(point) = header.branch_of else {
            return Ok(None);
        };
        if !self.forks.known.contains_key(&point) {
            return Err(Refusal::UnprovedFork(point.log));
        }
        let is_new = self.get(&header.log).is_none();
        if is_new && !self.forks.has_branch_room(point.log) {
            return Err(Refusal::TooManyBranches(point.log));
        }
        let whole = header.whole();
        if point.after == 0 {
            return Ok(Some(self.start(&whole)));
        }
        let mut ends = self.histories(whole.log).map(|log| log.staged);
        let parent = ends.find(|end| (end.seq, end.chain) == (point.after, point.chain));
        parent.map(Some).ok_or(Refusal::MissingParent)
    }

    /// Whether the entry that `dot` names is here, or one of a branch of its log at that place. Of a log that forks
    /// at its first entry nothing is held but branches.
    pub(super) fn covers(&self, space: &SpaceName, dot: &Dot) -> bool {
        let known = self.get(&dot.log);
        let whole = self.whole(&dot.log);
        let is_here = |log: &Log| {
            log.header.space == *space
                && (log.header.base() + 1..=log.staged.seq).contains(&dot.seq)
        };
        let is_of_log =
            known.is_some_and(|log| log.header.space == *space && dot.seq <= log.staged.seq);
        let mut branches = self.forks.family(whole).filter_map(|log| self.get(log));
        is_of_log || branches.any(is_here)
    }

    /// The id by which its device signs a log, which may be a branch; of a log that is not held its own.
    pub(super) fn whole(&self, log: &LogId) -> LogId {
        self.get(log).map_or(*log, |known| known.header.signed_as())
    }

    /// What is held of a log and its branches, by the id that its device signs.
    pub(super) fn histories(&self, whole: LogId) -> impl Iterator<Item = &Log> {
        let family = self.forks.family(whole).copied().chain([whole]);
        family.filter_map(|log| self.get(&log))
    }

    /// In how many histories of its log the entry that `dot` names is durable here.
    pub(super) fn branches_at(&self, dot: &Dot) -> u64 {
        let whole = self.whole(&dot.log);
        self.histories(whole)
            .filter(|log| (log.header.base() + 1..=log.durable.seq).contains(&dot.seq))
            .count() as u64
    }
}

impl Engine {
    /// Takes a peer's word for a fork, if it is proved.
    pub(super) fn on_fork(&mut self, id: SessionId, proof: ForkProof) -> Result<(), CloseReason> {
        let forks = &self.frontier.forks;
        if forks.known.contains_key(&proof.point()) {
            return Ok(());
        }
        if !self.is_fork_of_use(id, &proof) {
            return Ok(());
        }
        let organisation = self.config.organisation;
        let check = self.check_point;
        let is_signed = |header: &LogHeader, seq, chain: &[u8; 32], signature: &[u8; 64]| {
            seq <= SEQ_MAX && check(&organisation, header, seq, chain, signature)
        };
        if !is_proved(&proof, is_signed) {
            return Err(protocol("FORK without proof"));
        }
        if !forks.has_room_for(&proof.header, proof.weight()) {
            self.refuse(id, proof.header.log, Refusal::TooManyForks);
            return Ok(());
        }
        if !self.takes_fork(id, proof.weight()) {
            return Ok(());
        }
        self.leave(&proof.header);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.awaited.expect_fork(proof.header.log);
        }
        let repair = Repair::Fork(Arc::new(proof));
        self.effects
            .push_back(Effect::Commit(Batch::Repair(id, Box::new(repair))));
        Ok(())
    }

    /// What waits to be written in a forked log of ours is written before the fork is settled, and moves with it;
    /// what comes later belongs into a new log.
    pub(super) fn leave(&mut self, header: &LogHeader) {
        let family = header.signed_as();
        self.own_logs.retain(|_, own| own.signed_as() != family);
    }

    /// A peer gave another branch of a log, which may be ours as well.
    pub(super) fn seal(&mut self, id: SessionId, repair: Repair, header: &LogHeader) {
        if !self.frontier.forks.has_room_for(header, PROOF_BYTES_MAX) {
            return self.refuse(id, header.log, Refusal::TooManyForks);
        }
        self.leave(header);
        self.effects
            .push_back(Effect::Commit(Batch::Repair(id, Box::new(repair))));
    }

    pub(super) fn on_forked(&mut self, forked: Forked) {
        let Forked { proof, ends, moved } = forked;
        let log = proof.header.log;
        tracing::warn!(
            %log, after = proof.after, entries = moved,
            "this log has two histories; both are kept, as branches of it"
        );
        self.leave(&proof.header);
        self.frontier.forks.learn(proof);
        self.peers.count_fork(moved);
        if ends.is_empty() {
            // What is held is as it was, so what was agreed with others still holds.
            self.lift_fork(log);
            return self.resume_lacking(&log);
        }
        for row in ends {
            let (log, base, after) = (row.header.log, row.header.base(), row.seq);
            let before = self.frontier.durable_seq(&log);
            match after < before {
                true => self.frontier.rewind(row),
                false => {
                    self.frontier.adopt(row);
                }
            }
            let after = if after == base { 0 } else { after };
            self.peers.our_log_moved(log, after);
            self.peers.cut(log, after);
        }
        self.peers.forget_all_checkpoints();
        self.accords.forget_all();
        self.lift_fork(log);
        self.close_all(&CloseReason::Repaired);
    }
}
