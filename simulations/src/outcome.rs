//! What a run amounted to.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::oracle::Oracle;
use crate::sometimes::Reached;

/// Something that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What should have held.
    pub oracle: Oracle,
    /// When it was found not to, in virtual milliseconds.
    pub at_ms: u64,
    /// What was found instead.
    pub detail: String,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything held.
    Held,
    /// Something did not.
    Broken(Failure),
    /// The fleet did not settle. Says what blocked it.
    Unsettled(String),
    /// The program panicked, or a run had no end. Says how.
    Crashed(String),
}

impl Verdict {
    /// Whether everything held.
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Held)
    }

    /// The number that the program ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Held => 0,
            Self::Broken(_) => 1,
            Self::Unsettled(_) => 2,
            Self::Crashed(_) => 3,
        }
    }

    /// Whether two runs failed in the same way: the same oracle, whatever the values.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Broken(one), Self::Broken(other)) => one.oracle == other.oracle,
            (Self::Held, Self::Held)
            | (Self::Unsettled(_), Self::Unsettled(_))
            | (Self::Crashed(_), Self::Crashed(_)) => true,
            (Self::Held | Self::Broken(_) | Self::Unsettled(_) | Self::Crashed(_), _) => false,
        }
    }
}

/// Counts of what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Events that were carried out.
    pub events: u64,
    /// Virtual milliseconds, summed over the devices that were on or could have been.
    pub device_ms: u64,
    /// Writes acknowledged.
    pub saved: u64,
    /// Writes refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Operations on devices that were off.
    pub missed: u64,
    /// Reviews open at the end.
    pub reviews: u64,
    /// Reviews answered.
    pub answered: u64,
    /// Contacts that began.
    pub contacts: u64,
    /// Connections that were made.
    pub connections: u64,
    /// Connections that ended while devices could reach each other.
    pub cuts: u64,
    /// Frames sent between honest devices.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of the entries that were held at the end, over all devices.
    pub entry_bytes: u64,
    /// Bytes on the fullest disk at the end.
    pub disk_bytes: u64,
    /// Faults of devices, by name.
    pub faults: BTreeMap<&'static str, u64>,
    /// Checks of oracles.
    pub checks: u64,
}

/// A run and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub verdict: Verdict,
    /// What happened.
    pub counts: Counts,
    /// The interesting states that were reached.
    pub reached: Reached,
    /// Virtual milliseconds from the end of the faults until the fleet had settled.
    pub settled_ms: u64,
    /// Digest of every event: equal for equal plans, on every machine.
    pub digest: String,
    /// The digest after each thousand events, to find where two runs part.
    pub blocks: Vec<String>,
}

/// The rolling digest of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digest {
    hasher: blake3::Hasher,
    events: u64,
    blocks: Vec<String>,
}

/// How many events one block of a digest covers.
const BLOCK_EVENTS: u64 = 1000;

impl Digest {
    pub(crate) fn add(&mut self, event: &str) {
        self.hasher.update(event.as_bytes());
        self.events += 1;
        if self.events.is_multiple_of(BLOCK_EVENTS) {
            self.blocks.push(short(&self.hasher));
        }
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn finish(self) -> (String, Vec<String>) {
        (self.hasher.finalize().to_hex().to_string(), self.blocks)
    }
}

fn short(hasher: &blake3::Hasher) -> String {
    hex::encode(&hasher.finalize().as_bytes()[..8])
}
