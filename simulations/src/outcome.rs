//! What a run amounted to.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use serde::Serialize;

use crate::checks::Checks;
use crate::likeness::{Crash, Stall, about};
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
    Unsettled(Stall),
    /// The program panicked, or a run had no end. Says how.
    Crashed(Crash),
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

    /// Whether a run failed in the way of another: the same oracle in the same words, the same panic, or an
    /// obstacle that was there too, whatever the values.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Broken(one), Self::Broken(other)) => {
                one.oracle == other.oracle && about(&one.detail) == about(&other.detail)
            }
            (Self::Unsettled(one), Self::Unsettled(other)) => one.is_like(other),
            (Self::Crashed(one), Self::Crashed(other)) => one.is_like(other),
            (Self::Held, Self::Held) => true,
            (Self::Held | Self::Broken(_) | Self::Unsettled(_) | Self::Crashed(_), _) => false,
        }
    }
}

/// Counts of what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Events that were carried out.
    pub events: u64,
    /// Virtual milliseconds, summed over the honest devices, off or on.
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
    /// Connections that were made between honest devices.
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
    pub checks: Checks,
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
    /// Virtual milliseconds from the end of the faults until the fleet had settled, if it did.
    pub settled_ms: Option<u64>,
    /// Digest of what all devices held in the end and, if everything held, of what they showed.
    pub holdings: String,
    /// Digest of every event: equal for equal plans, on every machine.
    pub digest: String,
    /// The digest after each thousand events, to find where two runs part.
    pub blocks: Vec<String>,
}

/// The rolling digest of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digest {
    facts: Facts,
    events: u64,
    blocks: Vec<String>,
}

/// How many events one block of a digest covers.
const BLOCK_EVENTS: u64 = 1000;

impl Digest {
    pub(crate) fn add(&mut self, now_ms: u64, event: &impl Hash) {
        now_ms.hash(&mut self.facts);
        event.hash(&mut self.facts);
        self.events += 1;
        if self.events.is_multiple_of(BLOCK_EVENTS) {
            self.blocks
                .push(hex::encode(&self.facts.digest().as_bytes()[..8]));
        }
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn finish(mut self) -> (String, Vec<String>) {
        (self.facts.digest().to_hex().to_string(), self.blocks)
    }
}

/// How much is collected before it is hashed, in bytes: to hash many short pieces takes several times as long as
/// to hash them joined.
const COLLECTED_BYTES_MAX: usize = 32 << 10;

/// The digest of all that events say, as bytes that are the same on every machine.
#[derive(Clone, Debug, Default)]
struct Facts {
    hasher: blake3::Hasher,
    /// What has not been hashed yet.
    collected: Vec<u8>,
}

impl Facts {
    fn digest(&mut self) -> blake3::Hash {
        self.hash_collected();
        self.hasher.finalize()
    }

    fn hash_collected(&mut self) {
        self.hasher.update(&self.collected);
        self.collected.clear();
    }
}

impl Hasher for Facts {
    /// Nobody asks: 64 bits are too few for a digest.
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.collected.len() + bytes.len() > COLLECTED_BYTES_MAX {
            self.hash_collected();
        }
        match bytes.len() > COLLECTED_BYTES_MAX {
            true => {
                self.hasher.update(bytes);
            }
            false => self.collected.extend_from_slice(bytes),
        }
    }

    fn write_u16(&mut self, number: u16) {
        self.write(&number.to_le_bytes());
    }

    fn write_u32(&mut self, number: u32) {
        self.write(&number.to_le_bytes());
    }

    fn write_u64(&mut self, number: u64) {
        self.write(&number.to_le_bytes());
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(events: &[(u64, &str)]) -> (String, Vec<String>) {
        let mut digest = Digest::default();
        for (now_ms, event) in events {
            digest.add(*now_ms, event);
        }
        digest.finish()
    }

    #[test]
    fn a_digest_tells_events_their_times_and_their_borders_apart() {
        let one = digest(&[(1, "ab"), (2, "c")]);

        assert_eq!(digest(&[(1, "ab"), (2, "c")]), one);
        assert_ne!(digest(&[(1, "a"), (2, "bc")]), one);
        assert_ne!(digest(&[(1, "ab"), (3, "c")]), one);
        assert_ne!(digest(&[(2, "c"), (1, "ab")]), one);
        assert_ne!(digest(&[(1, "ab")]), one);
    }

    #[test]
    fn a_digest_tells_long_events_apart_from_each_other_and_from_what_is_around_them() {
        let long = "frame ".repeat(COLLECTED_BYTES_MAX);
        let other = long.replacen("frame f", "frame F", 1);
        let one = digest(&[(1, "a"), (2, &long), (3, "b")]);

        assert_eq!(digest(&[(1, "a"), (2, &long), (3, "b")]), one);
        assert_ne!(digest(&[(1, "a"), (2, &other), (3, "b")]), one);
        assert_ne!(digest(&[(2, &long), (1, "a"), (3, "b")]), one);
    }

    #[test]
    fn two_digests_part_in_the_block_of_the_event_that_differs() {
        let mut events = vec![(1, "what happens"); 3500];
        let (whole, blocks) = digest(&events);
        events[1200].1 = "what happened";
        let (other, parted) = digest(&events);

        assert_ne!(whole, other);
        assert_eq!((blocks.len(), parted.len()), (3, 3));
        assert_eq!(blocks[0], parted[0]);
        assert!(blocks[1] != parted[1] && blocks[2] != parted[2]);
    }
}
