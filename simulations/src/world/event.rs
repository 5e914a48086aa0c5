//! The closed list of things that happen in the world.

use std::fmt;
use std::hash::{Hash, Hasher};

use fieldmesh::engine::batch::{Fetched, SessionId};

use crate::device::Fetch;
use crate::notes::Part;

/// Bytes. Their length and digest stand for them in words.
#[derive(Hash)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = blake3::hash(&self.0);
        write!(
            f,
            "{}:{}",
            self.0.len(),
            hex::encode(&digest.as_bytes()[..6])
        )
    }
}

/// Something that a digest leaves out: it follows from what came before.
pub(crate) struct Hidden<T>(pub(crate) T);

impl<T> Hash for Hidden<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl<T> fmt::Debug for Hidden<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Something that happens; all of it that is not hidden is in the run's digest. Numbers of contacts, operations and
/// faults are places in the plan.
#[derive(Debug, Hash)]
pub(crate) enum Event {
    ContactStart(usize),
    ContactEnd(usize),
    Dial(usize),
    Arrive {
        wire: u64,
        end: usize,
        frame: Bytes,
    },
    Hangup {
        wire: u64,
        end: usize,
    },
    Operation(usize),
    Backup(usize),
    Fault(usize),
    FaultEnd(usize),
    Gone(usize),
    Boot {
        device: usize,
        again: bool,
    },
    Write {
        device: usize,
        life: u64,
    },
    Commit {
        device: usize,
        life: u64,
    },
    Report {
        device: usize,
        life: u64,
    },
    Read {
        device: usize,
        life: u64,
        fetch: Hidden<Fetch>,
    },
    Fetched {
        device: usize,
        life: u64,
        session: SessionId,
        result: Hidden<Result<Fetched, String>>,
    },
    Wake {
        device: usize,
        life: u64,
    },
    /// A few views are derived anew.
    Refresh {
        device: usize,
        life: u64,
    },
}

impl Event {
    /// The part of the plan that it comes from.
    pub(super) fn part(&self) -> Option<Part> {
        match self {
            Self::ContactStart(number) | Self::ContactEnd(number) | Self::Dial(number) => {
                Some(Part::Contact(*number))
            }
            Self::Operation(number) => Some(Part::Operation(*number)),
            Self::Backup(number) | Self::Fault(number) | Self::FaultEnd(number) => {
                Some(Part::Fault(*number))
            }
            _ => None,
        }
    }
}
