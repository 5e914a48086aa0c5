//! How long it takes until half, nearly all and all devices hold a write: the one reckoning of both fidelities.
//!
//! It does not know how anybody learns who holds what.

use serde::Serialize;

use crate::time::hours;

/// Of a hundred devices, how many are asked for.
pub const SHARES: [u64; 3] = [50, 95, 100];

/// A write, and how far it has come.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    at_ms: u64,
    holders: u64,
    /// How long it took until each of [`SHARES`] held it.
    after_ms: [Option<u64>; SHARES.len()],
}

/// How soon writes were on a share of the devices. Of all writes: those that never got there come last.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reach {
    /// The share, of a hundred devices.
    pub percent: u64,
    /// Hours until half of the writes were; `None` if fewer ever were.
    pub half_of_writes_h: Option<f64>,
    /// Hours until 95 of a hundred writes were.
    pub most_writes_h: Option<f64>,
    /// Hours until all writes were.
    pub all_writes_h: Option<f64>,
    /// How many writes were not by the end.
    pub never: u64,
}

impl Write {
    /// A write that nobody holds yet.
    pub(crate) fn new(at_ms: u64) -> Self {
        Self {
            at_ms,
            holders: 0,
            after_ms: [None; SHARES.len()],
        }
    }

    /// How many devices hold it.
    pub(crate) fn holders(&self) -> u64 {
        self.holders
    }

    /// One more device of so many holds it.
    pub(crate) fn gain(&mut self, now_ms: u64, devices: u64) {
        self.holders += 1;
        for (after_ms, percent) in self.after_ms.iter_mut().zip(SHARES) {
            if self.holders * 100 >= devices * percent {
                after_ms.get_or_insert(now_ms.saturating_sub(self.at_ms));
            }
        }
    }
}

/// How soon writes were on each of [`SHARES`].
pub(crate) fn reach<'a>(writes: impl Iterator<Item = &'a Write> + Clone) -> Vec<Reach> {
    let shares = SHARES.into_iter().enumerate();
    let reach = shares.map(|(place, percent)| {
        let after = writes.clone().map(|write| write.after_ms[place]);
        of_share(percent, after)
    });
    reach.collect()
}

fn of_share(percent: u64, after: impl Iterator<Item = Option<u64>>) -> Reach {
    let (mut taken, mut writes) = (Vec::new(), 0);
    for ms in after {
        writes += 1;
        taken.extend(ms);
    }
    taken.sort_unstable();
    let until = |share: usize| {
        let last = (writes * share).div_ceil(100).checked_sub(1)?;
        taken.get(last).copied().map(hours)
    };
    Reach {
        percent,
        half_of_writes_h: until(50),
        most_writes_h: until(95),
        all_writes_h: until(100),
        never: (writes - taken.len()) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::HOUR_MS;

    #[test]
    fn ninety_five_of_a_hundred_are_no_fewer() {
        // Ten writes on one device, there after 1 to 10 hours: nine are 90 of a hundred, so it takes the tenth.
        let mut writes = [Write::new(0); 10];
        for (hour, write) in (1..).zip(&mut writes) {
            write.gain(hour * HOUR_MS, 1);
        }

        let all = reach(writes.iter())[2];

        assert_eq!(all.half_of_writes_h, Some(5.0));
        assert_eq!(all.most_writes_h, Some(10.0));
        assert_eq!((all.all_writes_h, all.never), (Some(10.0), 0));
    }

    #[test]
    fn writes_that_never_came_there_are_the_last() {
        // Two devices: the first write is on both after 3 hours, the second only on its author's.
        let mut writes = [Write::new(0); 2];
        writes.iter_mut().for_each(|write| write.gain(0, 2));
        writes[0].gain(3 * HOUR_MS, 2);

        let [half, _, all] = reach(writes.iter())[..] else {
            panic!("three shares");
        };

        assert_eq!(
            (half.percent, half.all_writes_h, half.never),
            (50, Some(0.0), 0)
        );
        assert_eq!((all.percent, all.half_of_writes_h), (100, Some(3.0)));
        assert_eq!((all.most_writes_h, all.never), (None, 1));
        assert_eq!(reach([].iter())[0].half_of_writes_h, None);
    }
}
