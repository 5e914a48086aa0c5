//! From an edit to the one Automerge change that it means.
//!
//! The change is a pure function of (dot, time, version, dependencies, ops) and of the document as it was at these
//! dependencies: first operation = one after the greatest of the dependencies, predecessors = the values
//! visible at the key at the dependencies. The log's previous change of the record is always a dependency,
//! so operation numbers of one log never repeat.

use std::num::NonZeroU64;

use automerge::legacy::{Key as MapKey, ObjectId, Op as ChangeOp, OpId, OpType};
use automerge::{ActorId, Change, ChangeHash, ExpandedChange, ObjId, ROOT, ReadDoc, ScalarValue};

use super::{Document, DocumentError, index, keys};
use crate::hlc::Timestamp;
use crate::ident::Dot;
use crate::op::{Edit, Op};
use crate::value::Value;

/// Automerge numbers operations with 32 bits and misbehaves near the end; half of them is far beyond any
/// record's life.
const OPERATIONS_MAX: u64 = 1 << 31;

pub(super) fn change(
    document: &Document,
    dot: Dot,
    hlc: Timestamp,
    version: u32,
    edit: &Edit,
) -> Result<Change, DocumentError> {
    let previous = document.index.of_log(dot.log).next_back();
    if previous.is_some_and(|change| change.dot.seq >= dot.seq) {
        return Err(DocumentError::OutOfOrder(dot));
    }
    let mut last_op = previous.map_or(0, |change| change.max_op);
    let mut deps: Vec<ChangeHash> = previous.map(|change| change.hash).into_iter().collect();
    for &dep in &edit.deps {
        let change = document
            .index
            .find(dep)
            .ok_or(DocumentError::MissingDependency(dep))?;
        last_op = last_op.max(change.max_op);
        deps.push(change.hash);
    }
    deps.sort_unstable();
    deps.dedup();

    let puts = puts(document, dot, &edit.ops);
    if last_op + puts.len() as u64 >= OPERATIONS_MAX {
        return Err(DocumentError::Exhausted(last_op));
    }
    let everything = document.deps_cover_heads(&deps);
    let operations = puts
        .into_iter()
        .map(|(key, value)| {
            let pred = predecessors(document, &key, &deps, everything);
            ChangeOp {
                action: OpType::Put(value),
                obj: ObjectId::Root,
                key: MapKey::Map(key.into()),
                pred: pred.into(),
                insert: false,
            }
        })
        .collect();
    Ok(Change::from(ExpandedChange {
        operations,
        actor_id: ActorId::from(&dot.log.0[..]),
        hash: None,
        seq: document.index.count_of_log(dot.log) + 1,
        start_op: NonZeroU64::MIN.saturating_add(last_op),
        time: hlc.0.min(Timestamp::MAX.0).cast_signed(),
        message: Some(index::message(dot, version)),
        deps,
        extra_bytes: Vec::new(),
        author: None,
    }))
}

/// The values visible at `key` at the dependencies, which a put there replaces.
fn predecessors(
    document: &Document,
    key: &str,
    deps: &[ChangeHash],
    everything: bool,
) -> Vec<OpId> {
    if deps.is_empty() {
        return Vec::new();
    }
    let visible = if everything {
        document.doc.get_all(ROOT, key)
    } else {
        document.doc.get_all_at(ROOT, key, deps)
    };
    let mut ids: Vec<OpId> = visible
        .into_iter()
        .flatten()
        .filter_map(|(_, id)| match id {
            ObjId::Id(counter, actor, _) => Some(OpId::new(counter, &actor)),
            ObjId::Root => None,
        })
        .collect();
    ids.sort_unstable();
    ids
}

/// The root keys that the ops put, with their values.
fn puts(document: &Document, dot: Dot, ops: &[Op]) -> Vec<(String, ScalarValue)> {
    let mut puts = Vec::with_capacity(ops.len());
    for op in ops {
        match op {
            Op::Set { key, value } => puts.push((key.clone(), scalar(value))),
            Op::Resolve { key, value, note } => {
                puts.push((key.clone(), scalar(value)));
                puts.push((keys::answer(key), note.as_str().into()));
            }
            Op::Add { key, delta } => {
                let slot = keys::counter(key, dot.log);
                let sum = running_sum(document, &slot).saturating_add(*delta);
                puts.push((slot, ScalarValue::Int(sum)));
            }
            Op::Insert { key, element } => puts.push((keys::element(key, element), true.into())),
            Op::Remove { key, element } => puts.push((keys::element(key, element), false.into())),
            Op::Accept { review, note } => puts.push((keys::accept(review), note.as_str().into())),
            Op::Delete { reason } => {
                puts.push((keys::LIFE.to_owned(), format!("d{reason}").into()))
            }
            Op::Restore { reason } => {
                puts.push((keys::LIFE.to_owned(), format!("r{reason}").into()))
            }
        }
    }
    puts
}

/// Only one log writes the slot and always after its previous write, so it has one value at most.
fn running_sum(document: &Document, slot: &str) -> i64 {
    let value = document.doc.get(ROOT, slot).ok().flatten();
    value.and_then(|(value, _)| value.as_i64()).unwrap_or(0)
}

fn scalar(value: &Value) -> ScalarValue {
    match value {
        Value::Null => ScalarValue::Null,
        Value::Bool(b) => ScalarValue::Boolean(*b),
        Value::Integer(i) => ScalarValue::Int(*i),
        Value::Number(n) => ScalarValue::F64(*n),
        Value::Text(t) => t.as_str().into(),
        Value::Json(t) => ScalarValue::Bytes(t.as_bytes().to_vec()),
    }
}
