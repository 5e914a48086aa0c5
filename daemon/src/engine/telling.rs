//! Telling a frontier where no checkpoint is common: one side tells it in ranges, the other answers what it
//! holds otherwise.
//!
//! The side with fewer entries tells, so that the other, which has more to send, knows first what is lacking;
//! both see from the two HELLOs which it is. It tells space by space, ascending by log, what is new since the
//! accord of the two (see [`super::accord`]); after each answer the accord holds that range as well. So a link
//! that drops costs the answers that were under way, and the next session tells only what is left and what has
//! moved. Entries leave when everything is told: they go in the order of their arrival, causes first, and what
//! the receiver may lack can lie in any range.
//!
//! Log ids are told whole, so a row is never taken for one of another log, whoever made up the ids. Chain tags
//! are short and of one telling only, see [`crate::wire::chain::JoinSecret::row_tag`]. A fork that they miss is
//! found by the chain when either branch grows, and until then the roots differ and no checkpoint is made.

use std::collections::{BTreeMap, VecDeque};

use crdt_schema::ident::{DeviceId, LogId, SpaceName};
use rand_chacha::rand_core::RngCore;

use super::Engine;
use super::accord::{Accord, Said};
use super::batch::{CheckpointId, SessionId};
use super::effect::{Breach, CloseReason};
use super::frontier::Log;
use super::input::Now;
use super::limits::HANDSHAKE_MS;
use super::listening::Listener;
use super::session::{Phase, Session};
use crate::mutation::{Mutation, is_planted};
use crate::wire::limits::RANGE_ROWS_MAX;
use crate::wire::message::{Hello, Message, RangeRow};

/// How the frontiers are told in an opening.
#[derive(Debug)]
pub(super) enum Way {
    /// Both sides tell in FRONT what has moved since a checkpoint, or nothing differs.
    Fronts,
    /// This side tells.
    Tells(Teller),
    /// The peer tells.
    Listens(Listener),
}

impl Session {
    /// How the frontiers are told, while they are.
    pub(super) fn way(&mut self) -> Option<&mut Way> {
        match &mut self.phase {
            Phase::Opening { way, .. } => Some(way),
            Phase::Greeting(_) | Phase::Live => None,
        }
    }
}

/// The side that tells.
#[derive(Debug)]
pub(super) struct Teller {
    salt: [u8; 8],
    /// How many answers have come.
    answers: u64,
    /// The ranges whose answer is not complete, oldest first.
    pending: VecDeque<Told>,
}

impl Teller {
    pub(super) fn is_answered(&self) -> bool {
        self.pending.is_empty()
    }
}

/// A range that was told.
#[derive(Debug)]
struct Told {
    space: [u8; 8],
    rows: Vec<(LogId, u64)>,
    /// The answer goes on after this log.
    after: Option<LogId>,
    /// The last log of the range, unless it goes on to the end of its space.
    to: Option<LogId>,
    /// Whether a part of the answer has come.
    is_begun: bool,
}

impl Told {
    /// Takes note of a part of the answer, if it is one.
    fn answer(
        &mut self,
        more: bool,
        differs: &[(u64, u64)],
        rows: &[RangeRow],
    ) -> Result<(), CloseReason> {
        if self.is_begun && !differs.is_empty() || more && rows.is_empty() {
            return Err(Breach::LyingFrontier.of("ANSWER in pieces that say nothing"));
        }
        if differs
            .iter()
            .any(|(index, _)| *index >= self.rows.len() as u64)
        {
            return Err(Breach::LyingFrontier.of("ANSWER names a row that was not told"));
        }
        let is_outside = |row: &RangeRow| {
            self.after.is_some_and(|after| row.log <= after)
                || self.to.is_some_and(|to| row.log > to)
        };
        if rows.iter().any(is_outside) {
            return Err(Breach::LyingFrontier.of("ANSWER outside its range"));
        }
        self.is_begun = true;
        self.after = rows.last().map(|row| row.log).or(self.after);
        Ok(())
    }
}

/// A row of the peer's, as an answer says it.
struct Heard {
    log: LogId,
    seq: u64,
    is_fork: bool,
}

