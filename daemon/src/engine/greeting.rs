//! The opening of a session: HELLO, FRONT, and what both sides conclude from them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crdt_schema::ident::{DeviceId, LogId, SpaceName};

use super::Engine;
use super::batch::{Held, SessionId};
use super::effect::{CloseReason, Effect};
use super::input::Now;
use super::limits::{HELD_LOGS_MAX, OPENING_MS, REFUSED_LOGS_MAX};
use super::session::{Phase, Pump, Session};
use crate::wire::chain::organisation_tag;
use crate::wire::limits::{FRONT_ROWS_MAX, SPACES_MAX};
use crate::wire::message::{
    FrameDecoder, FrameEncoder, FrontRow, Hello, Message, PROTOCOL_VERSION, SpaceRoot,
};

impl Engine {
    pub(super) fn on_session_opened(&mut self, now: Now, session: SessionId, device: DeviceId) {
        let refusal = if !self.online {
            Some(CloseReason::Offline)
        } else if device == self.config.device {
            Some(CloseReason::Protocol(
                "it has this device's own key".to_owned(),
            ))
        } else if now.mono_ms < self.store_pause {
            Some(CloseReason::Store("a write has just failed".to_owned()))
        } else {
            None
        };
        if let Some(reason) = refusal {
            self.effects.push_back(Effect::Close { session, reason });
            return;
        }
        let replaced = self
            .sessions
            .iter()
            .find(|(_, open)| open.device == device)
            .map(|(&id, _)| id);
        if let Some(old) = replaced {
            self.close(old, CloseReason::Replaced);
        }
        let secret = &self.config.join_secret;
        let said: BTreeMap<SpaceName, SpaceRoot> = self
            .logs
            .spaces()
            .into_iter()
            .take(SPACES_MAX)
            .map(|space| (space.clone(), self.logs.root(secret, &space)))
            .collect();
        let hello = self.hello(device, &said);
        let opened = Session {
            device,
            phase: Phase::Greeting {
                said,
                held: self.logs.held().clone(),
            },
            encoder: FrameEncoder::new(),
            decoder: FrameDecoder::new(),
            pump: Pump::default(),
            fronted: BTreeSet::new(),
            refused: BTreeSet::new(),
            staged_bytes: 0,
            opening_deadline: now.mono_ms + OPENING_MS,
            want_at: None,
            want_latest: 0,
        };
        self.sessions.insert(session, opened);
        self.send(session, &Message::Hello(hello));
    }

    fn hello(&self, to: DeviceId, said: &BTreeMap<SpaceName, SpaceRoot>) -> Hello {
        let config = &self.config;
        let mut spaces: Vec<SpaceRoot> = said.values().cloned().collect();
        spaces.sort_by_key(|space| space.tag);
        Hello {
            version: PROTOCOL_VERSION,
            organisation_tag: organisation_tag(&config.organisation),
            proof: config
                .join_secret
                .proof(&config.organisation, &config.device, &to),
            hub: config.hub,
            schema_version: config.schema_version,
            spaces,
        }
    }

    pub(super) fn on_frame(&mut self, now: Now, session: SessionId, bytes: &[u8]) {
        let Some(open) = self.sessions.get_mut(&session) else {
            return;
        };
        let message = match open.decoder.decode(bytes) {
            Ok(message) => message,
            Err(error) => return self.close(session, CloseReason::Protocol(error.to_string())),
        };
        let device = open.device;
        if open.is_accepted()
            && let Some(peer) = self.peers.get_mut(device)
        {
            peer.last_seen_ms = now.unix_ms;
        }
        let open = &self.sessions[&session];
        match (&open.phase, message) {
            (_, Message::Bye { code, text }) => self.on_bye(session, &code, &text),
            (Phase::Greeting { .. }, Message::Hello(hello)) => self.on_hello(now, session, &hello),
            (Phase::Opening, Message::Front { space, rows }) => {
                self.on_front(now, session, &space, &rows);
            }
            (Phase::Opening, Message::FrontEnd) => self.on_front_end(now, session),
            (Phase::Opening | Phase::Live, Message::Name(name)) => self.on_name(now, session, name),
            (Phase::Opening | Phase::Live, Message::Ack(rows)) => self.on_ack(now, session, &rows),
            (Phase::Opening | Phase::Live, Message::Data(runs)) => self.on_data(now, session, runs),
            (Phase::Live, Message::Want) => self.on_want(session),
            (Phase::Opening | Phase::Live, Message::Refuse { log, why }) => {
                self.on_refuse(session, log, &why);
            }
            (_, _) => {
                self.close(
                    session,
                    CloseReason::Protocol("a message out of its turn".to_owned()),
                );
            }
        }
    }

