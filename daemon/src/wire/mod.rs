//! What peers say to each other: messages, frames, change sets, and their canonical bytes.
//!
//! Everything a peer sends is read through [`codec::Reader`], which checks every length against a named
//! limit before it takes memory. A change set has exactly one encoding, so its bytes can be chained and
//! signed. Reading never panics; every refusal is a [`WireError`].
//!
//! `FORMAT.md` beside this file says every byte; `tests/vectors/wire.txt` shows them.
//!
//! This module does not know sessions, frontiers, rights or schemas: it says whether bytes are well
//! formed, and nothing about whether they are welcome.

pub mod branch;
pub mod chain;
pub mod changeset;
pub mod codec;
pub mod dictionary;
pub mod frame;
pub mod limits;
pub mod message;
pub mod part;

mod check;
mod compress;
mod data;
mod repair;
mod telling;
mod value;

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
    /// The stream was compressed with a dictionary that the two sides have not agreed on.
    #[error("compressed with a dictionary that was not agreed on; both sides must use one schema")]
    Dictionary,
    /// The compressed stream is damaged.
    #[error("damaged compression: {0}")]
    Compression(String),
}
