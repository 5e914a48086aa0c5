//! Schema evolution against random schemas, edits, upgrades, rollbacks and deliveries.
//!
//! Each case draws a chain of four versions. Devices write under the version that they run, which is
//! raised and lowered at any time. The model knows no lens: it carries each write by itself, as its
//! author meant it, and replays it as if it had been written under the reader's version to begin with.

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::document::Document;
use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{Dot, LogId};
use crdt_schema::op::{Edit, Op};
use crdt_schema::resolution::RecordView;
use crdt_schema::schema::{Collection, FieldType, Schema};
use crdt_schema::value::Value;
use proptest::prelude::*;

/// What may happen to the fields from one version to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Rename,
    Add,
    Remove,
    Convert,
    Remap,
    RemapSet,
    Split,
    Merge,
}

const CHANGES: [Change; 8] = [
    Change::Rename,
    Change::Add,
    Change::Remove,
    Change::Convert,
    Change::Remap,
    Change::RemapSet,
    Change::Split,
    Change::Merge,
];

const VERSIONS: u32 = 4;

/// The fields of a schema in the making: name → the rest of its table.
type Fields = BTreeMap<String, String>;

/// Draws the texts of versions 1 to 4. Every kind of change can happen once, and one step may follow
/// another within a version.
fn chain(drawn: &[Vec<usize>], review: bool) -> Vec<Schema> {
    let merge = if review { ", merge = \"review\"" } else { "" };
    let text = format!("type = \"text\"{merge}");
    let mut fields: Fields = [
        ("tel", text.clone()),
        ("name", text.clone()),
        ("given", text.clone()),
        ("family", text.clone()),
        ("fee", "type = \"integer\", merge = \"max\"".to_owned()),
        ("temp", "type = \"number\"".to_owned()),
        (
            "state",
            "type = \"choice\", of = [\"a\", \"b\", \"c\"], merge = \"rank\"".to_owned(),
        ),
        (
            "tags",
            "type = \"set\", of = [\"a\", \"b\", \"c\"]".to_owned(),
        ),
        ("sum", "type = \"counter\"".to_owned()),
    ]
    .map(|(name, table)| (name.to_owned(), table))
    .into();
    let mut migrations = String::new();
    let mut done = Vec::new();
    let mut schemas = vec![parse(1, &fields, &migrations)];
    for (to, picks) in (2..=VERSIONS).zip(drawn) {
        let mut steps = Vec::new();
        for &pick in picks {
            let change = CHANGES[pick % CHANGES.len()];
            if !done.contains(&change) {
                done.push(change);
                steps.push(take(change, &mut fields, &text));
            }
        }
        let steps = steps.join(", ");
        migrations += &format!("[[migrations]]\nto = {to}\nsteps = [{steps}]\n");
        schemas.push(parse(to, &fields, &migrations));
    }
    schemas
}

fn take(change: Change, fields: &mut Fields, text: &str) -> String {
    let mut put = |name: &str, table: &str| {
        fields.insert(name.to_owned(), table.to_owned());
    };
    match change {
        Change::Rename => {
            put("phone", text);
            put("total", "type = \"counter\"");
            fields.remove("tel");
            fields.remove("sum");
            r#"{ rename = "r.tel", as = "phone" }, { rename = "r.sum", as = "total" }"#.to_owned()
        }
        Change::Add => {
            put("outcome", "type = \"text\"");
            r#"{ add = "r.outcome", default = "none yet" }"#.to_owned()
        }
        Change::Remove => {
            fields.remove("fee");
            r#"{ remove = "r.fee", was = { type = "integer", merge = "max" } }"#.to_owned()
        }
        Change::Convert => {
            put("temp_c", "type = \"number\"");
            fields.remove("temp");
            r#"{ convert = "r.temp", as = "temp_c", with = "f_to_c" }"#.to_owned()
        }
        Change::Remap => {
            put(
                "state",
                "type = \"choice\", of = [\"x\", \"y\", \"b\"], merge = \"rank\"",
            );
            r#"{ remap = "r.state", values = { a = "x", c = "x" } }"#.to_owned()
        }
        Change::RemapSet => {
            put("tags", "type = \"set\", of = [\"x\", \"y\", \"b\"]");
            r#"{ remap = "r.tags", values = { a = "x", c = "x" } }"#.to_owned()
        }
        Change::Split => {
            put("first", text);
            put("last", text);
            fields.remove("name");
            r#"{ split = "r.name", into = ["first", "last"], with = "first_space" }"#.to_owned()
        }
        Change::Merge => {
            put("full", text);
            fields.remove("given");
            fields.remove("family");
            r#"{ merge = ["r.given", "r.family"], as = "full", with = "space" }"#.to_owned()
        }
    }
}

