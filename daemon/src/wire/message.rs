//! What peers say to each other, and the bytes of every message but DATA and PART.
//!
//! A frame is a tag byte and a body; [`super::frame`] adds compression and memory. Lists are bounded,
//! and ascending where a receiver relies on it. What a message means is the engine's affair.

use crdt_schema::ident::{KEY_BYTES_MAX, LogId, SpaceName, check_key};

use super::WireError;
use super::codec::{Reader, Writer};
use super::dictionary::DictionaryId;
pub use super::frame::{FrameDecoder, FrameEncoder};
use super::limits::{
    ACK_ROWS_MAX, BYE_BYTES_MAX, CHECKPOINTS_MAX, FRONT_ROWS_MAX, NAME_BYTES_MAX, SPACES_MAX,
};
use super::part::{self, Part, WholeId};
use super::{branch, repair, telling};
use crate::engine::batch::fork::ForkProof;
use crate::engine::batch::{CheckpointId, Run, SchemaTag};

/// The protocol version in HELLO. Peers with another one are refused with an explanation.
pub const PROTOCOL_VERSION: u32 = 1;

/// The opening message, sent by both sides at once as soon as the stream opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`].
    pub version: u32,
    /// Names the organisation without telling strangers which: a hash of its random id, not keyed by the secret.
    pub organisation_tag: [u8; 8],
    /// Proof that the sender knows the join secret, bound to both devices' keys.
    pub proof: [u8; 32],
    /// Whether the sender counts as a durable copy.
    pub hub: bool,
    /// The version of the sender's schema.
    pub schema_version: u32,
    /// The dictionary that the sender's schema makes. Where both sides name one, DATA is compressed with it.
    pub dictionary: DictionaryId,
    /// The sender's spaces, ascending by tag.
    pub spaces: Vec<SpaceRoot>,
    /// The frontiers that the sender knows both to have held. If the receiver names one of them as well, both
    /// tell only the rows that have moved since.
    pub checkpoints: Vec<CheckpointId>,
    /// What the sender remembers of an earlier telling with the receiver that was not brought to an end.
    pub accord: Option<CheckpointId>,
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

/// One row of a telling: what [`FrontRow`] says, with a shorter tag that is of this telling only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeRow {
    /// The log.
    pub log: LogId,
    /// The last entry held durably.
    pub seq: u64,
    /// See [`super::chain::JoinSecret::row_tag`].
    pub tag: [u8; 4],
}

