//! What this device and a peer have told each other of their frontiers, answer by answer.
//!
//! An accord grows with every answer of a telling (see [`super::telling`]) and bears another name after each, so
//! that a telling which is cut goes on where it was, in the next session and whoever tells then. It is kept in
//! memory only, and until both sides have agreed on a checkpoint.
//!
//! Invariants:
//! - Two accords of one name are mirror images: what one side has told, the other has heard.
//! - Whoever tells hears of an answer after it was given, so it is never ahead of whoever answers. That side
//!   can take answers back that were lost on their way: [`Accord::return_to`].
//! - An accord says what was told, never what is true now. One whose own rows are beyond what this device
//!   still holds is not used.
//!
//! This module does not know sessions or messages.

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::ident::{DeviceId, LogId};

use super::batch::{Checkpoint, CheckpointId};
use super::limits::ACCORD_ROWS_MAX;

/// How far each side said that it holds a log; 0 if it said nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) ours: u64,
    pub(super) theirs: u64,
}

/// An answer that may have to be taken back.
#[derive(Clone, Debug)]
struct Step {
    /// The name before it.
    id: CheckpointId,
    /// The rows that it changed, as they were.
    before: Vec<(LogId, Said)>,
}

/// What two devices have told each other.
#[derive(Clone, Debug)]
pub(super) struct Accord {
    id: CheckpointId,
    rows: BTreeMap<LogId, Said>,
    /// The answers since the telling began, oldest first.
    steps: Vec<Step>,
    /// Logs of which the two hold different histories: told again every time, until that is settled.
    doubtful: BTreeSet<LogId>,
}

impl Accord {
    /// Nothing has been told.
    pub(super) fn new(id: CheckpointId) -> Self {
        Self {
            id,
            rows: BTreeMap::new(),
            steps: Vec::new(),
            doubtful: BTreeSet::new(),
        }
    }

    /// Both have told that they hold what the checkpoint says.
    pub(super) fn at(checkpoint: &Checkpoint) -> Self {
        let both = |seq| Said {
            ours: seq,
            theirs: seq,
        };
        let rows = checkpoint.rows.iter().map(|(log, seq)| (*log, both(*seq)));
        Self {
            rows: rows.collect(),
            ..Self::new(checkpoint.id)
        }
    }

    /// Its name, unless nothing has been told.
    pub(super) fn id(&self) -> Option<CheckpointId> {
        (!self.rows.is_empty()).then_some(self.id)
    }

    /// What was said of a log.
    pub(super) fn said(&self, log: &LogId) -> Said {
        self.rows.get(log).copied().unwrap_or_default()
    }

    /// Everything that was said, ascending by log.
    pub(super) fn rows(&self) -> impl Iterator<Item = (LogId, Said)> {
        self.rows.iter().map(|(log, said)| (*log, *said))
    }

    /// Whether it is to be told that this side holds a log as far as `seq`.
    pub(super) fn is_news(&self, log: &LogId, seq: u64) -> bool {
        self.said(log).ours != seq || self.doubtful.contains(log)
    }

    /// Has a log told again every time.
    pub(super) fn doubt(&mut self, log: LogId) {
        self.doubtful.insert(log);
    }

    /// Notes an answer: what each side has now said of some logs, and the new name.
    pub(super) fn note(&mut self, id: CheckpointId, said: impl Iterator<Item = (LogId, Said)>) {
        let mut before = Vec::new();
        for (log, said) in said {
            before.push((log, self.said(&log)));
            self.rows.insert(log, said);
        }
        let id = std::mem::replace(&mut self.id, id);
        self.steps.push(Step { id, before });
    }

    /// Takes back every answer after the one that gave this name. Returns `false`, and does nothing, if the
    /// name is not known.
    pub(super) fn return_to(&mut self, id: CheckpointId) -> bool {
        if self.id != id && self.steps.iter().all(|step| step.id != id) {
            return false;
        }
        while self.id != id
            && let Some(step) = self.steps.pop()
        {
            for (log, said) in step.before.into_iter().rev() {
                match said {
                    Said { ours: 0, theirs: 0 } => self.rows.remove(&log),
                    said => self.rows.insert(log, said),
                };
            }
            self.id = step.id;
        }
        // The other side has chosen this name or named it itself, so it will not go back behind it.
        self.steps.clear();
        true
    }