fn parse(version: u32, fields: &Fields, migrations: &str) -> Schema {
    let tables = fields
        .iter()
        .map(|(name, table)| format!("{name} = {{ {table} }}\n"));
    let fields: String = tables.collect();
    let text = format!(
        "schema = \"s\"\nversion = {version}\n[collections.r.fields]\n{fields}\n{migrations}"
    );
    Schema::parse(&text).unwrap_or_else(|errors| panic!("{errors}"))
}

#[derive(Clone, Debug)]
enum Event {
    Edit {
        device: usize,
        clock: u64,
        ops: Vec<(usize, u8)>,
    },
    Version {
        device: usize,
        version: u32,
    },
    Meet {
        from: usize,
        to: usize,
        shuffle: u64,
    },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..4usize, 0..60u64, prop::collection::vec((0..12usize, any::<u8>()), 1..3))
            .prop_map(|(device, clock, ops)| Event::Edit { device, clock, ops }),
        1 => (0..4usize, 1..=VERSIONS).prop_map(|(device, version)| Event::Version { device, version }),
        3 => (0..4usize, 0..4usize, any::<u64>())
            .prop_map(|(from, to, shuffle)| Event::Meet { from, to, shuffle }),
    ]
}

/// One edit with the edits that its author had seen.
#[derive(Clone, Debug)]
struct Written {
    hlc: Timestamp,
    version: u32,
    edit: Edit,
    past: BTreeSet<Dot>,
}

type History = BTreeMap<Dot, Written>;

struct Device {
    log: LogId,
    seq: u64,
    clock: u64,
    version: u32,
    doc: Document,
    seen: BTreeSet<Dot>,
}

impl Device {
    fn new(number: usize, version: u32) -> Self {
        Self {
            log: LogId([(number * 37 % 11) as u8 + 1; 16]),
            seq: 0,
            clock: 0,
            version,
            doc: Document::new(),
            seen: BTreeSet::new(),
        }
    }

    fn edit(&mut self, history: &mut History, schemas: &[Schema], clock: u64, ops: Vec<Op>) {
        self.seq += 1;
        self.clock = (self.clock + 1).max(clock);
        let dot = Dot::new(self.log, self.seq);
        let heads = self.doc.heads().into_iter();
        let edit = Edit {
            collection: "r".into(),
            id: "1".into(),
            deps: heads.filter(|head| head.log != self.log).collect(),
            ops,
        };
        let hlc = Timestamp::from_ms(self.clock);
        let written = Written {
            hlc,
            version: self.version,
            edit,
            past: self.seen.clone(),
        };
        self.take(dot, &written);
        history.insert(dot, written);

        self.shows_what_it_wrote(&schemas[self.version as usize - 1], &history[&dot]);
    }

    fn take(&mut self, dot: Dot, written: &Written) {
        self.doc
            .apply(dot, written.hlc, written.version, &written.edit)
            .expect("complete edits apply");
        self.seen.insert(dot);
    }

    /// Under the version of a write, the write reads exactly as it was made.
    fn shows_what_it_wrote(&self, schema: &Schema, written: &Written) {
        let collection = &schema.collections["r"];
        let view = self.doc.view(collection, "1");
        for op in &written.edit.ops {
            if let Op::Set { key, value } = op {
                let name = &collection
                    .field_by_key(key)
                    .expect("a field of the version")
                    .name;
                assert_eq!(view.fields.get(name), Some(&value.to_json()), "{name}");
            }
        }
    }

    fn meet(&mut self, history: &History, theirs: &BTreeSet<Dot>, mut shuffle: u64) {
        let mut waiting: Vec<Dot> = theirs.difference(&self.seen).copied().collect();
        while !waiting.is_empty() {
            shuffle = shuffle
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let ready: Vec<usize> = (0..waiting.len())
                .filter(|&at| history[&waiting[at]].past.is_subset(&self.seen))
                .collect();
            let dot = waiting.swap_remove(ready[(shuffle >> 33) as usize % ready.len()]);
            self.take(dot, &history[&dot]);
        }
    }
}

