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

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogId = LogId([1; 16]);

    fn space(name: &str) -> SpaceName {
        SpaceName::new(name).expect("a space name")
    }

    /// Lanes of spaces with so many entries each, all of which the peer lacks.
    fn lanes(spaces: &[(&str, u64)]) -> (Lanes, BTreeMap<SpaceName, u64>) {
        let mut lanes = Lanes::from(0);
        for (number, (name, entries)) in (1..).zip(spaces) {
            let log = LogId([number; 16]);
            lanes.aim_at(&space(name), std::iter::once((log, *entries)), 1_000_000);
        }
        lanes.choose_short();
        let left = spaces.iter().map(|(name, entries)| (space(name), *entries));
        (lanes, left.collect())
    }

    /// Takes turns of 100 entries until all is sent. Returns the spaces in the order of their turns.
    fn play((mut lanes, mut left): (Lanes, BTreeMap<SpaceName, u64>)) -> Vec<String> {
        let mut turns = Vec::new();
        while let Some(turn) = lanes.next_turn(|space| left[space]) {
            let Turn::Space { space, after } = turn else {
                continue;
            };
            let rest = left.entry(space.clone()).or_default();
            *rest = rest.saturating_sub(100);
            lanes.reach(&space, after + 100, *rest == 0);
            turns.push(space.as_str().to_owned());
        }
        turns
    }

    #[test]
    fn a_space_with_little_to_send_is_done_early_and_no_space_waits_for_ever() {
        let turns = play(lanes(&[("a", 5_000), ("b", 300), ("c", 1_000)]));

        let last = |name: &str| turns.iter().rposition(|turn| turn == name).expect("a turn");
        assert!(last("b") <= 4, "{turns:?}");
        assert!(last("c") <= 20, "{turns:?}");
        let mut waits = turns.split(|turn| turn == "a").map(<[_]>::len);
        assert!(waits.all(|wait| wait < 12), "{turns:?}");
        assert_eq!(turns.len(), 63);
    }

    #[test]
    fn a_commit_during_a_fetch_is_still_sent_after_it() {
        let main = space("main");
        let mut lanes = Lanes::from(0);
        lanes.aim(&main, 1);
        assert!(lanes.next_turn(|_| 1).is_some());
        // More is aimed at while the store is still reading what it held before.
        lanes.aim(&main, 2);

        lanes.reach(&main, 1, true);

        let turn = lanes.next_turn(|_| 1);
        assert!(
            matches!(turn, Some(Turn::Space { after: 1, .. })),
            "{turn:?}"
        );
        lanes.reach(&main, 2, true);
        assert_eq!(lanes.next_turn(|_| 0), None);
    }

    #[test]
    fn what_is_written_now_goes_first_and_leaves_every_second_turn_to_the_rest() {
        let (mut lanes, left) = lanes(&[("main", 5_000)]);
        let mut kinds = Vec::new();
        for _ in 0..6 {
            lanes.overtake(LOG, &space("main"), 1, 1_000_000);
            let turn = lanes.fresh_turn(true);
            let turn = turn.or_else(|| lanes.next_turn(|space| left[space]));
            kinds.push(matches!(turn, Some(Turn::Fresh(_))));
        }

        assert_eq!(kinds, [true, false, true, false, true, false]);
        assert!(lanes.fresh_turn(false).is_some());
        lanes.overtake(LOG, &space("main"), 1, 1_000_000);
        assert!(lanes.fresh_turn(false).is_some(), "nothing else may go");
    }

    #[test]
    fn what_cannot_overtake_goes_in_the_turn_of_its_space() {
        let mut lanes = Lanes::from(7);
        lanes.overtake(LOG, &space("main"), 1, 9);
        let Some(Turn::Fresh(logs)) = lanes.fresh_turn(true) else {
            panic!("no turn");
        };
        assert_eq!(lanes.next_turn(|_| 1), None);

        lanes.end_fresh(logs, |_| true, true, 9);

        let turn = lanes.next_turn(|_| 1);
        assert!(
            matches!(turn, Some(Turn::Space { after: 7, .. })),
            "{turn:?}"
        );
    }

    #[test]
    fn short_logs_overtake_only_where_there_is_bulk() {
        let few = |spaces: &[(&str, u64)]| lanes(spaces).0.short.len();

        assert_eq!(few(&[("a", 3), ("b", 900)]), 0);
        assert_eq!(few(&[("a", 3), ("b", 9_000), ("c", 32), ("d", 33)]), 2);
    }
}
