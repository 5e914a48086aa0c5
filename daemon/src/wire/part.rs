//! Runs that are larger than a link can be expected to carry at once, cut into parts.
//!
//! The *whole* is a run with its header, in the bytes below; a PART is a piece of it and says which whole it
//! belongs to, by the log, the last entry and a digest of all of it. HAVE says how much of a whole is there.
//! Parts travel compressed, in the same stream as DATA.
//!
//! Whether parts fit together is the engine's affair, and what they make is verified like any other run.

use crdt_schema::ident::LogId;

use super::WireError;
use super::branch::{read_header, write_header};
use super::codec::{Reader, Writer};
use super::data::{read_rest, write_rest};
use super::limits::{PART_BYTES_MAX, WHOLE_BYTES_MAX};
use super::message::{HAVE_TAG, Message};
use crate::engine::batch::Run;

/// Names a whole: whoever holds the same entries and signature cuts the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WholeId {
    /// The log.
    pub log: LogId,
    /// The last entry.
    pub last: u64,
    /// The beginning of the digest of its bytes.
    pub digest: [u8; 16],
}

/// A piece of a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The whole.
    pub whole: WholeId,
    /// How many bytes the whole has; at most [`WHOLE_BYTES_MAX`].
    pub total: usize,
    /// Where the piece begins in it.
    pub offset: usize,
    /// The piece; not empty, at most [`PART_BYTES_MAX`], and within the whole.
    pub bytes: Vec<u8>,
}

impl Part {
    /// Where the piece ends in the whole.
    pub fn end(&self) -> usize {
        self.offset + self.bytes.len()
    }
}

/// The bytes of a run as a whole, and what names it.
pub fn encode_whole(run: &Run) -> (WholeId, Vec<u8>) {
    let mut writer = Writer::new();
    writer.raw(&run.header.log.0);
    write_run(&mut writer, run);
    let bytes = writer.into_bytes();
    let whole = WholeId {
        log: run.header.log,
        last: run.last(),
        digest: digest(&bytes),
    };
    (whole, bytes)
}

/// The run that a whole is, if its parts made what its name says.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode_whole(whole: &WholeId, bytes: &[u8]) -> Result<Run, WireError> {
    if !is_whole(whole, bytes) {
        return Err(WireError::Malformed("whole: its digest"));
    }
    let mut reader = Reader::new(bytes);
    let log = LogId(reader.array("log")?);
    let run = read_run(&mut reader, log)?;
    reader.finish("whole: bytes after its end")?;
    if (run.header.log, run.last()) != (whole.log, whole.last) {
        return Err(WireError::Malformed(
            "whole: it is another run than its name says",
        ));
    }
    Ok(run)
}

/// Whether bytes are those that the name of a whole is made of.
pub fn is_whole(whole: &WholeId, bytes: &[u8]) -> bool {
    digest(bytes) == whole.digest
}

fn digest(bytes: &[u8]) -> [u8; 16] {
    let digest = blake3::derive_key("fieldmesh run in parts v1", bytes);
    std::array::from_fn(|index| digest[index])
}

/// A run without its log.
pub(super) fn write_run(writer: &mut Writer, run: &Run) {
    write_header(writer, &run.header);
    writer.varint(run.from);
    write_rest(writer, run);
}

pub(super) fn read_run(reader: &mut Reader<'_>, log: LogId) -> Result<Run, WireError> {
    let header = read_header(reader, log)?;
    let from = reader.varint("run's first sequence number")?;
    read_rest(reader, header, from)
}

/// The body of PART before compression.
pub(super) fn write_part(part: &Part) -> Vec<u8> {
    let mut writer = Writer::new();
    write_whole_id(&mut writer, &part.whole);
    writer.count(part.total);
    writer.count(part.offset);
    writer.bytes(&part.bytes);
    writer.into_bytes()
}

pub(super) fn read_part(body: &[u8]) -> Result<Part, WireError> {
    let mut reader = Reader::new(body);
    let whole = read_whole_id(&mut reader)?;
    let total = read_size(&mut reader, "size of a whole")?;
    let offset = read_size(&mut reader, "beginning of a part")?;
    let bytes = reader.bytes("part", PART_BYTES_MAX)?.to_vec();
    reader.finish("part: bytes after its end")?;
    if bytes.is_empty() || offset + bytes.len() > total {
        return Err(WireError::Malformed("part: it is not within its whole"));
    }
    Ok(Part {
        whole,
        total,
        offset,
        bytes,
    })
}