/// An op that a device can make under a version: the field and the value are drawn.
fn op(collection: &Collection, field: usize, value: u8) -> Op {
    let (_, field) = collection
        .fields
        .get_index(field % collection.fields.len())
        .expect("the index is in range");
    let key = field.key.clone();
    let text = |text: &str| Value::Text(text.to_owned());
    match &field.kind {
        FieldType::Counter => Op::Add {
            key,
            delta: 1 + i64::from(value % 3),
        },
        FieldType::Set { of } => {
            let FieldType::Choice { of } = of.as_ref() else {
                panic!("sets are of choices");
            };
            let element = text(&of[usize::from(value / 2) % of.len()]);
            match value % 2 {
                0 => Op::Insert { key, element },
                _ => Op::Remove { key, element },
            }
        }
        FieldType::Choice { of } => Op::Set {
            key,
            value: text(&of[usize::from(value) % of.len()]),
        },
        FieldType::Integer => Op::Set {
            key,
            value: Value::Integer(i64::from(value % 5)),
        },
        FieldType::Number => Op::Set {
            key,
            value: Value::Number(f64::from(value % 5) * 9.0),
        },
        _ => Op::Set {
            key,
            value: text(["Amina", "Amina Otieno", "Ben Kip", "Zawadi"][usize::from(value % 4)]),
        },
    }
}

// ---- the model ----

fn join(parts: [&str; 2]) -> String {
    parts.join(" ").trim().to_owned()
}

/// A write of one register, carried by itself.
#[derive(Clone, Debug, PartialEq)]
struct Carried {
    dot: Dot,
    hlc: Timestamp,
    value: Option<String>,
}

struct Model<'a> {
    history: &'a History,
    schemas: &'a [Schema],
}

impl Model<'_> {
    /// The first version that has the field.
    fn first_with(&self, name: &str) -> Option<u32> {
        let has = |schema: &&Schema| schema.collections["r"].fields.contains_key(name);
        self.schemas.iter().find(has).map(|schema| schema.version)
    }

    /// Writes of a register by its key, among those edits.
    fn writes(&self, seen: &BTreeSet<Dot>, key: &str) -> Vec<(Dot, String)> {
        let mut writes = Vec::new();
        for dot in seen {
            for op in &self.history[dot].edit.ops {
                if let Op::Set {
                    key: own,
                    value: Value::Text(text),
                } = op
                    && own == key
                {
                    writes.push((*dot, text.clone()));
                }
            }
        }
        writes
    }

    /// The latest of the writes that no other of them had seen.
    fn settle(&self, writes: Vec<(Dot, String)>) -> Vec<Carried> {
        let covered = |dot: &Dot| {
            writes
                .iter()
                .any(|(by, _)| self.history[by].past.contains(dot))
        };
        let mut standing: Vec<Carried> = writes
            .iter()
            .filter(|(dot, _)| !covered(dot))
            .map(|(dot, text)| Carried {
                dot: *dot,
                hlc: self.history[dot].hlc,
                value: Some(text.clone()).filter(|text| !text.is_empty()),
            })
            .collect();
        standing.sort_by_key(|write| (write.hlc, write.dot));
        standing
    }

    /// One of the parts of a text that was split, or will be merged, for a reader that has the parts.
    fn part(
        &self,
        seen: &BTreeSet<Dot>,
        whole: &str,
        parts: [&str; 2],
        index: usize,
    ) -> Vec<Carried> {
        let mut writes = self.writes(seen, parts[index]);
        for (dot, text) in self.writes(seen, whole) {
            let (first, rest) = text.split_once(' ').unwrap_or((&text, ""));
            let part = if index == 0 { first } else { rest };
            writes.push((dot, part.to_owned()));
        }
        self.settle(writes)
    }

    /// The whole, for a reader that has it: writes of parts count with the other part as seen then.
    fn whole(&self, seen: &BTreeSet<Dot>, whole: &str, parts: [&str; 2]) -> Vec<Carried> {
        let mut writes = self.writes(seen, whole);
        let of_parts = parts.map(|part| self.writes(seen, part)).concat();
        let dots: BTreeSet<Dot> = of_parts.into_iter().map(|(dot, _)| dot).collect();
        for dot in dots {
            let mut then = self.history[&dot].past.clone();
            then.insert(dot);
            let texts = [0, 1].map(|index| {
                let standing = self.part(&then, whole, parts, index);
                let own = standing.iter().find(|write| write.dot == dot);
                let seen = own.or_else(|| standing.last());
                seen.and_then(|write| write.value.clone())
                    .unwrap_or_default()
            });
            writes.push((dot, join([&texts[0], &texts[1]])));
        }
        self.settle(writes)
    }

    /// What a reader of that version sees of the texts that are split and merged.
    fn shown(&self, seen: &BTreeSet<Dot>, version: u32) -> BTreeMap<String, Option<String>> {
        let latest = |standing: Vec<Carried>| standing.last().and_then(|write| write.value.clone());
        let mut shown = BTreeMap::new();
        let split = self.first_with("first").is_some_and(|at| version >= at);
        let merged = self.first_with("full").is_some_and(|at| version >= at);
        let groups = [
            (split, "name", ["first", "last"]),
            (!merged, "full", ["given", "family"]),
        ];
        for (has_parts, whole, parts) in groups {
            if has_parts {
                for (index, part) in parts.iter().enumerate() {
                    let standing = self.part(seen, whole, parts, index);
                    shown.insert((*part).to_owned(), latest(standing));
                }
            } else {
                shown.insert(whole.to_owned(), latest(self.whole(seen, whole, parts)));
            }
        }
        shown
    }
}

