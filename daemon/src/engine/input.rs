//! The closed list of things that can happen to the engine.

use crdt_schema::ident::{DeviceId, SpaceName};

use super::batch::repair::Found;
use super::batch::rights::Answering;
use super::batch::{
    CommitReport, Fetched, Idempotency, LocalEdit, Rejection, RequestId, SchemaInUse, SessionId,
};

/// The time of an input. The engine reads no clock of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since some fixed moment; never goes back.
    pub mono_ms: u64,
    /// The wall clock: milliseconds since 1970; may be wrong and may jump.
    pub unix_ms: u64,
}

/// A write that a local client asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalWrite {
    /// Who waits for the outcome.
    pub request: RequestId,
    /// The space of the records.
    pub space: SpaceName,
    /// The person; empty if unknown.
    pub person: String,
    /// The version of the schema that the edits were made under.
    pub schema_version: u32,
    /// The edits; not empty, at most one for each record.
    pub edits: Vec<LocalEdit>,
    /// Set if the client may retry.
    pub idempotency: Option<Idempotency>,
    /// Set if the write answers a review.
    pub answering: Option<Box<Answering>>,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A local client writes.
    Local(LocalWrite),
    /// A stream to a peer opened; the transport has proved the peer's key.
    SessionOpened {
        /// The new session's name.
        session: SessionId,
        /// The peer.
        device: DeviceId,
    },
    /// A frame arrived on a session, without its length prefix.
    Frame {
        /// The session.
        session: SessionId,
        /// The frame.
        bytes: Vec<u8>,
    },
    /// A session's stream cannot be read as frames: the peer announced a frame of so many bytes, more than may
    /// be, or no proper length at all.
    BadFrame {
        /// The session.
        session: SessionId,
        /// The length that it announced, if it was one.
        bytes: Option<usize>,
    },
    /// A session's stream is gone.
    SessionClosed {
        /// The session.
        session: SessionId,
    },
    /// A store transaction has ended.
    Committed(CommitReport),
    /// A fetch has ended. `Err` is the reason in words.
    Fetched {
        /// The session it was for.
        session: SessionId,
        /// What was found.
        result: Result<Fetched, String>,
    },
    /// A look has ended. `Err` is the reason in words.
    Looked {
        /// The session that it was about.
        session: SessionId,
        /// Whether the peer had asked.
        for_peer: bool,
        /// What was found.
        result: Result<Found, String>,
    },
    /// The deadline of `poll_timeout` has passed.
    Timeout,
    /// The person in charge takes the device off the network, or back on it.
    Network {
        /// Whether sessions may exist.
        online: bool,
    },
    /// Another schema is in use.
    Schema(SchemaInUse),
}

/// The outcome of a local write.
pub type LocalResult = Result<super::batch::CommitOutcome, Rejection>;
