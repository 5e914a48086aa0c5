//! Which entries are next in one session: a lane for each space, and what may overtake them.
//!
//! Dependencies stay inside a space, so spaces are sent independently of each other, frame by frame: mostly the
//! one that is soonest done, and every few turns the one that has waited longest, so that small spaces do not
//! wait for large ones and no space waits for ever. Inside a space the arrival order holds, with two exceptions:
//! - What this device has just written goes ahead of everything, even while the peer is to be sent nothing
//!   else: a person's edit is not to wait for what is relayed. If its causes have not been sent, it goes
//!   behind them in its space.
//! - Before much is sent, what the peer lacks of logs of which it lacks little goes ahead: an answer to a
//!   review, or what a person in the field has written today. Each is tried once; what waits for its causes
//!   goes in its turn.
//!
//! Nothing else may overtake: entries go out as prefixes of their logs and behind their causes, so a log's old
//! bulk goes before its newest entry. This module knows arrivals and counts, and neither runs nor windows.

use std::collections::{BTreeMap, VecDeque};

use crdt_schema::ident::{LogId, SpaceName};

use super::batch::{Arrival, Run, Walk};
use super::limits::{BULK_ENTRIES_MIN, SHORT_ENTRIES_MAX, SHORT_LOGS_MAX, TURNS_PER_WAIT};
use crate::mutation::{Mutation, is_planted};

/// Our own logs that go ahead, and the space of each.
pub(super) type Fresh = BTreeMap<LogId, SpaceName>;

/// What one fetch is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// What comes next in a space.
    Space { space: SpaceName, after: Arrival },
    /// What this device has just written.
    Fresh(Fresh),
    /// Logs of which the peer lacks little.
    Short(Vec<LogId>),
}

impl Turn {
    /// What the store is to read.
    pub(super) fn walk(&self) -> Walk {
        match self {
            Self::Space { space, after } => Walk::Space {
                space: space.clone(),
                after: *after,
            },
            Self::Fresh(logs) => Walk::Logs(logs.keys().copied().collect()),
            Self::Short(logs) => Walk::Logs(logs.clone()),
        }
    }

    /// Whether a read that left something to be read has brought this turn on.
    pub(super) fn gets_on(&self, arrival: Arrival, runs: &[Run]) -> bool {
        match self {
            Self::Space { after, .. } => arrival > *after,
            Self::Fresh(_) | Self::Short(_) => !runs.is_empty(),
        }
    }
}

/// How far one space has been sent.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    /// Every arrival in the space up to here has been sent or is held by the peer.
    cursor: Arrival,
    /// Where to stop.
    target: Arrival,
    /// The target when its last fetch was asked for.
    asked: Arrival,
    /// Which turn was its last.
    turn: u64,
}

/// The lanes of one session.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// Where every lane begins.
    start: Arrival,
    lanes: BTreeMap<SpaceName, Lane>,
    fresh: Fresh,
    /// How many entries the peer lacks of each short log, until it is known whether there is bulk as well.
    candidates: Vec<(u64, LogId)>,
    /// How many entries the peer lacks of all logs.
    lacking: u64,
    short: VecDeque<LogId>,
    turns: u64,
    /// Whether the last turn was one of `fresh`.
    was_fresh: bool,
}

impl Lanes {
    /// Lanes of a session whose peer holds everything up to `start`.
    pub(super) fn from(start: Arrival) -> Self {
        Self {
            start,
            ..Self::default()
        }
    }

    /// Lets a space be sent up to `target`.
    fn aim(&mut self, space: &SpaceName, target: Arrival) {
        let start = self.start;
        if !self.lanes.contains_key(space) {
            let lane = Lane {
                cursor: start,
                ..Lane::default()
            };
            self.lanes.insert(space.clone(), lane);
        }
        if let Some(lane) = self.lanes.get_mut(space) {
            lane.target = target;
        }
    }

    /// Lets a space be sent up to `target` if the peer lacks anything of it. `lacking` tells how much of each
    /// of its logs.
    pub(super) fn aim_at(
        &mut self,
        space: &SpaceName,
        lacking: impl Iterator<Item = (LogId, u64)>,
        target: Arrival,
    ) {
        let before = self.lacking;
        for (log, entries) in lacking {
            self.lacking += entries;
            if (1..=SHORT_ENTRIES_MAX).contains(&entries) {
                self.candidates.push((entries, log));
            }
        }
        if self.lacking > before {
            self.aim(space, target);
        }
    }