/// Replays every edit as if it had been written under that version, where its steps keep the keys.
fn replay(model: &Model<'_>, version: u32) -> Document {
    let mut doc = Document::new();
    let mut waiting: Vec<Dot> = model.history.keys().copied().collect();
    let mut held = BTreeSet::new();
    while let Some(at) = waiting
        .iter()
        .position(|dot| model.history[dot].past.is_subset(&held))
    {
        let dot = waiting.swap_remove(at);
        let written = &model.history[&dot];
        let ops = written.edit.ops.iter();
        let ops = ops
            .map(|op| carried(model, op, written.version, version))
            .collect();
        let edit = Edit {
            ops,
            ..written.edit.clone()
        };
        doc.apply(dot, written.hlc, version, &edit)
            .expect("complete edits apply");
        held.insert(dot);
    }
    doc
}

/// One op, as its author would have made it under that version.
fn carried(model: &Model<'_>, op: &Op, from: u32, to: u32) -> Op {
    let crosses = |at: Option<u32>| at.map_or(0, |at| i32::from(to >= at) - i32::from(from >= at));
    let collections = |version: u32| &model.schemas[version as usize - 1].collections["r"];
    let remapped = |key: &str, value: &Value| {
        let choices = |version| match &collections(version).field_by_key(key).expect("kept").kind {
            FieldType::Set { of } => of.as_ref().clone(),
            kind => kind.clone(),
        };
        let is_new = |version| matches!(choices(version), FieldType::Choice { of } if of[0] == "x");
        let text = match (is_new(from), is_new(to), value) {
            (false, true, Value::Text(text)) if text == "a" || text == "c" => "x",
            (true, false, Value::Text(text)) if text == "x" => "a",
            (_, _, Value::Text(text)) => text,
            _ => panic!("choices are texts"),
        };
        Value::Text(text.to_owned())
    };
    match op {
        Op::Set {
            key,
            value: Value::Number(number),
        } => {
            let number = match crosses(model.first_with("temp_c")) {
                1 => (number - 32.0) * 5.0 / 9.0,
                -1 => number * 9.0 / 5.0 + 32.0,
                _ => *number,
            };
            let value = Value::Number((number * 10_000.0).round() / 10_000.0);
            Op::Set {
                key: key.clone(),
                value,
            }
        }
        Op::Set { key, value } if key == "state" => Op::Set {
            key: key.clone(),
            value: remapped(key, value),
        },
        Op::Insert { key, element } => Op::Insert {
            key: key.clone(),
            element: remapped(key, element),
        },
        Op::Remove { key, element } => Op::Remove {
            key: key.clone(),
            element: remapped(key, element),
        },
        other => other.clone(),
    }
}

