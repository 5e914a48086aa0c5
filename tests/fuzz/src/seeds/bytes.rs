//! Bytes as the encoders of the wire and the store write them, out of the golden set.

use std::collections::BTreeMap;

use crdt_schema::document::Document;
use crdt_schema::ident::{DeviceId, Dot, LogId, RecordKey, SpaceName};
use fieldmesh::engine::batch::{Held, LogHeader, Run};
use fieldmesh::store::probe::{document_row, view_row};
use fieldmesh::store::{ListQuery, Reader, Store};
use fieldmesh::wire::changeset::encode_change_set;
use fieldmesh::wire::codec::Writer;
use fieldmesh::wire::message::{FrameEncoder, Message, is_data};
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use rust_xlsxwriter::Workbook;

use super::{golden_store, options};

const FRAMES: &str = include_str!("../../../golden/format-1/frames.txt");
/// Most change sets, rows and documents of the golden store that are taken: every second says the same.
const KEPT: usize = 14;

fn opened() -> Store {
    let file = golden_store();
    let backend = InMemoryBackend::new();
    let filled = backend
        .set_len(file.len() as u64)
        .and_then(|()| backend.write(0, &file));
    filled.expect("memory can be written");
    Store::open(backend, options(1)).expect("the golden store opens")
}

fn golden_frames() -> Vec<Vec<u8>> {
    FRAMES
        .lines()
        .map(|line| hex::decode(line).expect("hexadecimal digits"))
        .collect()
}

/// Change sets of the golden store, the longest ones, which say the most.
pub(super) fn change_sets() -> Vec<Vec<u8>> {
    let feed = opened().reader().feed(0, usize::MAX).expect("a feed");
    let mut sets: Vec<Vec<u8>> = feed
        .iter()
        .map(|item| encode_change_set(&item.set))
        .collect();
    sets.retain(|set| set.len() < 2_000);
    sets.sort_by_key(|set| std::cmp::Reverse(set.len()));
    sets.truncate(2 * KEPT);
    sets
}

/// One field of each kind, after the byte that says with which to begin.
pub(super) fn fields() -> Vec<Vec<u8>> {
    let script = |first: u8| {
        let mut writer = Writer::new();
        writer.byte(first);
        for step in 0..12 {
            match (first + step) % 6 {
                0 => writer.varint(1 << (5 * step)),
                1 => writer.signed(-1 << (5 * step)),
                2 => writer.float(f64::from(step) / 3.0),
                3 => writer.flag(step % 2 == 0),
                4 => writer.text("Achieng"),
                _ => writer.bytes(&[step; 9]),
            }
        }
        writer.into_bytes()
    };
    (0..6).map(script).collect()
}

/// The golden frames whose bytes stand alone.
pub(super) fn plain_frames() -> Vec<Vec<u8>> {
    golden_frames()
        .into_iter()
        .filter(|frame| !is_data(frame))
        .collect()
}

/// HELLO without its tag.
pub(super) fn hellos() -> Vec<Vec<u8>> {
    golden_frames()
        .into_iter()
        .take(1)
        .map(|frame| frame[1..].to_owned())
        .collect()
}

/// The frames of a session behind each other, and a shorter session of logs that are held.
pub(super) fn streams() -> Vec<Vec<u8>> {
    let header = LogHeader {
        log: LogId([1; 16]),
        space: SpaceName::default(),
        device: DeviceId([4; 32]),
        name: "tablet 4".to_owned(),
        branch_of: None,
    };
    let run = |from| Run {
        header: header.clone(),
        from,
        entries: vec![vec![7; 40], vec![8; 9]],
        signature: [5; 64],
    };
    let mut encoder = FrameEncoder::new();
    let held = [1, 3, 5].map(|from| encoder.encode(&Message::Data(vec![run(from)])));
    let joined = |frames: &[Vec<u8>]| {
        let frame = |frame: &Vec<u8>| [&(frame.len() as u16).to_le_bytes()[..], frame].concat();
        frames.iter().flat_map(frame).collect::<Vec<u8>>()
    };
    vec![joined(&golden_frames()), joined(&held)]
}

/// Records of the golden store, some of each collection.
fn records(reader: &Reader) -> Vec<RecordKey> {
    let mut keys = Vec::new();
    for collection in ["patient", "place", "visit", "room"] {
        let query = ListQuery {
            space: SpaceName::default(),
            collection: collection.to_owned(),
            after: None,
            limit: 6,
            deleted: true,
        };
        let page = reader.list(&query, &|_| true).expect("a list");
        keys.extend(page.records.into_iter().map(|record| record.key));
    }
    keys.truncate(KEPT);
    keys
}

