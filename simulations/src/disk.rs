//! The disk under a simulated device's store, with the faults of real ones.
//!
//! A [`SimDisk`] keeps what a process sees apart from what a power cut leaves. Writes go to a cache; a sync
//! makes them durable, unless the disk lies about it. A power cut keeps any of the unsynced sectors of 512
//! bytes, old, new or torn, as keyed draws say.
//!
//! Invariants:
//! - Without [`SimDisk::power_cut`], [`SimDisk::rot`] and [`SimDisk::wear`] what was written is read back.
//! - On an honest disk no power cut touches what was synced.
//! - An image costs pointers, not bytes: pages are shared until one side writes.
//! - The power can fail between any two writes of a process that runs on ([`SimDisk::fail_power_before`]).
//! - After a cut, a kill or a restore the stores that were open write to a disk of their own, so a dead
//!   process cannot tidy up.
//!
//! It does not know databases, devices or time.

mod faults;
mod image;
mod journal;
mod sim;
#[cfg(test)]
mod tests;

pub use faults::{DiskCounters, DiskFaults, Syncs};
pub use sim::SimDisk;
