//! What one deed of a person writes: which record, which of its fields, and with what.

use crdt_schema::schema::{Field, FieldType};

use super::{Fleet, Job, Known};
use crate::plan::{Act, EditSpec, OpSpec, Operation};
use crate::time::{DAY_MS, HOUR_MS};
use crate::workload::Work;
use crate::workload::values::Source;

/// Of a thousand edits, how many are of the group's own records.
const NEAR_PER_MILLE: u64 = 700;
/// Of a thousand fields that a new record need not have, how many are filled in.
const FILLED_PER_MILLE: u64 = 600;
/// How often it is tried to find a record of the group's own.
const TRIES: u64 = 6;
/// Within how long two people edit the same record.
const SOON_MS: u64 = 3 * HOUR_MS;

impl<'a> Fleet<'a> {
    pub(super) fn create(&mut self, index: usize, device: usize, at_ms: u64) {
        let case = self.next_case();
        let jobs = self.jobs;
        let Job {
            collection, work, ..
        } = &jobs[index];
        let mut ops = Vec::new();
        for field in collection.fields.values() {
            let is_filled = self.draw.happens(&field.name, case, FILLED_PER_MILLE);
            if !field.required && !is_filled {
                continue;
            }
            match self.write(work, field) {
                Some(OpSpec::Remove(..)) => {}
                Some(op) => ops.push(op),
                // There is nothing yet that the record could refer to.
                None if field.required => return,
                None => {}
            }
        }
        let name = &collection.name;
        let id = format!("{name}-{}", hex::encode(&self.draw.bytes("id", case)[..6]));
        self.known[index].push(Known {
            id: id.clone(),
            group: self.groups[device],
        });
        let edits = vec![EditSpec {
            collection: name.clone(),
            id,
            ops,
        }];
        let act = Act::Write { edits, key: None };
        self.operations.push(Operation { at_ms, device, act });
    }

    pub(super) fn edit(&mut self, index: usize, device: usize, at_ms: u64) {
        let Some(place) = self.pick(index, device) else {
            return;
        };
        let id = self.known[index][place].id.clone();
        let jobs = self.jobs;
        let work = &jobs[index].work;
        let fields = self.fields(index);
        if fields.is_empty() {
            return;
        }
        let ops = fields.iter().filter_map(|field| self.write(work, field));
        let ops = ops.collect();
        self.update(index, id.clone(), device, at_ms, ops);
        let case = self.next_case();
        let per_mille = *work.same_record_percent.get_ref() * 10;
        if self.draw.happens("same record", case, per_mille)
            && let Some(other) = self.other(index, device, case)
        {
            let day_ends_ms = (at_ms / DAY_MS + 1) * DAY_MS;
            let until_ms = (at_ms + SOON_MS).min(day_ends_ms);
            let at_ms = self.draw.number("soon after", case, at_ms..until_ms);
            let ops = fields.iter().filter_map(|field| self.write(work, field));
            let ops = ops.collect();
            self.update(index, id, other, at_ms, ops);
        }
    }

    /// Somebody else who works in the collection, if there is anybody.
    fn other(&self, index: usize, device: usize, case: u64) -> Option<usize> {
        let users = &self.jobs[index].users;
        let own = users.iter().position(|user| *user == device)?;
        let others = (users.len() as u64).checked_sub(1).filter(|it| *it > 0)?;
        let steps = 1 + self.draw.number("also", case, 0..others) as usize;
        Some(users[(own + steps) % users.len()])
    }

    pub(super) fn delete(&mut self, index: usize, device: usize, at_ms: u64) {
        if let Some(place) = self.pick(index, device) {
            let id = self.known[index].swap_remove(place).id;
            let ops = vec![OpSpec::Delete("no longer needed".to_owned())];
            self.update(index, id, device, at_ms, ops);
        }
    }

    fn update(&mut self, index: usize, id: String, device: usize, at_ms: u64, ops: Vec<OpSpec>) {
        if ops.is_empty() {
            return;
        }
        let edits = vec![EditSpec {
            collection: self.jobs[index].collection.name.clone(),
            id,
            ops,
        }];
        let act = Act::Update { edits };
        self.operations.push(Operation { at_ms, device, act });
    }

    /// The fields that one edit changes.
    fn fields(&mut self, index: usize) -> Vec<&'a Field> {
        let case = self.next_case();
        let jobs = self.jobs;
        let Job {
            collection, work, ..
        } = &jobs[index];
        let is_edited = |field: &&Field| {
            let mut named = work.fields.iter();
            let is_named = named.any(|name| *name.get_ref() == field.name);
            is_named || (work.fields.is_empty() && !matches!(field.kind, FieldType::Ref { .. }))
        };
        let mut all: Vec<&Field> = collection.fields.values().filter(is_edited).collect();
        let mut chosen = Vec::new();
        for number in 0..(*work.fields_per_edit.get_ref()).min(all.len() as u64) {
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
            let known = &known[schema.collections.get_index_of(to)?];
            let is_any = !known.is_empty();
            is_any.then(|| draw.pick("target", case, known).id.clone())
        };
        let source = Source { draw, case, work };
        source.op(field, target)
    }

    /// The place of a record, more often one of the device's own group.
    fn pick(&mut self, index: usize, device: usize) -> Option<usize> {
        let case = self.next_case();
        let (known, group) = (&self.known[index], self.groups[device]);
        let all = 0..known.len() as u64;
        if all.is_empty() {
            return None;
        }
        if self.draw.happens("near", case, NEAR_PER_MILLE) {
            for number in 0..TRIES {
                let number = case.wrapping_mul(8) + number;
                let place = self.draw.number("near which", number, all.clone()) as usize;
                if known[place].group == group {
                    return Some(place);
                }
            }
        }
        Some(self.draw.number("which", case, all) as usize)
    }
}
