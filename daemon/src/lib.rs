pub mod engine;
#[cfg(feature = "node")]
pub mod node;
pub mod store;
pub mod wire;
