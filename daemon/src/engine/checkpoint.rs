//! Checkpoints: frontiers that this device and a peer have both held, so that a later opening tells only what
//! has moved since.
//!
//! A checkpoint is this device's whole frontier at a moment when the peer held the same. Its id is a keyed
//! digest of that frontier, so two devices that name one id mean one frontier. Two are kept for a peer: the
//! *tentative* one, which only this side knows to be held by both, and the *agreed* one, which the peer has
//! named back. A link that drops in the last message therefore costs an older checkpoint and no more.
//!
//! Invariants:
//! - What cannot be trusted is not used: a checkpoint beyond what this device holds is not named, one that the
//!   peer does not name is not built on, and a peer whose frontier does not add up to the number of entries in
//!   its HELLO loses its checkpoints. All of these fall back to the whole frontier, never to silence.
//! - A checkpoint says only what was true of both sides, never what is true now.

use std::sync::Arc;

use crdt_schema::ident::DeviceId;

use super::Engine;
use super::batch::{Checkpoint, CheckpointId, Held, SessionId};
use super::effect::CloseReason;
use super::input::Now;
use super::limits::{CHECKPOINT_LOGS_MAX, MARK_DELAY_MS, PEER_SAVE_MS};
use super::session::Session;
use crate::wire::message::{Message, SpaceRoot};

/// The digests of our durable frontier, remembered until it moves.
#[derive(Clone, Debug, Default)]
pub(super) struct Roots {
    /// The frontier's version that they are of.
    version: Option<u64>,
    /// Ascending by tag; every space.
    spaces: Arc<Vec<SpaceRoot>>,
}

impl Checkpoint {
    /// A checkpoint at `rows`, which was this device's frontier when its arrival order ended at `arrival`.
    pub(super) fn new(id: CheckpointId, arrival: u64, rows: Held) -> Self {
        Self { id, arrival, rows }
    }
}

/// The newest of our checkpoints that the peer has named as well. Both sides choose alike.
pub(super) fn common<'a>(
    ours: &'a [Checkpoint],
    theirs: &[CheckpointId],
) -> Option<&'a Checkpoint> {
    let both = ours.iter().filter(|ours| theirs.contains(&ours.id));
    both.max_by_key(|checkpoint| (checkpoint.rows.entries(), checkpoint.id))
}

impl Engine {
    /// The root of every space that has entries, ascending by tag.
    pub(super) fn roots(&mut self) -> Arc<Vec<SpaceRoot>> {
        let version = Some(self.frontier.version());
        if self.roots.version != version {
            let (secret, organisation) = (&self.config.join_secret, &self.config.organisation);
            let mut spaces: Vec<SpaceRoot> = Vec::new();
            for space in self.frontier.spaces() {
                let mut count = 0;
                let rows = self.frontier.durable_in(space).map(|(id, log)| {
                    count += log.durable.seq;
                    (id, log.durable.seq, &log.durable.chain)
                });
                let root = secret.space_root(organisation, space, rows);
                let tag = secret.space_tag(organisation, space);
                spaces.push(SpaceRoot { tag, root, count });
            }
            spaces.sort_by_key(|space| space.tag);
            self.roots = Roots {
                version,
                spaces: Arc::new(spaces),
            };
        }
        Arc::clone(&self.roots.spaces)
    }

    /// What names the frontier with these roots.
    pub(super) fn checkpoint_id(&self, spaces: &[SpaceRoot]) -> CheckpointId {
        let (secret, organisation) = (&self.config.join_secret, &self.config.organisation);
        let roots = spaces.iter().map(|space| (&space.tag, &space.root));
        secret.checkpoint_id(organisation, roots)
    }

