//! How long it takes until half, nearly all and all devices hold a write.

use std::collections::BTreeMap;

use crdt_schema::ident::{Dot, LogId};
use serde::Serialize;

/// Of a hundred devices, how many are asked for.
const SHARES: [usize; 3] = [50, 95, 100];

/// How soon writes were on a share of the devices.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reach {
    /// The share, of a hundred devices.
    pub percent: usize,
    /// Hours until half of the writes were.
    pub half_of_writes_h: Option<f64>,
    /// Hours until 95 of a hundred writes were.
    pub most_writes_h: Option<f64>,
    /// How many writes were not by the end of the last day.
    pub never: u64,
}

/// How soon writes were elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// How many writes there were.
    pub writes: u64,
    /// For 50, 95 and 100 of a hundred devices, the author's among them.
    pub reach: Vec<Reach>,
}

#[derive(Clone, Debug)]
struct Write {
    at_ms: u64,
    /// How many devices hold it.
    holders: usize,
    /// How long it took until each share did.
    after_ms: [Option<u64>; SHARES.len()],
}

/// Follows every write.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    devices: usize,
    writes: BTreeMap<LogId, BTreeMap<u64, Write>>,
    held: BTreeMap<(LogId, usize), u64>,
}

impl Watch {
    pub(super) fn new(devices: usize) -> Self {
        Self {
            devices,
            writes: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    pub(super) fn on_written(&mut self, at_ms: u64, dot: Dot) {
        let of_log = self.held.range((dot.log, 0)..=(dot.log, usize::MAX));
        let mut write = Write {
            at_ms,
            holders: 0,
            after_ms: [None; SHARES.len()],
        };
        for _ in of_log.filter(|(_, seq)| **seq >= dot.seq) {
            write.gain(at_ms, self.devices);
        }
        self.writes
            .entry(dot.log)
            .or_default()
            .insert(dot.seq, write);
    }

    pub(super) fn on_held(&mut self, t_ms: u64, device: usize, log: LogId, seq: u64) {
        let before = self.held.insert((log, device), seq).unwrap_or(0);
        // A store that was lost and filled again holds nothing for the first time.
        let Some(writes) = self.writes.get_mut(&log).filter(|_| seq > before) else {
            return;
        };
        for write in writes.range_mut(before + 1..=seq).map(|(_, write)| write) {
            write.gain(t_ms, self.devices);
        }
    }

    pub(super) fn summary(&self) -> Spread {
        let writes: Vec<&Write> = self.writes.values().flat_map(BTreeMap::values).collect();
        let reach = SHARES.iter().enumerate().map(|(place, percent)| {
            let taken = writes.iter().filter_map(|write| write.after_ms[place]);
            let mut taken: Vec<u64> = taken.collect();
            taken.sort_unstable();
            // Of all writes: those that never got there come last.
            let at = |share: usize| {
                let index = (writes.len() * share).div_ceil(100).saturating_sub(1);
                taken.get(index).map(|ms| *ms as f64 / 3_600_000.0)
            };
            Reach {
                percent: *percent,
                half_of_writes_h: at(50),
                most_writes_h: at(95),
                never: (writes.len() - taken.len()) as u64,
            }
        });
        Spread {
            writes: writes.len() as u64,
            reach: reach.collect(),
        }
    }
}

impl Write {
    fn gain(&mut self, t_ms: u64, devices: usize) {
        self.holders += 1;
        for (after_ms, percent) in self.after_ms.iter_mut().zip(SHARES) {
            if self.holders * 100 >= devices * percent {
                after_ms.get_or_insert(t_ms.saturating_sub(self.at_ms));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_has_reached_a_share_when_so_many_hold_it() {
        let hour_ms = 3_600_000;
        let log = LogId([1; 16]);
        let mut watch = Watch::new(4);
        watch.on_held(0, 0, log, 1);
        watch.on_written(0, Dot::new(log, 1));
        watch.on_held(2 * hour_ms, 1, log, 1);
        watch.on_held(5 * hour_ms, 2, log, 1);
        watch.on_held(5 * hour_ms, 2, log, 1);

        let spread = watch.summary();
        assert_eq!(spread.reach[0].half_of_writes_h, Some(2.0));
        assert_eq!((spread.reach[1].never, spread.reach[2].never), (1, 1));

        watch.on_held(9 * hour_ms, 3, log, 1);
        assert_eq!(watch.summary().reach[2].most_writes_h, Some(9.0));
    }
}