/// A row of each kind, each after the byte that says which.
pub(super) fn rows() -> Vec<Vec<u8>> {
    let reader = opened().reader();
    let mut rows = Vec::new();
    for key in records(&reader) {
        let record = reader.get(&key).expect("a read").expect("it was listed");
        rows.push([&[1], &view_row(&key, &record.view)[..]].concat());
    }
    rows.extend([log_row(), peer_row(), retry_row()]);
    rows
}

fn log_row() -> Vec<u8> {
    let mut row = Writer::new();
    row.byte(0);
    row.raw(&[1; 16]);
    row.text("main");
    row.raw(&[2; 32]);
    row.text("tablet 7");
    row.varint(300);
    row.raw(&[3; 32]);
    row.varint(70_000);
    row.varint(1_790_000_000_000 << 16);
    row.into_bytes()
}

fn peer_row() -> Vec<u8> {
    let held: Held = BTreeMap::from([(LogId([1; 16]), 5), (LogId([2; 16]), 1 << 40)]);
    let mut row = Writer::new();
    row.byte(2);
    row.text("hub");
    row.flag(true);
    row.varint(1_790_000_000_000);
    let put_held = |row: &mut Writer| {
        row.count(held.len());
        for (log, seq) in &held {
            row.raw(&log.0);
            row.varint(*seq);
        }
    };
    put_held(&mut row);
    for _ in 0..2 {
        row.flag(true);
        row.raw(&[7; 8]);
        row.varint(12);
        put_held(&mut row);
    }
    row.into_bytes()
}

fn retry_row() -> Vec<u8> {
    let dot = Dot::new(LogId([1; 16]), 5);
    let outcome = fieldmesh::engine::batch::CommitOutcome {
        dot,
        hlc: crdt_schema::hlc::Timestamp::from_ms(1_790_000_000_000),
        records: Vec::new(),
        replayed: false,
    };
    let mut row = Writer::new();
    row.byte(3);
    row.raw(&[5; 32]);
    row.varint(1);
    row.varint(1_790_000_000_000);
    row.bytes(&serde_json::to_vec(&outcome).expect("plain data"));
    row.into_bytes()
}

/// Documents of the golden store, and an empty one, packed.
pub(super) fn document_rows() -> Vec<Vec<u8>> {
    let reader = opened().reader();
    let keys = records(&reader);
    let documents = keys.iter().take(6).map(|key| {
        reader
            .document(key)
            .expect("a read")
            .expect("it was listed")
    });
    let mut rows: Vec<Vec<u8>> = documents.map(|document| document_row(&document)).collect();
    rows.push(document_row(&Document::new()));
    rows
}

/// A form with every kind of question, and one that has none.
pub(super) fn workbooks() -> Vec<Vec<u8>> {
    const SURVEY: &[&[&str]] = &[
        &[
            "type",
            "name",
            "label::English (en)",
            "required",
            "constraint",
            "relevant",
            "calculation",
            "default",
        ],
        &[
            "text",
            "Full Name",
            "Who is \"it\"?",
            "yes",
            "string-length(.) <= 80",
            "",
            "",
            "",
        ],
        &[
            "integer",
            "age",
            "Age",
            "true()",
            ". >= 0 and . <= 120",
            "",
            "",
            "30",
        ],
        &["select_one sex", "sex", "Sex", "", "", "", "", "f"],
        &["select_multiple sex", "both", "", "", "", "", "", ""],
        &[
            "begin repeat",
            "child",
            "Children",
            "",
            "",
            "${age} > 5",
            "",
            "",
        ],
        &["dateTime", "at", "", "", "", "", "", ""],
        &["end repeat", "", "", "", "", "", "", ""],
        &["calculate", "bmi", "", "", "", "", "${age} * 2", ""],
    ];
    const CHOICES: &[&[&str]] = &[
        &["list name", "name", "label"],
        &["sex", "f", "Female"],
        &["sex", "m", ""],
    ];
    vec![
        workbook(&[("survey", SURVEY), ("choices", CHOICES)]),
        workbook(&[("survey", &SURVEY[..1])]),
    ]
}

fn workbook(sheets: &[(&str, &[&[&str]])]) -> Vec<u8> {
    let mut book = Workbook::new();
    for (name, rows) in sheets {
        let sheet = book.add_worksheet();
        sheet.set_name(*name).expect("a good name");
        for (row, cells) in (0_u32..).zip(*rows) {
            for (column, text) in (0_u16..).zip(*cells) {
                sheet
                    .write_string(row, column, *text)
                    .expect("a place in the sheet");
            }
        }
    }
    book.save_to_buffer().expect("memory")
}
