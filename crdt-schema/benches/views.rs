//! `cargo bench -p crdt-schema`: what it costs to read records, as ratios within one run.
//!
//! Every record is read as a daemon reads it when its view has to be derived: from the saved document.
//! What is compared is done in turns, record by record, so that a busy machine slows all of it alike.
//! `-- --quick` reads a tenth.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crdt_schema::document::Document;
use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{Dot, LogId};
use crdt_schema::op::{Edit, Op};
use crdt_schema::resolution::RecordView;
use crdt_schema::schema::{Collection, Schema};
use crdt_schema::value::Value;

const RECORDS: u64 = 100_000;

/// One record in this many has concurrent writes: five in a hundred.
const CONFLICTED: u64 = 20;

const SCHEMA: &str = r#"
schema = "bench"
version = 1
[collections.item.fields]
kind     = { type = "text" }
title    = { type = "text", merge = "review" }
status   = { type = "choice", of = ["open", "assigned", "done", "closed"], merge = "rank" }
priority = { type = "integer", merge = "max" }
temp     = { type = "number" }
assignee = { type = "text" }
at       = { type = "datetime" }
tags     = { type = "set", of = "text" }
stock    = { type = "counter", min = 0 }
notes    = { type = "text" }
"#;

/// The same records one version later: two of their ten fields carried over, one moved, one dropped, one new.
const MIGRATED: &str = r#"
schema = "bench"
version = 2
[[migrations]]
to = 2
steps = [
  { rename = "item.assignee", as = "worker" },
  { convert = "item.temp", as = "temp_c", with = "f_to_c" },
  { remap = "item.status", values = { open = "new", assigned = "new", done = "closed", closed = "closed" } },
  { remove = "item.kind", was = { type = "text" } },
  { add = "item.site", default = "main" },
]
[collections.item.fields]
title    = { type = "text", merge = "review" }
status   = { type = "choice", of = ["new", "closed"], merge = "rank" }
priority = { type = "integer", merge = "max" }
temp_c   = { type = "number" }
worker   = { type = "text" }
at       = { type = "datetime" }
tags     = { type = "set", of = "text" }
stock    = { type = "counter", min = 0 }
notes    = { type = "text" }
site     = { type = "text", default = "main" }
"#;

fn set(key: &str, value: Value) -> Op {
    Op::Set {
        key: key.to_owned(),
        value,
    }
}

fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

/// Applies an edit of one log that had seen `deps`.
fn write(document: &mut Document, log: u8, seq: u64, deps: &[Dot], ops: Vec<Op>) {
    let edit = Edit {
        collection: "item".to_owned(),
        id: String::new(),
        deps: deps.to_vec(),
        ops,
    };
    let time = Timestamp::from_ms(1_790_000_000_000 + seq * 1000 + u64::from(log));
    document
        .apply(Dot::new(LogId([log; 16]), seq), time, 1, &edit)
        .expect("an edit whose causes are there");
}

/// A record of ten fields that one device made and another changed; some were changed by a third at
/// the same time.
fn record(number: u64) -> Document {
    let mut document = Document::new();
    let tag = |word: &str| Op::Insert {
        key: "tags".to_owned(),
        element: text(word),
    };
    let first = vec![
        set("kind", text("delivery")),
        set("title", text(format!("pump {number} near the school"))),
        set("status", text("open")),
        set("priority", Value::Integer((number % 5).cast_signed())),
        set("temp", Value::Number(98.6)),
        set("assignee", text(format!("worker-{}", number % 300))),
        set("at", text("2026-11-21T10:30:00Z")),
        set(
            "notes",
            text("road closed after rain, parts are at the chief's house ".repeat(4)),
        ),
        tag("water"),
        tag("urgent"),
        Op::Add {
            key: "stock".to_owned(),
            delta: 12,
        },
    ];
    write(&mut document, 1, 1, &[], first);
    let seen = [Dot::new(LogId([1; 16]), 1)];
    let change = |words: &str, status: &str, priority| {
        vec![
            set("title", text(words)),
            set("status", text(status)),
            set("priority", Value::Integer(priority)),
        ]
    };
    write(
        &mut document,
        2,
        1,
        &seen,
        change("pump, seen", "assigned", 3),
    );
    if number.is_multiple_of(CONFLICTED) {
        write(
            &mut document,
            3,
            1,
            &seen,
            change("pump, mended", "done", 4),
        );
    }
    document
}

/// The saved documents of the first `count` records.
fn saved(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|number| record(number).save()).collect()
}

fn load(bytes: &[u8]) -> Document {
    Document::load(bytes).expect("what was saved")
}

fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = black_box(work());
    *total += begun.elapsed();
    result
}

fn per_1000(time: Duration, records: u64) -> f64 {
    time.as_secs_f64() * 1e6 / records as f64
}

fn ratio(time: Duration, to: Duration) -> f64 {
    time.as_secs_f64() / to.as_secs_f64()
}

fn row(what: &str, milliseconds: f64, ratio: Option<f64>, of: &str) {
    let ratio = ratio.map_or_else(String::new, |ratio| format!("   × {ratio:.2} {of}"));
    println!("{what:<44} {milliseconds:>8.1} ms / 1,000{ratio}");
}