pub(super) fn write_have(writer: &mut Writer, whole: &WholeId, bytes: usize) {
    writer.byte(HAVE_TAG);
    write_whole_id(writer, whole);
    writer.count(bytes);
}

pub(super) fn read_have(reader: &mut Reader<'_>) -> Result<Message, WireError> {
    Ok(Message::Have {
        whole: read_whole_id(reader)?,
        bytes: read_size(reader, "bytes of a whole")?,
    })
}

fn write_whole_id(writer: &mut Writer, whole: &WholeId) {
    writer.raw(&whole.log.0);
    writer.varint(whole.last);
    writer.raw(&whole.digest);
}

fn read_whole_id(reader: &mut Reader<'_>) -> Result<WholeId, WireError> {
    Ok(WholeId {
        log: LogId(reader.array("log")?),
        last: reader.varint("last sequence number")?,
        digest: reader.array("digest of a whole")?,
    })
}

/// A size within a whole; it is no promise that so many bytes follow.
fn read_size(reader: &mut Reader<'_>, what: &'static str) -> Result<usize, WireError> {
    let found = reader.varint(what)?;
    match usize::try_from(found) {
        Ok(size) if size <= WHOLE_BYTES_MAX => Ok(size),
        _ => Err(WireError::TooLarge {
            what,
            found,
            limit: WHOLE_BYTES_MAX as u64,
        }),
    }
}

#[cfg(test)]
mod tests {
    use crdt_schema::ident::{DeviceId, SpaceName};

    use super::*;
    use crate::engine::batch::LogHeader;
    use crate::wire::message::{FrameDecoder, FrameEncoder};

    fn run() -> Run {
        Run {
            header: LogHeader {
                log: LogId([1; 16]),
                space: SpaceName::default(),
                device: DeviceId([2; 32]),
                name: "tablet".to_owned(),
                branch_of: None,
            },
            from: 7,
            entries: vec![vec![1; 9_000], vec![3]],
            signature: [4; 64],
        }
    }

    fn part(total: usize, offset: usize, bytes: usize) -> Part {
        Part {
            whole: encode_whole(&run()).0,
            total,
            offset,
            bytes: vec![5; bytes],
        }
    }

    #[test]
    fn a_whole_is_read_back_and_only_under_its_own_name() {
        let (whole, bytes) = encode_whole(&run());

        assert_eq!(decode_whole(&whole, &bytes), Ok(run()));
        let mut damaged = bytes.clone();
        damaged[5_000] ^= 1;
        assert!(decode_whole(&whole, &damaged).is_err());
        let later = WholeId { last: 9, ..whole };
        assert!(decode_whole(&later, &bytes).is_err());
    }

    #[test]
    fn parts_and_haves_travel_between_data() {
        let (mut encoder, mut decoder) = (FrameEncoder::new(), FrameDecoder::new());
        let messages = [
            Message::Data(vec![run()]),
            Message::Part(part(9_200, 0, 4_000)),
            Message::Have {
                whole: part(1, 0, 1).whole,
                bytes: WHOLE_BYTES_MAX,
            },
            Message::Part(part(9_200, 4_000, 4_000)),
            Message::Data(vec![run()]),
        ];
        for message in messages {
            let frame = encoder.encode(&message);
            assert_eq!(decoder.decode(&frame), Ok(message));
        }
    }

    #[test]
    fn parts_outside_of_their_whole_and_wholes_without_end_are_refused() {
        let is_refused = |part: Part| {
            let frame = FrameEncoder::new().encode(&Message::Part(part));
            FrameDecoder::new().decode(&frame).is_err()
        };
        assert!(!is_refused(part(WHOLE_BYTES_MAX, WHOLE_BYTES_MAX - 1, 1)));
        assert!(is_refused(part(WHOLE_BYTES_MAX, WHOLE_BYTES_MAX, 1)));
        assert!(is_refused(part(WHOLE_BYTES_MAX + 1, 0, 1)));
        assert!(is_refused(part(100, 0, 0)));
        assert!(is_refused(part(WHOLE_BYTES_MAX, 0, PART_BYTES_MAX + 1)));
    }
}
