//! What deletions mean for records that refer to each other: with `cascade` a record is deleted with the one that it
//! refers to, and with `restrict` a deletion waits as long as a living record refers to what it would delete.
//!
//! Whether a person has let a restricted deletion take effect is left open, and with it what follows from it.

use std::collections::BTreeMap;

use crdt_schema::op::Op;
use crdt_schema::resolution::Life;
use crdt_schema::schema::{Collection, Field, OnDelete, Schema};

use super::rules;
use crate::oracle::record::{Record, Records};

/// A record, by collection and id.
type Key = (String, String);

/// What becomes of records among each other. A schema lets no record decide over itself.
pub(super) struct Lives<'r> {
    schema: &'r Schema,
    records: &'r Records,
    known: BTreeMap<Key, Option<Life>>,
}

impl<'r> Lives<'r> {
    pub(super) fn new(schema: &'r Schema, records: &'r Records) -> Self {
        let known = BTreeMap::new();
        Self {
            schema,
            records,
            known,
        }
    }

    /// What must become of the record; `None` if that is left open.
    pub(super) fn of(&mut self, key: &Key) -> Option<Life> {
        if let Some(known) = self.known.get(key) {
            return *known;
        }
        let life = self.work_out(key);
        self.known.insert(key.clone(), life);
        life
    }

    fn work_out(&mut self, key: &Key) -> Option<Life> {
        let record = self.records.get(key)?;
        let collection = self.schema.collection(&key.0)?;
        let mut life = rules::life(record, collection);
        for field in referring(collection, OnDelete::Cascade) {
            let parent = refers_to(record, field)?;
            if let Some(parent) = parent.filter(|parent| self.records.contains_key(parent))
                && self.of(&parent)? == Life::Deleted
            {
                life = Life::Deleted;
            }
        }
        if life != Life::Deleted || !self.is_held(key)? {
            return Some(life);
        }
        let mut ops = record.edits.iter().flat_map(|node| &node.ops);
        let may_be_let = ops.any(|op| matches!(op, Op::Accept { .. }));
        (!may_be_let).then_some(Life::Contested)
    }

    /// Whether a record that is not deleted keeps this one from being deleted.
    fn is_held(&mut self, key: &Key) -> Option<bool> {
        for child in self.schema.collections.values() {
            for field in referring(child, OnDelete::Restrict) {
                if field.refers_to() != Some(&key.0) {
                    continue;
                }
                let all = self.records.iter().filter(|(it, _)| it.0 == child.name);
                for (other, record) in all {
                    let is_of_it = refers_to(record, field)?.as_ref() == Some(key);
                    if is_of_it && self.of(other)? != Life::Deleted {
                        return Some(true);
                    }
                }
            }
        }
        Some(false)
    }
}

fn referring(collection: &Collection, mode: OnDelete) -> impl Iterator<Item = &Field> {
    let references = collection.references();
    references.filter(move |field| field.on_delete == mode)
}

/// The record that a field leads to, if it leads to one. `None` if there is no short rule for the field.
fn refers_to(record: &Record, field: &Field) -> Option<Option<Key>> {
    if field.trial.is_some() {
        return None;
    }
    let id = rules::register(record, field);
    let id = id.as_str().map(str::to_owned);
    Some(id.and_then(|id| Some((field.refers_to()?.to_owned(), id))))
}

#[cfg(test)]
mod tests {
    use crdt_schema::hlc::Timestamp;
    use crdt_schema::ident::{LogId, SpaceName};
    use crdt_schema::op::{ChangeSet, Edit};
    use crdt_schema::value::Value;
    use fieldmesh::engine::batch::LogHeader;
    use fieldmesh::store::FeedItem;

    use super::*;
    use crate::device::device_id;
    use crate::oracle::branches::Branches;
    use crate::oracle::record::gathered;

    const RELIEF: &str = include_str!("../../../schemas/relief.toml");

    fn op(words: &str) -> Op {
        let reason = String::new();
        match words.split_once(' ') {
            None => Op::Delete { reason },
            Some(("accept", review)) => Op::Accept {
                review: review.to_owned(),
                note: reason,
            },
            Some((key, value)) => Op::Set {
                key: key.to_owned(),
                value: Value::Text(value.to_owned()),
            },
        }
    }

    /// What becomes of a record after one device has made these edits.
    fn life(edits: &[(&str, &str, &str)], collection: &str, id: &str) -> Option<Life> {
        let header = LogHeader {
            log: LogId([1; 16]),
            space: SpaceName::default(),
            device: device_id(1),
            name: String::new(),
            branch_of: None,
        };
        let item = |(seq, (collection, id, words)): (u64, &(&str, &str, &str))| FeedItem {
            arrival: seq,
            header: header.clone(),
            seq,
            set: ChangeSet {
                hlc: Timestamp::from_ms(seq),
                schema_version: 1,
                person: String::new(),
                edits: vec![Edit {
                    collection: (*collection).to_owned(),
                    id: (*id).to_owned(),
                    deps: Vec::new(),
                    ops: vec![op(words)],
                }],
                tags: Default::default(),
                implied: Default::default(),
            },
        };
        let items: Vec<FeedItem> = (1..).zip(edits).map(item).collect();
        let schema = Schema::parse(RELIEF).unwrap();
        let records = gathered(&items, &Branches::default());
        let key = (collection.to_owned(), id.to_owned());
        Lives::new(&schema, &records).of(&key)
    }

    const CAMP: (&str, &str, &str) = ("camp", "c", "name North");
    const HOUSE: (&str, &str, &str) = ("household", "h", "head Awa");
    const LIVES_THERE: (&str, &str, &str) = ("person", "p", "household h");
    const CASE: (&str, &str, &str) = ("case", "x", "camp c");

    #[test]
    fn a_record_goes_with_the_one_that_it_refers_to() {
        let gone = ("household", "h", "delete");
        let moved = ("person", "p", "household other");

        assert_eq!(life(&[HOUSE, LIVES_THERE], "person", "p"), Some(Life::Live));
        let all = [HOUSE, LIVES_THERE, gone];
        assert_eq!(life(&all, "person", "p"), Some(Life::Deleted));
        let all = [HOUSE, LIVES_THERE, moved, gone];
        assert_eq!(life(&all, "person", "p"), Some(Life::Live));
    }

    #[test]
    fn a_deletion_waits_while_a_living_record_refers_to_what_it_would_delete() {
        let (gone, closed) = (("camp", "c", "delete"), ("case", "x", "delete"));

        let all = [CAMP, CASE, gone];
        assert_eq!(life(&all, "camp", "c"), Some(Life::Contested));
        let all = [CAMP, CASE, gone, closed];
        assert_eq!(life(&all, "camp", "c"), Some(Life::Deleted));
        let all = [CAMP, CASE, gone, ("camp", "c", "accept r")];
        assert_eq!(life(&all, "camp", "c"), None, "a person may have let it");
    }
}
