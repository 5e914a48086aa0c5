//! The side that answers where one side tells its frontier in ranges; see [`super::telling`].
//!
//! Each range is answered at once: which of its rows are held here otherwise, and what else is new here between
//! its ends. What was answered goes into the accord with the teller under the name that the teller gives it when
//! the answer arrives.

use std::collections::BTreeMap;
use std::ops::Bound;

use crdt_schema::ident::{LogId, SpaceName};

use super::Engine;
use super::accord::{Accord, Said};
use super::batch::{CheckpointId, SessionId};
use super::effect::{Breach, CloseReason};
use super::input::Now;
use super::limits::{HANDSHAKE_MS, RANGES_MAX};
use super::session::protocol;
use super::telling::{Way, adopt};
use crate::wire::limits::RANGE_ROWS_MAX;
use crate::wire::message::{Message, RangeRow};

/// The side that answers.
#[derive(Debug, Default)]
pub(super) struct Listener {
    /// What the tags are made with; set once the telling has begun.
    salt: Option<[u8; 8]>,
    /// The space of the last range, and where in it the next one begins; nowhere if it has come to its end.
    place: Option<([u8; 8], Option<LogId>)>,
    ranges: usize,
    answers: u64,
    /// How many entries the peer's HELLO said that it holds.
    pub(super) entries: u64,
}

impl Listener {
    pub(super) fn new(entries: u64) -> Self {
        Self {
            entries,
            ..Self::default()
        }
    }

    /// Moves on over a range. Returns the salt, and the log after which the range begins if that is not the
    /// beginning of its space.
    fn advance(
        &mut self,
        space: [u8; 8],
        ends: bool,
        rows: &[RangeRow],
    ) -> Result<([u8; 8], Option<LogId>), CloseReason> {
        let Some(salt) = self.salt else {
            return Err(protocol("RANGE before TELL"));
        };
        self.ranges += 1;
        if self.ranges > RANGES_MAX {
            return Err(Breach::Flood.of("more ranges than may be"));
        }
        let after = match self.place {
            Some((last, after @ Some(_))) if last == space => after,
            Some((last, None)) if last < space => None,
            None => None,
            Some(_) => {
                return Err(
                    Breach::LyingFrontier.of("RANGE of a space that has not come or has passed")
                );
            }
        };
        let (first, last) = (rows.first(), rows.last());
        if last.is_none() && !ends {
            return Err(Breach::LyingFrontier.of("RANGE that does not get on"));
        }
        if first.is_some_and(|row| after.is_some_and(|after| row.log <= after)) {
            return Err(Breach::LyingFrontier.of("RANGE that goes back"));
        }
        self.place = Some((space, last.map(|row| row.log).filter(|_| !ends)));
        Ok((salt, after))
    }
}

/// The answer to a range.
struct Answer {
    /// The rows of the range that are otherwise here, by index.
    differs: Vec<(u64, u64)>,
    /// What else is new here.
    news: Vec<RangeRow>,
    /// What both have said of the rows of the range.
    said: Vec<(LogId, Said)>,
}

impl Engine {
    pub(super) fn on_tell(
        &mut self,
        now: Now,
        id: SessionId,
        salt: [u8; 8],
        base: Option<CheckpointId>,
    ) -> Result<(), CloseReason> {
        let Some(session) = self.sessions.get_mut(&id) else {
            return Ok(());
        };
        session.deadline_ms = now.mono_ms + HANDSHAKE_MS;
        let device = session.device;
        let Some(Way::Listens(listener)) = session.way() else {
            return Err(protocol("TELL out of turn"));
        };
        if listener.salt.replace(salt).is_some() {
            return Err(protocol("TELL a second time"));
        }
        let entries = base.map(|_| listener.entries);
        match base {
            Some(base) if !self.recall(&device, base) => {
                self.forget_common_ground(&device);
                return Err(CloseReason::GroundLost);
            }
            Some(_) => {}
            None => {
                let name = self.accord_id(&salt, 0);
                self.accords.keep(device, Accord::new(name));
            }
        }
        let said: Vec<_> = self
            .accords
            .get(&device)
            .into_iter()
            .flat_map(Accord::rows)
            .collect();
        if let Some(session) = self.sessions.get_mut(&id) {
            adopt(session, &said, entries);
        }
        Ok(())
    }

