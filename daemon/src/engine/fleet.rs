//! What this device knows of the others, as a snapshot for readers outside the engine.

use std::collections::BTreeMap;

use crdt_schema::ident::{DeviceId, Dot, LogId};

use super::batch::{Held, SchemaTag};
use crate::mutation::{Mutation, is_planted};

/// What is known of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The peer.
    pub device: DeviceId,
    /// Its name, for people; empty until it has been introduced.
    pub name: String,
    /// Whether it counts as a durable copy.
    pub hub: bool,
    /// Whether a session is open.
    pub connected: bool,
    /// When it was last heard, in milliseconds since 1970; 0 if never.
    pub last_seen_ms: u64,
    /// What it said it holds durably.
    pub held: Held,
    /// How many entries it holds that we lack, as far as it has told.
    pub behind: u64,
    /// How many entries we hold that it lacks, as far as it has told.
    pub ahead: u64,
    /// Logs that are not exchanged with it, and why.
    pub refused_logs: BTreeMap<LogId, String>,
    /// The schema that it last said it uses; unknown until it has been met since the start.
    pub schema: Option<SchemaTag>,
    /// Whether entries of it were written more than the drift bound ahead of our clock.
    pub clock_suspect: bool,
}

/// Who holds what, as far as this device knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// The peers, by device.
    pub peers: BTreeMap<DeviceId, PeerStatus>,
    /// What this device holds durably.
    pub held: Held,
    /// Sessions refused or broken since the start, by [`super::effect::CloseReason::code`], and logs refused in
    /// them, by codes of their own.
    pub refusals: BTreeMap<&'static str, u64>,
    /// The newest refusal, for people: the peer and why.
    pub last_refusal: Option<(DeviceId, String)>,
    /// Whether sessions may exist.
    pub online: bool,
    /// What was repaired, and what waits to be.
    pub repairs: Repairs,
}

/// What was repaired since the start, and what waits to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repairs {
    /// The logs that do not read back, and from where on: a peer that holds them is awaited.
    pub damaged: BTreeMap<LogId, u64>,
    /// Entries that were damaged here and came back from a peer.
    pub mended: u64,
    /// Entries that this device had written and lost, and took back from a peer.
    pub taken_back: u64,
    /// Change sets of a forked log that were written again in a new one.
    pub rewritten: u64,
    /// Forks of logs that were settled here: both histories are kept, as branches.
    pub forks: u64,
    /// Entries that were moved from a forked log to a branch.
    pub branched: u64,
}

/// Where a record's present state is known to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// How many other devices hold it durably.
    pub shared: usize,
    /// Whether a hub is among them.
    pub synced: bool,
}

impl Fleet {
    /// Where the state with these document heads is known to be held.
    pub fn spread(&self, heads: &[Dot]) -> Spread {
        let mut spread = Spread {
            shared: 0,
            synced: false,
        };
        for peer in self.peers.values() {
            if heads.iter().all(|dot| peer.held.holds(dot)) {
                spread.shared += 1;
                spread.synced |= peer.hub || is_planted(Mutation::SyncedWithoutHub);
            }
        }
        spread
    }
}
