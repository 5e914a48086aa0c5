//! Local writes: judged by the real rules on the real document, and appended to the log in memory.
//!
//! It follows the real store's author step by step, so that the change sets are the same bytes. What the
//! simulated schema does not have (references, flags, other spaces) is left out.

use std::cmp::Reverse;
use std::convert::Infallible;

use crdt_schema::document::{Document, DocumentError};
use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{Dot, LogId};
use crdt_schema::intent::{check_change, check_record};
use crdt_schema::op::{ChangeSet, Edit, Op};
use crdt_schema::reference;
use crdt_schema::resolution::{Life, RecordView};
use crdt_schema::schema::{Collection, FieldError};
use fieldmesh::engine::batch::{
    CommitOutcome, LocalCommit, LocalEdit, RecordOutcome, Rejection, StoreFault, WriteMode,
};
use fieldmesh::wire::changeset::{check_change_set, encode_change_set};
use fieldmesh::wire::limits::{DEPS_MAX, ENTRY_BYTES_MAX};

use super::pool::{Pool, RecordName};
use super::store::{MemoryStore, last_hlc};

/// One record's part of a write, on a copy of its document.
struct Planned<'s> {
    name: RecordName,
    collection: &'s Collection,
    doc: Document,
    view: RecordView,
    is_new: bool,
    ops: Vec<Op>,
    place: usize,
}

/// Writes one change set, or finds out why not.
pub(super) fn write(
    store: &mut MemoryStore,
    pool: &mut Pool,
    commit: &LocalCommit,
) -> Result<CommitOutcome, Rejection> {
    if let Some(request) = &commit.idempotency
        && let Some((fingerprint, outcome)) = store.answered.get(&request.key)
    {
        if *fingerprint != request.fingerprint {
            let key = request.key.clone();
            return Err(Rejection::KeyReused { key });
        }
        let replayed = true;
        return Ok(CommitOutcome {
            replayed,
            ..outcome.clone()
        });
    }
    let schema = store.schema.clone();
    let mut plan = Vec::new();
    for (place, edit) in commit.edits.iter().enumerate() {
        let collection = schema
            .collection(&edit.collection)
            .ok_or_else(|| failed(format!("the schema has no collection {}", edit.collection)))?;
        plan.push(plan_edit(store, pool, collection, edit, place)?);
    }
    let outcome = match plan.iter().all(|planned| planned.ops.is_empty()) {
        true => unchanged(&plan)?,
        false => append(store, pool, commit, plan)?,
    };
    if let Some(request) = &commit.idempotency {
        let answered = (request.fingerprint, outcome.clone());
        store.answered.insert(request.key.clone(), answered);
    }
    Ok(outcome)
}

fn plan_edit<'s>(
    store: &MemoryStore,
    pool: &mut Pool,
    collection: &'s Collection,
    edit: &LocalEdit,
    place: usize,
) -> Result<Planned<'s>, Rejection> {
    let name = (edit.collection.clone(), edit.id.clone());
    let doc = pool.document(&name, |log| store.seq(log));
    let doc = doc.map_err(|error| failed(error.to_string()))?;
    let view = shown(&doc, collection, &edit.id);
    let is_new = doc.is_empty();
    check_expectation(edit, &view, is_new)?;
    let ops = edit.complete(collection, &view, is_new);
    if is_new && ops.is_empty() {
        let errors = check_record(collection, &view.fields);
        let errors = errors_or(errors, "a new record needs at least one field");
        return Err(invalid(edit, errors));
    }
    Ok(Planned {
        name,
        collection,
        doc,
        view,
        is_new,
        ops,
        place,
    })
}

/// The record as people see it.
pub(super) fn shown(doc: &Document, collection: &Collection, id: &str) -> RecordView {
    let own = doc.view(collection, id);
    let Ok(view) = reference::judge(own, collection, id, &[], || Ok::<_, Infallible>(false));
    view
}

fn append(
    store: &mut MemoryStore,
    pool: &mut Pool,
    commit: &LocalCommit,
    mut plan: Vec<Planned<'_>>,
) -> Result<CommitOutcome, Rejection> {
    plan.sort_by_key(order);
    let own = commit.log.log;
    let held = pool.number(&own).map_or(0, |number| store.seq(number));
    let last = pool.number(&own).map(|number| last_hlc(pool, number, held));
    let last = last.unwrap_or_default();
    let dot = Dot::new(own, held + 1);
    let hlc = commit.hlc.max(Timestamp(last.0.saturating_add(1)));
    let changed = plan.iter().filter(|planned| !planned.ops.is_empty());
    let edits: Vec<Edit> = changed.map(|planned| planned.edit(own)).collect();
    let deps = edits.iter().flat_map(|edit| &edit.deps);
    let tags = deps
        .filter_map(|dep| Some((*dep, pool.tag(dep)?)))
        .collect();
    let set = ChangeSet {
        hlc,
        schema_version: store.schema.version,
        person: commit.person.clone(),
        edits,
        tags,
    };
    check_change_set(&set).map_err(|error| failed(error.to_string()))?;
    let entry = encode_change_set(&set);
    if entry.len() > ENTRY_BYTES_MAX {
        let (bytes, bytes_max) = (entry.len(), ENTRY_BYTES_MAX);
        return Err(Rejection::TooLarge { bytes, bytes_max });
    }
    let changed = plan.iter_mut().filter(|planned| !planned.ops.is_empty());
    for (planned, edit) in changed.zip(&set.edits) {
        planned.apply(dot, &set, edit)?;
    }
    let number = pool.begin(&commit.log);
    store.own = Some(number);
    store.append_own(pool, number, &entry, &set);
    plan.sort_by_key(|planned| planned.place);
    Ok(CommitOutcome {
        dot,
        hlc,
        records: plan.iter().map(Planned::outcome).collect(),
        replayed: false,
    })
}