/// Resolves and materialises every record; returns the time and how many have a review.
fn materialise(documents: &[Vec<u8>], collection: &Collection) -> (Duration, usize) {
    let mut time = Duration::ZERO;
    let views: Vec<RecordView> = documents
        .iter()
        .map(|bytes| timed(&mut time, || load(bytes).view(collection, "i")))
        .collect();
    let reviewed = views.iter().filter(|view| !view.reviews.is_empty()).count();
    (time, reviewed)
}

/// Ten times as many records cost ten times the time, and no more.
fn growth(documents: &[Vec<u8>], collection: &Collection) {
    let records = documents.len() as u64;
    let tenth = &documents[..documents.len() / 10];
    // The first reading pays for cold caches, so it is not counted.
    materialise(tenth, collection);
    let (small, _) = materialise(tenth, collection);
    let (large, reviewed) = materialise(documents, collection);
    row(
        &format!("resolve and materialise {}", records / 10),
        per_1000(small, records / 10),
        None,
        "",
    );
    let grown = ratio(large, small) / 10.0;
    row(
        &format!("resolve and materialise {records}"),
        per_1000(large, records),
        Some(grown),
        "a record, of ten times fewer",
    );
    println!("  of them {reviewed} wait for a person");
}

/// What `why` costs beside the view alone, and what conflicts cost.
fn explaining(documents: &[Vec<u8>], collection: &Collection) {
    let records = documents.len() as u64;
    let (mut view, mut why, mut plain, mut conflicted) = Default::default();
    for (number, bytes) in documents.iter().enumerate() {
        let document = load(bytes);
        let mut once = Duration::ZERO;
        // Whoever comes second finds warm caches, so they take turns in being first; records in
        // conflict, of which every twentieth is one, take turns among themselves.
        if (number as u64 + number as u64 / CONFLICTED).is_multiple_of(2) {
            timed(&mut once, || document.view(collection, "i"));
            timed(&mut why, || document.resolve(collection, "i"));
        } else {
            timed(&mut why, || document.resolve(collection, "i"));
            timed(&mut once, || document.view(collection, "i"));
        }
        view += once;
        let of = if (number as u64).is_multiple_of(CONFLICTED) {
            &mut conflicted
        } else {
            &mut plain
        };
        *of += once;
    }
    let in_conflict = records.div_ceil(CONFLICTED);
    row("view", per_1000(view, records), None, "");
    row(
        "why",
        per_1000(why, records),
        Some(ratio(why, view)),
        "of the view",
    );
    let plain = per_1000(plain, records - in_conflict);
    let conflicted = per_1000(conflicted, in_conflict);
    row(
        "view of a record in conflict",
        conflicted,
        Some(conflicted / plain),
        "of one that is not",
    );
}

/// What reading through a migration costs beside reading without.
fn migrating(documents: &[Vec<u8>], collection: &Collection) {
    let migrated = match Schema::parse(MIGRATED) {
        Ok(schema) => schema,
        Err(errors) => {
            println!(
                "read through a migration: not measured, {}",
                errors.errors[0].message
            );
            return;
        }
    };
    let newer = migrated.collection("item").expect("the schema above");
    let records = documents.len() as u64;
    let (mut without, mut with) = Default::default();
    for (number, bytes) in documents.iter().enumerate() {
        // Whoever comes second finds warm caches, so they take turns in being first.
        if number % 2 == 0 {
            timed(&mut without, || load(bytes).view(collection, "i"));
            timed(&mut with, || load(bytes).view(newer, "i"));
        } else {
            timed(&mut with, || load(bytes).view(newer, "i"));
            timed(&mut without, || load(bytes).view(collection, "i"));
        }
    }
    row(
        "read without a migration",
        per_1000(without, records),
        None,
        "",
    );
    row(
        "read through a migration",
        per_1000(with, records),
        Some(ratio(with, without)),
        "of that without (aim: 1.30)",
    );
}

/// What a long history costs: views read all of it.
fn histories(collection: &Collection) {
    const ROUNDS: usize = 201;
    let mut before: Option<Duration> = None;
    for edits in [10, 100, 1000] {
        let mut document = Document::new();
        for seq in 1..=edits {
            let words = text(format!("edit {seq}"));
            write(&mut document, 1, seq, &[], vec![set("notes", words)]);
        }
        let mut times: Vec<Duration> = (0..ROUNDS)
            .map(|_| {
                let mut time = Duration::ZERO;
                timed(&mut time, || document.view(collection, "i"));
                time
            })
            .collect();
        // The middle one: so short a time is easily spoilt by whatever else runs.
        times.sort_unstable();
        let time = times[times.len() / 2];
        let grown = before.map(|before| ratio(time, before));
        row(
            &format!("view after {edits} edits"),
            per_1000(time, 1),
            grown,
            "of ten times fewer",
        );
        before = Some(time);
    }
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let records = if quick { RECORDS / 10 } else { RECORDS };
    let schema = Schema::parse(SCHEMA).expect("the schema above");
    let collection = schema.collection("item").expect("the schema above");
    let documents = saved(records);
    let bytes: usize = documents.iter().map(Vec::len).sum();
    println!(
        "{records} records, 1 in {CONFLICTED} in conflict, {} bytes each",
        bytes as u64 / records
    );
    growth(&documents, collection);
    explaining(&documents, collection);
    migrating(&documents, collection);
    histories(collection);
}
