//! The doors through which hostile bytes are thrown at the decoders of rows; for the fuzz targets alone.
//!
//! A row has a checksum and is our own, yet a decoder that panics would turn a bad disk into a dead daemon.

use std::borrow::Cow;

use crdt_schema::document::Document;
use crdt_schema::ident::{DeviceId, RecordKey};

use crate::wire::WireError;

use super::pack::{Packer, Place, Unpacker};
use super::rows::{LogRow, RetryRow, ViewRow, decode_peer, encode_peer, encode_view};

/// Whose row [`rewrite`] reads where the row itself does not say so.
const DEVICE: DeviceId = DeviceId([1; 32]);
/// The record whose document [`document`] reads.
const RECORD: u64 = 1;

/// What a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    /// How far a log is held.
    Log,
    /// A record as it is shown.
    View,
    /// What is known of a peer.
    Peer,
    /// A request that may be retried, with its outcome.
    Retry,
}

/// Reads a row and writes it again.
///
/// # Errors
/// Why it cannot be read.
pub fn rewrite(kind: RowKind, row: &[u8]) -> Result<Vec<u8>, WireError> {
    Ok(match kind {
        RowKind::Log => LogRow::decode(row)?.encode(),
        RowKind::View => {
            let (key, view) = ViewRow::decode(row)?.into_view()?;
            encode_view(&key, &view)
        }
        RowKind::Peer => encode_peer(&decode_peer(DEVICE, row)?),
        RowKind::Retry => RetryRow::decode(row)?.encode(),
    })
}

/// Reads a packed row that should hold a document, as a commit does.
///
/// # Errors
/// In words, why it cannot be read.
pub fn document(row: &[u8]) -> Result<Document, String> {
    let mut unpacker = Unpacker::default();
    let saved: Cow<'_, [u8]> = unpacker.unpack(Place::Doc(RECORD), row)?;
    Document::load(&saved).map_err(|error| error.to_string())
}

/// The packed row of a document.
pub fn document_row(document: &Document) -> Vec<u8> {
    Packer::default().pack(Place::Doc(RECORD), &document.save())
}

/// The row of a record that is shown.
pub fn view_row(key: &RecordKey, view: &crdt_schema::resolution::RecordView) -> Vec<u8> {
    encode_view(key, view)
}
