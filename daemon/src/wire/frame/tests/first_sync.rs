//! How many bytes a first sync of ten thousand records takes, beside their JSON.

use std::collections::BTreeMap;

use crdt_schema::hlc::Timestamp;
use crdt_schema::op::{ChangeSet, Edit, Op};
use crdt_schema::value::Value;

use super::*;
use crate::wire::changeset::encode_change_set;
use crate::wire::limits::DATA_BYTES_TARGET;

#[test]
fn a_first_sync_takes_less_than_a_third_of_its_json() {
    let mut random = Generator(7);
    let records: Vec<Vec<(&str, Value)>> = (0..10_000).map(|n| record(&mut random, n)).collect();
    let json: usize = records.iter().map(|fields| json_bytes(fields)).sum();
    let entries: Vec<Vec<u8>> = records
        .chunks(100)
        .zip(0..)
        .map(|(records, n)| encode_change_set(&creations(records, n)))
        .collect();

    let mut encoder = FrameEncoder::new();
    let (mut wire, mut batch, mut from) = (0, Vec::new(), 1);
    for (index, entry) in entries.iter().enumerate() {
        batch.push(entry.as_slice());
        let gathered: usize = batch.iter().map(|entry| entry.len()).sum();
        if gathered >= DATA_BYTES_TARGET || index + 1 == entries.len() {
            wire += encoder
                .encode(&Message::Data(vec![run(1, from, &batch)]))
                .len();
            from += batch.len() as u64;
            batch.clear();
        }
    }

    let ratio = wire as f64 / json as f64;
    println!(
        "{json} bytes of JSON, {wire} on the wire: {:.1} %",
        100.0 * ratio
    );
    assert!(
        (500..600).contains(&(json / records.len())),
        "the records are not of the size meant"
    );
    assert!(ratio < 0.33, "{ratio}");
}

fn creations(records: &[Vec<(&'static str, Value)>], n: u64) -> ChangeSet {
    let edit = |fields: &Vec<(&str, Value)>| Edit {
        collection: "visit".to_owned(),
        id: fields[0].1.to_string(),
        deps: Vec::new(),
        ops: fields[1..]
            .iter()
            .map(|(key, value)| Op::Set {
                key: (*key).to_owned(),
                value: value.clone(),
            })
            .collect(),
    };
    ChangeSet {
        implied: BTreeMap::new(),
        hlc: Timestamp::from_ms(1_760_000_000_000 + 60_000 * n),
        schema_version: 1,
        person: "amina".to_owned(),
        tags: Default::default(),
        edits: records.iter().map(edit).collect(),
    }
}

fn json_bytes(fields: &[(&str, Value)]) -> usize {
    let object: serde_json::Map<_, _> = fields
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.to_json()))
        .collect();
    serde_json::Value::Object(object).to_string().len()
}

/// Twelve flat fields as a field team would enter them; the first is the record's id.
fn record(random: &mut Generator, n: u64) -> Vec<(&'static str, Value)> {
    let text = |text: String| Value::Text(text);
    let id = format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        random.below(1 << 32),
        random.below(1 << 16),
        random.below(1 << 12),
        random.below(1 << 12),
        random.below(1 << 48),
    );
    let tags: Vec<String> = (0..1 + random.below(3)).map(|_| word(random)).collect();
    vec![
        ("id", text(id)),
        (
            "kind",
            text(random.one_of(&["visit", "delivery", "inspection", "survey"])),
        ),
        ("title", text(words(random, 24))),
        (
            "status",
            text(random.one_of(&["open", "in progress", "done", "blocked"])),
        ),
        ("priority", Value::Integer(random.below(5) as i64)),
        ("assignee", text(format!("worker-{:02}", random.below(40)))),
        (
            "lat",
            Value::Number(-(random.below(5_000_000) as f64) / 1e6),
        ),
        (
            "lon",
            Value::Number(34.0 + random.below(7_000_000) as f64 / 1e6),
        ),
        ("quantity", Value::Integer(random.below(1000) as i64)),
        (
            "recorded_at",
            text(Timestamp::from_ms(1_760_000_000_000 + n * 97_003).to_string()),
        ),
        ("tags", text(tags.join(","))),
        ("notes", {
            let length = 120 + random.below(240) as usize;
            text(words(random, length))
        }),
    ]
}

fn words(random: &mut Generator, bytes: usize) -> String {
    let mut text = word(random);
    while text.len() < bytes {
        text.push(' ');
        text.push_str(&word(random));
    }
    text
}

/// One of 170 made-up words of two to four syllables.
fn word(random: &mut Generator) -> String {
    const SYLLABLES: [&str; 17] = [
        "ka", "ri", "mo", "ten", "su", "la", "ber", "ni", "do", "wa", "pe", "chi", "go", "ma",
        "tu", "sha", "len",
    ];
    let mut chosen = Generator(1_000 + random.below(170));
    (0..2 + chosen.below(3))
        .map(|_| chosen.one_of(&SYLLABLES))
        .collect()
}

/// A small generator (splitmix64), so that the set is the same everywhere.
struct Generator(u64);

impl Generator {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one_of(&mut self, options: &[&str]) -> String {
        options[self.below(options.len() as u64) as usize].to_owned()
    }
}
