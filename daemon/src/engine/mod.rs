//! CONTRACT (implementation in progress): the sans-I/O engine.

pub mod batch;
pub mod effect;
pub mod fleet;
pub mod input;
