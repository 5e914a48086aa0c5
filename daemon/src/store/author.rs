//! Local writes: turns one [`LocalCommit`] into one change set, or into a rejection.
//!
//! A plan is made on copies of the documents. Only when everything about it is good is it appended
//! to the log and put in place, so a rejection leaves nothing behind and the other batches of the
//! transaction go on.
//!
//! What a write may do is judged here and nowhere else, on the state that it will be appended to.

use crdt_schema::document::Document;
use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{Dot, LogId, RecordKey};
use crdt_schema::intent::{check_change, check_record};
use crdt_schema::op::{ChangeSet, Edit, Op};
use crdt_schema::resolution::{Life, RecordView, Target};
use crdt_schema::schema::{Collection, FieldError, PUBLISHED, Schema, published_collection};

use crate::engine::batch::{
    CommitOutcome, LocalCommit, LocalEdit, RecordOutcome, Rejection, StoreFault, WriteMode,
};
use crate::mutation::{Mutation, is_planted};
use crate::wire::changeset::{check_change_set, encode_change_set};
use crate::wire::limits::{DEPS_MAX, ENTRY_BYTES_MAX};

use super::calendar::Calendar;
use super::etag;
use super::log::LogWriter;
use super::record::RecordWriter;
use super::restrict;
use super::retry::{Retry, RetryWriter};
use super::rows::LogRow;
use super::trouble::Trouble;

/// Why a local write was not made.
pub(super) enum Refusal {
    /// It alone was refused.
    Rejected(Rejection),
    /// A record it touches does not read back. It alone is refused.
    Damaged(RecordKey, String),
    /// The whole transaction failed.
    Failed(Trouble),
}

impl From<Trouble> for Refusal {
    fn from(trouble: Trouble) -> Self {
        Self::Failed(trouble)
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

/// The parts of a transaction that a local write needs.
pub(super) struct Author<'a, 'txn> {
    pub(super) schema: &'txn Schema,
    pub(super) logs: &'a mut LogWriter<'txn>,
    pub(super) records: &'a mut RecordWriter<'txn>,
    pub(super) retries: &'a mut RetryWriter<'txn>,
}

/// One record's part of the plan, on a copy of its document.
pub(super) struct Planned<'s> {
    pub(super) key: RecordKey,
    pub(super) collection: &'s Collection,
    doc: Document,
    view: RecordView,
    is_new: bool,
    /// Empty if there is nothing to change.
    pub(super) ops: Vec<Op>,
    calendar: Calendar,
    /// Its place among the edits of the request.
    place: usize,
}

impl<'txn> Author<'_, 'txn> {
    /// Writes one change set, or finds out why not. After a rejection nothing has been written.
    pub(super) fn write(&mut self, commit: &LocalCommit) -> Result<CommitOutcome, Refusal> {
        if let Some(request) = &commit.idempotency {
            match self.retries.find(request, commit.unix_ms)? {
                Retry::Unknown => {}
                Retry::Succeeded(outcome) => return Ok(outcome),
                Retry::Other => {
                    return Err(Rejection::KeyReused {
                        key: request.key.clone(),
                    }
                    .into());
                }
            }
        }
        if commit.schema_version != self.schema.version {
            let (made, active) = (commit.schema_version, self.schema.version);
            return Err(Rejection::SchemaMoved { made, active }.into());
        }
        let edits = commit.edits.iter().enumerate();
        let plan = edits.map(|(place, edit)| self.plan(commit, place, edit));
        let plan = plan.collect::<Result<Vec<_>, Refusal>>()?;
        restrict::check(self.records, &plan)?;
        let outcome = if plan.iter().all(|planned| planned.ops.is_empty()) {
            unchanged(&plan)?
        } else {
            self.append(commit, plan)?
        };
        if let Some(request) = &commit.idempotency {
            self.retries.remember(request, commit.unix_ms, &outcome)?;
        }
        Ok(outcome)
    }