    /// The checkpoints with a peer that this device still stands on.
    pub(super) fn usable_checkpoints(&self, peer: &DeviceId) -> Vec<Checkpoint> {
        let is_held = |checkpoint: &&Checkpoint| {
            let mut moved = checkpoint.rows.differences(self.peers.our_held());
            checkpoint.arrival <= self.arrival && moved.all(|(_, then, now)| then <= now)
        };
        let kept = self.peers.checkpoints(peer);
        kept.into_iter()
            .flat_map(|kept| kept.iter())
            .filter(is_held)
            .cloned()
            .collect()
    }

    /// Begins to wait for a good moment to make a checkpoint: entries have passed.
    pub(super) fn expect_mark(session: &mut Session, now: Now) {
        let delay = if session.marked.is_some() {
            PEER_SAVE_MS
        } else {
            MARK_DELAY_MS
        };
        session.mark_due_ms.get_or_insert(now.mono_ms + delay);
    }

    /// Makes a checkpoint of the present frontier and tells the peer, if both hold the same.
    pub(super) fn mark(&mut self, id: SessionId) {
        let Some(mark) = self.common_frontier(id) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if session.marked != Some(mark) {
            session.marked = Some(mark);
            session.send(&Message::Mark(mark), &mut self.effects);
            let checkpoint = Checkpoint::new(mark, self.arrival, self.peers.our_held().clone());
            self.peers.propose(&session.device, checkpoint);
        }
    }

    /// Names our frontier, if as far as we know the peer holds exactly the same.
    fn common_frontier(&mut self, id: SessionId) -> Option<CheckpointId> {
        let session = self.sessions.get(&id)?;
        let is_common = session.is_live()
            && session.refused.is_empty()
            && self.peers.is_level(&session.device)
            && self.peers.our_held().len() <= CHECKPOINT_LOGS_MAX;
        is_common.then(|| {
            let roots = self.roots();
            self.checkpoint_id(&roots)
        })
    }

    /// The peer held the frontier `mark` when it knew that we held it too.
    pub(super) fn on_mark(
        &mut self,
        now: Now,
        id: SessionId,
        mark: CheckpointId,
    ) -> Result<(), CloseReason> {
        if self.common_frontier(id) == Some(mark) {
            self.mark(id);
        }
        let Some(device) = self.sessions.get(&id).map(|session| session.device) else {
            return Ok(());
        };
        if self.confirm(&device, &[mark])
            && let Some(session) = self.sessions.get_mut(&id)
        {
            session
                .save_due_ms
                .get_or_insert(now.mono_ms + PEER_SAVE_MS);
        }
        Ok(())
    }

    /// Notes which checkpoints a peer has named. One that is agreed now is better than the accord with it.
    pub(super) fn confirm(&mut self, device: &DeviceId, named: &[CheckpointId]) -> bool {
        let is_agreed = self.peers.confirm(device, named);
        if is_agreed {
            self.accords.forget(device);
        }
        is_agreed
    }
}

#[cfg(test)]
mod tests {
    use crdt_schema::ident::LogId;

    use super::*;

    fn checkpoint(id: u8, seqs: &[(u8, u64)]) -> Checkpoint {
        let held: Held = seqs
            .iter()
            .map(|(n, seq)| (LogId([*n; 16]), *seq))
            .collect();
        Checkpoint::new([id; 8], 9, held)
    }

    #[test]
    fn both_sides_choose_the_same_of_two_checkpoints() {
        let (old, new) = (checkpoint(7, &[(1, 3)]), checkpoint(2, &[(1, 3), (2, 1)]));
        let (ours, theirs) = ([old.clone(), new.clone()], [new.clone(), old.clone()]);
        let ids = |kept: &[Checkpoint]| kept.iter().map(|kept| kept.id).collect::<Vec<_>>();

        assert_eq!(common(&ours, &ids(&theirs)), Some(&new));
        assert_eq!(common(&theirs, &ids(&ours)), Some(&new));
        assert_eq!(common(&ours, &[old.id]), Some(&old));
        assert_eq!(common(&ours, &[[9; 8]]), None);
    }
}
