//! Damaged logs: found when they are read or when a peer shows another history, mended from peers.
//!
//! A place that does not read back holds back its own log, and what depends on it (see [`super::held_back`]).
//! It is asked for from one peer after the other until one gives a run that bears the author's signature on top
//! of what reads back before it; then the log is read through again for the next such place. Once it reads back
//! whole, the sessions begin anew, because what was held back may have kept other logs back as well.
//!
//! A peer's questions are answered one at a time, and so many in a session: each makes the store walk a log.

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::ident::{Dot, LogId};

use super::Engine;
use super::batch::repair::{Found, Look, Outcome, Repair, Repaired};
use super::batch::{Batch, Run, SessionId};
use super::effect::{Breach, CloseReason, Effect};
use super::inquiry::Inquiry;
use super::limits::{ANSWERS_MAX, DAMAGED_LOGS_MAX, MENDED_PLACES_MAX, SEQ_MAX};
use super::session::protocol;
use crate::wire::message::Message;

/// A log that does not read back.
#[derive(Debug, Default)]
struct Damaged {
    /// The first place that does not.
    from: u64,
    /// The session that has been asked, until its run has been written or refused.
    asked: Option<SessionId>,
    /// The sessions that could not help with this place.
    tried: BTreeSet<SessionId>,
}

/// All damaged logs.
#[derive(Debug, Default)]
pub(super) struct Damage {
    logs: BTreeMap<LogId, Damaged>,
    /// The places that have been mended once. A place that stays damaged is not asked for again: the disk does
    /// not keep it.
    mended: BTreeSet<Dot>,
    /// The logs that the store is reading through.
    looking: BTreeSet<LogId>,
}

/// Entries that a peer was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) log: LogId,
    pub(super) from: u64,
    /// Whether another branch is expected there, rather than what is damaged here.
    pub(super) is_branch: bool,
}

/// What one session has to do with repairs.
#[derive(Debug, Default)]
pub(super) struct RepairTalk {
    /// Whether a question of the peer's is being answered.
    answering: bool,
    /// How many have been.
    answered: usize,
    /// What was asked for, until the answer comes.
    pub(super) asked: Option<Asked>,
    pub(super) inquiry: Option<Inquiry>,
}

impl Engine {
    /// Notes that a log does not read back from some place on, and looks for somebody who has it.
    pub(super) fn note_damage(&mut self, place: Dot) {
        let Dot { log, seq } = place;
        if self.damage.mended.contains(&place) {
            tracing::error!(%log, from = seq, "a mended log is damaged at the same place; check the disk");
            self.damage.logs.remove(&log);
            self.peers.show_damage(log, Some(seq));
            return;
        }
        let is_new = !self.damage.logs.contains_key(&log);
        if is_new && self.damage.logs.len() >= DAMAGED_LOGS_MAX {
            return;
        }
        let damaged = self.damage.logs.entry(log).or_default();
        if is_new || damaged.from != seq {
            tracing::error!(%log, from = seq, "a log is damaged; asking the peers for what it lacks");
            *damaged = Damaged {
                from: seq,
                ..Damaged::default()
            };
            self.peers.show_damage(log, Some(seq));
        }
        self.seek(log);
    }

    /// Asks a new peer for what is damaged. Whoever was asked before and has not answered may still do so,
    /// and is waited for no longer.
    pub(super) fn seek_anew(&mut self) {
        for damaged in self.damage.logs.values_mut() {
            damaged.tried.extend(damaged.asked.take());
        }
        self.seek_all();
    }

    /// Asks a peer once more for what is damaged: it had not got that far when it was asked.
    pub(super) fn seek_from(&mut self, id: SessionId, log: LogId, before: u64, after: u64) {
        if let Some(damaged) = self.damage.logs.get_mut(&log)
            && (before + 1..=after).contains(&damaged.from)
        {
            damaged.tried.remove(&id);
            self.seek(log);
        }
    }

    fn seek_all(&mut self) {
        let logs: Vec<LogId> = self.damage.logs.keys().copied().collect();
        logs.into_iter().for_each(|log| self.seek(log));
    }

    fn seek(&mut self, log: LogId) {
        let Some(damaged) = self.damage.logs.get_mut(&log) else {
            return;
        };
        let sessions = &self.sessions;
        damaged.tried.retain(|id| sessions.contains_key(id));
        if damaged.asked.is_some_and(|id| sessions.contains_key(&id)) {
            return;
        }
        let free = self.sessions.values_mut().find(|session| {
            session.is_introduced()
                && session.repair.asked.is_none()
                && !damaged.tried.contains(&session.id)
        });
        damaged.asked = free.as_ref().map(|session| session.id);
        if let Some(session) = free {
            let from = damaged.from;
            session.repair.asked = Some(Asked {
                log,
                from,
                is_branch: false,
            });
            session.send(&Message::Ask { log, from }, &mut self.effects);
        }
    }

