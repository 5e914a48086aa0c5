pub mod engine;
#[cfg(feature = "node")]
pub mod node;
pub mod store;
