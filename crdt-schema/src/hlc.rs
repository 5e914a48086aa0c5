//! The hybrid logical clock: wall time where it can be trusted, order where it cannot.
//!
//! After Kulkarni et al., "Logical Physical Clocks" (2014). Timestamps only order *concurrent* writes;
//! a causally later write wins whatever its timestamp. A peer may therefore not drag our clock along:
//! a remote timestamp further ahead than [`DRIFT_MAX_MS`] is not followed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How far ahead of our own wall clock a remote timestamp may be and still move our clock: one hour.
/// Beyond it the other device's clock (or ours) is suspect; its entries are accepted all the same.
pub const DRIFT_MAX_MS: u64 = 60 * 60 * 1000;

/// A hybrid logical timestamp: milliseconds since 1970 in the upper 48 bits, a counter in the lower 16.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The largest timestamp that a change set may carry (fits Automerge's signed 64-bit time).
    pub const MAX: Self = Self(i64::MAX as u64);

    /// The timestamp at `ms` milliseconds since 1970 with counter 0.
    pub fn from_ms(ms: u64) -> Self {
        Self((ms << 16) & Self::MAX.0)
    }

    /// Milliseconds since 1970.
    pub fn ms(self) -> u64 {
        self.0 >> 16
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, to the second.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second((self.ms() / 1000) as i64) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => write!(f, "{} ms", self.ms()),
        }
    }
}

/// A device's clock. Every reading is greater than the one before it, whatever the wall clock does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hlc {
    last: Timestamp,
}

impl Hlc {
    /// A clock that continues after `last`, such as the newest timestamp of our own log.
    pub fn after(last: Timestamp) -> Self {
        Self { last }
    }

    /// The next timestamp, given the wall clock in milliseconds since 1970.
    pub fn tick(&mut self, wall_ms: u64) -> Timestamp {
        let next = Timestamp::from_ms(wall_ms).max(Timestamp(self.last.0.saturating_add(1)));
        self.last = next.min(Timestamp::MAX);
        self.last
    }

    /// Takes note of a remote timestamp. Returns `false`, and does not follow it, when it is further
    /// ahead of `wall_ms` than [`DRIFT_MAX_MS`]: one of the two clocks is suspect.
    pub fn observe(&mut self, remote: Timestamp, wall_ms: u64) -> bool {
        if remote.ms() > wall_ms.saturating_add(DRIFT_MAX_MS) {
            return false;
        }
        self.last = self.last.max(remote);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_grow_even_when_the_wall_clock_goes_back() {
        let mut clock = Hlc::default();
        let first = clock.tick(1_000);
        let second = clock.tick(10);
        let third = clock.tick(1_001);

        assert!(first < second && second < third);
        assert_eq!(third, Timestamp::from_ms(1_001));
    }

    #[test]
    fn a_remote_clock_is_followed_within_the_bound_only() {
        let mut clock = Hlc::default();

        assert!(clock.observe(Timestamp::from_ms(5_000), 1_000));
        assert!(clock.tick(1_000) > Timestamp::from_ms(5_000));
        assert!(!clock.observe(Timestamp::from_ms(1_000 + DRIFT_MAX_MS + 1), 1_000));
        assert!(clock.tick(1_000) < Timestamp::from_ms(6_000));
    }
}
