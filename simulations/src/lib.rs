//! Deterministic simulation of fieldmesh fleets.
//!
//! The real engine and the real store run over virtual time, virtual links and faulty disks; nothing here
//! reads a clock, starts a thread inside a run or draws randomness that does not come from the seed.
//!
//! A seed and a profile give a [`plan::Plan`] ([`generate`]); [`world::World::run`] is a pure function of the
//! plan and gives an [`outcome::Outcome`]; an [`trace::Observer`] may watch. What must hold is in [`oracle`],
//! what a campaign must reach in [`sometimes`]. A failing plan is made small by [`shrink`] and kept.

#![warn(missing_docs)]

mod alike;
pub mod campaign;
pub mod checks;
pub mod clock;
pub mod compare;
pub mod device;
pub mod disk;
pub mod draw;
pub mod family;
pub mod generate;
pub mod holding;
pub mod hostile;
pub mod keep;
pub mod ledger;
pub mod likeness;
pub mod link;
pub mod measure;
pub mod mobility;
#[cfg(feature = "mutations")]
pub mod mutants;
pub mod notes;
pub mod oracle;
pub mod outcome;
mod panics;
pub mod plan;
pub mod plot;
pub mod progress;
pub mod queue;
pub mod regressions;
pub mod report;
pub mod scale;
pub mod shrink;
pub mod sometimes;
pub mod spread;
pub mod time;
pub mod trace;
mod verified;
pub mod workload;
pub mod world;
