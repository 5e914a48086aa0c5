//! Connections: two lanes between two devices, with what is needed to judge what travels on them.

use std::collections::BTreeMap;

use crdt_schema::ident::LogId;
use fieldmesh::engine::batch::{Held, LogHeader, SessionId};
use fieldmesh::wire::dictionary::Dictionary;
use fieldmesh::wire::message::{FrameDecoder, Message, is_data};

use crate::link::Lane;

/// One connection. Its sessions are named after it, so an engine never sees a name twice.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) contact: usize,
    /// Keys its draws.
    pub(crate) key: u64,
    pub(crate) ends: [usize; 2],
    /// Which ends still believe in it.
    pub(crate) is_open: [bool; 2],
    /// Nothing arrives any more.
    pub(crate) is_dead: bool,
    pub(crate) lanes: [Lane; 2],
    pub(crate) bytes: u64,
    /// What each end held when the session opened.
    pub(crate) held: [Held; 2],
    decoders: [FrameDecoder; 2],
}

/// The session's name at one end of a connection.
pub(crate) fn session_of(wire: u64, end: usize) -> SessionId {
    wire * 2 + end as u64 + 1
}

/// The connection and the end that a session's name belongs to.
pub(crate) fn end_of(session: SessionId) -> (u64, usize) {
    ((session - 1) / 2, ((session - 1) % 2) as usize)
}

impl Wire {
    pub(crate) fn new(
        (contact, key): (usize, u64),
        ends: [usize; 2],
        lanes: [Lane; 2],
        held: [Held; 2],
    ) -> Self {
        Self {
            contact,
            key,
            ends,
            is_open: [true; 2],
            is_dead: false,
            lanes,
            bytes: 0,
            held,
            decoders: [FrameDecoder::new(), FrameDecoder::new()],
        }
    }

    /// Opens a frame that an honest end sends, as the other end will. `headers` are those of all logs that
    /// anybody holds, `dictionary` is the one that its session uses.
    ///
    /// # Errors
    /// That it cannot be opened.
    pub(crate) fn open_frame(
        &mut self,
        end: usize,
        frame: &[u8],
        headers: &BTreeMap<LogId, LogHeader>,
        dictionary: Option<&Dictionary>,
    ) -> Result<Option<Message>, String> {
        // Only these have to be opened in order; of all others the tag is enough for most purposes.
        if is_data(frame) || frame.len() < 64 {
            if let Some(dictionary) = dictionary {
                self.decoders[end].use_dictionary(dictionary.clone());
            }
            let message = self.decoders[end].decode_with(frame, &|log| headers.get(log).cloned());
            return message.map(Some).map_err(|error| error.to_string());
        }
        Ok(None)
    }
}
