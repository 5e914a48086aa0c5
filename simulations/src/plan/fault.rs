//! The faults of a plan: what breaks on a device, when, and what may be lost by it.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::timed::Timed;

/// Something that breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Timed<FaultKind>")]
pub struct Fault {
    /// When.
    pub at_ms: u64,
    /// On which device.
    pub device: usize,
    /// What.
    #[serde(flatten)]
    pub kind: FaultKind,
}

impl From<Timed<FaultKind>> for Fault {
    fn from(read: Timed<FaultKind>) -> Self {
        Self {
            at_ms: read.at_ms,
            device: read.device,
            kind: read.what,
        }
    }
}

/// Which transaction a device dies in: in the middle of it, where part of what it writes has reached the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Amid {
    /// The next with a write of its own people.
    Own,
    /// The next with entries that a peer sent.
    Peers,
    /// The next that puts a log right: settles a fork, keeps its branches, or mends entries that do not read back.
    Repair,
}

/// What breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// F11, F18: the process ends without warning.
    Kill {
        /// How long until it is started again.
        down_ms: u64,
        /// Not at that moment, but from then on in the middle of such a transaction.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amid: Option<Amid>,
    },
    /// F12: the power fails.
    PowerCut {
        /// How long until it is back.
        down_ms: u64,
        /// Whether it fails again while the store recovers.
        again: bool,
        /// As for a kill.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amid: Option<Amid>,
    },
    /// F13: syncs are ignored for a while, and the power fails at the end of it.
    IgnoredSync {
        /// How long.
        for_ms: u64,
        /// Each of so many is done all the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        honest_every: Option<NonZeroU64>,
    },
    /// F14: the disk is full for a while.
    DiskFull {
        /// How long.
        for_ms: u64,
    },
    /// F15: bits of the store flip while the device is off; then it starts.
    Rot {
        /// How many.
        bits: u64,
    },
    /// F15: a bit of one stored entry flips while the device is off; then it starts.
    RotEntry {
        /// Which of the entries that some others hold and some do not, modulo their number; of all if there
        /// is none.
        place: u64,
    },
    /// F15: pages of the store can no longer be read, until they are written again.
    Wear {
        /// How many.
        pages: u64,
    },
    /// F16, F32: the store becomes what it was earlier.
    Restore {
        /// When the backup was taken.
        taken_ms: u64,
        /// Whether the witness beside the store is the present one, and not lost.
        witness_kept: bool,
    },
    /// F16: store and witness together become what they were earlier, in the same place, so that nothing on
    /// the device tells it.
    RestoreUnnoticed {
        /// When the image was taken.
        taken_ms: u64,
    },
    /// F20: the store is lost; the key is not.
    Wipe {},
    /// F23: the wall clock is set.
    ClockJump {
        /// By so much.
        by_ms: i64,
    },
}

impl FaultKind {
    /// Its class in the catalogue of faults.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "F11",
            Self::PowerCut { .. } => "F12",
            Self::IgnoredSync { .. } => "F13",
            Self::DiskFull { .. } => "F14",
            Self::Rot { .. } | Self::RotEntry { .. } | Self::Wear { .. } => "F15",
            Self::Restore { .. } | Self::RestoreUnnoticed { .. } => "F16",
            Self::Wipe {} => "F20",
            Self::ClockJump { .. } => "F23",
        }
    }

    /// Its name in plans and traces.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::PowerCut { .. } => "power_cut",
            Self::IgnoredSync { .. } => "ignored_sync",
            Self::DiskFull { .. } => "disk_full",
            Self::Rot { .. } => "rot",
            Self::RotEntry { .. } => "rot_entry",
            Self::Wear { .. } => "wear",
            Self::Restore { .. } => "restore",
            Self::RestoreUnnoticed { .. } => "restore_unnoticed",
            Self::Wipe {} => "wipe",
            Self::ClockJump { .. } => "clock_jump",
        }
    }

    /// The transaction in the middle of which it happens, if it is not at a moment of its own.
    pub fn amid(&self) -> Option<Amid> {
        match self {
            Self::Kill { amid, .. } | Self::PowerCut { amid, .. } => *amid,
            _ => None,
        }
    }
}
