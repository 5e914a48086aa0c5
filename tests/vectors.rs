//! The wire format's test vectors: `vectors/wire.txt` holds the bytes, this file what they mean.
//!
//! Another implementation reads the same file. A change of the format changes the file; run the test to see the
//! bytes that it should hold.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{DeviceId, Dot, LogId, SpaceName};
use crdt_schema::op::{ChangeSet, Edit, Implied, Op};
use crdt_schema::schema::Schema;
use crdt_schema::value::Value;
use fieldmesh::engine::batch::fork::{ForkProof, Side};
use fieldmesh::engine::batch::{LogHeader, Run, SchemaTag};
use fieldmesh::wire::changeset::{decode_change_set, encode_change_set};
use fieldmesh::wire::dictionary::Dictionary;
use fieldmesh::wire::message::{
    FrameDecoder, FrameEncoder, FrontRow, Hello, Message, PROTOCOL_VERSION, RangeRow, SpaceRoot,
};
use fieldmesh::wire::part::{Part, encode_whole};

/// The vectors that are no single message in its only form.
const OTHERS: [&str; 8] = [
    "change-set",
    "change-set-implied",
    "data",
    "data-held",
    "data-dictionary",
    "part",
    "dictionary",
    "dictionary-id",
];

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
        implied: BTreeMap::new(),
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

/// A change set that names one of its three records.
fn implying() -> ChangeSet {
    let named = change_set();
    let edit = |id: &str, deps: &[Dot]| Edit {
        collection: if id.is_empty() { "" } else { "patient" }.to_owned(),
        id: id.to_owned(),
        deps: deps.to_vec(),
        ops: named.edits[0].ops.clone(),
    };
    let dep = Dot::new(LogId([2; 16]), 300);
    ChangeSet {
        edits: vec![edit("", &[dep]), edit("", &[]), edit("KE-2", &[])],
        implied: [
            (0, Implied { back: 0, edit: 0 }),
            (
                1,
                Implied {
                    back: 150,
                    edit: 199,
                },
            ),
        ]
        .into(),
        ..named
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
        dictionary: [3; 8],
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
    let side = |byte| Side {
        digests: vec![[byte; 32]],
        signature: [byte; 64],
    };
    let fork = Message::Fork(Box::new(ForkProof {
        header: run().header,
        after: 6,
        chain: [4; 32],
        sides: [side(5), side(6)],
    }));
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
        ("fork", fork),
    ]
    .into_iter()
    .chain(repair_messages())
    .collect()
}

fn repair_messages() -> Vec<(&'static str, Message)> {
    let log = LogId([1; 16]);
    let schema = SchemaTag {
        name: "clinic".to_owned(),
        version: 3,
        digest: [3; 8],
    };
    let whole = encode_whole(&run()).0;
    vec![
        ("schema", Message::Schema(schema)),
        ("have", Message::Have { whole, bytes: 300 }),
        ("ask", Message::Ask { log, from: 300 }),
        ("given-nothing", Message::Given { log, run: None }),
        (
            "given",
            Message::Given {
                log,
                run: Some(run()),
            },
        ),
        (
            "probe",
            Message::Probe {
                log,
                seqs: vec![1, 300],
            },
        ),
        (
            "tags",
            Message::Tags {
                log,
                rows: vec![(1, [8; 8]), (300, [9; 8])],
            },
        ),
    ]
}

/// The last bytes of a run that travels in parts.
fn part() -> Message {
    let (whole, bytes) = encode_whole(&run());
    Message::Part(Part {
        whole,
        total: bytes.len(),
        offset: 100,
        bytes: bytes[100..].to_vec(),
    })
}

const SCHEMA: &str = "schema = \"clinic\"\nversion = 1\n[collections.patient.fields]\n\
    name = { type = \"text\" }\n\
    status = { type = \"choice\", of = [\"waiting\", \"treated\"] }\n\
    born = { type = \"date\" }\n\
    visits = { type = \"counter\" }\n";

fn dictionary() -> Dictionary {
    Dictionary::of(&Schema::parse(SCHEMA).expect("a good schema"))
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
fn a_change_set_that_implies_records_has_the_bytes_of_the_vector() {
    let bytes = vector("change-set-implied");

    assert_eq!(
        hex::encode(&bytes),
        hex::encode(encode_change_set(&implying()))
    );
    assert_eq!(decode_change_set(&bytes), Ok(implying()));
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

#[test]
fn a_part_and_data_with_a_dictionary_are_read_as_the_vectors_say() {
    let part_frame = FrameEncoder::new().encode(&part());
    let read = FrameDecoder::new().decode(&vector("part"));
    assert_eq!(read, Ok(part()), "part: {}", hex::encode(part_frame));

    let mut decoder = FrameDecoder::new();
    decoder.use_dictionary(dictionary());
    let read = decoder.decode(&vector("data-dictionary"));
    let data = Message::Data(vec![run()]);
    assert_eq!(read, Ok(data), "{}", written("data-dictionary"));
    assert!(
        FrameDecoder::new()
            .decode(&vector("data-dictionary"))
            .is_err()
    );
}

#[test]
fn a_schema_makes_the_dictionary_of_the_vector() {
    assert_eq!(
        hex::encode(vector("dictionary")),
        hex::encode(dictionary().as_bytes())
    );
    assert_eq!(
        hex::encode(vector("dictionary-id")),
        hex::encode(dictionary().id())
    );
}

/// What this implementation writes for a DATA vector.
fn written(name: &str) -> String {
    let mut encoder = FrameEncoder::new();
    match name {
        "data-held" => encoder.note_held(run().header.log),
        "data-dictionary" => encoder.use_dictionary(dictionary()),
        _ => {}
    }
    hex::encode(encoder.encode(&Message::Data(vec![run()])))
}

#[test]
fn every_vector_is_used() {
    let known: Vec<&str> = messages().iter().map(|(name, _)| *name).collect();
    for (name, _) in vectors() {
        let is_known = known.contains(&&name[..]);
        assert!(is_known || OTHERS.contains(&&name[..]), "{name}");
    }
}

#[test]
fn every_tag_of_the_code_is_described_and_no_other() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/wire");
    let read = |name: &str| fs::read_to_string(path.join(name)).expect("a source file");
    let mut written: BTreeMap<u8, String> = BTreeMap::new();
    for file in ["message.rs", "part.rs", "repair.rs", "telling.rs"] {
        for line in read(file).lines() {
            let Some((before, after)) = line.split_once("_TAG: u8 = ") else {
                continue;
            };
            let name = before.rsplit(' ').next().unwrap_or_default();
            let tag = after.trim_end_matches(';').parse().expect("a number");
            written.insert(tag, name.replace('_', " "));
        }
    }
    let format = read("FORMAT.md");
    let table = format.split("## Digests").next().unwrap_or_default();
    let rows = table.lines().filter_map(|line| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        Some((cells.next()?.parse().ok()?, cells.next()?.to_owned()))
    });
    let described: BTreeMap<u8, String> = rows.collect();

    assert!(written.len() >= 17, "{written:?}");
    assert_eq!(described, written);
}
