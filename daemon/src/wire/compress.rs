//! One zstd stream for each direction of a session, flushed at the end of every frame.
//!
//! Later frames refer back to earlier ones, so a second change set like the first costs next to nothing. The
//! first refer to the session's dictionary, if it has one. A stream begins with a byte that says so, which stands
//! for zstd's magic number: a receiver that has not agreed on a dictionary refuses at once, instead of reading
//! something else than was written.
//! The window is at most one mebibyte on both sides, and the output of one frame is capped: what a peer sends
//! cannot make us hold more. A session that never sends DATA never pays for a stream, and a stream's tables are no
//! larger than what there is to send when its session opens: most meetings are small, and a large stream costs two
//! megabytes of cleared memory for each direction.

use std::fmt;
use std::io;

use zstd::stream::raw::{CParameter, DParameter, Decoder, Encoder, InBuffer, Operation, OutBuffer};

use super::WireError;
use super::dictionary::Dictionary;

/// Quick, and within a tenth of what the slow levels reach.
const LEVEL: i32 = 3;

/// Slow, for links where every byte costs: about a tenth less.
const LEVEL_THOROUGH: i32 = 19;

/// Base-2 logarithm of the furthest that a stream may refer back: 1 MiB.
const WINDOW_LOG: u32 = 20;

/// How a stream begins, instead of [`MAGIC`].
mod beginning {
    /// Without a dictionary.
    pub(super) const PLAIN: u8 = 0;
    /// With the session's dictionary.
    pub(super) const DICTIONARY: u8 = 1;
}

/// How many entries a small stream is for, if all of them are in its first body.
const ENTRIES_LITTLE: usize = 256;

/// A small stream: base-2 logarithms of the window and of both tables.
const LITTLE: [CParameter; 3] = size(16, 13, 12);

/// Streams for more, by the most bytes that each is for. Tables that stay in a processor's cache take less time, and
/// cost a two-hundredth in bytes.
const SIZES: [(usize, [CParameter; 3]); 2] = [
    (192 << 10, size(WINDOW_LOG, 14, 13)),
    (640 << 10, size(WINDOW_LOG, 16, 15)),
];

/// A stream for more than those, or for nobody knows how much: the level says how large its tables are.
const FULL: [CParameter; 1] = [CParameter::WindowLog(WINDOW_LOG)];

const fn size(window: u32, long: u32, short: u32) -> [CParameter; 3] {
    [
        CParameter::WindowLog(window),
        CParameter::HashLog(long),
        CParameter::ChainLog(short),
    ]
}

/// How a zstd stream begins. Only this format can be read: no older one, and no frames to be skipped.
const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// A stream whose first body has so many bytes is begun without a dictionary. A sender's first frame is as large as
/// this whenever there is more to come. With a dictionary zstd keeps small tables, and finds less of what is further
/// back: that costs a long stream a tenth.
const FIRST_BODY_LITTLE: usize = 2 << 10;

/// How much is taken off the streams at a time, at most.
const CHUNK_BYTES: usize = 32 << 10;

/// What even a frame of a few bytes may need.
const FLUSH_BYTES: usize = 256;

/// The sending side of a stream.
#[derive(Default)]
pub(super) struct Compressor {
    stream: Option<Encoder<'static>>,
    dictionary: Option<Dictionary>,
    has_begun: bool,
    is_thorough: bool,
    /// How many entries will be sent at first, if that is known.
    entries: Option<usize>,
}

impl Compressor {
    /// A stream that spends time to save bytes.
    pub(super) fn thorough() -> Self {
        Self {
            is_thorough: true,
            ..Self::default()
        }
    }

    /// Uses a dictionary that the receiver has too, if the stream has not begun.
    pub(super) fn use_dictionary(&mut self, dictionary: Dictionary) {
        if self.stream.is_none() {
            self.dictionary = Some(dictionary);
        }
    }

