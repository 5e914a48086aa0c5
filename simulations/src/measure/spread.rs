//! Who of the fleet holds which write, from what devices make durable.

use std::collections::BTreeMap;

use crdt_schema::ident::{Dot, LogId};
use serde::Serialize;

use crate::spread::{Reach, Write, reach};

/// How soon writes were elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// How many writes there were.
    pub writes: u64,
    /// For 50, 95 and 100 of a hundred devices, the author's among them.
    pub reach: Vec<Reach>,
}

/// Follows every write.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    devices: u64,
    writes: BTreeMap<LogId, BTreeMap<u64, Write>>,
    /// How far each device has ever held each log: a store that was lost and filled again holds nothing for
    /// the first time.
    held: BTreeMap<(LogId, usize), u64>,
}

impl Watch {
    pub(super) fn new(devices: usize) -> Self {
        Self {
            devices: devices as u64,
            writes: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    pub(super) fn on_written(&mut self, at_ms: u64, dot: Dot) {
        let of_log = self.held.range((dot.log, 0)..=(dot.log, usize::MAX));
        let holders = of_log.filter(|(_, seq)| **seq >= dot.seq).count();
        // A write that changes nothing is answered with one that was made before.
        let of_log = self.writes.entry(dot.log).or_default();
        of_log.entry(dot.seq).or_insert_with(|| {
            let mut write = Write::new(at_ms);
            (0..holders).for_each(|_| write.gain(at_ms, self.devices));
            write
        });
    }

    pub(super) fn on_held(&mut self, t_ms: u64, device: usize, log: LogId, seq: u64) {
        let most = self.held.entry((log, device)).or_default();
        let before = *most;
        *most = before.max(seq);
        let Some(writes) = self.writes.get_mut(&log).filter(|_| seq > before) else {
            return;
        };
        for write in writes.range_mut(before + 1..=seq).map(|(_, write)| write) {
            write.gain(t_ms, self.devices);
        }
    }

    pub(super) fn summary(&self) -> Spread {
        let writes = self.writes.values().flat_map(BTreeMap::values);
        Spread {
            writes: writes.clone().count() as u64,
            reach: reach(writes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::HOUR_MS;

    const LOG: LogId = LogId([1; 16]);

    #[test]
    fn a_write_has_reached_a_share_when_so_many_hold_it() {
        let mut watch = Watch::new(4);
        watch.on_held(0, 0, LOG, 1);
        watch.on_written(0, Dot::new(LOG, 1));
        watch.on_held(2 * HOUR_MS, 1, LOG, 1);
        watch.on_held(5 * HOUR_MS, 2, LOG, 1);
        watch.on_held(5 * HOUR_MS, 2, LOG, 1);

        let spread = watch.summary();
        assert_eq!(spread.reach[0].half_of_writes_h, Some(2.0));
        assert_eq!((spread.reach[1].never, spread.reach[2].never), (1, 1));

        watch.on_held(9 * HOUR_MS, 3, LOG, 1);
        assert_eq!(watch.summary().reach[2].most_writes_h, Some(9.0));
    }

    #[test]
    fn a_store_that_was_lost_and_filled_again_is_one_holder() {
        let mut watch = Watch::new(3);
        watch.on_held(0, 0, LOG, 2);
        watch.on_written(0, Dot::new(LOG, 1));
        watch.on_written(0, Dot::new(LOG, 2));
        // The second device holds both, loses its store, and fills it step by step; the third holds none.
        for (hour, seq) in [(1, 2), (2, 1), (3, 2)] {
            watch.on_held(hour * HOUR_MS, 1, LOG, seq);
        }

        assert_eq!(watch.summary().reach[2].never, 2);
    }

    #[test]
    fn a_write_that_changes_nothing_does_not_begin_an_old_one_again() {
        let mut watch = Watch::new(2);
        watch.on_held(0, 0, LOG, 1);
        watch.on_written(0, Dot::new(LOG, 1));
        watch.on_held(HOUR_MS, 1, LOG, 1);
        watch.on_written(8 * HOUR_MS, Dot::new(LOG, 1));

        let spread = watch.summary();
        assert_eq!(spread.writes, 1);
        assert_eq!(spread.reach[2].all_writes_h, Some(1.0));
    }
}
