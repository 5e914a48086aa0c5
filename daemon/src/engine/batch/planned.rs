//! One record's part of a local write, judged on a copy of its document: what every store that writes does
//! alike.
//!
//! A plan is a function of the write and of what the record is; a rejection leaves nothing behind.
//!
//! It does not know where documents and logs are kept.

use std::cmp::Reverse;

use crdt_schema::document::Document;
use crdt_schema::hlc::{DRIFT_MAX_MS, Timestamp};
use crdt_schema::ident::{Dot, LogId, RecordKey};
use crdt_schema::intent::{check_change, check_record};
use crdt_schema::op::{ChangeSet, Edit, Op};
use crdt_schema::resolution::{Life, RecordView, Target};
use crdt_schema::schema::{Collection, FieldError};

use super::calendar::Calendar;
use super::{
    CommitOutcome, LocalCommit, LocalEdit, RecordOutcome, Rejection, StoreFault, WriteMode,
};
use crate::mutation::{Mutation, is_planted};
use crate::wire::changeset::{check_change_set, encode_change_set};
use crate::wire::limits::{DEPS_MAX, ENTRY_BYTES_MAX};

/// One record's part of a local write, on a copy of its document.
#[derive(Clone, Debug)]
pub struct Planned<'s> {
    /// The record.
    pub key: RecordKey,
    /// Its collection.
    pub collection: &'s Collection,
    /// Its document; after [`Self::apply`] with the edit.
    pub doc: Document,
    /// The record as the document shows it.
    pub view: RecordView,
    /// What is written; empty if there is nothing to change.
    pub ops: Vec<Op>,
    /// Its place among the edits of the request.
    pub place: usize,
    is_new: bool,
    calendar: Calendar,
}

impl<'s> Planned<'s> {
    /// Plans the edit at `place`. `doc` is a copy of the record's document, and `judge` makes of the record
    /// by itself what people see of it.
    ///
    /// # Errors
    /// A rejection, if the edit may not be made of the record as it is, or what `judge` fails with.
    pub fn of<E: From<Rejection>>(
        commit: &LocalCommit,
        place: usize,
        collection: &'s Collection,
        doc: Document,
        judge: impl FnOnce(&RecordKey, RecordView) -> Result<RecordView, E>,
    ) -> Result<Self, E> {
        let missing = || failed("a plan of an edit that the write does not have".to_owned());
        let edit = commit.edits.get(place).ok_or_else(missing)?;
        let key = commit.record(edit);
        let own = doc.view(collection, &edit.id);
        let own_life = own.life;
        let view = judge(&key, own)?;
        let is_new = doc.is_empty();
        check_own_life(edit, own_life, &view)?;
        check_expectation(edit, &view, is_new)?;
        let calendar = Calendar::of(commit);
        let refusals = calendar.refusals(collection, &edit.ops);
        if !refusals.is_empty() {
            return Err(invalid(edit, refusals).into());
        }
        let mut ops = edit.complete(collection, &view, is_new);
        // What people did not ask for leaves out what they may not ask for.
        ops.retain(|op| {
            let field = op.key().and_then(|key| collection.field_by_key(key));
            edit.ops.contains(op) || field.is_none_or(|field| calendar.is_open(field))
        });
        if is_planted(Mutation::AdditionInflated) {
            for op in &mut ops {
                if let Op::Add { delta, .. } = op {
                    *delta *= 2;
                }
            }
        }
        if is_new && ops.is_empty() {
            let errors = check_record(collection, &view.fields);
            let errors = errors_or(errors, "a new record needs at least one field");
            return Err(invalid(edit, errors).into());
        }
        Ok(Self {
            key,
            collection,
            doc,
            view,
            ops,
            place,
            is_new,
            calendar,
        })
    }

    /// The order of the edits in a change set: records before those that refer to them, and deletions last,
    /// in the opposite order.
    pub fn order(&self) -> (bool, Reverse<usize>, usize) {
        let rank = self.collection.rank;
        match self.is_delete() {
            true => (true, Reverse(rank), 0),
            false => (false, Reverse(0), rank),
        }
    }

    /// Whether it deletes the record.
    pub fn is_delete(&self) -> bool {
        is_delete(&self.ops)
    }

    /// Whether anything is written of the record.
    pub fn is_changed(&self) -> bool {
        !self.ops.is_empty()
    }

