//! One zstd stream for each direction of a session, flushed at the end of every frame.
//!
//! Later frames refer back to earlier ones, so a second change set like the first costs next to nothing.
//! The window is at most one mebibyte on both sides, and the output of one frame is capped: what a peer sends
//! cannot make us hold more. A session that never sends DATA never pays for a stream, and one that has little to
//! send when it opens pays for a small one: most meetings are such, and a large one costs two megabytes of
//! cleared memory for each direction.

use std::fmt;
use std::io;

use zstd::stream::raw::{CParameter, DParameter, Decoder, Encoder, InBuffer, Operation, OutBuffer};

use super::WireError;

/// Quick, and within a tenth of what the slow levels reach.
const LEVEL: i32 = 3;

/// Slow, for links where every byte costs: about a tenth less.
const LEVEL_THOROUGH: i32 = 19;

/// Base-2 logarithm of the furthest that a stream may refer back: 1 MiB.
const WINDOW_LOG: u32 = 20;

/// Base-2 logarithms of the window and of both tables of a small stream: 64 KiB, and 192 KiB of tables.
const LITTLE: [CParameter; 3] = [
    CParameter::WindowLog(16),
    CParameter::HashLog(15),
    CParameter::ChainLog(14),
];

/// How a zstd stream begins. Whatever does not begin so (older formats, frames to be skipped) is refused.
const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// How much is taken off the streams at a time, at most.
const CHUNK_BYTES: usize = 32 << 10;

/// What even a frame of a few bytes may need.
const FLUSH_BYTES: usize = 256;

/// The sending side of a stream.
#[derive(Default)]
pub(super) struct Compressor {
    stream: Option<Encoder<'static>>,
    is_thorough: bool,
    is_little: bool,
}

impl Compressor {
    /// A stream that spends time to save bytes.
    pub(super) fn thorough() -> Self {
        Self {
            is_thorough: true,
            ..Self::default()
        }
    }

    /// Little is to be sent: the stream will be a small one, unless it has begun or is to save bytes.
    pub(super) fn expect_little(&mut self) {
        self.is_little = true;
    }

    /// Appends the compressed form of `body` to `frame`. The other side can read all of it at once.
    pub(super) fn compress(&mut self, body: &[u8], frame: &mut Vec<u8>) {
        // zstd's streaming compression fails only for bad parameters, which are the constants above, or
        // without memory, where allocating the frame would have ended the process as well.
        self.try_compress(body, frame)
            .expect("invariant: the parameters are valid");
    }

    fn try_compress(&mut self, body: &[u8], frame: &mut Vec<u8>) -> io::Result<()> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(match (self.is_thorough, self.is_little) {
                (true, _) => new_encoder(LEVEL_THOROUGH, &[CParameter::WindowLog(WINDOW_LOG)])?,
                (false, true) => new_encoder(LEVEL, &LITTLE)?,
                (false, false) => new_encoder(LEVEL, &[CParameter::WindowLog(WINDOW_LOG)])?,
            }),
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
                return Ok(());
            }
        }
    }
}

fn new_encoder(level: i32, parameters: &[CParameter]) -> io::Result<Encoder<'static>> {
    let mut stream = Encoder::new(level)?;
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
}

impl Decompressor {
    /// The body that `compressed` continues the stream with; refuses to make more than `limit` bytes.
    pub(super) fn decompress(
        &mut self,
        compressed: &[u8],
        limit: usize,
    ) -> Result<Vec<u8>, WireError> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                if !compressed.starts_with(&MAGIC) {
                    return Err(WireError::Malformed("compressed stream's beginning"));
                }
                none.insert(new_decoder().map_err(damaged)?)
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

fn new_decoder() -> io::Result<Decoder<'static>> {
    let mut stream = Decoder::new()?;
    stream.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
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
