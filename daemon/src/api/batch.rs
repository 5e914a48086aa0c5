//! Batches: edits of several records that are written together or not at all, as one change set.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use crdt_schema::ident::check_record_id;
use crdt_schema::op::Op;
use crdt_schema::schema::Schema;
use serde_json::{Map, Value};

use super::edits::{ops, text, write};
use super::error::{ApiError, Code};
use super::request::{Expect, Incoming, space_name};
use super::types::{BatchEdit, BatchOp, BatchRecord, BatchRequest, BatchResponse, ProblemItem};
use super::{Answer, Api, collection, earlier};
use crate::engine::batch::{LocalEdit, WriteMode};
use crate::wire::limits::EDITS_MAX;

/// How many things wrong with one batch are reported.
const ERRORS_MAX: usize = 100;

/// `POST /v1/batch`
pub(super) async fn batch(State(api): State<Api>, incoming: Incoming) -> Answer<BatchResponse> {
    incoming.finish()?;
    if incoming.expect != Expect::default() {
        let detail = "a batch has no entity tag; give each edit its own `if_match`";
        return Err(ApiError::new(Code::BadRequest, detail));
    }
    let request: BatchRequest = incoming.json()?;
    let space = match (
        request.space.as_deref().map(space_name).transpose()?,
        &incoming.space,
    ) {
        (Some(body), Some(query)) if body != *query => {
            let detail = format!("the body names the space {body}, the query {query}");
            return Err(ApiError::new(Code::BadRequest, detail));
        }
        (Some(space), _) => space,
        (None, _) => incoming.space(),
    };
    let edits = read(&incoming.schema, request.edits, |index| {
        incoming.new_id(&api, index)
    });
    let outcome = match edits {
        Ok(edits) => {
            let names = edits
                .iter()
                .map(|edit| (edit.collection.clone(), edit.id.clone()));
            let names: Vec<_> = names.collect();
            let outcome = write(&api, &incoming, space, edits, None).await;
            outcome.map_err(|error| ApiError::of_batch(error, &names))?
        }
        Err(error) => earlier::outcome_or(&api, &incoming, error).await?,
    };
    let records = outcome.records.into_iter().map(|record| BatchRecord {
        collection: record.collection,
        id: record.id,
        etag: record.etag,
        created: record.created,
        warnings: record.warnings,
    });
    Ok(Json(BatchResponse {
        dot: outcome.dot.to_string(),
        time: outcome.hlc.to_string(),
        replayed: outcome.replayed,
        records: records.collect(),
    }))
}

/// Reads all edits, or says everything that is wrong with them.
pub(super) fn read(
    schema: &Schema,
    edits: Vec<BatchEdit>,
    new_id: impl Fn(usize) -> String,
) -> Result<Vec<LocalEdit>, ApiError> {
    if edits.is_empty() {
        return Err(ApiError::new(Code::Invalid, "the batch has no edits").at("/edits"));
    }
    if edits.len() > EDITS_MAX {
        let detail = format!(
            "the batch has {} edits; at most {EDITS_MAX} may be",
            edits.len()
        );
        return Err(ApiError::new(Code::TooLarge, detail).at("/edits"));
    }
    let mut read = Vec::with_capacity(edits.len());
    let mut errors: Vec<ApiError> = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, edit) in edits.into_iter().enumerate() {
        match read_edit(schema, index, edit, &new_id) {
            Ok(edit) if !seen.insert((edit.collection.clone(), edit.id.clone())) => {
                let detail = format!(
                    "{}/{} is edited twice in one batch",
                    edit.collection, edit.id
                );
                errors.push(
                    ApiError::new(Code::DuplicateRecord, detail).at(format!("/edits/{index}")),
                );
            }
            Ok(edit) => read.push(edit),
            Err(error) => errors.push(error),
        }
        if errors.len() >= ERRORS_MAX {
            break;
        }
    }
    match joined(errors) {
        None => Ok(read),
        Some(error) => Err(error),
    }
}

/// One error of all: the first names the kind of problem, each gives its places.
fn joined(errors: Vec<ApiError>) -> Option<ApiError> {
    let count = errors.len();
    let mut errors = errors.into_iter();
    let mut joined = errors.next()?;
    if count > 1 {
        joined.detail = format!(
            "{count} edits of the batch are not right; the first: {}",
            joined.detail
        );
    }
    let more: Vec<ProblemItem> = errors.flat_map(|error| error.errors).collect();
    joined.errors.extend(more);
    joined.errors.truncate(ERRORS_MAX);
    Some(joined)
}

