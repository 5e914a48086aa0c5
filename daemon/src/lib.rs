//! fieldmesh: an offline-first sync daemon for field teams.
//!
//! The modules in reading order. [`wire`] is what devices say to each other, [`engine`] what the daemon
//! decides, [`store`] what it keeps; these three are pure or synchronous and build without the `node` feature,
//! which is how the simulator runs them. [`node`] joins them with the clock and with [`net`]; [`api`] is the
//! way in for programs on the device, and [`cli`] its client for people.
//!
//! One path for every edit, local or remote: edit → change set → validate → stage → commit (log, documents,
//! frontier and view in one transaction) → reply → publish → announce.

pub mod engine;
pub mod mutation;
pub mod store;
pub mod wire;

#[cfg(feature = "node")]
pub mod api;
#[cfg(feature = "node")]
pub mod cli;
#[cfg(feature = "node")]
pub mod config;
#[cfg(feature = "node")]
pub mod net;
#[cfg(feature = "node")]
pub mod node;