    fn plan(
        &mut self,
        commit: &LocalCommit,
        place: usize,
        edit: &LocalEdit,
    ) -> Result<Planned<'txn>, Refusal> {
        let collection = self
            .schema
            .collection(&edit.collection)
            .or_else(|| (edit.collection == PUBLISHED).then(published_collection))
            .ok_or_else(|| failed(format!("the schema has no collection {}", edit.collection)))?;
        let key = RecordKey {
            space: commit.log.space.clone(),
            collection: edit.collection.clone(),
            id: edit.id.clone(),
        };
        let doc = match self.records.document(&key) {
            Ok(doc) => doc.clone(),
            Err(Trouble::Damaged(why)) => return Err(Refusal::Damaged(key, why)),
            Err(trouble) => return Err(trouble.into()),
        };
        let own = doc.view(collection, &edit.id);
        let own_life = own.life;
        let view = self.records.judge(&key, own)?;
        let is_new = doc.is_empty();
        check_own_life(edit, own_life, &view)?;
        check_expectation(edit, &view, is_new)?;
        let calendar = Calendar::of(commit);
        let refusals = calendar.refusals(collection, &edit.ops);
        if !refusals.is_empty() {
            return Err(invalid(edit, refusals));
        }
        let mut ops = edit.complete(collection, &view, is_new);
        // What people did not ask for leaves out what they may not ask for.
        ops.retain(|op| {
            let field = op.key().and_then(|key| collection.field_by_key(key));
            edit.ops.contains(op) || field.is_none_or(|field| calendar.is_open(field))
        });
        if is_new && ops.is_empty() {
            let errors = check_record(collection, &view.fields);
            return Err(invalid(
                edit,
                errors_or(errors, "a new record needs at least one field"),
            ));
        }
        Ok(Planned {
            key,
            collection,
            doc,
            view,
            is_new,
            ops,
            calendar,
            place,
        })
    }

    fn append(
        &mut self,
        commit: &LocalCommit,
        mut plan: Vec<Planned<'txn>>,
    ) -> Result<CommitOutcome, Refusal> {
        plan.sort_by_key(restrict::order);
        let end = self.end_of(commit)?;
        let dot = Dot::new(commit.log.log, end.seq + 1);
        // The clock that stamped the write has been told of all our timestamps, so this only
        // matters if it was told wrong: a log whose time stands still is refused by every peer.
        let hlc = commit.hlc.max(Timestamp(end.hlc.0.saturating_add(1)));

        let changed = plan.iter().filter(|planned| !planned.ops.is_empty());
        let edits: Vec<Edit> = changed
            .map(|planned| planned.edit(commit.log.log))
            .collect();
        let tags = self.logs.tags_of(&edits)?;
        let set = ChangeSet {
            hlc,
            schema_version: self.schema.version,
            person: commit.person.clone(),
            edits,
            tags,
        };
        check_change_set(&set).map_err(|error| failed(error.to_string()))?;
        let entry = encode_change_set(&set);
        if entry.len() > ENTRY_BYTES_MAX {
            let (bytes, bytes_max) = (entry.len(), ENTRY_BYTES_MAX);
            return Err(Rejection::TooLarge { bytes, bytes_max }.into());
        }
        let changed = plan.iter_mut().filter(|planned| !planned.ops.is_empty());
        for (planned, edit) in changed.zip(&set.edits) {
            planned.apply(dot, &set, edit)?;
        }

        self.logs.adopt(&commit.log.space, commit.log.log)?;
        self.logs.append_own(&end.header, &entry, hlc)?;
        plan.sort_by_key(|planned| planned.place);
        let records = plan.iter().map(Planned::outcome).collect();
        for planned in plan {
            if !planned.ops.is_empty() {
                self.records.put(&planned.key, planned.doc, planned.view)?;
            }
        }
        Ok(CommitOutcome {
            dot,
            hlc,
            records,
            replayed: false,
        })
    }

    fn end_of(&mut self, commit: &LocalCommit) -> Result<LogRow, Refusal> {
        match self.logs.find(commit.log.log)? {
            None => Ok(self.logs.start_of(&commit.log)),
            Some(row) if row.header.space == commit.log.space => Ok(row.clone()),
            Some(row) => Err(failed(format!(
                "log {} is of space {}, not {}",
                commit.log.log, row.header.space, commit.log.space
            ))),
        }
    }
}

impl Planned<'_> {
    fn edit(&self, own: LogId) -> Edit {
        // More heads than an edit may name need more concurrent writers of one record than any
        // fleet has. Those left out count as not seen, which loses nothing.
        let heads = self.doc.heads().into_iter();
        let is_answer = |op: &Op| matches!(op, Op::Resolve { .. });
        let deps_max = match () {
            () if is_planted(Mutation::CausesCut) => 1,
            () if self.ops.iter().any(is_answer) && is_planted(Mutation::ResolutionReopened) => 0,
            () => DEPS_MAX,
        };
        let deps = heads.filter(|dot| dot.log != own).take(deps_max).collect();
        Edit {
            collection: self.key.collection.clone(),
            id: self.key.id.clone(),
            deps,
            ops: self.ops.clone(),
        }
    }

    /// Applies the edit and judges the merged record.
    fn apply(&mut self, dot: Dot, set: &ChangeSet, edit: &Edit) -> Result<(), Refusal> {
        self.doc
            .apply(dot, set.hlc, set.schema_version, edit)
            .map_err(|error| failed(error.to_string()))?;
        let after = self.doc.view(self.collection, &self.key.id);
        let before = std::mem::replace(&mut self.view, after);
        if self.ops.iter().any(|op| matches!(op, Op::Delete { .. })) {
            return Ok(());
        }
        let mut errors = check_change(self.collection, &before.fields, &self.view.fields);
        // A record that a merge has made invalid stays editable: only what this edit touches is
        // judged.
        errors.retain(|error| self.is_new || self.touches(&error.pointer));
        errors.retain(|error| error.code != "missing_required" || self.is_open(&error.pointer));
        if errors.is_empty() {
            return Ok(());
        }
        let RecordKey { collection, id, .. } = self.key.clone();
        Err(Rejection::Invalid {
            collection,
            id,
            errors,
        }
        .into())
    }

    /// Whether people may write the field that the pointer leads to.
    fn is_open(&self, pointer: &str) -> bool {
        let name = pointer.strip_prefix('/').unwrap_or(pointer);
        let field = self.collection.fields.get(name);
        field.is_none_or(|field| self.calendar.is_open(field))
    }

    fn touches(&self, pointer: &str) -> bool {
        let fields = self
            .ops
            .iter()
            .filter_map(|op| self.collection.field_by_key(op.key()?));
        fields
            .into_iter()
            .any(|field| pointer.strip_prefix('/') == Some(&field.name))
    }

    fn outcome(&self) -> RecordOutcome {
        RecordOutcome {
            collection: self.key.collection.clone(),
            id: self.key.id.clone(),
            etag: etag(&self.view.heads),
            created: self.is_new,
            warnings: self.calendar.warnings(self.collection, &self.ops),
        }
    }
}

