//! Rows of frontiers: those that this side tells in FRONT, and what each row of the peer's means, in whatever
//! message it comes.
//!
//! A row can show that this store is older than it once was, or that a log has two histories. The first makes
//! this device begin a new log at once; the second has the log refused as soon as everything is told. So has a log
//! that the peer tells in another space than it is in here: with enough work a member can make two logs of one name,
//! and give one to each side.

use std::collections::BTreeMap;

use crdt_schema::ident::{LogId, SpaceName};

use super::Engine;
use super::batch::{Held, SessionId};
use super::effect::{Breach, CloseReason};
use super::frontier::Log;
use super::ingest::Refusal;
use super::input::Now;
use super::limits::{HANDSHAKE_MS, LOGS_MAX, SEQ_MAX};
use super::session::Phase;
use crate::mutation::{Mutation, is_planted};
use crate::wire::limits::FRONT_ROWS_MAX;
use crate::wire::message::{FrontRow, Message};

/// The space that a peer tells of. Found out once for all of its rows.
pub(super) enum SpaceTold {
    Named(SpaceName),
    /// Nothing durable is of it here.
    Tagged([u8; 8]),
}

impl Engine {
    /// The rows of each differing space that have moved since they were told.
    pub(super) fn fronts(
        &self,
        spaces: &BTreeMap<[u8; 8], Option<SpaceName>>,
        told: &Held,
    ) -> Vec<(SpaceName, Vec<FrontRow>)> {
        let ours = spaces.values().flatten();
        let mut fronts: BTreeMap<_, Vec<_>> = ours.map(|space| (space, Vec::new())).collect();
        for (log, _, _) in told.differences(self.peers.our_held()) {
            if let Some(known) = self.frontier.get(&log)
                && let Some(rows) = fronts.get_mut(&known.header.space)
            {
                rows.push(front_row(&log, known));
            }
        }
        let fronts = fronts.into_iter();
        fronts.map(|(space, rows)| (space.clone(), rows)).collect()
    }

    /// Tells these rows.
    pub(super) fn tell_fronts(&mut self, id: SessionId, fronts: Vec<(SpaceName, Vec<FrontRow>)>) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
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
        let space = SpaceTold::Named(space.clone());
        for row in rows {
            let is_fork = self.forks(&row.log, row.seq, |chain| {
                chain[..row.chain_tag.len()] != row.chain_tag
            });
            self.place(id, &space, row.log, row.seq, is_fork)?;
        }
        Ok(())
    }

    /// Whether `is_other` finds another chain value than ours where we hold a log exactly as far as `seq`.
    pub(super) fn forks(
        &self,
        log: &LogId,
        seq: u64,
        is_other: impl FnOnce(&[u8; 32]) -> bool,
    ) -> bool {
        let end = self.frontier.get(log).map(|known| known.durable);
        end.is_some_and(|end| end.seq == seq && is_other(&end.chain))
            && !is_planted(Mutation::ForkUnseen)
    }

    pub(super) fn space_tag(&self, space: &SpaceName) -> [u8; 8] {
        let (secret, organisation) = (&self.config.join_secret, &self.config.organisation);
        secret.space_tag(organisation, space)
    }

    /// The space that a tag in a telling names.
    pub(super) fn space_told(&self, tag: &[u8; 8]) -> SpaceTold {
        match self.space_of(tag) {
            Some(space) => SpaceTold::Named(space.clone()),
            None => SpaceTold::Tagged(*tag),
        }
    }

    fn is_told(&self, told: &SpaceTold, space: &SpaceName) -> bool {
        match told {
            SpaceTold::Named(name) => name == space,
            SpaceTold::Tagged(tag) => self.space_tag(space) == *tag,
        }
    }

    /// Whether a log that is told in a space is in another one here. Nobody can make a second log of our own name.
    fn is_elsewhere(&self, told: &SpaceTold, log: &LogId) -> Result<bool, CloseReason> {
        let Some(Log { header, .. }) = self.frontier.get(log) else {
            return Ok(false);
        };
        let is_elsewhere = !self.is_told(told, &header.space);
        if is_elsewhere && header.device == self.config.device {
            return Err(
                Breach::LyingFrontier.of("FRONT names a log in another space than it is in")
            );
        }
        Ok(is_elsewhere)
    }

    /// Takes note of how far a peer says that it holds a log of a space, 0 being not at all.
    pub(super) fn place(
        &mut self,
        id: SessionId,
        space: &SpaceTold,
        log: LogId,
        seq: u64,
        is_fork: bool,
    ) -> Result<(), CloseReason> {
        if seq > SEQ_MAX {
            return Err(Breach::LyingFrontier.of("FRONT with a sequence number out of bounds"));
        }
        let is_elsewhere = self.is_elsewhere(space, &log)?;
        let Some(session) = self.sessions.get_mut(&id) else {
            return Ok(());
        };
        let device = session.device;
        let Phase::Opening {
            held,
            named,
            others,
            ..
        } = &mut session.phase
        else {
            return Ok(());
        };
        if is_elsewhere && seq > 0 {
            held.raise(log, seq);
            others.insert(log, Refusal::OtherHeader);
            if let Some(accord) = self.accords.get_mut(&device) {
                accord.doubt(log);
            }
        }
        if others.get(&log) == Some(&Refusal::OtherHeader) {
            return Ok(());
        }
        if !named.insert(log) {
            return Err(Breach::LyingFrontier.of("FRONT names a log twice"));
        }
        let before = held.seq(&log);
        if seq < before {
            self.forget_common_ground(&device);
            return Err(Breach::LyingFrontier.of("FRONT is behind the checkpoint it builds on"));
        }
        if seq > 0 {
            held.insert(log, seq);
        }
        if held.len() > LOGS_MAX {
            return Err(Breach::TooLarge.of("FRONT names more logs than may be"));
        }
        if is_fork {
            others.insert(log, Refusal::Forked);
        }
        let Some(known) = self.frontier.get(&log) else {
            return Ok(());
        };
        let is_ahead = seq > known.durable.seq && !is_planted(Mutation::OwnRollbackOverlooked);
        if self.is_own(&log) && (is_fork || is_ahead) {
            self.retire(id, &log)?;
        }
        if is_fork && let Some(accord) = self.accords.get_mut(&device) {
            accord.doubt(log);
        }
        Ok(())
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
}

fn front_row(id: &LogId, log: &Log) -> FrontRow {
    let mut chain_tag = [0; 8];
    chain_tag.copy_from_slice(&log.durable.chain[..8]);
    FrontRow {
        log: *id,
        seq: log.durable.seq,
        chain_tag,
    }
}
