//! How a session opens: HELLO both ways at once, then the frontiers of the spaces that differ.
//!
//! HELLO carries a keyed root for each space; where both sides' roots are equal, both hold the same and
//! nothing more is said. If both name a checkpoint (see [`super::checkpoint`]), both tell in FRONT, at once, the
//! rows that have moved since; and a peer whose HELLO shows that it still stands at a checkpoint is sent what it
//! lacks at once. Otherwise one side tells and the other answers (see [`super::telling`]). What a peer tells
//! replaces whatever was known of it before, so that a peer whose store went back in time is believed.

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::ident::{LogId, SpaceName};

use super::Engine;
use super::batch::{Checkpoint, Held, SessionId};
use super::checkpoint::common;
use super::effect::{Breach, CloseReason};
use super::greeting::count;
use super::input::Now;
use super::limits::{CHECKPOINT_LOGS_MAX, HANDSHAKE_MS, PEER_SAVE_MS};
use super::listening::Listener;
use super::session::{Greeting, Phase, Session};
use super::telling::Way;
use crate::mutation::{Mutation, is_planted};
use crate::wire::limits::SPACES_MAX;
use crate::wire::message::{Hello, Message};

impl Engine {
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
        let is_level = greeting.roots == roots;
        let agrees = greeting.is_whole && is_level;
        let base = common(&greeting.checkpoints, &hello.checkpoints).cloned();
        // Spaces beyond the most that HELLO names are not compared by it.
        let is_front = base.is_some() || is_level && roots.len() < SPACES_MAX;
        let tells = (greeting.count, self.config.device) < (count(hello), device);
        let their_id = self.checkpoint_id(&hello.spaces);
        let stands_at = greeting.checkpoints.iter().find(|kept| kept.id == their_id);
        let known = stands_at.or(base.as_ref()).filter(|_| is_front);
        let mut story = Story {
            held: rows_of(known),
            told: rows_of(base.as_ref()),
        };
        let cursor = match known {
            _ if agrees || is_planted(Mutation::ResumeFromEnd) => greeting.arrival,
            Some(known) => known.arrival,
            None => 0,
        };
        let is_known = agrees || stands_at.is_some() && is_front;
        let dictionary = greeting.agreed_dictionary(hello, base.as_ref());
        let spaces = self.compare(greeting, agrees, &roots, &mut story);
        let fronts = match is_front {
            true => self.fronts(&spaces, &story.told),
            false => Vec::new(),
        };