fn read_edit(
    schema: &Schema,
    index: usize,
    edit: BatchEdit,
    new_id: impl Fn(usize) -> String,
) -> Result<LocalEdit, ApiError> {
    let place = format!("/edits/{index}");
    let known = collection(schema, &edit.collection)
        .map_err(|error| error.at(format!("{place}/collection")))?;
    let invalid = |member: &str, detail: &str| {
        ApiError::new(Code::Invalid, detail).at(format!("{place}/{member}"))
    };
    let id = match (edit.id, edit.op) {
        (Some(id), _) => id,
        (None, BatchOp::Create) => new_id(index),
        (None, _) => return Err(invalid("id", "the edit needs the id of its record")),
    };
    check_record_id(&id).map_err(|error| invalid("id", &error.to_string()))?;
    let fields = |given: Option<Map<String, Value>>| {
        if edit.reason.is_some() {
            return Err(invalid("reason", "only a delete or a restore has a reason"));
        }
        let given = given.ok_or_else(|| invalid("fields", "the edit needs fields"))?;
        ops(known, &given, &format!("{place}/fields"))
    };
    let life = |make: fn(String) -> Op| {
        if edit.fields.is_some() {
            return Err(invalid("fields", "a delete or a restore has no fields"));
        }
        let reason = text("reason", edit.reason.clone().unwrap_or_default());
        Ok(vec![make(
            reason.map_err(|detail| invalid("reason", &detail))?,
        )])
    };
    let (mode, ops) = match edit.op {
        BatchOp::Create => (WriteMode::Create, fields(edit.fields.clone())?),
        BatchOp::Put => (WriteMode::Replace, fields(edit.fields.clone())?),
        BatchOp::Patch => (WriteMode::Update, fields(edit.fields.clone())?),
        BatchOp::Upsert => (WriteMode::Upsert, fields(edit.fields.clone())?),
        BatchOp::Delete => (WriteMode::Update, life(|reason| Op::Delete { reason })?),
        BatchOp::Restore => (WriteMode::Update, life(|reason| Op::Restore { reason })?),
    };
    Ok(LocalEdit {
        collection: edit.collection,
        id,
        mode,
        if_match: edit.if_match,
        ops,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SCHEMA: &str = r#"
        schema = "test"
        version = 1
        [collections.visit.fields]
        temp_c = { type = "number", max = 45 }
        calls = { type = "counter" }
    "#;

    fn read_json(edits: Value) -> Result<Vec<LocalEdit>, ApiError> {
        let schema = Schema::parse(SCHEMA).unwrap();
        read(&schema, serde_json::from_value(edits).unwrap(), |index| {
            format!("new-{index}")
        })
    }

    fn pointers(edits: Value) -> Vec<String> {
        let error = read_json(edits).unwrap_err();
        error.errors.into_iter().map(|item| item.pointer).collect()
    }

    #[test]
    fn every_op_has_its_mode() {
        let edits = read_json(json!([
            {"op": "create", "collection": "visit", "fields": {"temp_c": 38}},
            {"op": "put", "collection": "visit", "id": "b", "fields": {}},
            {"op": "patch", "collection": "visit", "id": "c", "fields": {"calls": {"$add": 1}}},
            {"op": "upsert", "collection": "visit", "id": "d", "fields": {}, "if_match": "e"},
            {"op": "delete", "collection": "visit", "id": "f", "reason": "twice"},
            {"op": "restore", "collection": "visit", "id": "g"},
        ]))
        .unwrap();

        let modes: Vec<WriteMode> = edits.iter().map(|edit| edit.mode).collect();
        use WriteMode::{Create, Replace, Update, Upsert};
        assert_eq!(modes, [Create, Replace, Update, Upsert, Update, Update]);
        assert_eq!(edits[0].id, "new-0");
        assert_eq!(edits[3].if_match.as_deref(), Some("e"));
        assert_eq!(
            edits[4].ops,
            [Op::Delete {
                reason: "twice".into()
            }]
        );
    }

    #[test]
    fn all_mistakes_are_reported_with_their_places() {
        let found = pointers(json!([
            {"op": "patch", "collection": "visit", "id": "a", "fields": {"temp_c": 50, "temp": 1}},
            {"op": "patch", "collection": "visits", "id": "b", "fields": {}},
            {"op": "patch", "collection": "visit", "fields": {}},
            {"op": "patch", "collection": "visit", "id": "c"},
            {"op": "delete", "collection": "visit", "id": "d", "fields": {}},
            {"op": "put", "collection": "visit", "id": "e", "fields": {}, "reason": "x"},
            {"op": "put", "collection": "visit", "id": "e e", "fields": {}},
        ]));

        assert_eq!(
            found,
            [
                "/edits/0/fields/temp_c",
                "/edits/0/fields/temp",
                "/edits/1/collection",
                "/edits/2/id",
                "/edits/3/fields",
                "/edits/4/fields",
                "/edits/5/reason",
                "/edits/6/id",
            ]
        );
    }

    #[test]
    fn a_record_may_stand_in_a_batch_once() {
        let edit = json!({"op": "patch", "collection": "visit", "id": "a", "fields": {}});

        let error = read_json(json!([edit, edit])).unwrap_err();

        assert_eq!(error.code, Code::DuplicateRecord);
        assert_eq!(error.errors[0].pointer, "/edits/1");
    }

    #[test]
    fn a_batch_has_at_least_one_edit_and_not_too_many() {
        let edit = json!({"op": "create", "collection": "visit", "fields": {}});

        assert_eq!(read_json(json!([])).unwrap_err().code, Code::Invalid);
        assert!(read_json(Value::Array(vec![edit.clone(); EDITS_MAX])).is_ok());
        let error = read_json(Value::Array(vec![edit; EDITS_MAX + 1])).unwrap_err();
        assert_eq!(error.code, Code::TooLarge);
    }
}
