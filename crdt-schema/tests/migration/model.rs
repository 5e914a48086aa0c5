//! What a reader must see, without any lens: each write is carried by itself, as its author meant it, and
//! replayed as if it had been written under the reader's version to begin with.

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::document::Document;
use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::Dot;
use crdt_schema::op::{Edit, Op};
use crdt_schema::schema::{FieldType, Schema};
use crdt_schema::value::Value;

use super::devices::History;

pub(super) fn join(parts: [&str; 2]) -> String {
    parts.join(" ").trim().to_owned()
}

/// A write of one register, carried by itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Carried {
    dot: Dot,
    hlc: Timestamp,
    value: Option<String>,
}

pub(super) struct Model<'a> {
    pub(super) history: &'a History,
    pub(super) schemas: &'a [Schema],
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
    pub(super) fn shown(
        &self,
        seen: &BTreeSet<Dot>,
        version: u32,
    ) -> BTreeMap<String, Option<String>> {
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
pub(super) fn replay(model: &Model<'_>, version: u32) -> Document {
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
pub(super) fn carried(model: &Model<'_>, op: &Op, from: u32, to: u32) -> Op {
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