/// Whether the record is as the edit expects it.
fn check_expectation(edit: &LocalEdit, view: &RecordView, is_new: bool) -> Result<(), Refusal> {
    let (collection, id) = (edit.collection.clone(), edit.id.clone());
    let deletes = edit.ops.iter().any(|op| matches!(op, Op::Delete { .. }));
    let restores = edit.ops.iter().any(|op| matches!(op, Op::Restore { .. }));
    if is_new {
        let needs_record =
            edit.mode == WriteMode::Update || edit.if_match.is_some() || deletes || restores;
        return match needs_record {
            true => Err(Rejection::NotFound { collection, id }.into()),
            false => Ok(()),
        };
    }
    if edit.mode == WriteMode::Create && view.life != Life::Deleted {
        return Err(Rejection::Exists { collection, id }.into());
    }
    let etag = etag(&view.heads);
    if edit
        .if_match
        .as_ref()
        .is_some_and(|expected| *expected != etag)
    {
        return Err(Rejection::Changed {
            collection,
            id,
            etag,
        }
        .into());
    }
    if view.life == Life::Deleted && !restores {
        return Err(Rejection::Deleted { collection, id }.into());
    }
    if view.life == Life::Live && restores {
        return Err(invalid(edit, errors_or(Vec::new(), "it is not deleted")));
    }
    Ok(())
}

/// A record that is deleted only because one that it goes with is cannot be restored by itself: nothing
/// that is written into it would bring it back.
fn check_own_life(edit: &LocalEdit, own: Life, view: &RecordView) -> Result<(), Refusal> {
    if view.life != Life::Deleted || own == Life::Deleted {
        return Ok(());
    }
    let gone = view
        .refs
        .iter()
        .filter(|reference| reference.target == Target::Deleted);
    let with = gone.map(|reference| format!("{}/{}", reference.collection, reference.id));
    Err(Rejection::DeletedWith {
        collection: edit.collection.clone(),
        id: edit.id.clone(),
        with: with.collect(),
    }
    .into())
}

/// The outcome of a write that changes nothing: the change set that the first record owes its state
/// to.
fn unchanged(plan: &[Planned<'_>]) -> Result<CommitOutcome, Refusal> {
    let first = plan
        .first()
        .ok_or_else(|| failed("a write without edits".to_owned()))?;
    let changes = first.doc.changes().into_iter();
    let newest = changes
        .filter(|(dot, _)| first.view.heads.contains(dot))
        .max_by_key(|&(dot, hlc)| (hlc, dot))
        .ok_or_else(|| failed(format!("record {} has no head", first.key)))?;
    Ok(CommitOutcome {
        dot: newest.0,
        hlc: newest.1,
        records: plan
            .iter()
            .map(|planned| RecordOutcome {
                created: false,
                ..planned.outcome()
            })
            .collect(),
        replayed: false,
    })
}

fn errors_or(errors: Vec<FieldError>, message: &str) -> Vec<FieldError> {
    if !errors.is_empty() {
        return errors;
    }
    let (code, message) = ("bad_intent".to_owned(), message.to_owned());
    vec![FieldError {
        pointer: String::new(),
        code,
        message,
    }]
}

fn invalid(edit: &LocalEdit, errors: Vec<FieldError>) -> Refusal {
    let (collection, id) = (edit.collection.clone(), edit.id.clone());
    Rejection::Invalid {
        collection,
        id,
        errors,
    }
    .into()
}

fn failed(why: String) -> Refusal {
    Rejection::Store(StoreFault::Failed(why)).into()
}