    fn on_bye(&mut self, session: SessionId, code: &str, text: &str) {
        let Some(open) = self.sessions.get(&session) else {
            return;
        };
        // A refusal by the peer is worth as much attention as one of ours: something is set up wrongly.
        if let Some(code) = CloseReason::refusal_code(code) {
            *self.refusals.entry(code).or_default() += 1;
            self.last_refusal = Some((open.device, format!("it refused this device: {text}")));
        }
        self.effects.push_back(Effect::Close {
            session,
            reason: CloseReason::Peer(text.to_owned()),
        });
        self.on_session_closed(session);
    }

    fn on_hello(&mut self, now: Now, session: SessionId, hello: &Hello) {
        let open = &self.sessions[&session];
        let (organisation, us) = (self.config.organisation, self.config.device);
        let secret = &self.config.join_secret;
        let refusal = if hello.version != PROTOCOL_VERSION {
            Some(CloseReason::Version {
                theirs: hello.version,
            })
        } else if hello.organisation_tag != organisation_tag(&organisation) {
            Some(CloseReason::OtherOrganisation)
        } else if !secret.verify_proof(&organisation, &open.device, &us, &hello.proof) {
            Some(CloseReason::WrongSecret)
        } else {
            None
        };
        if let Some(reason) = refusal {
            return self.close(session, reason);
        }
        let equal = self.accept(now, session, hello);
        self.send(session, &Message::Name(self.config.name.clone()));
        self.send_fronts(session, &equal);
        self.send(session, &Message::FrontEnd);
    }

    /// From here on the peer is a member. Returns the spaces whose roots were equal when both said HELLO: there
    /// the peer holds what we held then.
    fn accept(&mut self, now: Now, session: SessionId, hello: &Hello) -> BTreeSet<SpaceName> {
        let Some(open) = self.sessions.get_mut(&session) else {
            return BTreeSet::new();
        };
        let Phase::Greeting { said, held } = std::mem::replace(&mut open.phase, Phase::Opening)
        else {
            return BTreeSet::new();
        };
        let equal: BTreeSet<SpaceName> = said
            .into_iter()
            .filter(|(_, root)| hello.spaces.contains(root))
            .map(|(space, _)| space)
            .collect();
        let in_equal = |log: &LogId| {
            self.logs
                .get(*log)
                .is_some_and(|log| equal.contains(&log.header.space))
        };
        let theirs: Held = held
            .iter()
            .filter(|(log, _)| in_equal(log))
            .map(|(l, s)| (*l, *s))
            .collect();
        let peer = self.peers.accept(open.device, session, hello.hub);
        peer.last_seen_ms = now.unix_ms;
        peer.held = Arc::new(theirs);
        peer.unsaved_since.get_or_insert(now.mono_ms);
        self.fleet_changed = true;
        equal
    }

    /// Sends the frontier of every space that the peer does not already know to be equal.
    fn send_fronts(&mut self, session: SessionId, equal: &BTreeSet<SpaceName>) {
        for space in self
            .logs
            .spaces()
            .into_iter()
            .filter(|space| !equal.contains(space))
        {
            for rows in self.logs.front(&space).chunks(FRONT_ROWS_MAX) {
                let front = Message::Front {
                    space: space.clone(),
                    rows: rows.to_vec(),
                };
                self.send(session, &front);
            }
        }
    }

    fn on_name(&mut self, now: Now, session: SessionId, name: String) {
        let Some(open) = self.sessions.get(&session) else {
            return;
        };
        if let Some(peer) = self.peers.get_mut(open.device)
            && peer.name != name
        {
            peer.name = name;
            peer.unsaved_since.get_or_insert(now.mono_ms);
            self.fleet_changed = true;
        }
    }

