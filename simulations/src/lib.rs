//! Deterministic simulation of a small fieldmesh fleet.
//!
//! The real engine and the real store run over virtual time and virtual links; nothing here reads a clock,
//! starts a thread or draws randomness that does not come from the seed. The same seed gives the same run,
//! event for event, on every machine.
//!
//! A run has two phases. In the *safety* phase people write, links come and go and devices are killed. In
//! the *liveness* phase the faults stop, every link is up, and the fleet must settle. Then [`check`] holds
//! what the devices show against a [`ledger::Ledger`] that was kept outside them.

#![warn(missing_docs)]

pub mod check;
pub mod device;
pub mod disk;
pub mod draw;
pub mod ledger;
pub mod mobility;
pub mod plot;
pub mod world;

pub use world::{Options, Outcome, run};
