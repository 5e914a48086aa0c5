//! CONTRACT (in progress): messages and their canonical encoding. Pure.

pub mod chain;
pub mod changeset;
pub mod limits;
pub mod message;

/// Why bytes from a peer were refused. All are the peer's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end in the middle of something.
    #[error("truncated while reading {0}")]
    Truncated(&'static str),
    /// Something is larger than its limit.
    #[error("{what} is {found}, more than the {limit} allowed")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// Bytes that no honest peer sends.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// The compressed stream is damaged.
    #[error("damaged compression: {0}")]
    Compression(String),
}
