//! How a session opens: HELLO both ways at once, then the frontiers of the spaces that differ.
//!
//! HELLO carries a keyed root for each space; where both sides' roots are equal, both hold the same and
//! nothing more is said. A FRONT replaces whatever was known of the peer before, so that a peer whose
//! store went back in time is believed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crdt_schema::ident::{DeviceId, LogId, SpaceName};

use super::Engine;
use super::batch::{Held, SessionId};
use super::effect::CloseReason;
use super::ingest::Refusal;
use super::input::Now;
use super::limits::{HANDSHAKE_MS, LOGS_MAX, PEER_SAVE_MS, SEQ_MAX};
use super::session::{Greeting, Phase, protocol};
use crate::wire::chain;
use crate::wire::limits::{FRONT_ROWS_MAX, SPACES_MAX};
use crate::wire::message::{FrontRow, Hello, Message, PROTOCOL_VERSION, SpaceRoot};

impl Engine {
    /// Our HELLO to a peer, and what is to be remembered of it.
    pub(super) fn greet(&self, peer: &DeviceId) -> (Hello, Greeting) {
        let (secret, organisation) = (&self.config.join_secret, &self.config.organisation);
        let mut spaces: Vec<SpaceRoot> = Vec::new();
        for space in self.frontier.spaces() {
            let rows = self.frontier.durable_in(space);
            let rows = rows.map(|(id, log)| (id, log.durable.seq, &log.durable.chain));
            spaces.push(SpaceRoot {
                tag: secret.space_tag(organisation, space),
                root: secret.space_root(organisation, space, rows),
                count: self
                    .frontier
                    .durable_in(space)
                    .map(|(_, log)| log.durable.seq)
                    .sum(),
            });
        }
        spaces.sort_by_key(|space| space.tag);
        let is_whole = spaces.len() <= SPACES_MAX;
        spaces.truncate(SPACES_MAX);
        let greeting = Greeting {
            roots: spaces.iter().map(|space| (space.tag, space.root)).collect(),
            is_whole,
            held: Arc::clone(self.peers.our_held()),
            arrival: self.arrival,
        };
        let hello = Hello {
            version: PROTOCOL_VERSION,
            organisation_tag: chain::organisation_tag(organisation),
            proof: secret.proof(organisation, &self.config.device, peer),
            hub: self.config.hub,
            schema_version: self.config.schema_version,
            spaces,
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
            return Err(protocol("more peers than can be remembered"));
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
        let Phase::Greeting(greeting) = &session.phase else {
            return Ok(());
        };

        let roots: BTreeMap<_, _> = hello.spaces.iter().map(|s| (s.tag, s.root)).collect();
        let agrees = greeting.is_whole && greeting.roots == roots;
        let cursor = if agrees { greeting.arrival } else { 0 };
        let mut held = Held::new();
        let mut fronts: Vec<(SpaceName, Vec<FrontRow>)> = Vec::new();
        for space in self.frontier.spaces() {
            let tag = self
                .config
                .join_secret
                .space_tag(&self.config.organisation, space);
            let rows = self.frontier.durable_in(space);
            let ours = greeting.roots.get(&tag);
            if ours.is_some() && ours == roots.get(&tag) {
                held.extend(rows.filter_map(|(log, _)| Some((*log, *greeting.held.get(log)?))));
            } else {
                fronts.push((
                    space.clone(),
                    rows.map(|(id, log)| front_row(id, log)).collect(),
                ));
            }
        }

        tracing::info!(peer = %session.device.short(), equal = agrees, "session with a peer opens");
        self.peers.connect(session.device, hello.hub, now.unix_ms);
        self.tell_frontier(now, id, &held, fronts);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.phase = Phase::Opening { held, cursor };
        }
        Ok(())
    }

    fn tell_frontier(
        &mut self,
        now: Now,
        id: SessionId,
        equal: &Held,
        fronts: Vec<(SpaceName, Vec<FrontRow>)>,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.deadline_ms = now.mono_ms + HANDSHAKE_MS;
        session.told.clone_from(equal);
        session.send(&Message::Name(self.config.name.clone()), &mut self.effects);
        for (space, rows) in fronts {
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
        session.send(&Message::FrontEnd, &mut self.effects);
    }

    pub(super) fn on_front(
        &mut self,
        now: Now,
        id: SessionId,
        space: &SpaceName,
        rows: &[FrontRow],
    ) -> Result<(), CloseReason> {
        if rows.is_empty() {
            return Err(protocol("FRONT without rows"));
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
        let Phase::Opening { held, .. } = &mut session.phase else {
            return Ok(());
        };
        if row.seq > SEQ_MAX {
            return Err(protocol("FRONT with a sequence number out of bounds"));
        }
        if held.insert(row.log, row.seq).is_some() {
            return Err(protocol("FRONT names a log twice"));
        }
        if held.len() > LOGS_MAX {
            return Err(protocol("FRONT names more logs than may be"));
        }
        let Some(known) = self.frontier.get(&row.log) else {
            return Ok(());
        };
        if known.header.space != *space {
            return Err(protocol("FRONT names a log in another space than it is in"));
        }
        let end = known.durable;
        let forked = row.seq == end.seq && row.chain_tag[..] != end.chain[..row.chain_tag.len()];
        if self.is_own(&row.log) && (forked || row.seq > end.seq) {
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
            return Err(protocol(
                "claims again to hold more of our own log than was written",
            ));
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
        let Phase::Opening { mut held, cursor } =
            std::mem::replace(&mut session.phase, Phase::Live)
        else {
            return Ok(());
        };
        held.retain(|log, _| !session.refused.contains_key(log));
        let refused: Vec<LogId> = session.refused.keys().copied().collect();
        session.pump.begin(cursor, &held, &refused);
        session.save_due_ms = Some(now.mono_ms + PEER_SAVE_MS);
        self.peers.replace_held(&session.device, held);
        self.push(id);
        self.pump(id);
        self.seek_anew();
        Ok(())
    }
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
