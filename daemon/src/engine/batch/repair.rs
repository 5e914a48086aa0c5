//! What crosses the border when a log is damaged or forked: questions about it, and how it is put right.
//!
//! A *mend* puts entries back that do not read back, from a peer that holds the same chain. A *settlement*
//! ends a fork of a log of this device: the tail that only this device has is taken out of the log and
//! written again in a new one, and what the others hold can be taken in its place. Where both histories are held by
//! several devices, the log is *sealed* and both live on as branches, see [`super::fork`].

use std::sync::Arc;

use crdt_schema::ident::{Dot, LogId};

use super::fork::{ForkProof, Forked};
use super::{FrontierRow, Held, LogHeader, Run, SessionId};

/// The first bytes of a chain value: they stand for all entries up to there.
pub type ChainTag = [u8; 8];

/// A question about one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// The entries from `from` to the next signed point.
    Run {
        /// The log.
        log: LogId,
        /// The first entry.
        from: u64,
    },
    /// The chain tags of the beginnings that end at these entries, recomputed from the entries.
    Tags {
        /// The log.
        log: LogId,
        /// Where the beginnings end, ascending.
        seqs: Vec<u64>,
    },
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "one is on its way at a time")]
pub enum Found {
    /// Entries.
    Run {
        /// The log.
        log: LogId,
        /// The run, if the entries are held and read back.
        run: Option<Run>,
    },
    /// The chain tags.
    Tags {
        /// The log.
        log: LogId,
        /// Those of the asked beginnings that are held whole.
        rows: Vec<(u64, ChainTag)>,
        /// The first place from where on the log does not read back as it was signed.
        damaged: Option<u64>,
    },
}

/// How a log is put right.
#[derive(Clone, Debug, PartialEq)]
pub enum Repair {
    /// Put these entries in the place of those held. Everything before them reads back.
    Mend(Run),
    /// Write the tail of a log of ours, from where this run begins, again in another log.
    Settle {
        /// What others hold there. Its signature is the proof of the fork.
        run: Run,
        /// How far other devices are known to hold our own logs: what they hold is not taken out.
        shared: Held,
        /// The log to write in; new.
        into: LogHeader,
    },
    /// What another device holds of a log from where it parts from ours: seal the log there.
    Branch(Run),
    /// Seal a log.
    Fork(Arc<ForkProof>),
}

impl Repair {
    /// The log that is repaired.
    pub fn log(&self) -> LogId {
        match self {
            Self::Mend(run) | Self::Settle { run, .. } | Self::Branch(run) => run.header.log,
            Self::Fork(proof) => proof.header.log,
        }
    }
}

/// What came of a repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// The session that the run came from.
    pub session: SessionId,
    /// The log.
    pub log: LogId,
    /// What was done, or in words why nothing was.
    pub result: Result<Outcome, String>,
}

/// What a repair has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Entries read back again.
    Mended {
        /// How many were put in place.
        entries: u64,
    },
    /// A fork is settled.
    Settled {
        /// Where our logs end now; 0 if nothing is left of one.
        ends: Vec<FrontierRow>,
        /// The change sets that were written again: what each was, and what it is now.
        moved: Vec<(Dot, Dot)>,
    },
    /// A log is sealed.
    Forked(Forked),
    /// That fork was known.
    Known,
}