impl Engine {
    /// What a telling to this peer builds on: the accord that its HELLO names if we know it; ours, if the peer
    /// has heard more than we know; a checkpoint; or nothing. It is kept as the accord with the peer.
    fn choose_base(&mut self, peer: &DeviceId, hello: &Hello, salt: &[u8; 8]) {
        let named = hello.accord;
        if named.is_some_and(|id| self.recall(peer, id))
            || named.is_some() && self.accords.get(peer).is_some()
            || hello.checkpoints.iter().any(|id| self.recall(peer, *id))
        {
            return;
        }
        let id = self.accord_id(salt, 0);
        self.accords.keep(*peer, Accord::new(id));
    }

    /// Goes back to the accord or the checkpoint of this name with a peer. Returns whether it is known.
    pub(super) fn recall(&mut self, peer: &DeviceId, id: CheckpointId) -> bool {
        let accord = self.accords.get_mut(peer);
        if accord.is_some_and(|accord| accord.return_to(id)) {
            return true;
        }
        let usable = self.usable_checkpoints(peer);
        let Some(checkpoint) = usable.iter().find(|kept| kept.id == id) else {
            return false;
        };
        self.accords.keep(*peer, Accord::at(checkpoint));
        true
    }

    pub(super) fn accord_id(&self, salt: &[u8; 8], answers: u64) -> CheckpointId {
        let (secret, organisation) = (&self.config.join_secret, &self.config.organisation);
        secret.accord_id(organisation, salt, answers)
    }

    /// How one of our logs stands, as a telling says it.
    pub(super) fn range_row(&self, salt: &[u8; 8], id: &LogId, log: &Log) -> RangeRow {
        RangeRow {
            log: *id,
            seq: log.durable.seq,
            tag: self.short_tag(salt, &log.durable.chain),
        }
    }

    /// Whether a row of a telling shows another history of a log than ours, at the same place.
    pub(super) fn is_other(&self, salt: &[u8; 8], row: &RangeRow) -> bool {
        self.forks(&row.log, row.seq, |chain| {
            self.short_tag(salt, chain) != row.tag
        })
    }

    fn short_tag(&self, salt: &[u8; 8], chain: &[u8; 32]) -> [u8; 4] {
        let (secret, organisation) = (&self.config.join_secret, &self.config.organisation);
        secret.row_tag(organisation, salt, chain)
    }

    /// Tells a peer our frontier in the spaces that differ, all ranges at once.
    pub(super) fn tell(
        &mut self,
        id: SessionId,
        hello: &Hello,
        spaces: &BTreeMap<[u8; 8], Option<SpaceName>>,
    ) {
        let Some(device) = self.sessions.get(&id).map(|session| session.device) else {
            return;
        };
        let mut salt = [0; 8];
        self.rng.fill_bytes(&mut salt);
        self.choose_base(&device, hello, &salt);
        let Some(accord) = self.accords.get(&device) else {
            return;
        };
        let base = accord.id();
        let said: Vec<(LogId, Said)> = accord.rows().collect();
        let ranges = self.ranges(accord, &salt, spaces);

        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        adopt(session, &said, base.map(|_| super::greeting::count(hello)));
        session.send(&Message::Tell { salt, base }, &mut self.effects);
        let mut pending = VecDeque::with_capacity(ranges.len());
        let mut last: Option<([u8; 8], LogId)> = None;
        for (space, ends, rows) in ranges {
            let told: Vec<(LogId, u64)> = rows.iter().map(|row| (row.log, row.seq)).collect();
            session.told.extend(told.iter().copied());
            let to = rows.last().map(|row| row.log);
            let after = last.filter(|(tag, _)| *tag == space).map(|(_, log)| log);
            last = to.map(|to| (space, to));
            pending.push_back(Told {
                space,
                rows: told,
                after,
                to: to.filter(|_| !ends),
                is_begun: false,
            });
            session.send(&Message::Range { space, ends, rows }, &mut self.effects);
        }
        if let Some(way) = session.way() {
            *way = Way::Tells(Teller {
                salt,
                answers: 0,
                pending,
            });
        }
    }

