//! Helpers of the tests of frames: messages of every kind, and what a decoder says to a frame that it refuses.

mod data;
mod dictionary;
mod first_sync;
mod messages;
mod streams;

use crdt_schema::ident::{DeviceId, LogId, SpaceName};

use super::*;
use crate::engine::batch::{LogHeader, Run};
use crate::wire::message::{FrontRow, Hello, PROTOCOL_VERSION, RangeRow, SpaceRoot};

fn header(log: u8) -> LogHeader {
    LogHeader {
        log: LogId([log; 16]),
        space: SpaceName::default(),
        device: DeviceId([9; 32]),
        name: "tablet 4".to_owned(),
        branch_of: None,
    }
}

fn run(log: u8, from: u64, entries: &[&[u8]]) -> Run {
    let entries = entries.iter().map(|entry| entry.to_vec()).collect();
    Run {
        header: header(log),
        from,
        entries,
        signature: [7; 64],
    }
}

fn hello() -> Hello {
    let space = |tag| SpaceRoot {
        tag: [tag; 8],
        root: [3; 16],
        count: 1 << 40,
    };
    Hello {
        version: PROTOCOL_VERSION,
        organisation_tag: [1; 8],
        proof: [2; 32],
        hub: true,
        schema_version: 12,
        dictionary: [4; 8],
        spaces: vec![space(1), space(2)],
        checkpoints: vec![[6; 8], [7; 8]],
        accord: None,
    }
}

fn front(rows: impl Iterator<Item = u32>) -> Message {
    let row = |n: u32| {
        let mut log = [0; 16];
        log[..4].copy_from_slice(&n.to_be_bytes());
        FrontRow {
            log: LogId(log),
            seq: u64::from(n) + 1,
            chain_tag: [5; 8],
        }
    };
    Message::Front {
        space: SpaceName::default(),
        rows: rows.map(row).collect(),
    }
}

fn range_rows(rows: impl Iterator<Item = u32>) -> Vec<RangeRow> {
    let Message::Front { rows, .. } = front(rows) else {
        unreachable!("a front is a front")
    };
    let row = |row: FrontRow| RangeRow {
        log: row.log,
        seq: row.seq,
        tag: [5; 4],
    };
    rows.into_iter().map(row).collect()
}

fn range(rows: impl Iterator<Item = u32>) -> Message {
    Message::Range {
        space: [6; 8],
        ends: true,
        rows: range_rows(rows),
    }
}

fn answer(differs: &[(u64, u64)], rows: impl Iterator<Item = u32>) -> Message {
    Message::Answer {
        more: false,
        differs: differs.to_vec(),
        rows: range_rows(rows),
    }
}

/// A DATA frame whose body is `body`, compressed by a stream of its own.
fn data_frame(body: &[u8]) -> Vec<u8> {
    let mut frame = vec![DATA_TAG];
    Compressor::default().compress(body, Some(1), &mut frame);
    frame
}

/// The error that a decoder gives for the first frame it sees.
fn refusal(frame: &[u8]) -> WireError {
    FrameDecoder::new()
        .decode(frame)
        .expect_err("the frame was accepted")
}
