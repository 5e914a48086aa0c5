//! Frames: one message each, as a tag byte and a body, with the bodies of DATA and PART compressed.
//!
//! An encoder and the decoder at the other end are a pair that lives as long as one session: both
//! remember the headers and the compression window of their direction. After an error a decoder refuses
//! everything, because what it remembers is no longer what the other side remembers.
//!
//! The length prefix before a frame is the transport's.

use crdt_schema::ident::LogId;

use super::WireError;
use super::compress::{Compressor, Decompressor};
pub use super::data::Headers;
use super::data::{RunReader, RunWriter};
use super::dictionary::Dictionary;
use super::limits::{DATA_BYTES_MAX, FRAME_BYTES_MAX};
use super::message::{DATA_TAG, Message, PART_TAG, read_plain, write_plain};
use super::part::{read_part, write_part};
use crate::engine::batch::Held;

/// Encodes one side's messages into frames. Holds the compression stream of this direction.
#[derive(Debug, Default)]
pub struct FrameEncoder {
    runs: RunWriter,
    stream: Compressor,
}

impl FrameEncoder {
    /// The encoder of a new session.
    pub fn new() -> Self {
        Self::default()
    }

    /// The encoder of a new session over a link whose bytes are worth more than this device's time.
    pub fn metered() -> Self {
        Self {
            runs: RunWriter::default(),
            stream: Compressor::thorough(),
        }
    }

    /// Compresses DATA with a dictionary that the receiver uses as well. Without effect once DATA was sent.
    pub fn use_dictionary(&mut self, dictionary: Dictionary) {
        self.stream.use_dictionary(dictionary);
    }

    /// Notes that the receiver holds the beginning of a log, so that its header need not travel.
    pub fn note_held(&mut self, log: LogId) {
        self.runs.note_held(log);
    }

    /// Notes how many entries will be sent at first, before any of them is.
    pub fn expect_entries(&mut self, entries: u64) {
        self.stream.expect_entries(entries);
    }

    /// Notes all that the receiver holds, in the place of what it told before.
    pub fn note_all_held(&mut self, held: Held) {
        self.runs.note_all_held(held);
    }

    /// The frame of a message, without its length prefix. Frames must be sent in the order they were
    /// encoded. What goes into one DATA message is the caller's to bound (see [`super::limits`]).
    pub fn encode(&mut self, message: &Message) -> Vec<u8> {
        let (body, entries) = match message {
            Message::Data(runs) => {
                let entries = runs.iter().map(|run| run.entries.len()).sum();
                (self.runs.write(runs), Some(entries))
            }
            Message::Part(part) => (write_part(part), None),
            plain => return write_plain(plain),
        };
        let mut frame = write_plain(message);
        self.stream.compress(&body, entries, &mut frame);
        frame
    }
}

/// Decodes the other side's frames. Holds the decompression stream of that direction, capped.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    runs: RunReader,
    stream: Decompressor,
    failed: bool,
}

impl FrameDecoder {
    /// The decoder of a new session.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads DATA that was compressed with this dictionary. Without effect once DATA was read.
    pub fn use_dictionary(&mut self, dictionary: Dictionary) {
        self.stream.use_dictionary(dictionary);
    }

    /// The message in a frame for a receiver that holds no log.
    pub fn decode(&mut self, frame: &[u8]) -> Result<Message, WireError> {
        self.decode_with(frame, &|_| None)
    }

    /// The message in a frame; `held` gives the headers of the logs that are held here. Any error is the
    /// peer's fault and ends the session; every later frame is refused as well.
    pub fn decode_with(&mut self, frame: &[u8], held: &Headers<'_>) -> Result<Message, WireError> {
        if self.failed {
            return Err(WireError::Malformed("frame before this one"));
        }
        let message = self.read(frame, held);
        self.failed = message.is_err();
        message
    }

    fn read(&mut self, frame: &[u8], held: &Headers<'_>) -> Result<Message, WireError> {
        if frame.len() > FRAME_BYTES_MAX {
            let (found, limit) = (frame.len() as u64, FRAME_BYTES_MAX as u64);
            return Err(WireError::TooLarge {
                what: "frame",
                found,
                limit,
            });
        }
        match frame.split_first() {
            None => Err(WireError::Truncated("message tag")),
            Some((&DATA_TAG, compressed)) => {
                let body = self.stream.decompress(compressed, DATA_BYTES_MAX)?;
                Ok(Message::Data(self.runs.read(&body, held)?))
            }
            Some((&PART_TAG, compressed)) => {
                let body = self.stream.decompress(compressed, DATA_BYTES_MAX)?;
                Ok(Message::Part(read_part(&body)?))
            }
            Some((&tag, body)) => read_plain(tag, body),
        }
    }
}

#[cfg(test)]
mod tests;