    /// So many entries will be sent at first: the stream is made for them, unless it has begun or is to save bytes.
    pub(super) fn expect_entries(&mut self, entries: u64) {
        self.entries = usize::try_from(entries).ok();
    }

    /// Appends the compressed form of `body` to `frame`. It has so many entries, or is a piece of a large one. The other
    /// side can read all of it at once.
    pub(super) fn compress(&mut self, body: &[u8], entries: Option<usize>, frame: &mut Vec<u8>) {
        // zstd's streaming compression fails only for bad parameters, which are the constants above, or
        // without memory, where allocating the frame would have ended the process as well.
        self.try_compress(body, entries, frame)
            .expect("invariant: the parameters are valid");
    }

    fn try_compress(
        &mut self,
        body: &[u8],
        entries: Option<usize>,
        frame: &mut Vec<u8>,
    ) -> io::Result<()> {
        let start = frame.len();
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let stream = self.begin(body.len(), entries)?;
                self.stream.insert(stream)
            }
        };
        let mut input = InBuffer::around(body);
        loop {
            frame.reserve((body.len() / 2 + FLUSH_BYTES).min(CHUNK_BYTES));
            let start = frame.len();
            let mut output = OutBuffer::around_pos(frame, start);
            let left = if input.pos() < body.len() {
                stream.run(&mut input, &mut output)?;
                1
            } else {
                stream.flush(&mut output)?
            };
            if left == 0 {
                break;
            }
        }
        if !self.has_begun && frame[start..].starts_with(&MAGIC) {
            self.has_begun = true;
            let first = match self.dictionary {
                Some(_) => beginning::DICTIONARY,
                None => beginning::PLAIN,
            };
            frame.splice(start..start + MAGIC.len(), [first]);
        }
        Ok(())
    }

    /// The stream that begins with so many bytes, and entries if they are whole.
    fn begin(&mut self, bytes: usize, entries: Option<usize>) -> io::Result<Encoder<'static>> {
        self.dictionary = self.dictionary.take().filter(|_| is_short(bytes));
        let (level, parameters) = self.choose(bytes, entries);
        new_encoder(level, parameters, self.dictionary.as_ref())
    }

    /// The level and the parameters of a stream that begins so.
    fn choose(&self, bytes: usize, entries: Option<usize>) -> (i32, &'static [CParameter]) {
        match (self.entries, entries) {
            _ if self.is_thorough => (LEVEL_THOROUGH, &FULL),
            (Some(0..=ENTRIES_LITTLE), _) if is_short(bytes) => (LEVEL, &LITTLE),
            (Some(all), Some(first)) => {
                let all_bytes = all.saturating_mul(bytes / first.max(1));
                (LEVEL, parameters(all_bytes))
            }
            (None, _) | (_, None) => (LEVEL, &FULL),
        }
    }
}

fn is_short(first: usize) -> bool {
    first < FIRST_BODY_LITTLE
}

/// The parameters of a stream for so many bytes.
fn parameters(bytes: usize) -> &'static [CParameter] {
    match SIZES.iter().find(|size| bytes <= size.0) {
        Some((_, parameters)) => parameters,
        None => &FULL,
    }
}

fn new_encoder(
    level: i32,
    parameters: &[CParameter],
    dictionary: Option<&Dictionary>,
) -> io::Result<Encoder<'static>> {
    let bytes = dictionary.map_or(&[][..], Dictionary::as_bytes);
    let mut stream = Encoder::with_dictionary(level, bytes)?;
    for parameter in parameters {
        stream.set_parameter(*parameter)?;
    }
    Ok(stream)
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor")
            .field("begun", &self.stream.is_some())
            .finish()
    }
}

/// The receiving side of a stream.
#[derive(Default)]
pub(super) struct Decompressor {
    stream: Option<Decoder<'static>>,
    dictionary: Option<Dictionary>,
}