/// Everything that travels after the stream has opened, one message a frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// First message of each side.
    Hello(Hello),
    /// Sent once the peer's HELLO has been accepted: what people call this device.
    Name(String),
    /// Sent once the peer's HELLO has been accepted, and whenever it changes: the schema in use. A session goes
    /// on whatever it says.
    Schema(SchemaTag),
    /// Part of the opening frontier of one space whose roots differ.
    Front {
        /// The space.
        space: SpaceName,
        /// Its rows, ascending by log; at most [`super::limits::FRONT_ROWS_MAX`] a message.
        rows: Vec<FrontRow>,
    },
    /// A telling begins: the sender tells its frontier in ranges, the receiver answers each.
    Tell {
        /// What the tags of all rows are made with: drawn anew for each telling.
        salt: [u8; 8],
        /// What both have told each other before; nothing if it is not named.
        base: Option<CheckpointId>,
    },
    /// A range of the frontier of one space: from where the last one ended to the last of its rows, or to the
    /// end. In it the sender holds exactly what it has told before and these rows.
    Range {
        /// The tag of the space.
        space: [u8; 8],
        /// Whether the range goes on to the end of the space.
        ends: bool,
        /// What is new since the base, ascending by log; at most [`super::limits::RANGE_ROWS_MAX`].
        rows: Vec<RangeRow>,
    },
    /// The answer to the oldest range that has none: there the sender holds exactly what the range names, what
    /// it has told before, and what this says.
    Answer {
        /// Whether another message goes on with the answer.
        more: bool,
        /// Of the rows of the range, by index, those that the sender holds otherwise, and how far: 0 for not at
        /// all, and the same place if it holds another history there.
        differs: Vec<(u64, u64)>,
        /// What the range does not name and is new since the base, ascending by log.
        rows: Vec<RangeRow>,
    },
    /// All FRONT, RANGE or ANSWER messages have been sent (also sent at once when every root is equal).
    FrontEnd,
    /// Entries. Compressed in one stream for the session's direction.
    Data(Vec<Run>),
    /// A piece of a run that is too large to be sent at once. Compressed in the same stream as DATA.
    Part(Part),
    /// How much of a whole the sender has: what a part is acknowledged with, and in the opening where to go on.
    Have {
        /// The whole.
        whole: WholeId,
        /// How many bytes from its beginning.
        bytes: usize,
    },
    /// What the sender now holds durably of these logs: acknowledges DATA, and announces news to peers
    /// that did not send it. A row that says nothing new refuses what was sent above it.
    Ack(Vec<(LogId, u64)>),
    /// The sender lacks something that was announced: send what I lack.
    Want,
    /// The sender holds the frontier of this name and knows the receiver to hold the same: a checkpoint.
    Mark(CheckpointId),
    /// In the opening: send nothing until I ask by WANT, another peer is sending.
    Hold,
    /// Send the entries of a log from `from` to the next signed point: what is held here of them is
    /// damaged, or another branch.
    Ask {
        /// The log.
        log: LogId,
        /// The first entry.
        from: u64,
    },
    /// The answer to ASK.
    Given {
        /// The log.
        log: LogId,
        /// The entries, if the sender holds them.
        run: Option<Run>,
    },
    /// Send the chain tags of the beginnings of a log that end at these entries.
    Probe {
        /// The log.
        log: LogId,
        /// Where the beginnings end, ascending; at most [`super::limits::PROBE_SEQS_MAX`].
        seqs: Vec<u64>,
    },
    /// The answer to PROBE: those of the beginnings that the sender holds.
    Tags {
        /// The log.
        log: LogId,
        /// Where each ends and the first 8 bytes of the chain value there.
        rows: Vec<(u64, [u8; 8])>,
    },
    /// A log is forked, and the proof: what follows the fork point is told under the branches' own ids.
    Fork(Box<ForkProof>),
    /// The sender ends the session, and why.
    Bye {
        /// A stable code, see [`crate::engine::effect::CloseReason::code`].
        code: String,
        /// For people.
        text: String,
    },
}

const HELLO_TAG: u8 = 1;
const NAME_TAG: u8 = 2;
const FRONT_TAG: u8 = 3;
const FRONT_END_TAG: u8 = 4;
pub(super) const DATA_TAG: u8 = 5;
const ACK_TAG: u8 = 6;
const WANT_TAG: u8 = 7;
const BYE_TAG: u8 = 8;
const MARK_TAG: u8 = 9;
const HOLD_TAG: u8 = 10;
const SCHEMA_TAG: u8 = 11;
pub(super) const PART_TAG: u8 = 12;
pub(super) const HAVE_TAG: u8 = 13;
const FORK_TAG: u8 = 14;
pub(super) const ASK_TAG: u8 = 16;
pub(super) const GIVEN_TAG: u8 = 17;
pub(super) const PROBE_TAG: u8 = 18;
pub(super) const TAGS_TAG: u8 = 19;
pub(super) const TELL_TAG: u8 = 20;
pub(super) const RANGE_TAG: u8 = 21;
pub(super) const ANSWER_TAG: u8 = 22;

/// Most messages fit into so many bytes.
const PLAIN_ROOM: usize = 64;

/// Whether a frame is DATA or PART: what it holds would have to be decompressed.
pub fn is_data(frame: &[u8]) -> bool {
    matches!(frame.first(), Some(&(DATA_TAG | PART_TAG)))
}

