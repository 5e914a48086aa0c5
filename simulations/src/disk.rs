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
//! - A process can stop before any of its writes and syncs while it runs on ([`SimDisk::stop_amid`]): a kill or a
//!   power cut then happens there.
//! - After a cut, a kill or a restore the stores that were open write to a disk of their own, so a dead
//!   process cannot tidy up.
//!
//! It does not know databases, devices or time.

mod faults;
mod image;
mod journal;
mod sim;
mod stop;
#[cfg(test)]
mod tests;

pub use faults::{DiskCounters, DiskFaults, Syncs};
pub use journal::Damage;
pub use sim::SimDisk;
