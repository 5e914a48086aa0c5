//! What peers send: change sets, frames, and the fields that both are made of.

use crdt_schema::document::Document;
use crdt_schema::ident::{DeviceId, Dot, LogId, SpaceName};
use fieldmesh::engine::batch::LogHeader;
use fieldmesh::wire::changeset::{decode_change_set, encode_change_set};
use fieldmesh::wire::codec::{Reader, Writer};
use fieldmesh::wire::limits::{DATA_BYTES_MAX, TEXT_BYTES_MAX};
use fieldmesh::wire::message::{FrameDecoder, FrameEncoder, Message, PROTOCOL_VERSION, is_data};

use crate::seeds;

/// A change set that is accepted has these bytes and no others, and can be applied to records and shown.
pub(crate) fn change_set(input: &[u8]) {
    let Ok(set) = decode_change_set(input) else {
        return;
    };
    assert_eq!(encode_change_set(&set), input, "it has another encoding");
    let schema = seeds::schema();
    for edit in &set.edits {
        let mut document = Document::new();
        let dot = Dot::new(LogId([1; 16]), 1);
        // What it depends on is not here, so most that depend on anything are refused.
        let applied = document.apply(dot, set.hlc, set.schema_version, edit);
        if let Some(collection) = schema.collection(&edit.collection) {
            let view = document.view(collection, &edit.id);
            document.resolve(collection, &edit.id);
            assert_eq!(view.heads.is_empty(), applied.is_err());
        }
    }
}

/// Every field that is read is the one that would be written.
pub(crate) fn codec(input: &[u8]) {
    let Some((&kind, bytes)) = input.split_first() else {
        return;
    };
    let mut reader = Reader::new(bytes);
    let mut writer = Writer::new();
    for step in 0_u8.. {
        let read = match kind.wrapping_add(step) % 6 {
            0 => reader.varint("n").map(|n| writer.varint(n)),
            1 => reader.signed("i").map(|i| writer.signed(i)),
            2 => reader.float("f").map(|f| writer.float(f)),
            3 => reader.flag("b").map(|b| writer.flag(b)),
            4 => reader.text("t", TEXT_BYTES_MAX).map(|t| writer.text(t)),
            _ => reader.bytes("x", 300).map(|x| writer.bytes(x)),
        };
        if read.is_err() || step == u8::MAX {
            break;
        }
    }
    let written = writer.into_bytes();
    assert_eq!(written, bytes[..written.len()]);
}

/// Who wrote the logs that the receiver holds already.
fn held(log: &LogId) -> Option<LogHeader> {
    (log.0[0] < 4).then(|| LogHeader {
        log: *log,
        space: SpaceName::default(),
        device: DeviceId([4; 32]),
        name: "tablet 4".to_owned(),
        branch_of: None,
    })
}

/// A frame on its own: what is accepted says the same again.
pub(crate) fn frame(input: &[u8]) {
    if is_data(input) {
        return;
    }
    if let Ok(message) = FrameDecoder::new().decode_with(input, &held) {
        // Of a HELLO in another version only the version is read, so that its sender can be told.
        if matches!(&message, Message::Hello(hello) if hello.version != PROTOCOL_VERSION) {
            return;
        }
        let written = FrameEncoder::new().encode(&message);
        assert_eq!(written, input, "it has another encoding: {message:?}");
    }
}

/// The first message of a stranger.
pub(crate) fn hello(input: &[u8]) {
    const HELLO_TAG: u8 = 1;
    frame(&[&[HELLO_TAG], input].concat());
}

/// The frames of one direction, which remember each other. Each is preceded by its length in two bytes.
pub(crate) fn frames(input: &[u8]) {
    let mut decoder = FrameDecoder::new();
    let mut encoder = FrameEncoder::new();
    let mut mirror = FrameDecoder::new();
    let mut rest = input;
    let mut failed = false;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
        let (frame, after) = after.split_at(length);
        rest = after;
        let Ok(message) = decoder.decode_with(frame, &held) else {
            failed = true;
            continue;
        };
        assert!(!failed, "a frame was read after one that was refused");
        if let Message::Data(runs) = &message {
            let entries = runs.iter().flat_map(|run| &run.entries);
            let bytes: usize = entries.map(Vec::len).sum();
            assert!(bytes <= DATA_BYTES_MAX, "{bytes} bytes of entries");
        }
        let written = encoder.encode(&message);
        assert_eq!(mirror.decode_with(&written, &held), Ok(message));
    }
}
