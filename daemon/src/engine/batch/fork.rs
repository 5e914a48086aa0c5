//! The proof that a log is forked: that its device has signed two histories of it.
//!
//! The entries themselves are no part of it. Their digests are enough to follow the chain from the fork point to
//! a signature, so a proof is a few kilobytes at most, tells nothing of what was written, and can be checked by
//! whoever holds neither branch.

use std::sync::Arc;

use crdt_schema::ident::LogId;

use super::{ForkPoint, FrontierRow, LogHeader};
use crate::wire::chain::{branch_id, chain_link};
use crate::wire::limits::FORK_DIGESTS_MAX;

/// One signed history after a fork point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The digests of its first entries, up to a signed one.
    pub digests: Vec<[u8; 32]>,
    /// The device's signature over the chain value at the last of them.
    pub signature: [u8; 64],
}

/// What a proof weighs besides its digests: header, place and signatures, and how it is kept.
const PROOF_OVERHEAD_BYTES: usize = 512;

/// What the longest proof weighs.
pub const PROOF_BYTES_MAX: usize = PROOF_OVERHEAD_BYTES + 2 * 32 * FORK_DIGESTS_MAX;

/// Two signed histories of one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForkProof {
    /// How the log begins, as its device began it.
    pub header: LogHeader,
    /// The last entry that both histories have.
    pub after: u64,
    /// The chain value there.
    pub chain: [u8; 32],
    /// The histories, the one with the smaller first digest first.
    pub sides: [Side; 2],
}

impl ForkProof {
    /// Where the histories part.
    pub fn point(&self) -> ForkPoint {
        ForkPoint {
            log: self.header.log,
            after: self.after,
            chain: self.chain,
        }
    }

    /// How many bytes it takes, more or less.
    pub fn weight(&self) -> usize {
        let digests: usize = self.sides.iter().map(|side| side.digests.len()).sum();
        PROOF_OVERHEAD_BYTES + 32 * digests
    }

    /// The ids of the two branches. There may be more of them.
    pub fn branches(&self) -> impl Iterator<Item = LogId> {
        let firsts = self.sides.iter().filter_map(|side| side.digests.first());
        firsts.map(|digest| branch_id(&chain_link(&self.chain, digest)))
    }
}

/// What the store has done about a fork.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forked {
    /// Its proof.
    pub proof: Arc<ForkProof>,
    /// The logs that end elsewhere than before, and those that begin: of each its end.
    pub ends: Vec<FrontierRow>,
    /// How many entries have moved to a branch.
    pub moved: u64,
}
