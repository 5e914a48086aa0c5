//! What one deed of a person writes: which record, which of its fields, and with what.

use crdt_schema::schema::{Field, FieldType};

use super::{Fleet, Known};
use crate::plan::{Act, EditSpec, OpSpec, Operation};
use crate::workload::values::Source;
use crate::workload::{HOUR_MS, Work};

/// Of a thousand edits, how many are of the group's own records.
const NEAR_PER_MILLE: u64 = 700;
/// Of a thousand fields that a new record need not have, how many are filled in.
const FILLED_PER_MILLE: u64 = 600;
/// How often it is tried to find a record of the group's own.
const TRIES: u64 = 6;
/// Within how long two people edit the same record.
const SAME_DAY_MS: u64 = 3 * HOUR_MS;

impl Fleet<'_> {
    pub(super) fn create(&mut self, index: usize, work: &Work, device: usize, at_ms: u64) {
        let case = self.next_case();
        let Some((collection, _)) = self.collection(index) else {
            return;
        };
        let fields: Vec<Field> = collection.fields.values().cloned().collect();
        let name = collection.name.clone();
        let mut ops = Vec::new();
        for field in fields {
            let is_filled = self.draw.happens(&field.name, case, FILLED_PER_MILLE);
            if !field.required && !is_filled {
                continue;
            }
            match self.write(work, &field) {
                Some(OpSpec::Remove(..)) => {}
                Some(op) => ops.push(op),
                // There is nothing yet that the record could refer to.
                None if field.required => return,
                None => {}
            }
        }
        let id = format!("{name}-{}", hex::encode(&self.draw.bytes("id", case)[..6]));
        let group = self.workload.group_of(device).name.get_ref().clone();
        self.known.push(Known {
            collection: index,
            id: id.clone(),
            group,
        });
        let edits = vec![EditSpec {
            collection: name,
            id,
            ops,
        }];
        let act = Act::Write { edits, key: None };
        self.operations.push(Operation { at_ms, device, act });
    }

    pub(super) fn edit(&mut self, index: usize, work: &Work, device: usize, at_ms: u64) {
        let Some(place) = self.pick(index, device) else {
            return;
        };
        let id = self.known[place].id.clone();
        let fields = self.fields(index, work);
        if fields.is_empty() {
            return;
        }
        let ops: Vec<OpSpec> = fields
            .iter()
            .filter_map(|field| self.write(work, field))
            .collect();
        self.update(index, id.clone(), device, at_ms, ops);
        let case = self.next_case();
        let per_mille = *work.same_record_percent.get_ref() * 10;
        let users = self.users(work);
        let other = *self.draw.pick("also", case, &users);
        if self.draw.happens("same record", case, per_mille) && other != device {
            let at_ms = at_ms + self.draw.number("soon after", case, 0..SAME_DAY_MS);
            let ops = fields.iter().filter_map(|field| self.write(work, field));
            let ops = ops.collect();
            self.update(index, id, other, at_ms, ops);
        }
    }

    pub(super) fn delete(&mut self, index: usize, device: usize, at_ms: u64) {
        if let Some(place) = self.pick(index, device) {
            let id = self.known.swap_remove(place).id;
            let ops = vec![OpSpec::Delete("no longer needed".to_owned())];
            self.update(index, id, device, at_ms, ops);
        }
    }

    fn update(&mut self, index: usize, id: String, device: usize, at_ms: u64, ops: Vec<OpSpec>) {
        let Some((collection, _)) = self.schema.collections.get_index(index) else {
            return;
        };
        if ops.is_empty() {
            return;
        }
        let edits = vec![EditSpec {
            collection: collection.clone(),
            id,
            ops,
        }];
        let act = Act::Update { edits };
        self.operations.push(Operation { at_ms, device, act });
    }

    /// The fields that one edit changes.
    fn fields(&mut self, index: usize, work: &Work) -> Vec<Field> {
        let case = self.next_case();
        let Some((collection, _)) = self.collection(index) else {
            return Vec::new();
        };
        let is_edited = |field: &&Field| {
            let mut named = work.fields.iter();
            let is_named = named.any(|name| *name.get_ref() == field.name);
            is_named || (work.fields.is_empty() && !matches!(field.kind, FieldType::Ref { .. }))
        };
        let mut all: Vec<Field> = collection
            .fields
            .values()
            .filter(is_edited)
            .cloned()
            .collect();
        let mut chosen = Vec::new();
        for number in 0..work.fields_per_edit.min(all.len() as u64) {
            let range = 0..all.len() as u64;
            let place = self
                .draw
                .number("field", case.wrapping_mul(64) + number, range);
            chosen.push(all.swap_remove(place as usize));
        }
        chosen
    }

    fn write(&mut self, work: &Work, field: &Field) -> Option<OpSpec> {
        let case = self.next_case();
        let (known, schema, draw) = (&self.known, self.schema, self.draw);
        let target = |to: &str| {
            let index = schema.collections.get_index_of(to)?;
            let range = 0..known.len().max(1) as u64;
            let mut tries =
                (0..TRIES * 8).map(|n| draw.number("target", case * 64 + n, range.clone()));
            let found = tries.find_map(|place| {
                let record = known.get(place as usize)?;
                (record.collection == index).then(|| record.id.clone())
            });
            found.or_else(|| {
                let first = known.iter().find(|record| record.collection == index)?;
                Some(first.id.clone())
            })
        };
        let source = Source { draw, case, work };
        source.op(field, target)
    }

    /// The place of a record, more often one of the device's own group.
    fn pick(&mut self, index: usize, device: usize) -> Option<usize> {
        let case = self.next_case();
        let group = self.workload.group_of(device).name.get_ref();
        let of_it: Vec<usize> = (0..self.known.len())
            .filter(|place| self.known[*place].collection == index)
            .collect();
        if of_it.is_empty() {
            return None;
        }
        if self.draw.happens("near", case, NEAR_PER_MILLE) {
            for number in 0..TRIES {
                let place = *self
                    .draw
                    .pick("near which", case.wrapping_mul(8) + number, &of_it);
                if self.known[place].group == *group {
                    return Some(place);
                }
            }
        }
        Some(*self.draw.pick("which", case, &of_it))
    }
}
