//! Local writes: judged by the real rules on the real document, and appended to the log in memory.
//!
//! What the simulated schema does not have (references between records, other spaces) is left out.

use std::convert::Infallible;

use crdt_schema::document::Document;
use crdt_schema::ident::Dot;
use crdt_schema::op::{ChangeSet, Edit};
use crdt_schema::reference;
use crdt_schema::resolution::RecordView;
use crdt_schema::schema::Collection;
use fieldmesh::engine::batch::implied::implied;
use fieldmesh::engine::batch::planned::{Planned, carry_out, time_of, unchanged};
use fieldmesh::engine::batch::rights;
use fieldmesh::engine::batch::{CommitOutcome, LocalCommit, Rejection, StoreFault};

use super::pool::Pool;
use super::store::{MemoryStore, last_hlc};

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
        let name = (edit.collection.clone(), edit.id.clone());
        let doc = pool.document(&name, |log| store.seq(log));
        let doc = doc.map_err(|error| failed(error.to_string()))?;
        plan.push(Planned::of(commit, place, collection, doc, |key, own| {
            Ok::<_, Rejection>(judged(own, collection, &key.id))
        })?);
    }
    rights::check(&schema, commit, &plan)?;
    let outcome = match plan.iter().any(Planned::is_changed) {
        true => append(store, pool, commit, plan)?,
        false => unchanged(&plan)?,
    };
    if let Some(request) = &commit.idempotency {
        let answered = (request.fingerprint, outcome.clone());
        store.answered.insert(request.key.clone(), answered);
    }
    Ok(outcome)
}

/// The record as people see it.
pub(super) fn shown(doc: &Document, collection: &Collection, id: &str) -> RecordView {
    judged(doc.view(collection, id), collection, id)
}

fn judged(own: RecordView, collection: &Collection, id: &str) -> RecordView {
    let Ok(view) = reference::judge(own, collection, id, &[], || Ok::<_, Infallible>(false));
    view
}

fn append(
    store: &mut MemoryStore,
    pool: &mut Pool,
    commit: &LocalCommit,
    mut plan: Vec<Planned<'_>>,
) -> Result<CommitOutcome, Rejection> {
    plan.sort_by_key(Planned::order);
    let own = commit.log.log;
    let held = pool.number(&own).map_or(0, |number| store.seq(number));
    let last = pool.number(&own).map(|number| last_hlc(pool, number, held));
    let last = last.unwrap_or_default();
    let dot = Dot::new(own, held + 1);
    let hlc = time_of(commit, last, &plan);
    let changed = plan.iter().filter(|planned| planned.is_changed());
    let (edits, docs): (Vec<Edit>, Vec<&Document>) = changed
        .map(|planned| (planned.edit(own), &planned.doc))
        .unzip();
    let deps = edits.iter().flat_map(|edit| &edit.deps);
    let tags = deps
        .filter_map(|dep| Some((*dep, pool.tag(dep)?)))
        .collect();
    let place_of = |earlier, edit: &Edit| Ok::<_, Rejection>(pool.place_of(earlier, edit));
    let implied = implied(dot, &edits, &docs, place_of)?;
    let set = ChangeSet {
        hlc,
        schema_version: store.schema.version,
        person: commit.person.clone(),
        edits,
        tags,
        implied,
    };
    let entry = carry_out(&mut plan, dot, &set)?;
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

fn failed(why: String) -> Rejection {
    Rejection::Store(StoreFault::Failed(why))
}
