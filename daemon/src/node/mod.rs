//! CONTRACT (implementation in progress): the one loop that joins engine, store, network and clock.

pub mod handle;