    /// How many rows it keeps in memory.
    fn weight(&self) -> usize {
        let before: usize = self.steps.iter().map(|step| step.before.len() + 1).sum();
        self.rows.len() + before + self.doubtful.len()
    }
}

/// The accords with all peers, bounded.
#[derive(Debug, Default)]
pub(super) struct Accords {
    /// With the time of its last use.
    kept: BTreeMap<DeviceId, (u64, Accord)>,
    /// Counts the uses.
    uses: u64,
}

impl Accords {
    pub(super) fn get(&self, device: &DeviceId) -> Option<&Accord> {
        self.kept.get(device).map(|(_, accord)| accord)
    }

    pub(super) fn get_mut(&mut self, device: &DeviceId) -> Option<&mut Accord> {
        self.kept.get_mut(device).map(|(_, accord)| accord)
    }

    /// Keeps an accord; those that were used longest ago make room for it.
    pub(super) fn keep(&mut self, device: DeviceId, accord: Accord) {
        self.uses += 1;
        self.kept.insert(device, (self.uses, accord));
        let weigh = |kept: &BTreeMap<DeviceId, (u64, Accord)>| -> usize {
            kept.values().map(|(_, accord)| accord.weight()).sum()
        };
        while self.kept.len() > 1 && weigh(&self.kept) > ACCORD_ROWS_MAX {
            let oldest = self.kept.iter().min_by_key(|(_, (used, _))| *used);
            let Some(oldest) = oldest.map(|(device, _)| *device) else {
                return;
            };
            self.kept.remove(&oldest);
        }
    }

    pub(super) fn forget(&mut self, device: &DeviceId) {
        self.kept.remove(device);
    }

    /// Forgets everything: our rows are no longer those that were told.
    pub(super) fn forget_all(&mut self) {
        self.kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(ours: u64, theirs: u64) -> Said {
        Said { ours, theirs }
    }

    fn log(number: u8) -> LogId {
        LogId([number; 16])
    }

    fn rows(accord: &Accord) -> Vec<(LogId, Said)> {
        accord.rows().collect()
    }

    #[test]
    fn answers_that_were_lost_are_taken_back_in_turn() {
        let mut accord = Accord::new([0; 8]);
        accord.note([1; 8], [(log(1), said(3, 4))].into_iter());
        let first = rows(&accord);
        accord.note(
            [2; 8],
            [(log(1), said(5, 4)), (log(2), said(0, 9))].into_iter(),
        );
        accord.note([3; 8], [(log(2), said(2, 9))].into_iter());

        assert!(accord.return_to([1; 8]));

        assert_eq!(rows(&accord), first);
        assert_eq!(accord.id(), Some([1; 8]));
        assert!(!accord.return_to([3; 8]), "it is forgotten");
        assert!(
            !accord.return_to([0; 8]),
            "the other side has settled for 1"
        );
        assert_eq!(rows(&accord), first);
    }

    #[test]
    fn nothing_told_has_no_name_and_what_was_told_is_no_news() {
        let mut accord = Accord::new([7; 8]);
        assert_eq!(accord.id(), None);
        accord.note([1; 8], [(log(1), said(3, 0))].into_iter());

        assert!(!accord.is_news(&log(1), 3));
        assert!(accord.is_news(&log(1), 4));
        accord.doubt(log(1));
        assert!(accord.is_news(&log(1), 3));
    }

    #[test]
    fn the_accords_used_longest_ago_make_room() {
        let mut accords = Accords::default();
        let many = |from: u32| {
            let mut accord = Accord::new([0; 8]);
            let logs = (0..ACCORD_ROWS_MAX as u32 / 4).map(|n| {
                let mut log = [0; 16];
                log[..4].copy_from_slice(&(from + n).to_be_bytes());
                LogId(log)
            });
            accord.note([1; 8], logs.map(|log| (log, said(1, 1))));
            assert!(accord.return_to([1; 8]));
            accord
        };
        for number in 1..=4 {
            accords.keep(DeviceId([number; 32]), many(0));
        }
        accords.keep(DeviceId([1; 32]), many(7));
        accords.keep(DeviceId([9; 32]), many(0));

        assert!(accords.get(&DeviceId([2; 32])).is_none());
        for number in [1, 3, 4, 9] {
            assert!(accords.get(&DeviceId([number; 32])).is_some(), "{number}");
        }
    }
}