/// What both ways of reading must agree on: all but the texts that are split or merged.
fn plain(view: &RecordView) -> BTreeMap<&String, &serde_json::Value> {
    const JOINED: [&str; 6] = ["name", "first", "last", "given", "family", "full"];
    let fields = view.fields.iter();
    fields
        .filter(|(name, _)| !JOINED.contains(&name.as_str()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn migrating_and_merging_commute(
        drawn in prop::collection::vec(prop::collection::vec(0..8usize, 0..5), 3),
        review in any::<bool>(),
        events in prop::collection::vec(event(), 1..40),
    ) {
        let schemas = chain(&drawn, review);
        let newest = &schemas[VERSIONS as usize - 1];
        let readers: Vec<Schema> = schemas
            .iter()
            .map(|schema| schema.clone().reading(newest).expect("one chain"))
            .collect();
        let mut devices: Vec<Device> = (0..4).map(|n| Device::new(n, 1 + n as u32)).collect();
        let mut history = History::new();
        for event in events {
            match event {
                Event::Edit { device, clock, ops } => {
                    let device = &mut devices[device];
                    let collection = &schemas[device.version as usize - 1].collections["r"];
                    let mut seen = BTreeSet::new();
                    let ops = ops.iter().map(|&(field, value)| op(collection, field, value));
                    let ops: Vec<Op> = ops
                        .filter(|op| seen.insert(op.key().map(str::to_owned)))
                        .collect();
                    device.edit(&mut history, &readers, clock, ops);
                }
                Event::Version { device, version } => devices[device].version = version,
                Event::Meet { from, to, shuffle } => {
                    let theirs = devices[from].seen.clone();
                    devices[to].meet(&history, &theirs, shuffle);
                }
            }
        }
        let all: BTreeSet<Dot> = history.keys().copied().collect();
        let model = Model { history: &history, schemas: &schemas };
        for device in &mut devices {
            device.meet(&history, &all, device.clock);
        }
        for reader in &readers {
            let collection = &reader.collections["r"];
            let views: Vec<RecordView> = devices
                .iter()
                .map(|device| device.doc.view(collection, "1"))
                .collect();
            prop_assert!(views.windows(2).all(|pair| pair[0] == pair[1]));
            if history.is_empty() {
                continue;
            }
            let replayed = replay(&model, reader.version).view(collection, "1");
            prop_assert_eq!(plain(&views[0]), plain(&replayed));
            prop_assert_eq!(&views[0].legacy, &replayed.legacy);
            if !review {
                for (name, text) in model.shown(&all, reader.version) {
                    let shown = views[0].fields.get(&name).and_then(|value| value.as_str());
                    prop_assert_eq!(shown, text.as_deref(), "{} in {}", name, reader.version);
                }
            }
        }
        for device in &devices {
            let saved = Document::load(&device.doc.save()).expect("it was saved");
            for reader in &readers {
                let collection = &reader.collections["r"];
                prop_assert_eq!(saved.view(collection, "1"), device.doc.view(collection, "1"));
            }
            prop_assert_eq!(saved.versions(), device.doc.versions());
        }
    }

    #[test]
    fn nothing_is_hidden_without_being_named(
        drawn in prop::collection::vec(prop::collection::vec(0..8usize, 0..5), 3),
        edits in prop::collection::vec((1..=VERSIONS, 0..12usize, any::<u8>()), 1..12),
        reads in 1..=VERSIONS,
        knows in 1..=VERSIONS,
    ) {
        let schemas = chain(&drawn, false);
        let knows = knows.max(reads);
        let reader = schemas[reads as usize - 1].clone();
        let reader = reader.reading(&schemas[knows as usize - 1]).expect("one chain");
        let collection = &reader.collections["r"];
        let mut device = Device::new(0, 1);
        let mut history = History::new();
        let mut lacking = 0;
        for (version, field, value) in edits {
            device.version = version;
            let op = op(&schemas[version as usize - 1].collections["r"], field, value);
            let key = op.key().unwrap_or_default().to_owned();
            lacking += usize::from(version > knows || (
                collection.field_by_key(&key).is_none() && key == "outcome"
            ));
            device.edit(&mut history, &schemas, 0, vec![op]);
        }

        let view = device.doc.view(collection, "1");

        if lacking == 0 {
            prop_assert_eq!(&view.partial, &Vec::<String>::new());
        }
        let outcome = history.values().any(|written| {
            written.edit.ops.iter().any(|op| op.key() == Some("outcome"))
        });
        if outcome && collection.field_by_key("outcome").is_none() {
            let named = view.partial.iter().any(|lack| lack.starts_with("outcome ("));
            prop_assert!(named, "{:?}", view.partial);
        }
    }
}