    pub(super) fn on_range(
        &mut self,
        now: Now,
        id: SessionId,
        space: [u8; 8],
        ends: bool,
        rows: &[RangeRow],
    ) -> Result<(), CloseReason> {
        let Some(session) = self.sessions.get_mut(&id) else {
            return Ok(());
        };
        session.deadline_ms = now.mono_ms + HANDSHAKE_MS;
        let device = session.device;
        let Some(Way::Listens(listener)) = session.way() else {
            return Err(protocol("RANGE out of turn"));
        };
        let (salt, after) = listener.advance(space, ends, rows)?;
        let told = self.space_told(&space);
        for row in rows {
            let is_fork = self.is_other(&salt, row);
            self.place(id, &told, row.log, row.seq, is_fork)?;
        }
        let answer = match self.accords.get(&device) {
            Some(accord) => self.answer_range(accord, &salt, space, (after, ends), rows),
            // It had to make room for others: everything is new.
            None => self.answer_range(&Accord::new(salt), &salt, space, (after, ends), rows),
        };
        self.send_answer(id, &salt, answer);
        Ok(())
    }

    fn answer_range(
        &self,
        accord: &Accord,
        salt: &[u8; 8],
        space: [u8; 8],
        (after, ends): (Option<LogId>, bool),
        rows: &[RangeRow],
    ) -> Answer {
        let named: BTreeMap<LogId, u64> = rows.iter().map(|row| (row.log, row.seq)).collect();
        let mut differs = Vec::new();
        let mut said = Vec::with_capacity(rows.len());
        for (index, row) in (0..).zip(rows) {
            let (ours, theirs) = (self.frontier.durable_seq(&row.log), row.seq);
            if ours != theirs || self.is_other(salt, row) {
                differs.push((index, ours));
            }
            said.push((row.log, Said { ours, theirs }));
        }
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let to = match rows.last() {
            Some(row) if !ends => Bound::Included(row.log),
            Some(_) | None => Bound::Unbounded,
        };
        let space = self.space_of(&space);
        let ours = space
            .into_iter()
            .flat_map(|space| self.frontier.durable_between(space, (from, to)));
        let news = ours
            .filter(|(id, log)| !named.contains_key(*id) && accord.is_news(id, log.durable.seq));
        let news = news.map(|(id, log)| self.range_row(salt, id, log));
        Answer {
            differs,
            news: news.collect(),
            said,
        }
    }

    /// Our space of this tag.
    pub(super) fn space_of(&self, tag: &[u8; 8]) -> Option<&SpaceName> {
        self.frontier
            .spaces()
            .find(|space| self.space_tag(space) == *tag)
    }

    fn send_answer(&mut self, id: SessionId, salt: &[u8; 8], answer: Answer) {
        let Answer {
            mut differs,
            news,
            mut said,
        } = answer;
        let mut pieces = news.chunks(RANGE_ROWS_MAX);
        let mut piece = pieces.next().unwrap_or_default();
        loop {
            let next = pieces.next();
            let Some(session) = self.sessions.get_mut(&id) else {
                return;
            };
            let device = session.device;
            let Some(Way::Listens(listener)) = session.way() else {
                return;
            };
            listener.answers += 1;
            let answers = listener.answers;
            let ours = said.iter().map(|(log, said)| (*log, said.ours));
            session.told.extend(ours.filter(|(_, seq)| *seq > 0));
            let news = piece.iter().map(|row| (row.log, row.seq));
            session.told.extend(news);
            let message = Message::Answer {
                more: next.is_some(),
                differs: std::mem::take(&mut differs),
                rows: piece.to_vec(),
            };
            session.send(&message, &mut self.effects);

            let name = self.accord_id(salt, answers);
            if let Some(accord) = self.accords.get_mut(&device) {
                said.extend(piece.iter().map(|row| {
                    let theirs = accord.said(&row.log).theirs;
                    let ours = row.seq;
                    (row.log, Said { ours, theirs })
                }));
                accord.note(name, std::mem::take(&mut said).into_iter());
            }
            match next {
                Some(next) => piece = next,
                None => return,
            }
        }
    }
}
