//! How a session opens: HELLO both ways at once, then the frontiers of the spaces that differ.
//!
//! HELLO carries a keyed root for each space; where both sides' roots are equal, both hold the same and
//! nothing more is said. If both name a checkpoint (see [`super::checkpoint`]), FRONT tells only the rows that
//! have moved since; and a peer whose HELLO shows that it still stands at a checkpoint is sent what it lacks at
//! once. What a peer tells replaces whatever was known of it before, so that a peer whose store went back in
//! time is believed.

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::ident::{DeviceId, LogId, SpaceName};

use super::Engine;
use super::batch::{Checkpoint, Held, SessionId};
use super::checkpoint::common;
use super::effect::{Breach, CloseReason};
use super::ingest::Refusal;
use super::input::Now;
use super::limits::{
    CHECKPOINT_LOGS_MAX, ENTRIES_LITTLE, HANDSHAKE_MS, LOGS_MAX, PEER_SAVE_MS, SEQ_MAX,
};
use super::session::{Greeting, Phase};
use crate::mutation::{Mutation, is_planted};
use crate::wire::chain;
use crate::wire::limits::{FRONT_ROWS_MAX, SPACES_MAX};
use crate::wire::message::{FrontRow, Hello, Message, PROTOCOL_VERSION};

impl Engine {
    /// Our HELLO to a peer, and what is to be remembered of it.
    pub(super) fn greet(&mut self, peer: &DeviceId) -> (Hello, Greeting) {
        let roots = self.roots();
        let checkpoints = self.usable_checkpoints(peer);
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
        };
        let greeting = Greeting {
            roots: hello.spaces.iter().map(|s| (s.tag, s.root)).collect(),
            is_whole,
            held: self.peers.our_held().clone(),
            arrival: self.arrival,
            id: self.checkpoint_id(&roots),
            checkpoints,
            dictionary: self.config.schema.dictionary.clone(),
        };
        (hello, greeting)
    }

    /// Whether the sender of a HELLO is a member that this device can talk to.
    fn check_hello(&self, device: &DeviceId, hello: &Hello) -> Result<(), CloseReason> {
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

    pub(super) fn on_hello(
        &mut self,
        now: Now,
        id: SessionId,
        hello: &Hello,
    ) -> Result<(), CloseReason> {
        let Some(session) = self.sessions.get(&id) else {
            return Ok(());
        };
        self.check_hello(&session.device, hello)?;
        let device = session.device;
        let Phase::Greeting(greeting) = &session.phase else {
            return Ok(());
        };

        let roots: BTreeMap<_, _> = hello.spaces.iter().map(|s| (s.tag, s.root)).collect();
        let agrees = greeting.is_whole && greeting.roots == roots;
        let base = common(&greeting.checkpoints, &hello.checkpoints).cloned();
        let their_id = self.checkpoint_id(&hello.spaces);
        let stands_at = greeting.checkpoints.iter().find(|kept| kept.id == their_id);
        let known = stands_at.or(base.as_ref());
        let mut story = Story {
            held: rows_of(known),
            told: rows_of(base.as_ref()),
            fronts: Vec::new(),
        };
        let cursor = match known {
            _ if agrees || is_planted(Mutation::ResumeFromEnd) => greeting.arrival,
            Some(known) => known.arrival,
            None => 0,
        };
        let is_known = agrees || stands_at.is_some();
        let dictionary = greeting.agreed_dictionary(hello, base.as_ref());
        self.compare(greeting, agrees, &roots, &mut story);

        tracing::info!(peer = %device.short(), equal = agrees, "session with a peer opens");
        self.peers.connect(device, hello.hub, now.unix_ms);
        if agrees && greeting.held.len() <= CHECKPOINT_LOGS_MAX {
            let both = Checkpoint::new(greeting.id, greeting.arrival, greeting.held.clone());
            self.peers.propose(&device, both);
        }
        self.peers.confirm(&device, &hello.checkpoints);
        let opening = Phase::Opening {
            held: story.held.clone(),
            named: BTreeSet::new(),
            cursor,
            count: known.map(|_| count(hello)),
        };
        if let Some(session) = self.sessions.get_mut(&id) {
            session.phase = opening;
            session.agree(dictionary);
        }
        self.tell_frontier(now, id, story, count(hello));
        if is_known {
            self.begin_early(id);
        }
        Ok(())
    }

    /// Adds to a story what both HELLOs say of each space: that both hold the same, or that rows are to be told.
    fn compare(
        &self,
        greeting: &Greeting,
        agrees: bool,
        roots: &BTreeMap<[u8; 8], [u8; 16]>,
        story: &mut Story,
    ) {
        if agrees {
            (story.held, story.told) = (greeting.held.clone(), greeting.held.clone());
        }
        let mut fronts = BTreeMap::new();
        for space in self.frontier.spaces() {
            let (secret, organisation) = (&self.config.join_secret, &self.config.organisation);
            let tag = secret.space_tag(organisation, space);
            let ours = greeting.roots.get(&tag);
            if ours.is_none() || ours != roots.get(&tag) {
                fronts.insert(space, Vec::new());
            } else if !agrees {
                for (log, _) in self.frontier.durable_in(space) {
                    if let Some(seq) = greeting.held.get(log) {
                        story.held.insert(*log, *seq);
                        story.told.insert(*log, *seq);
                    }
                }
            }
        }
        for (log, _, _) in story.told.differences(self.peers.our_held()) {
            if let Some(known) = self.frontier.get(&log)
                && let Some(rows) = fronts.get_mut(&known.header.space)
            {
                rows.push(front_row(&log, known));
            }
        }
        let fronts = fronts.into_iter();
        story.fronts = fronts.map(|(space, rows)| (space.clone(), rows)).collect();
    }

    fn tell_frontier(&mut self, now: Now, id: SessionId, story: Story, entries: u64) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.deadline_ms = now.mono_ms + HANDSHAKE_MS;
        session.told = story.told;
        session.send(&Message::Name(self.config.name.clone()), &mut self.effects);
        let schema = Message::Schema(self.config.schema.tag.clone());
        session.send(&schema, &mut self.effects);
        for (space, rows) in story.fronts {
            for rows in rows.chunks(FRONT_ROWS_MAX) {
                session
                    .told
                    .extend(rows.iter().map(|row| (row.log, row.seq)));
                let front = Message::Front {
                    space: space.clone(),
                    rows: rows.to_vec(),
                };
                session.send(&front, &mut self.effects);
            }
        }
        session.entries = entries;
        if self.holds(id, entries) {
            self.hold(id);
        }
        self.tell_parts(id);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.send(&Message::FrontEnd, &mut self.effects);
        }
    }

    /// Sends what a peer lacks without waiting for its FRONT: its HELLO has told where it stands.
    fn begin_early(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let Phase::Opening { held, cursor, .. } = &session.phase else {
            return;
        };
        if is_little(held, self.peers.our_held()) {
            session.encoder.expect_little();
        }
        session.pump.begin(*cursor, held, &[]);
        session.encoder.note_all_held(held.clone());
        self.push(id);
        self.pump(id);
    }

    pub(super) fn on_front(
        &mut self,
        now: Now,
        id: SessionId,
        space: &SpaceName,
        rows: &[FrontRow],
    ) -> Result<(), CloseReason> {
        if rows.is_empty() {
            return Err(Breach::LyingFrontier.of("FRONT without rows"));
        }
        if let Some(session) = self.sessions.get_mut(&id) {
            session.deadline_ms = now.mono_ms + HANDSHAKE_MS;
        }
        for row in rows {
            self.on_front_row(id, space, row)?;
        }
        Ok(())
    }

    fn on_front_row(
        &mut self,
        id: SessionId,
        space: &SpaceName,
        row: &FrontRow,
    ) -> Result<(), CloseReason> {
        let Some(session) = self.sessions.get_mut(&id) else {
            return Ok(());
        };
        let Phase::Opening { held, named, .. } = &mut session.phase else {
            return Ok(());
        };
        if row.seq > SEQ_MAX {
            return Err(Breach::LyingFrontier.of("FRONT with a sequence number out of bounds"));
        }
        if !named.insert(row.log) {
            return Err(Breach::LyingFrontier.of("FRONT names a log twice"));
        }
        let before = held.insert(row.log, row.seq);
        if before.is_some_and(|before| row.seq < before) {
            let device = session.device;
            self.peers.forget_checkpoints(&device);
            return Err(Breach::LyingFrontier.of("FRONT is behind the checkpoint it builds on"));
        }
        if held.len() > LOGS_MAX {
            return Err(Breach::TooLarge.of("FRONT names more logs than may be"));
        }
        let Some(known) = self.frontier.get(&row.log) else {
            return Ok(());
        };
        if known.header.space != *space {
            return Err(
                Breach::LyingFrontier.of("FRONT names a log in another space than it is in")
            );
        }
        let end = known.durable;
        let forked = row.seq == end.seq
            && row.chain_tag[..] != end.chain[..row.chain_tag.len()]
            && !is_planted(Mutation::ForkUnseen);
        let is_ahead = row.seq > end.seq && !is_planted(Mutation::OwnRollbackOverlooked);
        if self.is_own(&row.log) && (forked || is_ahead) {
            self.retire(id, &row.log)?;
        }
        if forked {
            self.refuse(id, row.log, Refusal::Forked);
        }
        self.sessions
            .get(&id)
            .map_or(Ok(()), |session| session.check_faults())
    }

    /// Stops writing a log of ours that a peer holds otherwise or further than we do: this store is older
    /// than what it once sent, or a copy. What the peer holds of it comes back like any other log.
    pub(super) fn retire(&mut self, id: SessionId, log: &LogId) -> Result<(), CloseReason> {
        let Some(known) = self.frontier.get(log) else {
            return Ok(());
        };
        let Some(session) = self.sessions.get_mut(&id) else {
            return Ok(());
        };
        let space = known.header.space.clone();
        if !session.retired.insert(space.clone()) {
            return Err(Breach::LyingFrontier
                .of("claims again to hold more of our own log than was written"));
        }
        tracing::warn!(
            peer = %session.device.short(), %log, %space,
            "this store is older than what it once sent; beginning a new log"
        );
        self.own_logs.remove(&space);
        Ok(())
    }

    pub(super) fn on_front_end(&mut self, now: Now, id: SessionId) -> Result<(), CloseReason> {
        let Some(session) = self.sessions.get_mut(&id) else {
            return Ok(());
        };
        let Phase::Opening {
            mut held,
            cursor,
            count,
            ..
        } = std::mem::replace(&mut session.phase, Phase::Live)
        else {
            return Ok(());
        };
        if count.is_some_and(|count| held.entries() < count) {
            let device = session.device;
            self.peers.forget_checkpoints(&device);
            return Err(Breach::LyingFrontier.of("its frontier does not add up to its HELLO"));
        }
        for log in session.refused.keys() {
            held.remove(log);
        }
        session.encoder.note_all_held(held.clone());
        if session.pump.has_begun {
            session.pump.acknowledge_all(&held);
        } else {
            if is_little(&held, self.peers.our_held()) {
                session.encoder.expect_little();
            }
            let refused: Vec<LogId> = session.refused.keys().copied().collect();
            session.pump.begin(cursor, &held, &refused);
        }
        session.save_due_ms = Some(now.mono_ms + PEER_SAVE_MS);
        if is_planted(Mutation::PeerRollbackOverlooked) {
            let before = self
                .peers
                .held(&session.device)
                .cloned()
                .unwrap_or_default();
            for (log, seq) in before.iter() {
                held.raise(*log, *seq);
            }
        }
        self.peers.replace_held(&session.device, held);
        self.tell_forks(id);
        self.push(id);
        self.send_parts(now, id);
        self.pump(id);
        self.review_holds(now);
        self.seek_anew();
        Ok(())
    }
}

