//! How long entries take to reach the fleet.

/// The shares of the fleet that are looked at, in per cent.
pub const SHARES: [u64; 3] = [50, 95, 100];

/// When one entry was written and how far it has come.
#[derive(Clone, Copy, Debug)]
struct Entry {
    written_ms: u64,
    copies: u64,
    /// When each of [`SHARES`] held it.
    reached_ms: [Option<u64>; SHARES.len()],
}

/// All entries of a run.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    devices: u64,
    now_ms: u64,
    entries: Vec<Entry>,
}

/// How long a share of the fleet took to hold entries, in virtual milliseconds after they were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The share, in per cent.
    pub share: u64,
    /// How many entries have reached it.
    pub entries: u64,
    /// The median over them.
    pub median_ms: u64,
    /// What nineteen of twenty of them took at most.
    pub p95_ms: u64,
    /// The longest.
    pub most_ms: u64,
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
        self.entries.push(Entry {
            written_ms: self.now_ms,
            copies: 0,
            reached_ms: [None; SHARES.len()],
        });
        self.entries.len() - 1
    }

    /// One more device holds an entry.
    pub(super) fn arrived(&mut self, number: usize) {
        let (now_ms, devices) = (self.now_ms, self.devices);
        let entry = &mut self.entries[number];
        entry.copies += 1;
        for (share, reached) in SHARES.iter().zip(&mut entry.reached_ms) {
            if reached.is_none() && entry.copies * 100 >= share * devices {
                *reached = Some(now_ms);
            }
        }
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
        self.entries.iter().map(|entry| entry.copies).sum()
    }

    /// How long each of [`SHARES`] took.
    pub fn deliveries(&self) -> Vec<Delivery> {
        let shares = SHARES.iter().enumerate();
        shares
            .map(|(place, share)| self.of(place, *share))
            .collect()
    }

    fn of(&self, place: usize, share: u64) -> Delivery {
        let took = |entry: &Entry| Some(entry.reached_ms[place]? - entry.written_ms);
        let mut times: Vec<u64> = self.entries.iter().filter_map(took).collect();
        times.sort_unstable();
        let at = |per_cent: usize| {
            let last = times.len().saturating_sub(1);
            times.get(last * per_cent / 100).copied().unwrap_or(0)
        };
        Delivery {
            share,
            entries: times.len() as u64,
            median_ms: at(50),
            p95_ms: at(95),
            most_ms: at(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_holds_an_entry_when_so_many_devices_do() {
        let mut spread = Spread::new(4);
        spread.at(1_000);
        let (one, other) = (spread.written(), spread.written());
        spread.arrived(one);
        spread.arrived(other);
        for at_ms in [3_000, 5_000, 9_000] {
            spread.at(at_ms);
            spread.arrived(one);
        }

        let [half, most, all] = spread.deliveries()[..] else {
            panic!("three shares");
        };
        assert_eq!((half.entries, half.median_ms), (1, 2_000));
        assert_eq!((most.entries, most.most_ms), (1, 8_000));
        assert_eq!((all.entries, all.p95_ms), (1, 8_000));
        assert_eq!(spread.copies(), 5);
    }
}
