//! What is wrong with a disk, and what has been done with it.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

/// What is wrong with a disk. By default nothing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiskFaults {
    /// What becomes of a request to make writes durable.
    pub syncs: Syncs,
    /// The disk is full: no more pages than fit into this many bytes are given out. What is allocated can be
    /// written again, as on most file systems.
    pub bytes_max: Option<u64>,
    /// From this write on, counted from 1 over the disk's life, every write finds the disk full.
    pub full_from_write: Option<u64>,
}

/// What becomes of a request to make writes durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Syncs {
    /// It is done.
    #[default]
    Honest,
    /// The disk says that it was done, and does nothing.
    Ignored,
    /// Only each n-th is done; the others are ignored.
    HonestEvery(NonZeroU64),
}

impl Syncs {
    /// Whether the sync with this number, from 1, is done.
    pub(super) fn is_done(self, number: u64) -> bool {
        match self {
            Self::Honest => true,
            Self::Ignored => false,
            Self::HonestEvery(every) => number % every == 0,
        }
    }
}

/// What has been done with a disk since it was made, cuts and restores included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCounters {
    /// Writes, refused ones included.
    pub writes: u64,
    /// Bytes that were written.
    pub written_bytes: u64,
    /// Requests to make writes durable.
    pub syncs: u64,
    /// Those of them that the disk ignored.
    pub syncs_ignored: u64,
    /// Writes that found the disk full.
    pub full: u64,
    /// Reads that found a worn page.
    pub read_errors: u64,
}
