//! CONTRACT (codec in progress): what peers say to each other.

use crdt_schema::ident::{LogId, SpaceName};

use crate::engine::batch::Run;

use super::WireError;

/// The protocol version in HELLO. Peers with another one are refused with an explanation.
pub const PROTOCOL_VERSION: u32 = 1;

/// The opening message, sent by both sides at once as soon as the stream opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`].
    pub version: u32,
    /// Names the organisation without telling strangers which: a keyed hash of its id.
    pub organisation_tag: [u8; 8],
    /// Proof that the sender knows the join secret, bound to both devices' keys.
    pub proof: [u8; 32],
    /// Whether the sender counts as a durable copy.
    pub hub: bool,
    /// The version of the sender's schema.
    pub schema_version: u32,
    /// The sender's spaces, ascending by tag.
    pub spaces: Vec<SpaceRoot>,
}

/// One space in HELLO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceRoot {
    /// Keyed hash of the space's name: strangers learn no names.
    pub tag: [u8; 8],
    /// Keyed digest of the space's frontier.
    pub root: [u8; 16],
    /// How many entries it has.
    pub count: u64,
}

/// One row of an opening frontier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontRow {
    /// The log.
    pub log: LogId,
    /// The last entry held durably.
    pub seq: u64,
    /// The first 8 bytes of the chain value there: tells forks apart.
    pub chain_tag: [u8; 8],
}

/// Everything that travels after the stream has opened, one message a frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// First message of each side.
    Hello(Hello),
    /// Sent once the peer's HELLO has been accepted: what people call this device.
    Name(String),
    /// The opening frontier of one space whose roots differ. `last` ends the opening.
    Front {
        /// The space.
        space: SpaceName,
        /// Its rows, ascending by log; at most [`super::limits::FRONT_ROWS_MAX`] a message.
        rows: Vec<FrontRow>,
    },
    /// All FRONT messages have been sent (also sent at once when every root is equal).
    FrontEnd,
    /// Entries. Compressed in one stream for the session's direction.
    Data(Vec<Run>),
    /// What the sender now holds durably of these logs: acknowledges DATA, and announces news to peers
    /// that did not send it.
    Ack(Vec<(LogId, u64)>),
    /// The sender lacks something that was announced: send what I lack.
    Want,
    /// The sender ends the session, and why.
    Bye {
        /// A stable code, see [`crate::engine::effect::CloseReason::code`].
        code: String,
        /// For people.
        text: String,
    },
}

/// Encodes one side's messages into frames. Holds the compression stream of this direction.
#[derive(Debug)]
pub struct FrameEncoder {}

/// Decodes the other side's frames. Holds the decompression stream of that direction, capped.
#[derive(Debug)]
pub struct FrameDecoder {}

#[allow(unused_variables, missing_docs, clippy::todo)]
impl FrameEncoder {
    pub fn new() -> Self { todo!() }
    /// The frame of a message, without its length prefix.
    pub fn encode(&mut self, message: &Message) -> Vec<u8> { todo!() }
}

#[allow(unused_variables, missing_docs, clippy::todo)]
impl FrameDecoder {
    pub fn new() -> Self { todo!() }
    /// The message in a frame. Any error is the peer's fault and ends the session.
    pub fn decode(&mut self, frame: &[u8]) -> Result<Message, WireError> { todo!() }
}