    /// Every range to be told: the tag of its space, whether it ends it, and its rows. A space that only the
    /// peer has is one range without rows.
    fn ranges(
        &self,
        accord: &Accord,
        salt: &[u8; 8],
        spaces: &BTreeMap<[u8; 8], Option<SpaceName>>,
    ) -> Vec<([u8; 8], bool, Vec<RangeRow>)> {
        let mut ranges = Vec::new();
        for (tag, space) in spaces {
            let ours = space
                .iter()
                .flat_map(|space| self.frontier.durable_in(space));
            let news = ours.filter(|(id, log)| accord.is_news(id, log.durable.seq));
            let mut rows: Vec<RangeRow> = news
                .map(|(id, log)| self.range_row(salt, id, log))
                .collect();
            while rows.len() > RANGE_ROWS_MAX {
                let rest = rows.split_off(RANGE_ROWS_MAX);
                ranges.push((*tag, false, std::mem::replace(&mut rows, rest)));
            }
            ranges.push((*tag, true, rows));
        }
        ranges
    }

    pub(super) fn on_answer(
        &mut self,
        now: Now,
        id: SessionId,
        more: bool,
        differs: &[(u64, u64)],
        rows: &[RangeRow],
    ) -> Result<(), CloseReason> {
        let Some(session) = self.sessions.get_mut(&id) else {
            return Ok(());
        };
        session.deadline_ms = now.mono_ms + HANDSHAKE_MS;
        let device = session.device;
        let Some(Way::Tells(teller)) = session.way() else {
            return Err(Breach::LyingFrontier.of("ANSWER to what was not told"));
        };
        let Some(range) = teller.pending.front_mut() else {
            return Err(Breach::LyingFrontier.of("ANSWER to what was not told"));
        };
        let space = range.space;
        let told = match range.is_begun {
            true => Vec::new(),
            false => range.rows.clone(),
        };
        range.answer(more, differs, rows)?;
        if !more {
            teller.pending.pop_front();
        }
        teller.answers += 1;
        let (salt, answers) = (teller.salt, teller.answers);

        let heard = self.heard(&salt, &told, differs, rows);
        let name = self.accord_id(&salt, answers);
        if let Some(accord) = self.accords.get_mut(&device) {
            let told: BTreeMap<LogId, u64> = told.into_iter().collect();
            let said = |heard: &Heard| {
                let before = accord.said(&heard.log).ours;
                let ours = told.get(&heard.log).copied().unwrap_or(before);
                let theirs = heard.seq;
                (heard.log, Said { ours, theirs })
            };
            let said: Vec<_> = heard.iter().map(said).collect();
            accord.note(name, said.into_iter());
        }
        let space = self.space_told(&space);
        for heard in heard {
            self.place(id, &space, heard.log, heard.seq, heard.is_fork)?;
        }
        Ok(())
    }

    /// What an answer to these rows says of the peer's.
    fn heard(
        &self,
        salt: &[u8; 8],
        told: &[(LogId, u64)],
        differs: &[(u64, u64)],
        rows: &[RangeRow],
    ) -> Vec<Heard> {
        let differs: BTreeMap<u64, u64> = differs.iter().copied().collect();
        let told = (0..).zip(told).map(|(index, (log, told))| {
            let other = differs.get(&index);
            Heard {
                log: *log,
                seq: *other.unwrap_or(told),
                is_fork: other == Some(told) && !is_planted(Mutation::ForkUnseen),
            }
        });
        let more = rows.iter().map(|row| Heard {
            log: row.log,
            seq: row.seq,
            is_fork: self.is_other(salt, row),
        });
        told.chain(more).collect()
    }
}

/// Begins an opening with what both have said before. What their HELLOs showed to be equal is newer.
pub(super) fn adopt(session: &mut Session, said: &[(LogId, Said)], entries: Option<u64>) {
    let Phase::Opening { held, count, .. } = &mut session.phase else {
        return;
    };
    *count = entries;
    for (log, said) in said {
        if said.theirs > 0 && !held.contains_key(log) {
            held.insert(*log, said.theirs);
        }
        if said.ours > 0 && !session.told.contains_key(log) {
            session.told.insert(*log, said.ours);
        }
    }
}
