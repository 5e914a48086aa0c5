//! HELLO: what this device says of itself to a peer, and whether the peer's HELLO is a member's.
//!
//! Besides who it is, HELLO says what an opening can build on: the checkpoints that both sides may have held, and
//! the accord of a telling that was cut. A checkpoint from which many rows have moved is named as an accord:
//! then the rows are told in ranges, which a drop of the link does not undo.

use crdt_schema::ident::DeviceId;

use super::Engine;
use super::accord::Accord;
use super::batch::Checkpoint;
use super::effect::{Breach, CloseReason};
use super::limits::FRONT_MOVED_MAX;
use super::session::Greeting;
use crate::wire::chain;
use crate::wire::limits::SPACES_MAX;
use crate::wire::message::{Hello, PROTOCOL_VERSION};

impl Engine {
    /// Our HELLO to a peer, and what is to be remembered of it.
    pub(super) fn greet(&mut self, peer: &DeviceId) -> (Hello, Greeting) {
        let roots = self.roots();
        let checkpoints = self.checkpoints_to_name(peer);
        let (secret, organisation) = (&self.config.join_secret, &self.config.organisation);
        let mut spaces = roots.to_vec();
        let is_whole = spaces.len() <= SPACES_MAX;
        spaces.truncate(SPACES_MAX);
        let hello = Hello {
            version: PROTOCOL_VERSION,
            organisation_tag: chain::organisation_tag(organisation),
            proof: secret.proof(organisation, &self.config.device, peer),
            hub: self.config.hub,
            schema_version: self.config.schema.tag.version,
            dictionary: self.config.schema.dictionary.id(),
            spaces,
            checkpoints: checkpoints.iter().map(|kept| kept.id).collect(),
            accord: self.accords.get(peer).and_then(Accord::id),
        };
        let greeting = Greeting {
            roots: hello.spaces.iter().map(|s| (s.tag, s.root)).collect(),
            is_whole,
            count: count(&hello),
            held: self.peers.our_held().clone(),
            arrival: self.arrival,
            id: self.checkpoint_id(&roots),
            checkpoints,
            dictionary: self.config.schema.dictionary.clone(),
        };
        (hello, greeting)
    }

    /// The checkpoints with a peer from which few rows have moved. If the newest is none of them, it becomes the
    /// accord with the peer; an accord that does not fit what this device holds is forgotten.
    fn checkpoints_to_name(&mut self, peer: &DeviceId) -> Vec<Checkpoint> {
        let is_held = |accord: &Accord| {
            let mut rows = accord.rows();
            rows.all(|(log, said)| said.ours <= self.frontier.durable_seq(&log))
        };
        if self
            .accords
            .get(peer)
            .is_some_and(|accord| !is_held(accord))
        {
            self.accords.forget(peer);
        }
        let mut usable = self.usable_checkpoints(peer);
        let newest = usable.iter().map(|kept| kept.rows.entries()).max();
        let many = |kept: &mut Checkpoint| self.moved_since(kept) > FRONT_MOVED_MAX;
        let far: Vec<_> = usable.extract_if(.., many).collect();
        let newest = far.iter().find(|kept| Some(kept.rows.entries()) == newest);
        if let Some(newest) = newest
            && self.accords.get(peer).is_none()
        {
            self.accords.keep(*peer, Accord::at(newest));
        }
        usable
    }

    /// How many of our rows are not as they were at a checkpoint that we still stand on.
    fn moved_since(&self, checkpoint: &Checkpoint) -> usize {
        checkpoint.rows.differences(self.peers.our_held()).count()
    }

    /// Whether the sender of a HELLO is a member that this device can talk to.
    pub(super) fn check_hello(&self, device: &DeviceId, hello: &Hello) -> Result<(), CloseReason> {
        let (secret, organisation) = (&self.config.join_secret, &self.config.organisation);
        if hello.version != PROTOCOL_VERSION {
            return Err(CloseReason::Version {
                theirs: hello.version,
            });
        }
        if hello.organisation_tag != chain::organisation_tag(organisation) {
            return Err(CloseReason::OtherOrganisation);
        }
        if !secret.verify_proof(organisation, device, &self.config.device, &hello.proof) {
            return Err(CloseReason::WrongSecret);
        }
        if !self.peers.has_room_for(device) {
            return Err(Breach::TooLarge.of("more peers than can be remembered"));
        }
        Ok(())
    }

    /// Forgets everything that an opening with a peer could build on: what it says does not agree with it.
    pub(super) fn forget_common_ground(&mut self, device: &DeviceId) {
        self.peers.forget_checkpoints(device);
        self.accords.forget(device);
    }
}

/// How many entries the sender of a HELLO holds.
pub(super) fn count(hello: &Hello) -> u64 {
    let counts = hello.spaces.iter().map(|space| space.count);
    counts.fold(0, u64::saturating_add)
}
