//! How far logs are held: a map that costs nothing to copy, because copies share what they have in common.
//!
//! Every session remembers several frontiers that differ from one another in a few rows: what we held, what the
//! peer holds, what it was told, what both agreed on. Here a copy is one pointer, a changed row copies the path
//! to it, and two maps that come from one are compared by looking only at what they do not share.
//!
//! Invariants:
//! - Rows are ascending by log, whatever the order in which they came.
//! - The number of entries is the sum of the rows, modulo 2^64; rows within the engine's limits stay far below.
//!
//! It does not know whose logs these are, nor what a row of 0 would mean: none is made by the engine.

use std::fmt;
use std::ops::Index;

use crdt_schema::ident::{Dot, LogId};
use imbl::OrdMap;
use imbl::ordmap::{DiffItem, Iter};

/// Log → highest sequence number held.
#[derive(Clone, Default)]
pub struct Held {
    rows: OrdMap<LogId, u64>,
    entries: u64,
}

impl Held {
    /// Holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many logs are held.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no log is held.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many entries all logs have together.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The row of a log.
    pub fn get(&self, log: &LogId) -> Option<&u64> {
        self.rows.get(log)
    }

    /// How far a log is held: 0 if it is not.
    pub fn seq(&self, log: &LogId) -> u64 {
        self.get(log).copied().unwrap_or(0)
    }

    /// Whether an entry is held.
    pub fn holds(&self, dot: &Dot) -> bool {
        self.get(&dot.log).is_some_and(|&seq| dot.seq <= seq)
    }

    /// Whether a log has a row.
    pub fn contains_key(&self, log: &LogId) -> bool {
        self.rows.contains_key(log)
    }

    /// Whether two maps are one in memory.
    pub fn is_shared_with(&self, other: &Self) -> bool {
        self.rows.ptr_eq(&other.rows)
    }

    /// Sets the row of a log, and gives the one before.
    pub fn insert(&mut self, log: LogId, seq: u64) -> Option<u64> {
        let before = self.rows.insert(log, seq);
        let without = self.entries.wrapping_sub(before.unwrap_or(0));
        self.entries = without.wrapping_add(seq);
        before
    }

    /// Sets the row of a log, unless it is held as far already.
    pub fn raise(&mut self, log: LogId, seq: u64) {
        if self.get(&log).is_none_or(|held| *held < seq) {
            self.insert(log, seq);
        }
    }

    /// Sets how far a log is held; 0 takes its row out.
    pub fn set(&mut self, log: LogId, seq: u64) {
        match seq {
            0 => self.remove(&log),
            seq => self.insert(log, seq),
        };
    }

    /// Takes the row of a log out.
    pub fn remove(&mut self, log: &LogId) -> Option<u64> {
        let before = self.rows.remove(log);
        self.entries = self.entries.wrapping_sub(before.unwrap_or(0));
        before
    }

    /// The rows, ascending by log.
    pub fn iter(&self) -> Iter<'_, LogId, u64, imbl::shared_ptr::DefaultSharedPtr> {
        self.rows.iter()
    }

    /// The logs, ascending.
    pub fn keys(&self) -> impl Iterator<Item = &LogId> {
        self.rows.keys()
    }

    /// The logs that two maps hold differently, ascending, with how far this one and the other holds each. Takes
    /// time for what they do not share.
    pub fn differences<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (LogId, u64, u64)> + 'a {
        self.rows.diff(&other.rows).map(|item| match item {
            DiffItem::Add(log, theirs) => (*log, 0, *theirs),
            DiffItem::Remove(log, ours) => (*log, *ours, 0),
            DiffItem::Update {
                old: (log, ours),
                new: (_, theirs),
            } => (*log, *ours, *theirs),
        })
    }

    /// How many entries this one has that the other lacks.
    pub fn beyond(&self, other: &Self) -> u64 {
        let rows = self.differences(other);
        let more = rows.map(|(_, ours, theirs)| ours.saturating_sub(theirs));
        more.fold(0, u64::saturating_add)
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        let is_alike = self.entries == other.entries && self.len() == other.len();
        is_alike && (self.is_shared_with(other) || self.rows.diff(&other.rows).next().is_none())
    }
}

