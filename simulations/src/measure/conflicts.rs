//! What met what: for each field, how many writes were made without knowing of another, how many of those
//! said something else, and what the field's policy did about it.

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::ident::{Dot, RecordKey, SpaceName};
use crdt_schema::op::Op;
use crdt_schema::resolution::ReviewSubject;
use crdt_schema::schema::{Field, MergePolicy, Schema};
use fieldmesh::store::{Reader, StoreError};
use serde::Serialize;

use crate::oracle::{Record, records, written};

/// Most examples of what one policy decided.
const EXAMPLES_PER_POLICY: usize = 2;

/// What happened to one field, over all records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FieldCount {
    /// Its collection.
    pub collection: String,
    /// Its name.
    pub field: String,
    /// Its policy's name.
    pub policy: &'static str,
    /// How often it was written since all went apart.
    pub writes: u64,
    /// How many of the writes were made without knowing of an earlier one.
    pub met: u64,
    /// How many of those said something else: conflicts.
    pub differed: u64,
    /// How many of those the policy decided by itself, or summed up.
    pub decided: u64,
    /// How many of those it put before a person.
    pub asked: u64,
    /// How many reviews of it are open at the end.
    pub open: u64,
}

/// Deletions in one collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeletionCount {
    /// The collection.
    pub collection: String,
    /// Its policy's name.
    pub policy: &'static str,
    /// How many records were deleted by somebody.
    pub deleted: u64,
    /// How many of them somebody edited without knowing.
    pub raced: u64,
    /// How many reviews that are not about one field are open at the end.
    pub open: u64,
}

/// What a policy decided in one case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// The policy's name.
    pub policy: String,
    /// The field, as `collection/id field`.
    pub place: String,
    /// The value that is shown.
    pub value: String,
    /// Why, in a sentence.
    pub why: String,
}

/// All that met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Conflicts {
    /// By field.
    pub fields: Vec<FieldCount>,
    /// By collection.
    pub deletions: Vec<DeletionCount>,
    /// What the policies decided.
    pub examples: Vec<Example>,
}

impl Conflicts {
    /// Whether anything was counted: that is done once all hold the same.
    pub fn is_counted(&self) -> bool {
        !self.deletions.is_empty()
    }

    /// What met in all that a settled device holds. What was written `before` all went apart is not counted, but
    /// can be met.
    pub(super) fn of(reader: &Reader, before: &BTreeSet<Dot>) -> Result<Self, StoreError> {
        let schema = reader.schema();
        let records = records(reader)?;
        let reviews = reader.reviews()?;
        let open = |collection: &str, about: &dyn Fn(&ReviewSubject) -> bool| {
            let open = reviews
                .iter()
                .filter(|(key, review)| key.collection == collection && about(&review.subject));
            open.count() as u64
        };
        let mut found = Self::default();
        for collection in schema.collections.values() {
            let of_it = || {
                let all = records.iter();
                all.filter(|((name, _), _)| *name == collection.name)
                    .map(|(_, record)| record)
            };
            for field in collection.fields.values() {
                let mut count = FieldCount {
                    collection: collection.name.clone(),
                    field: field.name.clone(),
                    policy: field.merge.name(),
                    ..FieldCount::default()
                };
                of_it().for_each(|record| count.add(record, field, before));
                count.open = open(&collection.name, &|subject| {
                    subject.key() == Some(&field.key)
                });
                found.fields.push(count);
            }
            let is_deleted = |record: &&Record| {
                let deletes = record.raced(|op| matches!(op, Op::Delete { .. }));
                deletes.iter().any(|(dot, ..)| !before.contains(dot))
            };
            found.deletions.push(DeletionCount {
                collection: collection.name.clone(),
                policy: collection.delete.name(),
                deleted: of_it().filter(is_deleted).count() as u64,
                raced: of_it().filter(|it| it.has_raced_deletion()).count() as u64,
                open: open(&collection.name, &|subject| subject.key().is_none()),
            });
        }
        found.examples = examples(reader, &schema, records.keys())?;
        Ok(found)
    }
}

impl FieldCount {
    fn add(&mut self, record: &Record, field: &Field, before: &BTreeSet<Dot>) {
        let raced = record
            .raced(|op| !matches!(op, Op::Resolve { .. }) && op.key() == Some(field.key.as_str()));
        for (_, op, others) in raced.into_iter().filter(|(dot, ..)| !before.contains(dot)) {
            self.writes += 1;
            self.met += u64::from(!others.is_empty());
            if !others.iter().any(|other| differ(op, other)) {
                continue;
            }
            self.differed += 1;
            match field.merge {
                MergePolicy::Review => self.asked += 1,
                _ => self.decided += 1,
            }
        }
    }
}

/// Whether two ops on one field are at odds. Sums and sets of different elements never are.
fn differ(one: &Op, other: &Op) -> bool {
    match (one, other) {
        (Op::Insert { element: a, .. }, Op::Remove { element: b, .. })
        | (Op::Remove { element: a, .. }, Op::Insert { element: b, .. }) => a == b,
        (Op::Set { .. }, Op::Set { .. }) => written(one) != written(other),
        _ => false,
    }
}

/// A few fields whose value had to be chosen, of each policy.
fn examples<'a>(
    reader: &Reader,
    schema: &Schema,
    keys: impl Iterator<Item = &'a (String, String)>,
) -> Result<Vec<Example>, StoreError> {
    let mut by_policy: BTreeMap<String, Vec<Example>> = BTreeMap::new();
    for (name, id) in keys {
        let Some(collection) = schema.collection(name) else {
            continue;
        };
        let key = RecordKey {
            space: SpaceName::default(),
            collection: name.clone(),
            id: id.clone(),
        };
        let Some(document) = reader.document(&key)? else {
            continue;
        };
        for found in document.resolve(collection, id) {
            let examples = by_policy.entry(found.policy.clone()).or_default();
            // Of sums and sets the others are all parts, of registers those that were not chosen.
            let parts_min = if found.winner.is_some() { 1 } else { 2 };
            if found.others.len() >= parts_min && examples.len() < EXAMPLES_PER_POLICY {
                examples.push(Example {
                    policy: found.policy,
                    place: format!("{name}/{id} {}", found.field),
                    value: found.value.to_string(),
                    why: found.why,
                });
            }
        }
    }
    Ok(by_policy.into_values().flatten().collect())
}
