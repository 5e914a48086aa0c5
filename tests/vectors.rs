//! The wire format's test vectors: `vectors/wire.txt` holds the bytes, this file what they mean.
//!
//! Another implementation reads the same file. A change of the format changes the file; run the test to see the
//! bytes that it should hold.

use std::fs;
use std::path::Path;

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{DeviceId, Dot, LogId, SpaceName};
use crdt_schema::op::{ChangeSet, Edit, Op};
use crdt_schema::value::Value;
use fieldmesh::engine::batch::{LogHeader, Run};
use fieldmesh::wire::changeset::{decode_change_set, encode_change_set};
use fieldmesh::wire::message::{
    FrameDecoder, FrameEncoder, FrontRow, Hello, Message, PROTOCOL_VERSION, RangeRow, SpaceRoot,
};

/// The named bytes of the file.
fn vectors() -> Vec<(String, Vec<u8>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/wire.txt");
    let text = fs::read_to_string(path).expect("the vectors");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let named = lines.filter_map(|line| line.split_once(' '));
    named
        .map(|(name, bytes)| (name.to_owned(), hex::decode(bytes).expect("hex digits")))
        .collect()
}

fn vector(name: &str) -> Vec<u8> {
    let found = vectors().into_iter().find(|(found, _)| found == name);
    found.map(|(_, bytes)| bytes).unwrap_or_default()
}

fn change_set() -> ChangeSet {
    ChangeSet {
        hlc: Timestamp::from_ms(1_790_000_000_000),
        schema_version: 3,
        person: "amina".to_owned(),
        tags: [(Dot::new(LogId([2; 16]), 300), [0xaa, 0xbb])].into(),
        edits: vec![Edit {
            collection: "patient".to_owned(),
            id: "KE-1".to_owned(),
            deps: vec![Dot::new(LogId([2; 16]), 300)],
            ops: vec![
                Op::Set {
                    key: "name".to_owned(),
                    value: Value::Text("Achieng".to_owned()),
                },
                Op::Add {
                    key: "visits".to_owned(),
                    delta: -1,
                },
            ],
        }],
    }
}

fn run() -> Run {
    Run {
        header: LogHeader {
            log: LogId([1; 16]),
            space: SpaceName::default(),
            device: DeviceId([4; 32]),
            name: "tablet 4".to_owned(),
            branch_of: None,
        },
        from: 7,
        entries: vec![encode_change_set(&change_set())],
        signature: [5; 64],
    }
}

/// Every message whose bytes do not depend on what was said before.
fn messages() -> Vec<(&'static str, Message)> {
    let hello = Hello {
        version: PROTOCOL_VERSION,
        organisation_tag: [1; 8],
        proof: [2; 32],
        hub: true,
        schema_version: 3,
        spaces: vec![SpaceRoot {
            tag: [6; 8],
            root: [7; 16],
            count: 300,
        }],
        checkpoints: vec![[8; 8]],
        accord: Some([3; 8]),
    };
    let row = FrontRow {
        log: LogId([1; 16]),
        seq: 300,
        chain_tag: [9; 8],
    };
    let front = Message::Front {
        space: SpaceName::default(),
        rows: vec![row],
    };
    let row = RangeRow {
        log: LogId([1; 16]),
        seq: 300,
        tag: [9; 4],
    };
    let (salt, base) = ([4; 8], Some([8; 8]));
    let range = Message::Range {
        space: [6; 8],
        ends: true,
        rows: vec![row.clone()],
    };
    let answer = Message::Answer {
        more: false,
        differs: vec![(0, 0), (2, 299)],
        rows: vec![row],
    };
    let bye = Message::Bye {
        code: "timeout".to_owned(),
        text: "peer did not answer in time".to_owned(),
    };
    vec![
        ("hello", Message::Hello(hello)),
        ("name", Message::Name("tablet 4".to_owned())),
        ("front", front),
        ("front-end", Message::FrontEnd),
        ("tell", Message::Tell { salt, base }),
        ("range", range),
        ("answer", answer),
        ("ack", Message::Ack(vec![(LogId([1; 16]), 300)])),
        ("want", Message::Want),
        ("bye", bye),
        ("mark", Message::Mark([8; 8])),
        ("hold", Message::Hold),
    ]
}

#[test]
fn messages_have_the_bytes_of_the_vectors() {
    for (name, message) in messages() {
        let bytes = vector(name);
        let written = FrameEncoder::new().encode(&message);

        assert_eq!(hex::encode(&bytes), hex::encode(written), "{name}");
        assert_eq!(FrameDecoder::new().decode(&bytes), Ok(message), "{name}");
    }
}

#[test]
fn a_change_set_has_the_bytes_of_the_vector() {
    let bytes = vector("change-set");

    assert_eq!(
        hex::encode(&bytes),
        hex::encode(encode_change_set(&change_set()))
    );
    assert_eq!(decode_change_set(&bytes), Ok(change_set()));
}

#[test]
fn data_frames_are_read_as_the_vectors_say() {
    // How well a frame is compressed is the sender's affair, so these are read and not written.
    let held = |log: &LogId| (*log == run().header.log).then(|| run().header);
    for name in ["data", "data-held"] {
        let read = FrameDecoder::new().decode_with(&vector(name), &held);
        assert_eq!(
            read,
            Ok(Message::Data(vec![run()])),
            "{name}: {}",
            written(name)
        );
    }
    assert!(FrameDecoder::new().decode(&vector("data-held")).is_err());
}

/// What this implementation writes for a DATA vector.
fn written(name: &str) -> String {
    let mut encoder = FrameEncoder::new();
    if name == "data-held" {
        encoder.note_held(run().header.log);
    }
    hex::encode(encoder.encode(&Message::Data(vec![run()])))
}

#[test]
fn every_vector_is_used() {
    let known: Vec<&str> = messages().iter().map(|(name, _)| *name).collect();
    for (name, _) in vectors() {
        let is_known = known.contains(&&name[..]);
        assert!(
            is_known || ["change-set", "data", "data-held"].contains(&&name[..]),
            "{name}"
        );
    }
}