/// What is told to a peer at the opening, and what is known of it before it tells.
struct Story {
    /// What it holds: of its checkpoint, and of the spaces that do not differ.
    held: Held,
    /// What it knows that we hold.
    told: Held,
    /// The rows that have moved, of each space that differs.
    fronts: Vec<(SpaceName, Vec<FrontRow>)>,
}

fn rows_of(checkpoint: Option<&Checkpoint>) -> Held {
    checkpoint.map_or_else(Held::new, |checkpoint| checkpoint.rows.clone())
}

/// Whether we hold few entries that a peer with these lacks.
fn is_little(theirs: &Held, ours: &Held) -> bool {
    let rows = theirs.differences(ours);
    let lacking = rows.map(|(_, theirs, ours)| ours.saturating_sub(theirs));
    lacking.fold(0, u64::saturating_add) <= ENTRIES_LITTLE
}

/// How many entries the sender of a HELLO holds.
fn count(hello: &Hello) -> u64 {
    let counts = hello.spaces.iter().map(|space| space.count);
    counts.fold(0, u64::saturating_add)
}

fn front_row(id: &LogId, log: &super::frontier::Log) -> FrontRow {
    let mut chain_tag = [0; 8];
    chain_tag.copy_from_slice(&log.durable.chain[..8]);
    FrontRow {
        log: *id,
        seq: log.durable.seq,
        chain_tag,
    }
}