    /// Answers a peer's question, from the store.
    pub(super) fn answer_look(&mut self, id: SessionId, look: Look) -> Result<(), CloseReason> {
        let Some(session) = self.sessions.get_mut(&id) else {
            return Ok(());
        };
        let talk = &mut session.repair;
        if talk.answering || talk.answered >= ANSWERS_MAX {
            return Err(Breach::Flood.of("more questions than are answered"));
        }
        talk.answering = true;
        talk.answered += 1;
        self.effects.push_back(Effect::Look {
            session: id,
            for_peer: true,
            look,
        });
        Ok(())
    }

    /// Reads a log through for what is damaged, and for our side of an inquiry.
    pub(super) fn look(&mut self, id: SessionId, log: LogId, seqs: Vec<u64>) {
        self.effects.push_back(Effect::Look {
            session: id,
            for_peer: false,
            look: Look::Tags { log, seqs },
        });
    }

    pub(super) fn on_looked(
        &mut self,
        id: SessionId,
        for_peer: bool,
        result: Result<Found, String>,
    ) {
        let found = match result {
            Ok(found) => found,
            Err(why) => {
                if !for_peer {
                    // Nobody knows which log it was about: any may be read through again.
                    self.damage.looking.clear();
                }
                return self.close(id, &CloseReason::Store(why));
            }
        };
        if for_peer {
            return self.tell_found(id, found);
        }
        let Found::Tags { log, rows, damaged } = found else {
            return;
        };
        self.damage.looking.remove(&log);
        match damaged {
            Some(from) => self.note_damage(Dot::new(log, from)),
            None => {
                self.note_whole(log);
                self.lift_mended(&log);
            }
        }
        if damaged.is_none() {
            self.on_own_tags(id, log, rows);
        }
    }

    fn tell_found(&mut self, id: SessionId, found: Found) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.repair.answering = false;
        let answer = match found {
            Found::Run { log, run } => Message::Given { log, run },
            Found::Tags { log, rows, .. } => Message::Tags { log, rows },
        };
        session.send(&answer, &mut self.effects);
    }

    /// A log that was damaged reads back whole.
    fn note_whole(&mut self, log: LogId) {
        if self.damage.logs.remove(&log).is_none() {
            return;
        }
        tracing::warn!(%log, "a damaged log is whole again");
        self.inquiries.forget_all();
        self.peers.show_damage(log, None);
        self.close_all(&CloseReason::Repaired);
    }

    pub(super) fn on_given(
        &mut self,
        id: SessionId,
        log: LogId,
        run: Option<Run>,
    ) -> Result<(), CloseReason> {
        let Some(session) = self.sessions.get_mut(&id) else {
            return Ok(());
        };
        let asked = session.repair.asked.take();
        let Some(Asked {
            from, is_branch, ..
        }) = asked.filter(|asked| asked.log == log)
        else {
            return Err(protocol("GIVEN without ASK"));
        };
        let is_fitting =
            |run: &Run| run.header.log == log && run.from == from && run.last() <= SEQ_MAX;
        let run = run.filter(is_fitting);
        let is_damaged = |damaged: &Damaged| damaged.from == from;
        if is_branch {
            self.on_branch(id, log, run);
        } else if self.damage.logs.get(&log).is_some_and(is_damaged) {
            match run {
                Some(run) => {
                    let batch = Batch::Repair(id, Box::new(Repair::Mend(run)));
                    self.effects.push_back(Effect::Commit(batch));
                }
                None => self.try_another(id, log),
            }
        }
        // This session is free to be asked for another log.
        self.seek_all();
        Ok(())
    }

    fn try_another(&mut self, id: SessionId, log: LogId) {
        if let Some(damaged) = self.damage.logs.get_mut(&log) {
            damaged.asked = None;
            damaged.tried.insert(id);
        }
        self.seek(log);
    }

    pub(super) fn on_repaired(&mut self, repaired: Repaired) {
        let Repaired {
            session,
            log,
            result,
        } = repaired;
        match result {
            Ok(Outcome::Mended { entries }) => {
                self.peers.count_mended(entries);
                if let Some(damaged) = self.damage.logs.get_mut(&log) {
                    damaged.asked = None;
                    if self.damage.mended.len() < MENDED_PLACES_MAX {
                        self.damage.mended.insert(Dot::new(log, damaged.from));
                    }
                }
                if self.damage.looking.insert(log) {
                    let end = self.frontier.durable_seq(&log);
                    self.look(session, log, vec![end]);
                }
            }
            Ok(Outcome::Settled { ends, moved }) => self.on_settled(log, ends, &moved),
            Ok(Outcome::Forked(forked)) => {
                self.on_forked(forked);
                self.end_settling(session, log, true);
            }
            Ok(Outcome::Known) => self.end_settling(session, log, true),
            Err(why) => {
                tracing::warn!(%log, why, "a repair was not made");
                self.end_settling(session, log, false);
                self.try_another(session, log);
            }
        }
    }
}
