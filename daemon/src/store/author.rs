//! Local writes: turns one [`LocalCommit`] into one change set, or into a rejection.
//!
//! A plan is made on copies of the documents. Only when everything about it is good is it appended
//! to the log and put in place, so a rejection leaves nothing behind and the other batches of the
//! transaction go on.
//!
//! What a write may do is judged here and nowhere else, on the state that it will be appended to.

use crdt_schema::document::Document;
use crdt_schema::ident::{Dot, RecordKey};
use crdt_schema::op::{ChangeSet, Edit};
use crdt_schema::schema::{PUBLISHED, Schema, published_collection};

use crate::engine::batch::implied::implied;
use crate::engine::batch::planned::{Planned, carry_out, time_of, unchanged};
use crate::engine::batch::rights;
use crate::engine::batch::{CommitOutcome, LocalCommit, LocalEdit, Rejection, StoreFault};
use crate::mutation::{Mutation, is_planted};

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
    /// Entries that turned out not to read back.
    pub(super) damaged: &'a mut Vec<Dot>,
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
        rights::check(self.schema, commit, &plan)?;
        restrict::check(self.records, &plan)?;
        let outcome = if plan.iter().any(Planned::is_changed) {
            self.append(commit, plan)?
        } else {
            unchanged(&plan)?
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
        let key = commit.record(edit);
        let doc = match self.records.document(&key) {
            Ok(doc) => doc.clone(),
            Err(Trouble::Damaged(why)) => return Err(Refusal::Damaged(key, why)),
            Err(trouble) => return Err(trouble.into()),
        };
        Planned::of(commit, place, collection, doc, |key, own| {
            Ok(self.records.judge(key, own)?)
        })
    }

    fn append(
        &mut self,
        commit: &LocalCommit,
        mut plan: Vec<Planned<'txn>>,
    ) -> Result<CommitOutcome, Refusal> {
        plan.sort_by_key(Planned::order);
        if plan.len() > 1 && is_planted(Mutation::EditDropped) {
            plan.pop();
        }
        let end = self.end_of(commit)?;
        let dot = Dot::new(commit.log.log, end.seq + 1);
        let hlc = time_of(commit, end.hlc, &plan);

        let changed = plan.iter().filter(|planned| planned.is_changed());
        let (mut edits, docs): (Vec<Edit>, Vec<&Document>) = changed
            .map(|planned| (planned.edit(commit.log.log), &planned.doc))
            .unzip();
        self.damaged.extend(self.logs.leave_out_unread(&mut edits)?);
        let tags = self.logs.tags_of(&edits)?;
        let place_of = |earlier, edit: &Edit| self.logs.place_of(earlier, edit);
        let implied = implied(dot, &edits, &docs, place_of)?;
        let set = ChangeSet {
            hlc,
            schema_version: self.schema.version,
            person: commit.person.clone(),
            edits,
            tags,
            implied,
        };
        let entry = carry_out(&mut plan, dot, &set)?;

        self.logs.adopt(&commit.log.space, commit.log.log)?;
        self.logs.append_own(&end.header, &entry, &set)?;
        plan.sort_by_key(|planned| planned.place);
        let records = plan.iter().map(Planned::outcome).collect();
        for planned in plan {
            if planned.is_changed() {
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

fn failed(why: String) -> Refusal {
    Rejection::Store(StoreFault::Failed(why)).into()
}