        tracing::info!(peer = %device.short(), equal = agrees, "session with a peer opens");
        self.peers.connect(device, hello.hub, now.unix_ms);
        if agrees && greeting.held.len() <= CHECKPOINT_LOGS_MAX {
            let both = Checkpoint::new(greeting.id, greeting.arrival, greeting.held.clone());
            self.peers.propose(&device, both);
        }
        let opening = Phase::Opening {
            held: story.held,
            named: BTreeSet::new(),
            cursor,
            count: known.map(|_| count(hello)),
            others: BTreeMap::new(),
            way: match is_front || tells {
                true => Way::Fronts,
                false => Way::Listens(Listener::new(count(hello))),
            },
        };
        if let Some(session) = self.sessions.get_mut(&id) {
            session.agree(dictionary);
        }
        if is_front {
            self.confirm(&device, &hello.checkpoints);
        } else {
            // The accord that our HELLO has named is still needed.
            self.peers.confirm(&device, &hello.checkpoints);
        }
        self.introduce(now, id, opening, story.told, count(hello));
        if is_front {
            self.tell_fronts(id, fronts);
        } else if tells {
            self.tell(id, hello, &spaces);
        } else {
            return Ok(());
        }
        self.end_front(id);
        if is_known {
            self.begin_early(id);
        }
        Ok(())
    }

    /// Adds to a story the spaces of which both HELLOs say that both hold the same. Returns the others by
    /// their tags; a space that only the peer holds has no name here.
    fn compare(
        &self,
        greeting: &Greeting,
        agrees: bool,
        roots: &BTreeMap<[u8; 8], [u8; 16]>,
        story: &mut Story,
    ) -> BTreeMap<[u8; 8], Option<SpaceName>> {
        if agrees {
            (story.held, story.told) = (greeting.held.clone(), greeting.held.clone());
        }
        let mut differing: BTreeMap<_, _> = roots.keys().map(|tag| (*tag, None)).collect();
        for space in self.frontier.spaces() {
            let tag = self.space_tag(space);
            let ours = greeting.roots.get(&tag);
            if ours.is_none() || ours != roots.get(&tag) {
                differing.insert(tag, Some(space.clone()));
                continue;
            }
            differing.remove(&tag);
            if agrees {
                continue;
            }
            for (log, _) in self.frontier.durable_in(space) {
                if let Some(seq) = greeting.held.get(log) {
                    story.held.insert(*log, *seq);
                    story.told.insert(*log, *seq);
                }
            }
        }
        differing
    }

    /// Enters the opening: from here on the peer is a member. Says who we are.
    fn introduce(&mut self, now: Now, id: SessionId, opening: Phase, told: Held, entries: u64) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.phase = opening;
        session.deadline_ms = now.mono_ms + HANDSHAKE_MS;
        session.told = told;
        session.entries = entries;
        session.send(&Message::Name(self.config.name.clone()), &mut self.effects);
        let schema = Message::Schema(self.config.schema.tag.clone());
        session.send(&schema, &mut self.effects);
    }

    /// Says that everything is told; from here on, entries and news may be sent.
    fn end_front(&mut self, id: SessionId) {
        let entries = self.sessions.get(&id).map_or(0, |session| session.entries);
        if self.holds(id, entries) {
            self.hold(id);
        }
        self.tell_parts(id);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.has_told = true;
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
        let entries = self.peers.our_held().beyond(held);
        session.encoder.expect_entries(entries);
        session.pump.begin(*cursor, held, &[]);
        session.encoder.note_all_held(held.clone());
        self.push(id);
        self.pump(id);
    }

    /// Whether the peer may end the opening now. A side that answered has told everything with that.
    fn complete(&mut self, id: SessionId) -> Result<(), CloseReason> {
        match self.sessions.get_mut(&id).and_then(Session::way) {
            Some(Way::Tells(teller)) if !teller.is_answered() => {
                Err(Breach::LyingFrontier.of("FRONT END before every range is answered"))
            }
            Some(Way::Listens(_)) => {
                self.end_front(id);
                Ok(())
            }
            Some(Way::Tells(_) | Way::Fronts) | None => Ok(()),
        }
    }

    pub(super) fn on_front_end(&mut self, now: Now, id: SessionId) -> Result<(), CloseReason> {
        self.complete(id)?;
        let Some(session) = self.sessions.get_mut(&id) else {
            return Ok(());
        };
        let Phase::Opening {
            mut held,
            cursor,
            count,
            others,
            ..
        } = std::mem::replace(&mut session.phase, Phase::Live)
        else {
            return Ok(());
        };
        if count.is_some_and(|count| held.entries() < count) {
            let device = session.device;
            self.forget_common_ground(&device);
            return Err(Breach::LyingFrontier.of("its frontier does not add up to its HELLO"));
        }
        for (log, refusal) in others {
            self.refuse(id, log, refusal);
        }
        let Some(session) = self.sessions.get_mut(&id) else {
            return Ok(());
        };
        session.check_faults()?;
        for log in session.refused.keys() {
            held.remove(log);
        }
        session.encoder.note_all_held(held.clone());
        if session.pump.has_begun {
            session.pump.acknowledge_all(&held);
        } else {
            let entries = self.peers.our_held().beyond(&held);
            session.encoder.expect_entries(entries);
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

/// What both know of each other when the telling begins.
struct Story {
    /// What the peer holds: of its checkpoint, and of the spaces that do not differ.
    held: Held,
    /// What it knows that we hold.
    told: Held,
}

fn rows_of(checkpoint: Option<&Checkpoint>) -> Held {
    checkpoint.map_or_else(Held::new, |checkpoint| checkpoint.rows.clone())
}
