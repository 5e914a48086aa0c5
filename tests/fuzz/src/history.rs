//! Histories of one record: whatever is written where, every device ends with the same view, and no value makes
//! the merge panic.
//!
//! The input says what three devices write, under which clock, and whom each hears when. Only what the wire
//! accepts is written, which is what a peer can make a device apply.

use arbitrary::{Result, Unstructured};
use crdt_schema::document::Document;
use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{Dot, LogId};
use crdt_schema::op::{ChangeSet, Edit, Op};
use crdt_schema::schema::Collection;
use crdt_schema::value::Value;
use fieldmesh::wire::changeset::{decode_change_set, encode_change_set};

use crate::seeds;

const DEVICES: usize = 3;
const STEPS_MAX: usize = 40;
const ID: &str = "p1";

/// One change set as its author wrote it.
struct Written {
    dot: Dot,
    hlc: Timestamp,
    version: u32,
    edit: Edit,
}

/// Plays a history, lets everybody hear everything, and compares.
pub(crate) fn converges(input: &[u8]) {
    let mut drawn = Unstructured::new(input);
    let mut devices: Vec<Document> = (0..DEVICES).map(|_| Document::new()).collect();
    let mut log = Vec::new();
    for _ in 0..STEPS_MAX {
        // The end of the input ends the history.
        if drawn.is_empty() || step(&mut drawn, &mut devices, &mut log).is_err() {
            break;
        }
    }
    let mut fresh = Document::new();
    hear(&mut fresh, &log);
    for schema in [seeds::schema(), seeds::schema_2()] {
        let patient = schema
            .collection("patient")
            .expect("invariant: both schemas have it");
        let view = fresh.view(patient, ID);
        fresh.resolve(patient, ID);
        for device in &mut devices {
            hear(device, &log);
            assert_eq!(
                format!("{:?}", device.view(patient, ID)),
                format!("{view:?}")
            );
        }
    }
    let read = Document::load(&fresh.save()).expect("what was saved is read");
    assert!(read.is_same(&fresh));
}

fn hear(document: &mut Document, log: &[Written]) {
    for written in log {
        let Written {
            dot,
            hlc,
            version,
            edit,
        } = written;
        document
            .apply(*dot, *hlc, *version, edit)
            .expect("causes come before effects");
    }
}

fn step(
    drawn: &mut Unstructured<'_>,
    devices: &mut [Document],
    log: &mut Vec<Written>,
) -> Result<()> {
    let index = drawn.choose_index(DEVICES)?;
    if drawn.ratio(1, 3)? {
        hear(&mut devices[index], log);
        return Ok(());
    }
    let log_id = LogId([index as u8 + 1; 16]);
    let last = log
        .iter()
        .filter(|written| written.dot.log == log_id)
        .count() as u64;
    let version = 1 + drawn.int_in_range(0..=1)?;
    let schema = if version == 1 {
        seeds::schema()
    } else {
        seeds::schema_2()
    };
    let patient = schema
        .collection("patient")
        .expect("invariant: both schemas have it");
    let count = drawn.int_in_range(1..=3)?;
    let ops = (0..count)
        .map(|_| op(drawn, patient))
        .collect::<Result<Vec<_>>>()?;
    let deps = devices[index].heads();
    let tags = deps.iter().map(|dep| (*dep, [0; 2])).collect();
    let edit = Edit {
        collection: "patient".to_owned(),
        id: ID.to_owned(),
        deps,
        ops,
    };
    let set = ChangeSet {
        implied: Default::default(),
        hlc: hlc(drawn)?,
        schema_version: version,
        person: String::new(),
        tags,
        edits: vec![edit],
    };
    if let Ok(mut set) = decode_change_set(&encode_change_set(&set))
        && let Some(edit) = set.edits.pop()
    {
        let (dot, hlc) = (Dot::new(log_id, last + 1), set.hlc);
        // What cannot be applied is refused on every device alike.
        if devices[index].apply(dot, hlc, version, &edit).is_ok() {
            log.push(Written {
                dot,
                hlc,
                version,
                edit,
            });
        }
    }
    Ok(())
}

fn hlc(drawn: &mut Unstructured<'_>) -> Result<Timestamp> {
    Ok(match drawn.int_in_range(0..=3)? {
        0 => Timestamp(drawn.arbitrary()?),
        1 => Timestamp::MAX,
        _ => Timestamp::from_ms(1_790_000_000_000 + u64::from(drawn.arbitrary::<u8>()?)),
    })
}

fn op(drawn: &mut Unstructured<'_>, collection: &Collection) -> Result<Op> {
    let keys: Vec<&str> = collection
        .fields
        .values()
        .map(|field| field.key.as_str())
        .collect();
    let key = (*drawn.choose(&keys)?).to_owned();
    let text = || "why".to_owned();
    Ok(match drawn.int_in_range(0..=9)? {
        0 => Op::Add {
            key,
            delta: drawn.arbitrary()?,
        },
        1 => Op::Insert {
            key,
            element: value(drawn)?,
        },
        2 => Op::Remove {
            key,
            element: value(drawn)?,
        },
        3 => Op::Delete { reason: text() },
        4 => Op::Restore { reason: text() },
        5 => Op::Resolve {
            key,
            value: value(drawn)?,
            note: text(),
        },
        6 => Op::Accept {
            review: hex::encode(drawn.arbitrary::<[u8; 8]>()?),
            note: text(),
        },
        _ => Op::Set {
            key,
            value: value(drawn)?,
        },
    })
}

fn value(drawn: &mut Unstructured<'_>) -> Result<Value> {
    let texts = [
        "",
        "new",
        "closed",
        "kisumu",
        "2026-11-21",
        "-000001-01-01",
        "\u{1f9a0} x",
        "a b",
    ];
    Ok(match drawn.int_in_range(0..=7)? {
        0 => Value::Null,
        1 => Value::Bool(drawn.arbitrary()?),
        2 => Value::Integer(drawn.arbitrary()?),
        3 => Value::Number(drawn.arbitrary()?),
        4 => Value::Json(
            drawn
                .choose(&["{}", "[1,{\"a\":null}]", "1e300"])?
                .to_string(),
        ),
        5 => Value::Text(drawn.arbitrary::<&str>()?.chars().take(40).collect()),
        _ => Value::Text((*drawn.choose(&texts)?).to_owned()),
    })
}
