//! Wall clocks that are wrong: offset, drifting, jumping, never set. The monotonic clock is always right.

use serde::{Deserialize, Serialize};

/// The true wall clock at the beginning of every run, in milliseconds since 1970.
pub const EPOCH_MS: u64 = 1_767_225_600_000;

/// How a device's wall clock is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClockSpec {
    /// How far ahead it is, in milliseconds; negative if behind.
    #[serde(skip_serializing_if = "is_zero")]
    pub offset_ms: i64,
    /// How much faster it runs, in millionths; negative if slower.
    #[serde(skip_serializing_if = "is_zero")]
    pub drift_ppm: i64,
    /// Begins in 1970 at every start, as a device without a battery does.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub never_set: bool,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// A device's wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    spec: ClockSpec,
    /// What jumps have added.
    jumped_ms: i64,
    /// When the device was last started, in true milliseconds of the run.
    started_ms: u64,
    /// The latest time that it has ever shown.
    latest_ms: u64,
}

impl Clock {
    /// A clock that is wrong as `spec` says.
    pub fn new(spec: ClockSpec) -> Self {
        Self {
            spec,
            jumped_ms: 0,
            started_ms: 0,
            latest_ms: 0,
        }
    }

    /// The device starts.
    pub fn start(&mut self, now_ms: u64) {
        self.started_ms = now_ms;
        if self.spec.never_set {
            self.jumped_ms = 0;
        }
    }

    /// Somebody, or something, sets it.
    pub fn jump(&mut self, by_ms: i64) {
        self.jumped_ms = self.jumped_ms.saturating_add(by_ms);
    }

    /// What it shows at `now_ms` of the run, in milliseconds since 1970, to its device.
    pub fn read(&mut self, now_ms: u64) -> u64 {
        let shown = self.shown(now_ms);
        self.latest_ms = self.latest_ms.max(shown);
        shown
    }

    /// What it would show, if its device looked.
    pub fn shown(&self, now_ms: u64) -> u64 {
        let (base, elapsed) = if self.spec.never_set {
            (0, now_ms - self.started_ms)
        } else {
            (EPOCH_MS, now_ms)
        };
        let drift = i128::from(elapsed) * i128::from(self.spec.drift_ppm) / 1_000_000;
        let wrong = i128::from(self.spec.offset_ms) + i128::from(self.jumped_ms) + drift;
        let shown = (i128::from(base) + i128::from(elapsed) + wrong).clamp(0, i128::from(u64::MAX));
        shown as u64
    }

    /// The latest time that it has ever shown.
    pub fn latest_ms(&self) -> u64 {
        self.latest_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_wrong_in_the_way_they_are_told_to_be() {
        let mut right = Clock::new(ClockSpec::default());
        assert_eq!(right.read(5_000), EPOCH_MS + 5_000);
        right.jump(-3_600_000);
        assert_eq!(right.read(6_000), EPOCH_MS + 6_000 - 3_600_000);
        assert_eq!(right.latest_ms(), EPOCH_MS + 5_000);

        let mut fast = Clock::new(ClockSpec {
            offset_ms: -1_000,
            drift_ppm: 200,
            never_set: false,
        });
        assert_eq!(fast.read(10_000_000), EPOCH_MS + 10_000_000 - 1_000 + 2_000);

        let mut unset = Clock::new(ClockSpec {
            never_set: true,
            ..ClockSpec::default()
        });
        unset.start(70_000);
        assert_eq!(unset.read(71_500), 1_500);
    }

    #[test]
    fn a_clock_never_leaves_the_numbers_there_are() {
        let mut clock = Clock::new(ClockSpec {
            offset_ms: i64::MIN,
            ..ClockSpec::default()
        });
        assert_eq!(clock.read(1), 0);
        clock.jump(i64::MIN);
        assert_eq!(clock.read(2), 0);
    }
}