impl Decompressor {
    /// Allows the sender to use a dictionary, if the stream has not begun.
    pub(super) fn use_dictionary(&mut self, dictionary: Dictionary) {
        self.dictionary = Some(dictionary);
    }

    /// The body that `compressed` continues the stream with; refuses to make more than `limit` bytes.
    pub(super) fn decompress(
        &mut self,
        mut compressed: &[u8],
        limit: usize,
    ) -> Result<Vec<u8>, WireError> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let (first, rest) = compressed
                    .split_first()
                    .ok_or(WireError::Truncated("compressed stream's beginning"))?;
                compressed = rest;
                none.insert(begin(*first, self.dictionary.as_ref())?)
            }
        };
        let mut input = InBuffer::around(compressed);
        let mut body = Vec::new();
        loop {
            let (before, start) = (input.pos(), body.len());
            body.reserve((compressed.len() * 4 + FLUSH_BYTES).min(CHUNK_BYTES));
            let mut output = OutBuffer::around_pos(&mut body, start);
            let hint = stream.run(&mut input, &mut output).map_err(damaged)?;
            if body.len() > limit {
                let (found, limit) = (body.len() as u64, limit as u64);
                return Err(WireError::TooLarge {
                    what: "decompressed data",
                    found,
                    limit,
                });
            }
            if hint == 0 {
                return Err(WireError::Malformed("compressed stream: it ended"));
            }
            let filled = body.len() == body.capacity();
            if input.pos() == compressed.len() && !filled {
                return Ok(body);
            }
            if input.pos() == before && body.len() == start {
                return Err(WireError::Malformed(
                    "compressed stream: it makes no progress",
                ));
            }
        }
    }
}

/// The decoder of a stream that begins with `first`.
fn begin(first: u8, agreed: Option<&Dictionary>) -> Result<Decoder<'static>, WireError> {
    let dictionary = match first {
        beginning::PLAIN => &[][..],
        beginning::DICTIONARY => agreed.ok_or(WireError::Dictionary)?.as_bytes(),
        _ => return Err(WireError::Malformed("compressed stream's beginning")),
    };
    new_decoder(dictionary).map_err(damaged)
}

fn new_decoder(dictionary: &[u8]) -> io::Result<Decoder<'static>> {
    let mut stream = Decoder::with_dictionary(dictionary)?;
    stream.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
    let (mut magic, mut nothing) = (InBuffer::around(&MAGIC), [0; 1]);
    stream.run(&mut magic, &mut OutBuffer::around(nothing.as_mut_slice()))?;
    Ok(stream)
}

fn damaged(error: io::Error) -> WireError {
    WireError::Compression(error.to_string())
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor")
            .field("begun", &self.stream.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parameters of a stream whose first body is so large, of which so many entries are expected.
    fn chosen(
        expected: Option<u64>,
        bytes: usize,
        entries: impl Into<Option<usize>>,
    ) -> &'static [CParameter] {
        let mut sender = Compressor::default();
        if let Some(expected) = expected {
            sender.expect_entries(expected);
        }
        sender.choose(bytes, entries.into()).1
    }

    #[test]
    fn a_stream_is_as_large_as_what_is_to_be_sent() {
        assert_eq!(chosen(Some(256), 2_000, 10), LITTLE);
        assert_eq!(chosen(Some(257), 2_000, 10), SIZES[0].1);
        assert_eq!(chosen(Some(256), 2_048, 10), SIZES[0].1);
        assert_eq!(chosen(Some(1_966), 4_000, 40), SIZES[0].1);
        assert_eq!(chosen(Some(1_967), 4_000, 40), SIZES[1].1);
        assert_eq!(chosen(Some(6_554), 4_000, 40), FULL);
        assert_eq!(chosen(Some(200), 8_192, 2), FULL);
        assert_eq!(chosen(Some(5), 2_087, None), FULL);
        assert_eq!(chosen(None, 100, 1), FULL);
    }
}
