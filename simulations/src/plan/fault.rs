//! The faults of a plan: what breaks on a device, when, and what may be lost by it.

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

/// What breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// F11, F18: the process ends without warning.
    Kill {
        /// How long until it is started again.
        down_ms: u64,
    },
    /// F12: the power fails.
    PowerCut {
        /// How long until it is back.
        down_ms: u64,
        /// Whether it fails again while the store recovers.
        again: bool,
    },
    /// F13: syncs are ignored for a while, and the power fails at the end of it.
    IgnoredSync {
        /// How long.
        for_ms: u64,
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
            Self::Rot { .. } | Self::RotEntry { .. } => "F15",
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
            Self::Restore { .. } => "restore",
            Self::RestoreUnnoticed { .. } => "restore_unnoticed",
            Self::Wipe {} => "wipe",
            Self::ClockJump { .. } => "clock_jump",
        }
    }

    /// Whether acknowledged writes may be gone after it, as long as the device begins new logs.
    pub fn may_lose(&self) -> bool {
        match self {
            Self::IgnoredSync { .. }
            | Self::Rot { .. }
            | Self::RotEntry { .. }
            | Self::Restore { .. }
            | Self::RestoreUnnoticed { .. }
            | Self::Wipe {} => true,
            Self::Kill { .. }
            | Self::PowerCut { .. }
            | Self::DiskFull { .. }
            | Self::ClockJump { .. } => false,
        }
    }
}