    /// The edit as the log `own` writes it: its causes are the heads of the record that are of other logs.
    pub fn edit(&self, own: LogId) -> Edit {
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
    ///
    /// # Errors
    /// A rejection, if the record would break the schema.
    fn apply(&mut self, dot: Dot, set: &ChangeSet, edit: &Edit) -> Result<(), Rejection> {
        self.doc
            .apply(dot, set.hlc, set.schema_version, edit)
            .map_err(|error| failed(error.to_string()))?;
        let after = self.doc.view(self.collection, &self.key.id);
        let before = std::mem::replace(&mut self.view, after);
        if self.is_delete() {
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
        })
    }

    /// Whether people may write the field that the pointer leads to.
    fn is_open(&self, pointer: &str) -> bool {
        let name = pointer.strip_prefix('/').unwrap_or(pointer);
        let field = self.collection.fields.get(name);
        field.is_none_or(|field| self.calendar.is_open(field))
    }

    fn touches(&self, pointer: &str) -> bool {
        let mut fields = self
            .ops
            .iter()
            .filter_map(|op| self.collection.field_by_key(op.key()?));
        fields.any(|field| pointer.strip_prefix('/') == Some(&field.name))
    }

    /// What the write is answered with for this record.
    pub fn outcome(&self) -> RecordOutcome {
        RecordOutcome {
            collection: self.key.collection.clone(),
            id: self.key.id.clone(),
            etag: etag(&self.view.heads),
            created: self.is_new,
            warnings: self.calendar.warnings(self.collection, &self.ops),
        }
    }
}

/// When a change set is written whose log ends at `last`: later than that, than the clock that stamped it has seen, and
/// than all that its edits follow. A clock that was started anew does not know of the last, and one that ran ahead of
/// this one by more than [`DRIFT_MAX_MS`] is not followed.
pub fn time_of(commit: &LocalCommit, last: Timestamp, plan: &[Planned<'_>]) -> Timestamp {
    let trusted_ms = commit.unix_ms.saturating_add(DRIFT_MAX_MS);
    let changed = plan.iter().filter(|planned| planned.is_changed());
    let causes = changed.flat_map(|planned| planned.doc.head_times());
    let trusted = causes.filter(|time| time.ms() <= trusted_ms);
    let after = trusted.chain([last]).max().unwrap_or(last);
    commit.hlc.max(Timestamp(after.0.saturating_add(1)))
}

/// Makes the entry of a change set at `dot` whose edits are those of the plan, in its order, and applies them to the
/// records of the plan.
///
/// # Errors
/// A rejection, if the change set is too large, or a record would break the schema.
pub fn carry_out(
    plan: &mut [Planned<'_>],
    dot: Dot,
    set: &ChangeSet,
) -> Result<Vec<u8>, Rejection> {
    check_change_set(set).map_err(|error| failed(error.to_string()))?;
    let entry = encode_change_set(set);
    if entry.len() > ENTRY_BYTES_MAX {
        let (bytes, bytes_max) = (entry.len(), ENTRY_BYTES_MAX);
        return Err(Rejection::TooLarge { bytes, bytes_max });
    }
    let changed = plan.iter_mut().filter(|planned| planned.is_changed());
    for (planned, edit) in changed.zip(&set.edits) {
        planned.apply(dot, set, edit)?;
    }
    Ok(entry)
}

/// The outcome of a write that changes nothing: the change set that the first record owes its state
/// to.
///
/// # Errors
/// A rejection, if there is no record, or it has no history.
pub fn unchanged(plan: &[Planned<'_>]) -> Result<CommitOutcome, Rejection> {
    let first = plan
        .first()
        .ok_or_else(|| failed("a write without edits".to_owned()))?;
    let changes = first.doc.changes().into_iter();
    let newest = changes
        .filter(|(dot, _)| first.view.heads.contains(dot))
        .max_by_key(|&(dot, hlc)| (hlc, dot))
        .ok_or_else(|| failed(format!("record {} has no head", first.key)))?;
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

/// A record's entity tag: a digest of its document's heads.
pub fn etag(heads: &[Dot]) -> String {
    let mut hasher = blake3::Hasher::new();
    for head in heads {
        hasher.update(&head.log.0);
        hasher.update(&head.seq.to_le_bytes());
    }
    hex::encode(&hasher.finalize().as_bytes()[..8])
}

/// Whether the record is as the edit expects it.
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
    if edit
        .if_match
        .as_ref()
        .is_some_and(|expected| *expected != etag)
    {
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

/// A record that is deleted only because one that it goes with is cannot be restored by itself: nothing
/// that is written into it would bring it back.
fn check_own_life(edit: &LocalEdit, own: Life, view: &RecordView) -> Result<(), Rejection> {
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
    })
}

fn is_delete(ops: &[Op]) -> bool {
    ops.iter().any(|op| matches!(op, Op::Delete { .. }))
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
