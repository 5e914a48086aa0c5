//! How far entries have come, where each is known by a number and exists once.

use crate::spread::{Reach, Write, reach};

/// All entries of a run.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    devices: u64,
    now_ms: u64,
    entries: Vec<Write>,
}

impl Spread {
    /// Of a fleet of so many devices.
    pub(super) fn new(devices: usize) -> Self {
        Self {
            devices: devices as u64,
            ..Self::default()
        }
    }

    /// Time goes on.
    pub(super) fn at(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// An entry is written; gives its number. Its author holds it when it has arrived there.
    pub(super) fn written(&mut self) -> usize {
        self.entries.push(Write::new(self.now_ms));
        self.entries.len() - 1
    }

    /// One more device holds an entry.
    pub(super) fn arrived(&mut self, number: usize) {
        self.entries[number].gain(self.now_ms, self.devices);
    }

    /// How many entries were written.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many entries all devices hold together.
    pub fn copies(&self) -> u64 {
        self.entries.iter().map(Write::holders).sum()
    }

    /// How soon entries were on each share of the devices.
    pub fn reach(&self) -> Vec<Reach> {
        reach(self.entries.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::HOUR_MS;

    #[test]
    fn a_share_holds_an_entry_when_so_many_devices_do() {
        let mut spread = Spread::new(4);
        spread.at(HOUR_MS);
        let (one, other) = (spread.written(), spread.written());
        spread.arrived(one);
        spread.arrived(other);
        for hour in [3, 5, 9] {
            spread.at(hour * HOUR_MS);
            spread.arrived(one);
        }

        let [half, most, all] = spread.reach()[..] else {
            panic!("three shares");
        };
        assert_eq!((half.half_of_writes_h, half.never), (Some(2.0), 1));
        assert_eq!((most.half_of_writes_h, most.never), (Some(8.0), 1));
        assert_eq!((all.half_of_writes_h, all.all_writes_h), (Some(8.0), None));
        assert_eq!(spread.copies(), 5);
    }
}