    fn on_front(&mut self, now: Now, session: SessionId, space: &SpaceName, rows: &[FrontRow]) {
        let Some(open) = self.sessions.get_mut(&session) else {
            return;
        };
        open.fronted.insert(space.clone());
        let device = open.device;
        for row in rows {
            let log = self.logs.get(row.log);
            if log.is_some_and(|log| log.header.space != *space) {
                let what = format!("it shows log {} in another space", row.log);
                return self.close(session, CloseReason::Protocol(what));
            }
            let forked = log.is_some_and(|log| {
                log.durable_seq() == row.seq && log.chain_tag() != row.chain_tag
            });
            if forked
                && !self.refuse_log(
                    session,
                    row.log,
                    "fork: its history differs from the one held here",
                )
            {
                return;
            }
            if !self.note_held(now, session, device, row.log, row.seq) {
                return;
            }
        }
        self.fleet_changed = true;
    }

    /// Takes note that the peer holds a log. `false` if that ended the session.
    pub(super) fn note_held(
        &mut self,
        now: Now,
        session: SessionId,
        device: DeviceId,
        log: LogId,
        seq: u64,
    ) -> bool {
        if self.is_own(log) && seq > self.logs.durable_seq(log) {
            self.begin_incarnation(log, seq);
        }
        self.peers.holds(device, log, seq, now.mono_ms);
        if let Some(open) = self.sessions.get_mut(&session) {
            open.pump.holds(log, seq);
        }
        let claims = self.peers.get(device).map_or(0, |peer| peer.held.len());
        if claims > HELD_LOGS_MAX {
            let what = format!("it claims to hold more than {HELD_LOGS_MAX} logs");
            self.close(session, CloseReason::Protocol(what));
            return false;
        }
        true
    }

    /// A peer remembers more of our own log than we do: this store went back in time. The log is closed, and
    /// what was lost comes back from the peer like anybody's entries.
    fn begin_incarnation(&mut self, log: LogId, seq: u64) {
        let held = self.logs.durable_seq(log);
        tracing::warn!(%log, held, peer_holds = seq, "this store went back in time: beginning a new log");
        self.own.retain(|_, header| header.log != log);
    }

    fn on_front_end(&mut self, now: Now, session: SessionId) {
        let Some(open) = self.sessions.get_mut(&session) else {
            return;
        };
        open.phase = Phase::Live;
        let held = self
            .peers
            .get(open.device)
            .map(|peer| peer.held.clone())
            .unwrap_or_default();
        open.pump.sent = held.clone();
        for &log in &open.refused {
            open.pump.leave_out(log);
        }
        let lacks_something = self
            .logs
            .held()
            .iter()
            .any(|(log, &seq)| open.pump.sent.get(log).is_none_or(|&sent| sent < seq));
        if lacks_something {
            open.pump.run();
        } else {
            open.pump.cursor = self.arrival;
        }
        self.expect_announced(now, session, &held);
        self.pump(session);
    }

    /// Leaves a log out of this session, and tells the peer. `false` if that was one too many and ended it.
    pub(super) fn refuse_log(&mut self, session: SessionId, log: LogId, why: &str) -> bool {
        let Some(open) = self.sessions.get(&session) else {
            return false;
        };
        tracing::warn!(peer = %open.device, %log, why, "log refused");
        self.send(
            session,
            &Message::Refuse {
                log,
                why: why.to_owned(),
            },
        );
        self.leave_out(session, log, why)
    }

    /// The peer takes nothing of a log: neither does it get any, nor is any waited for.
    fn on_refuse(&mut self, session: SessionId, log: LogId, why: &str) {
        if !self.leave_out(session, log, &format!("refused by the peer: {why}")) {
            return;
        }
        if let Some(open) = self.sessions.get_mut(&session)
            && let Some(peer) = self.peers.get(open.device)
        {
            open.pump.acknowledged(&peer.held);
        }
        self.pump(session);
    }

    fn leave_out(&mut self, session: SessionId, log: LogId, why: &str) -> bool {
        let Some(open) = self.sessions.get_mut(&session) else {
            return false;
        };
        open.refused.insert(log);
        open.pump.leave_out(log);
        let (device, refused) = (open.device, open.refused.len());
        if let Some(peer) = self.peers.get_mut(device) {
            peer.refused_logs.insert(log, why.to_owned());
        }
        self.fleet_changed = true;
        if refused > REFUSED_LOGS_MAX {
            let what = format!("more than {REFUSED_LOGS_MAX} of its logs do not fit");
            self.close(session, CloseReason::Protocol(what));
            return false;
        }
        true
    }
}