/// The order of the edits in a change set: as the real store's.
fn order(planned: &Planned<'_>) -> (bool, Reverse<usize>, usize) {
    let rank = planned.collection.rank;
    match is_delete(&planned.ops) {
        true => (true, Reverse(rank), 0),
        false => (false, Reverse(0), rank),
    }
}

fn is_delete(ops: &[Op]) -> bool {
    ops.iter().any(|op| matches!(op, Op::Delete { .. }))
}

impl Planned<'_> {
    fn edit(&self, own: LogId) -> Edit {
        let heads = self.doc.heads().into_iter();
        Edit {
            collection: self.name.0.clone(),
            id: self.name.1.clone(),
            deps: heads.filter(|dot| dot.log != own).take(DEPS_MAX).collect(),
            ops: self.ops.clone(),
        }
    }

    fn apply(&mut self, dot: Dot, set: &ChangeSet, edit: &Edit) -> Result<(), Rejection> {
        let applied: Result<(), DocumentError> =
            self.doc.apply(dot, set.hlc, set.schema_version, edit);
        applied.map_err(|error| failed(error.to_string()))?;
        let after = self.doc.view(self.collection, &self.name.1);
        let before = std::mem::replace(&mut self.view, after);
        if is_delete(&self.ops) {
            return Ok(());
        }
        let mut errors = check_change(self.collection, &before.fields, &self.view.fields);
        errors.retain(|error| self.is_new || self.touches(&error.pointer));
        if errors.is_empty() {
            return Ok(());
        }
        let (collection, id) = self.name.clone();
        Err(Rejection::Invalid {
            collection,
            id,
            errors,
        })
    }

    fn touches(&self, pointer: &str) -> bool {
        let mut fields = self
            .ops
            .iter()
            .filter_map(|op| self.collection.field_by_key(op.key()?));
        fields.any(|field| pointer.strip_prefix('/') == Some(&field.name))
    }

    fn outcome(&self) -> RecordOutcome {
        RecordOutcome {
            collection: self.name.0.clone(),
            id: self.name.1.clone(),
            etag: etag(&self.view.heads),
            created: self.is_new,
            warnings: Vec::new(),
        }
    }
}

fn check_expectation(edit: &LocalEdit, view: &RecordView, is_new: bool) -> Result<(), Rejection> {
    let (collection, id) = (edit.collection.clone(), edit.id.clone());
    let deletes = is_delete(&edit.ops);
    let restores = edit.ops.iter().any(|op| matches!(op, Op::Restore { .. }));
    if is_new {
        let needs_record =
            edit.mode == WriteMode::Update || edit.if_match.is_some() || deletes || restores;
        return match needs_record {
            true => Err(Rejection::NotFound { collection, id }),
            false => Ok(()),
        };
    }
    if edit.mode == WriteMode::Create && view.life != Life::Deleted {
        return Err(Rejection::Exists { collection, id });
    }
    let etag = etag(&view.heads);
    if edit.if_match.as_ref().is_some_and(|match_| *match_ != etag) {
        return Err(Rejection::Changed {
            collection,
            id,
            etag,
        });
    }
    if view.life == Life::Deleted && !restores {
        return Err(Rejection::Deleted { collection, id });
    }
    if view.life == Life::Live && restores {
        return Err(invalid(edit, errors_or(Vec::new(), "it is not deleted")));
    }
    Ok(())
}

/// The outcome of a write that changes nothing: the change set that the first record owes its state to.
fn unchanged(plan: &[Planned<'_>]) -> Result<CommitOutcome, Rejection> {
    let nothing = || failed("a write without edits".to_owned());
    let first = plan.first().ok_or_else(nothing)?;
    let changes = first.doc.changes().into_iter();
    let newest = changes
        .filter(|(dot, _)| first.view.heads.contains(dot))
        .max_by_key(|&(dot, hlc)| (hlc, dot))
        .ok_or_else(nothing)?;
    let records = plan.iter().map(|planned| RecordOutcome {
        created: false,
        ..planned.outcome()
    });
    Ok(CommitOutcome {
        dot: newest.0,
        hlc: newest.1,
        records: records.collect(),
        replayed: false,
    })
}

/// Names a record's state to a device: never sent, so only equality matters.
pub(super) fn etag(heads: &[Dot]) -> String {
    let heads: Vec<String> = heads.iter().map(Dot::to_string).collect();
    heads.join(" ")
}

fn errors_or(errors: Vec<FieldError>, message: &str) -> Vec<FieldError> {
    if !errors.is_empty() {
        return errors;
    }
    vec![FieldError {
        pointer: String::new(),
        code: "bad_intent".to_owned(),
        message: message.to_owned(),
    }]
}

fn invalid(edit: &LocalEdit, errors: Vec<FieldError>) -> Rejection {
    let (collection, id) = (edit.collection.clone(), edit.id.clone());
    Rejection::Invalid {
        collection,
        id,
        errors,
    }
}

fn failed(why: String) -> Rejection {
    Rejection::Store(StoreFault::Failed(why))
}