    /// Lets short logs overtake, if there is anything long to overtake.
    pub(super) fn choose_short(&mut self) {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.sort_unstable();
        self.short.clear();
        if std::mem::take(&mut self.lacking) >= BULK_ENTRIES_MIN {
            self.short
                .extend(candidates.into_iter().map(|(_, log)| log));
        }
    }

    /// Lets what this device has just written overtake, unless the peer lacks too much of that log.
    pub(super) fn overtake(
        &mut self,
        log: LogId,
        space: &SpaceName,
        lacking: u64,
        target: Arrival,
    ) {
        if lacking <= SHORT_ENTRIES_MAX {
            self.fresh.insert(log, space.clone());
        } else {
            self.aim(space, target);
        }
    }

    /// The next turn of what this device has just written. If anything else may have a turn, it has every
    /// second one at least: whoever writes without end does not keep the rest back.
    pub(super) fn fresh_turn(&mut self, may_others: bool) -> Option<Turn> {
        let yields = may_others && std::mem::take(&mut self.was_fresh) && self.has_others();
        if yields || self.fresh.is_empty() {
            return None;
        }
        self.was_fresh = true;
        Some(Turn::Fresh(std::mem::take(&mut self.fresh)))
    }

    fn has_others(&self) -> bool {
        !self.short.is_empty() || self.lanes.values().any(|lane| lane.cursor < lane.target)
    }

    /// The next turn of anything else. `lacking` tells how many entries of a space the peer lacks.
    pub(super) fn next_turn(&mut self, lacking: impl Fn(&SpaceName) -> u64) -> Option<Turn> {
        if !self.short.is_empty() {
            let some = self.short.len().min(SHORT_LOGS_MAX);
            return Some(Turn::Short(self.short.drain(..some).collect()));
        }
        let is_due = |(_, lane): &(_, &Lane)| lane.cursor < lane.target;
        let due = self.lanes.iter().filter(is_due);
        let due: Vec<&SpaceName> = due.map(|(space, _)| space).collect();
        let chosen = match due[..] {
            [] => None,
            [one] => Some(one),
            _ if self.turns % TURNS_PER_WAIT == TURNS_PER_WAIT - 1 => due
                .into_iter()
                .min_by_key(|space| self.lanes.get(*space).map(|lane| lane.turn)),
            _ => due.into_iter().min_by_key(|space| lacking(space)),
        };
        let space = chosen?.clone();
        let lane = self.lanes.get_mut(&space)?;
        self.turns += 1;
        (lane.turn, lane.asked) = (self.turns, lane.target);
        let after = lane.cursor;
        Some(Turn::Space { space, after })
    }

    /// Notes how far a fetch has come. The end that it saw is the store's end at the time it was asked for: a
    /// target that was set since lies beyond it and still has to be reached.
    pub(super) fn reach(&mut self, space: &SpaceName, arrival: Arrival, end: bool) {
        if let Some(lane) = self.lanes.get_mut(space) {
            lane.cursor = arrival.max(lane.cursor);
            if end && (lane.target == lane.asked || is_planted(Mutation::PushSkipped)) {
                lane.target = lane.target.min(lane.cursor);
            }
        }
    }

    /// Notes what of a turn is still to be sent: next if there was no room for it, and in the turn of its space
    /// if its causes have not been sent.
    pub(super) fn end_fresh(
        &mut self,
        logs: Fresh,
        lacks: impl Fn(&LogId) -> bool,
        end: bool,
        target: Arrival,
    ) {
        for (log, space) in logs {
            if !lacks(&log) || self.fresh.contains_key(&log) {
                continue;
            }
            if end {
                self.aim(&space, target);
            } else {
                self.fresh.insert(log, space);
            }
        }
    }

    /// Notes what of a turn there was no room for.
    pub(super) fn end_short(
        &mut self,
        logs: Vec<LogId>,
        lacks: impl Fn(&LogId) -> bool,
        end: bool,
    ) {
        if !end {
            let rest = logs.into_iter().filter(lacks).rev();
            rest.for_each(|log| self.short.push_front(log));
        }
    }
}
