//! Links: how long bytes take, and when they do not arrive.
//!
//! The transport is reliable and ordered, so a lost packet is a stall until it is sent again, and too long
//! a stall is a cut. Losses come in bursts: a link is in a good or in a bad state (Gilbert and Elliott), and
//! each frame may change it. Nothing is reordered within one direction.

use serde::{Deserialize, Serialize};

use crate::draw::Draw;

/// A stall of this length ends a connection.
pub const STALL_MAX_MS: u64 = 60_000;

/// What carries a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkClass {
    /// Bluetooth between two phones.
    Ble,
    /// One wireless network.
    Wifi,
    /// Mobile data of the second generation.
    Cell2g,
    /// A satellite terminal.
    Satellite,
}

impl LinkClass {
    /// All classes.
    pub const ALL: [Self; 4] = [Self::Ble, Self::Wifi, Self::Cell2g, Self::Satellite];

    /// Its name in plans and traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ble => "ble",
            Self::Wifi => "wifi",
            Self::Cell2g => "cell2g",
            Self::Satellite => "satellite",
        }
    }

    /// Bytes a second, one way.
    pub fn bytes_per_s(self) -> u64 {
        match self {
            Self::Ble => 6_250,
            Self::Wifi => 2_500_000,
            Self::Cell2g => 8_000,
            Self::Satellite => 32_000,
        }
    }

    /// One-way delay in milliseconds.
    pub fn delay_ms(self) -> u64 {
        match self {
            Self::Ble => 40,
            Self::Wifi => 3,
            Self::Cell2g => 300,
            Self::Satellite => 280,
        }
    }
}

/// What is wrong with one contact's link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkFaults {
    /// F1: how many frames of a thousand begin a burst of losses; 0 for a clean link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
    /// F4: every connection is cut when so many bytes have been sent on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_at_bytes: Option<u64>,
    /// F5: nothing that this device sends arrives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mute: Option<usize>,
    /// F6: nothing moves until this moment, then everything does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clogged_until_ms: Option<u64>,
    /// F9: the rate is so many times smaller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slower: Option<u64>,
}

/// What comes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It arrives then.
    Arrives {
        /// Virtual milliseconds.
        at_ms: u64,
    },
    /// It never arrives.
    Lost,
    /// It does not arrive, and the connection breaks then.
    Breaks {
        /// Virtual milliseconds.
        at_ms: u64,
    },
}

/// One direction of one connection.
#[derive(Clone, Debug)]
pub struct Lane {
    class: LinkClass,
    faults: LinkFaults,
    /// Keys its draws.
    key: u64,
    free_at_ms: u64,
    frames: u64,
    is_bad: bool,
    is_mute: bool,
}

impl Lane {
    /// A lane whose draws are keyed by `key`; `sender` is the device that sends on it.
    pub fn new(class: LinkClass, faults: LinkFaults, sender: usize, key: u64) -> Self {
        Self {
            class,
            faults,
            key,
            free_at_ms: 0,
            frames: 0,
            is_bad: false,
            is_mute: faults.mute == Some(sender),
        }
    }

    /// Sends a frame at `now_ms`.
    pub fn send(&mut self, draw: &Draw, now_ms: u64, bytes: usize) -> Passage {
        let case = self.key.wrapping_mul(1 << 16).wrapping_add(self.frames);
        self.frames += 1;
        let stall_ms = self.stall(draw, case);
        if stall_ms >= STALL_MAX_MS {
            return Passage::Breaks {
                at_ms: now_ms.saturating_add(STALL_MAX_MS),
            };
        }
        if self.is_mute {
            return Passage::Lost;
        }
        let rate = (self.class.bytes_per_s() / self.faults.slower.unwrap_or(1).max(1)).max(1);
        let clogged = self.faults.clogged_until_ms.unwrap_or(0);
        let start_ms = self.free_at_ms.max(now_ms).max(clogged);
        let takes_ms = stall_ms.saturating_add((bytes as u64).saturating_mul(1000) / rate);
        self.free_at_ms = start_ms.saturating_add(takes_ms);
        Passage::Arrives {
            at_ms: self.free_at_ms.saturating_add(self.class.delay_ms()),
        }
    }

    /// When what has been sent will have arrived.
    pub fn drained_at_ms(&self, now_ms: u64) -> u64 {
        let free_at_ms = self.free_at_ms.max(now_ms);
        free_at_ms.saturating_add(self.class.delay_ms())
    }

    fn stall(&mut self, draw: &Draw, case: u64) -> u64 {
        let Some(burst) = self.faults.burst else {
            return 0;
        };
        self.is_bad = if self.is_bad {
            !draw.happens("burst ends", case, 300)
        } else {
            draw.happens("burst begins", case, burst)
        };
        match self.is_bad {
            // A retransmission timer doubles from the second loss on.
            true => 1_000 << draw.number("losses", case, 0..7),
            false => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(passage: Passage) -> u64 {
        match passage {
            Passage::Arrives { at_ms } => at_ms,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_frame_takes_its_size_and_the_delay_and_waits_for_those_before_it() {
        let mut lane = Lane::new(LinkClass::Cell2g, LinkFaults::default(), 0, 1);
        let draw = Draw::new(1);

        assert_eq!(arrival(lane.send(&draw, 100, 8_000)), 100 + 1_000 + 300);
        assert_eq!(arrival(lane.send(&draw, 200, 4_000)), 1_100 + 500 + 300);
        assert_eq!(lane.drained_at_ms(0), 1_900);
    }

    #[test]
    fn losses_come_in_bursts_and_the_longest_break_the_connection() {
        let faults = LinkFaults {
            burst: Some(100),
            ..LinkFaults::default()
        };
        let draw = Draw::new(1);
        let mut lane = Lane::new(LinkClass::Wifi, faults, 0, 1);
        let passages: Vec<_> = (0..2000).map(|_| lane.send(&draw, 0, 1)).collect();
        let broken = passages
            .iter()
            .filter(|p| matches!(p, Passage::Breaks { .. }));
        let count = broken.count();
        assert!((10..400).contains(&count), "{count} of 2000");
    }

    #[test]
    fn a_mute_device_is_not_heard_and_a_clog_lets_everything_go_at_once() {
        let draw = Draw::new(1);
        let mute = LinkFaults {
            mute: Some(4),
            clogged_until_ms: Some(5_000),
            ..LinkFaults::default()
        };
        assert_eq!(
            Lane::new(LinkClass::Wifi, mute, 4, 1).send(&draw, 0, 9),
            Passage::Lost
        );
        let mut other = Lane::new(LinkClass::Wifi, mute, 5, 1);
        assert_eq!(arrival(other.send(&draw, 0, 9)), 5_003);
        assert_eq!(arrival(other.send(&draw, 0, 9)), 5_003);
    }

    #[test]
    fn a_link_that_is_clogged_for_ever_carries_what_it_is_given_at_the_end_of_time() {
        let faults = LinkFaults {
            clogged_until_ms: Some(u64::MAX),
            slower: Some(u64::MAX),
            ..LinkFaults::default()
        };
        let mut lane = Lane::new(LinkClass::Wifi, faults, 0, 1);

        assert_eq!(arrival(lane.send(&Draw::new(1), 9, usize::MAX)), u64::MAX);
        assert_eq!(lane.drained_at_ms(9), u64::MAX);
    }
}