/// The frame of any message but DATA and PART, whose bodies depend on what was sent before: of those, the tag
/// only.
pub(super) fn write_plain(message: &Message) -> Vec<u8> {
    let mut writer = Writer::with_room(PLAIN_ROOM);
    match message {
        Message::Hello(hello) => write_hello(&mut writer, hello),
        Message::Name(name) => {
            writer.byte(NAME_TAG);
            writer.text(cut(name, NAME_BYTES_MAX));
        }
        Message::Schema(schema) => {
            writer.byte(SCHEMA_TAG);
            writer.text(&schema.name);
            writer.varint(u64::from(schema.version));
            writer.raw(&schema.digest);
        }
        Message::Front { space, rows } => {
            writer.byte(FRONT_TAG);
            writer.text(space.as_str());
            writer.count(rows.len());
            for row in rows {
                writer.raw(&row.log.0);
                writer.varint(row.seq);
                writer.raw(&row.chain_tag);
            }
        }
        Message::FrontEnd => writer.byte(FRONT_END_TAG),
        Message::Tell { salt, base } => telling::write_tell(&mut writer, salt, base.as_ref()),
        Message::Range { space, ends, rows } => {
            telling::write_range(&mut writer, space, *ends, rows);
        }
        Message::Answer {
            more,
            differs,
            rows,
        } => telling::write_answer(&mut writer, *more, differs, rows),
        Message::Data(_) => writer.byte(DATA_TAG),
        Message::Part(_) => writer.byte(PART_TAG),
        Message::Have { whole, bytes } => part::write_have(&mut writer, whole, *bytes),
        Message::Ack(rows) => {
            writer.byte(ACK_TAG);
            writer.count(rows.len());
            for (log, seq) in rows {
                writer.raw(&log.0);
                writer.varint(*seq);
            }
        }
        Message::Want => writer.byte(WANT_TAG),
        Message::Hold => writer.byte(HOLD_TAG),
        Message::Mark(mark) => {
            writer.byte(MARK_TAG);
            writer.raw(mark);
        }
        Message::Ask { log, from } => repair::write_ask(&mut writer, *log, *from),
        Message::Given { log, run } => repair::write_given(&mut writer, *log, run.as_ref()),
        Message::Probe { log, seqs } => repair::write_probe(&mut writer, *log, seqs),
        Message::Tags { log, rows } => repair::write_tags(&mut writer, *log, rows),
        Message::Fork(proof) => {
            writer.byte(FORK_TAG);
            branch::write_fork(&mut writer, proof);
        }
        Message::Bye { code, text } => {
            writer.byte(BYE_TAG);
            writer.text(cut(code, BYE_BYTES_MAX));
            writer.text(cut(text, BYE_BYTES_MAX));
        }
    }
    writer.into_bytes()
}

fn write_hello(writer: &mut Writer, hello: &Hello) {
    writer.byte(HELLO_TAG);
    writer.varint(u64::from(hello.version));
    writer.raw(&hello.organisation_tag);
    writer.raw(&hello.proof);
    writer.flag(hello.hub);
    writer.varint(u64::from(hello.schema_version));
    writer.raw(&hello.dictionary);
    writer.count(hello.spaces.len());
    for space in &hello.spaces {
        writer.raw(&space.tag);
        writer.raw(&space.root);
        writer.varint(space.count);
    }
    writer.count(hello.checkpoints.len());
    for id in &hello.checkpoints {
        writer.raw(id);
    }
    telling::write_id(writer, hello.accord.as_ref());
}

/// The longest beginning of `text` that has at most `limit` bytes and ends between characters.
fn cut(text: &str, limit: usize) -> &str {
    let whole = |end: &usize| text.is_char_boundary(*end);
    let end = (0..=limit.min(text.len())).rev().find(whole).unwrap_or(0);
    &text[..end]
}

/// Reads the body of any message but DATA and PART.
pub(super) fn read_plain(tag: u8, body: &[u8]) -> Result<Message, WireError> {
    let mut reader = Reader::new(body);
    let message = match tag {
        HELLO_TAG => return read_hello(reader).map(Message::Hello),
        NAME_TAG => Message::Name(reader.text("device name", NAME_BYTES_MAX)?.to_owned()),
        SCHEMA_TAG => Message::Schema(read_schema(&mut reader)?),
        FRONT_TAG => read_front(&mut reader)?,
        FRONT_END_TAG => Message::FrontEnd,
        ACK_TAG => read_ack(&mut reader)?,
        WANT_TAG => Message::Want,
        HOLD_TAG => Message::Hold,
        MARK_TAG => Message::Mark(reader.array("mark")?),
        HAVE_TAG => part::read_have(&mut reader)?,
        ASK_TAG => repair::read_ask(&mut reader)?,
        GIVEN_TAG => repair::read_given(&mut reader)?,
        PROBE_TAG => repair::read_probe(&mut reader)?,
        TAGS_TAG => repair::read_tags(&mut reader)?,
        FORK_TAG => Message::Fork(Box::new(branch::read_fork(&mut reader)?)),
        TELL_TAG => telling::read_tell(&mut reader)?,
        RANGE_TAG => telling::read_range(&mut reader)?,
        ANSWER_TAG => telling::read_answer(&mut reader)?,
        BYE_TAG => Message::Bye {
            code: reader.text("code of bye", BYE_BYTES_MAX)?.to_owned(),
            text: reader.text("text of bye", BYE_BYTES_MAX)?.to_owned(),
        },
        _ => return Err(WireError::Malformed("message tag")),
    };
    reader.finish("message: bytes after its end")?;
    Ok(message)
}