impl Eq for Held {}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl Index<&LogId> for Held {
    type Output = u64;

    fn index(&self, log: &LogId) -> &u64 {
        &self.rows[log]
    }
}

impl Extend<(LogId, u64)> for Held {
    fn extend<I: IntoIterator<Item = (LogId, u64)>>(&mut self, rows: I) {
        for (log, seq) in rows {
            self.insert(log, seq);
        }
    }
}

impl FromIterator<(LogId, u64)> for Held {
    fn from_iter<I: IntoIterator<Item = (LogId, u64)>>(rows: I) -> Self {
        let mut held = Self::new();
        held.extend(rows);
        held
    }
}

impl<const N: usize> From<[(LogId, u64); N]> for Held {
    fn from(rows: [(LogId, u64); N]) -> Self {
        rows.into_iter().collect()
    }
}

impl<'a> IntoIterator for &'a Held {
    type Item = (&'a LogId, &'a u64);
    type IntoIter = Iter<'a, LogId, u64, imbl::shared_ptr::DefaultSharedPtr>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn log(n: u8) -> LogId {
        LogId([n; 16])
    }

    #[test]
    fn a_copy_does_not_change_with_what_it_was_copied_from() {
        let mut held: Held = (0..200).map(|n| (log(n), 1)).collect();
        let before = held.clone();

        held.insert(log(7), 5);
        held.remove(&log(9));
        held.raise(log(3), 1);

        assert_eq!((before.seq(&log(7)), before.entries()), (1, 200));
        assert_eq!((held.seq(&log(7)), held.entries()), (5, 203));
        let found: Vec<_> = before.differences(&held).collect();
        assert_eq!(found, [(log(7), 1, 5), (log(9), 1, 0)]);
        assert_ne!(before, held);
    }

    #[test]
    fn rows_that_no_honest_device_has_do_not_overflow() {
        let held = Held::from([(log(1), u64::MAX), (log(2), 2)]);

        assert_eq!(held.entries(), 1);
    }

    #[test]
    fn a_row_that_is_set_to_nothing_is_gone() {
        let (first, second) = (Dot::new(log(1), 1), Dot::new(log(1), 2));
        let mut held = Held::new();

        held.set(log(1), 1);
        assert!(held.holds(&first) && !held.holds(&second));

        held.set(log(1), 0);
        assert!(!held.holds(&first));
        assert_eq!(held, Held::new());
    }

    proptest! {
        #[test]
        fn it_is_a_map_and_knows_its_sum_and_its_differences(
            first in prop::collection::vec((0u8..40, 0u64..4), 0..120),
            then in prop::collection::vec((0u8..40, 0u64..4), 0..40),
        ) {
            let change = |held: &mut Held, model: &mut BTreeMap<LogId, u64>, rows: &[(u8, u64)]| {
                for (n, seq) in rows {
                    match seq {
                        0 => assert_eq!(held.remove(&log(*n)), model.remove(&log(*n))),
                        seq => assert_eq!(held.insert(log(*n), *seq), model.insert(log(*n), *seq)),
                    }
                }
            };
            let (mut held, mut model) = (Held::new(), BTreeMap::new());
            change(&mut held, &mut model, &first);
            let (earlier, was) = (held.clone(), model.clone());
            change(&mut held, &mut model, &then);

            prop_assert!(held.iter().eq(model.iter()));
            prop_assert_eq!(held.entries(), model.values().sum::<u64>());
            let seq = |map: &BTreeMap<LogId, u64>, log: &LogId| map.get(log).copied().unwrap_or(0);
            let expected: Vec<_> = (0..40)
                .map(log)
                .map(|log| (log, seq(&was, &log), seq(&model, &log)))
                .filter(|(_, ours, theirs)| ours != theirs)
                .collect();
            let more = expected.iter().map(|(_, ours, theirs)| ours.saturating_sub(*theirs));
            prop_assert_eq!(earlier.beyond(&held), more.sum::<u64>());
            prop_assert_eq!(earlier.differences(&held).collect::<Vec<_>>(), expected);
            prop_assert_eq!(earlier == held, was == model);
            prop_assert_eq!(&held, &model.into_iter().collect::<Held>());
        }
    }
}
