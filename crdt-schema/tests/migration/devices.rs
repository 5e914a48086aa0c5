//! Devices that write under the version that they run, and take from each other in any order.

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::document::Document;
use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{Dot, LogId};
use crdt_schema::op::{Edit, Op};
use crdt_schema::schema::{Collection, FieldType, Schema};
use crdt_schema::value::Value;
use proptest::prelude::*;

use super::chain::VERSIONS;

#[derive(Clone, Debug)]
pub(super) enum Event {
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

pub(super) fn event() -> impl Strategy<Value = Event> {
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
pub(super) struct Written {
    pub(super) hlc: Timestamp,
    pub(super) version: u32,
    pub(super) edit: Edit,
    pub(super) past: BTreeSet<Dot>,
}

pub(super) type History = BTreeMap<Dot, Written>;

pub(super) struct Device {
    log: LogId,
    seq: u64,
    pub(super) clock: u64,
    pub(super) version: u32,
    pub(super) doc: Document,
    pub(super) seen: BTreeSet<Dot>,
}

impl Device {
    pub(super) fn new(number: usize, version: u32) -> Self {
        Self {
            log: LogId([(number * 37 % 11) as u8 + 1; 16]),
            seq: 0,
            clock: 0,
            version,
            doc: Document::new(),
            seen: BTreeSet::new(),
        }
    }

    pub(super) fn edit(
        &mut self,
        history: &mut History,
        schemas: &[Schema],
        clock: u64,
        ops: Vec<Op>,
    ) {
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

    pub(super) fn meet(&mut self, history: &History, theirs: &BTreeSet<Dot>, mut shuffle: u64) {
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
pub(super) fn op(collection: &Collection, field: usize, value: u8) -> Op {
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