/// Of another version only the version can be understood, and is all that the refusal needs: the other
/// fields are then empty.
fn read_hello(mut reader: Reader<'_>) -> Result<Hello, WireError> {
    let mut hello = Hello {
        version: reader.varint_u32("protocol version")?,
        organisation_tag: [0; 8],
        proof: [0; 32],
        hub: false,
        schema_version: 0,
        dictionary: [0; 8],
        spaces: Vec::new(),
        checkpoints: Vec::new(),
        accord: None,
    };
    if hello.version != PROTOCOL_VERSION {
        return Ok(hello);
    }
    hello.organisation_tag = reader.array("organisation tag")?;
    hello.proof = reader.array("proof")?;
    hello.hub = reader.flag("hub flag")?;
    hello.schema_version = reader.varint_u32("schema version")?;
    hello.dictionary = reader.array("dictionary")?;
    for _ in 0..reader.count("number of spaces", SPACES_MAX)? {
        hello.spaces.push(SpaceRoot {
            tag: reader.array("space tag")?,
            root: reader.array("space root")?,
            count: reader.varint("number of entries")?,
        });
    }
    for _ in 0..reader.count("number of checkpoints", CHECKPOINTS_MAX)? {
        hello.checkpoints.push(reader.array("checkpoint")?);
    }
    hello.accord = telling::read_id(&mut reader)?;
    if !hello.spaces.is_sorted_by(|a, b| a.tag < b.tag) {
        return Err(WireError::Malformed("hello: spaces not in ascending order"));
    }
    reader.finish("hello: bytes after its end")?;
    Ok(hello)
}

fn read_schema(reader: &mut Reader<'_>) -> Result<SchemaTag, WireError> {
    let name = reader.text("schema name", KEY_BYTES_MAX)?;
    check_key(name).map_err(|_| WireError::Malformed("schema name"))?;
    Ok(SchemaTag {
        name: name.to_owned(),
        version: reader.varint_u32("schema version")?,
        digest: reader.array("schema digest")?,
    })
}

fn read_front(reader: &mut Reader<'_>) -> Result<Message, WireError> {
    let space = SpaceName::new(reader.text("space name", SpaceName::BYTES_MAX)?)
        .map_err(|_| WireError::Malformed("space name"))?;
    let mut rows: Vec<FrontRow> = Vec::new();
    for _ in 0..reader.count("number of frontier rows", FRONT_ROWS_MAX)? {
        rows.push(FrontRow {
            log: LogId(reader.array("log")?),
            seq: reader.varint("sequence number")?,
            chain_tag: reader.array("chain tag")?,
        });
    }
    if !rows.is_sorted_by(|a, b| a.log < b.log) {
        return Err(WireError::Malformed("front: rows not in ascending order"));
    }
    if rows.iter().any(|row| row.seq == 0) {
        return Err(WireError::Malformed("front: sequence number 0"));
    }
    Ok(Message::Front { space, rows })
}

fn read_ack(reader: &mut Reader<'_>) -> Result<Message, WireError> {
    let count = reader.count("number of acknowledged logs", ACK_ROWS_MAX)?;
    let mut rows = Vec::with_capacity(count);
    for _ in 0..count {
        rows.push((
            LogId(reader.array("log")?),
            reader.varint("sequence number")?,
        ));
    }
    Ok(Message::Ack(rows))
}
