//! What references mean for a local write: which deletions they refuse.
//!
//! A merge cannot refuse anything; what it does instead is in `crdt_schema::reference`.

use std::collections::BTreeSet;

use crdt_schema::ident::RecordKey;
use crdt_schema::op::Op;
use crdt_schema::schema::OnDelete;
use crdt_schema::value::Value;

use super::author::Refusal;
use super::record::RecordWriter;
use crate::engine::batch::Rejection;
use crate::engine::batch::planned::Planned;

/// How many referring records are counted, and how many are named.
const HOLDERS_MAX: usize = 1000;
const HOLDERS_NAMED: usize = 3;

/// Refuses to delete a record to which others would refer afterwards.
pub(super) fn check(records: &RecordWriter<'_>, plan: &[Planned<'_>]) -> Result<(), Refusal> {
    for parent in plan.iter().filter(|planned| planned.is_delete()) {
        let mut holders = records.holders(&parent.key, HOLDERS_MAX)?;
        for child in plan {
            rewrite(&mut holders, parent, child);
        }
        if holders.is_empty() {
            continue;
        }
        let RecordKey { collection, id, .. } = parent.key.clone();
        let named = holders.iter().take(HOLDERS_NAMED);
        let by = named.map(|(child, _)| format!("{}/{}", child.collection, child.id));
        let count = match holders.len() {
            1 => "1 record refers".to_owned(),
            HOLDERS_MAX.. => format!("{HOLDERS_MAX} or more records refer"),
            few => format!("{few} records refer"),
        };
        return Err(Rejection::Referenced {
            collection,
            id,
            count,
            by: by.collect(),
        }
        .into());
    }
    Ok(())
}

/// What the same write makes of the references of `child` to `parent`.
fn rewrite(holders: &mut BTreeSet<(RecordKey, String)>, parent: &Planned<'_>, child: &Planned<'_>) {
    if child.is_delete() {
        holders.retain(|(holder, _)| *holder != child.key);
        return;
    }
    for op in &child.ops {
        let (Op::Set { key, value } | Op::Resolve { key, value, .. }) = op else {
            continue;
        };
        let Some(field) = child.collection.field_by_key(key) else {
            continue;
        };
        let refers = field.refers_to() == Some(parent.key.collection.as_str());
        if !refers || field.on_delete != OnDelete::Restrict {
            continue;
        }
        let holder = (child.key.clone(), key.clone());
        match value {
            Value::Text(id) if *id == parent.key.id => holders.insert(holder),
            _ => holders.remove(&holder),
        };
    }
}
