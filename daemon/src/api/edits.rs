//! Writes of single records. Each is one change set, answered once it is durable, with the record as it is then.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use crdt_schema::ident::{RecordKey, SpaceName, check_record_id};
use crdt_schema::intent::ops_from_patch;
use crdt_schema::op::Op;
use crdt_schema::schema::Collection;
use serde_json::{Map, Value};

use super::error::{ApiError, Code};
use super::records::{etag_header, find, key};
use super::request::Incoming;
use super::types::REPLAYED_HEADER;
use super::{Api, collection, earlier};
use crate::engine::batch::rights::Answering;
use crate::engine::batch::{CommitOutcome, LocalEdit, WriteMode};
use crate::node::handle::{CommandError, Write};
use crate::wire::limits::{OPS_MAX, TEXT_BYTES_MAX};

/// `POST /v1/collections/{collection}/records`
pub(super) async fn create(
    State(api): State<Api>,
    Path(name): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    incoming.finish()?;
    if incoming.expect.etag.is_some() || incoming.expect.exists {
        let detail = "If-Match cannot hold for a record that is created";
        return Err(ApiError::new(Code::BadRequest, detail));
    }
    let read = read_new(&api, &incoming, name);
    write_one(&api, &incoming, WriteMode::Create, read).await
}

/// The record that a request names, and what it writes of it.
type Planned = (RecordKey, Vec<Op>);

fn read_new(api: &Api, incoming: &Incoming, name: String) -> Result<Planned, ApiError> {
    let known = collection(&incoming.schema, &name)?;
    let mut fields: Map<String, Value> = incoming.json()?;
    let id = match fields.shift_remove("id") {
        None => incoming.new_id(api, 0),
        Some(Value::String(id)) => id,
        Some(_) => return Err(bad_id("the id must be a text")),
    };
    check_record_id(&id).map_err(|error| bad_id(&error.to_string()))?;
    let ops = ops(known, &fields, "")?;
    Ok((key(api, incoming.space(), name, id)?, ops))
}

fn bad_id(detail: &str) -> ApiError {
    ApiError::new(Code::Invalid, detail).at("/id")
}

/// `PUT /v1/collections/{collection}/records/{id}`
pub(super) async fn put(
    State(api): State<Api>,
    Path(record): Path<(String, String)>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    incoming.finish()?;
    if incoming.expect.exists {
        let detail =
            "PUT takes If-Match with an entity tag only; use PATCH to change what must exist";
        return Err(ApiError::new(Code::BadRequest, detail));
    }
    let mode = if incoming.expect.absent {
        WriteMode::Create
    } else {
        WriteMode::Replace
    };
    let read = read_fields(&api, &incoming, record);
    write_one(&api, &incoming, mode, read).await
}

/// Reads a body that is one record's fields.
fn read_fields(
    api: &Api,
    incoming: &Incoming,
    (name, id): (String, String),
) -> Result<Planned, ApiError> {
    let ops = ops(collection(&incoming.schema, &name)?, &incoming.json()?, "")?;
    Ok((key(api, incoming.space(), name, id)?, ops))
}

/// `PATCH /v1/collections/{collection}/records/{id}`
pub(super) async fn patch(
    State(api): State<Api>,
    Path(record): Path<(String, String)>,
    mut incoming: Incoming,
) -> Result<Response, ApiError> {
    let upsert = incoming.params.flag("upsert")?;
    incoming.finish()?;
    let mode = match &incoming.expect {
        expect if expect.absent => WriteMode::Create,
        expect if upsert && !expect.exists => WriteMode::Upsert,
        _ => WriteMode::Update,
    };
    let read = read_fields(&api, &incoming, record);
    write_one(&api, &incoming, mode, read).await
}

/// `DELETE /v1/collections/{collection}/records/{id}`
pub(super) async fn delete(
    State(api): State<Api>,
    Path(record): Path<(String, String)>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    change_life(&api, record, incoming, |reason| Op::Delete { reason }).await
}

/// `POST /v1/collections/{collection}/records/{id}/restore`
pub(super) async fn restore(
    State(api): State<Api>,
    Path(record): Path<(String, String)>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    change_life(&api, record, incoming, |reason| Op::Restore { reason }).await
}

async fn change_life(
    api: &Api,
    (name, id): (String, String),
    mut incoming: Incoming,
    op: fn(String) -> Op,
) -> Result<Response, ApiError> {
    let ops = vec![op(reason(&mut incoming)?)];
    let read = key(api, incoming.space(), name, id).map(|key| (key, ops));
    write_one(api, &incoming, WriteMode::Update, read).await
}

/// The only parameter of a delete and a restore.
fn reason(incoming: &mut Incoming) -> Result<String, ApiError> {
    let reason = incoming.params.one("reason")?.unwrap_or_default();
    incoming.finish()?;
    text("reason", reason).map_err(|detail| ApiError::new(Code::BadRequest, detail))
}

/// Checks the length of a reason or note.
pub(super) fn text(name: &str, text: String) -> Result<String, String> {
    match text.len() {
        0..=TEXT_BYTES_MAX => Ok(text),
        _ => Err(format!("the {name} is longer than {TEXT_BYTES_MAX} bytes")),
    }
}

/// Reads the fields of a write. `place` is the pointer to the object that holds them.
pub(super) fn ops(
    collection: &Collection,
    fields: &Map<String, Value>,
    place: &str,
) -> Result<Vec<Op>, ApiError> {
    let ops = ops_from_patch(collection, fields).map_err(|errors| {
        let detail = match errors.as_slice() {
            [only] => only.message.clone(),
            many => format!("{} fields are not as the schema has them", many.len()),
        };
        ApiError::invalid(detail, place, errors)
    })?;
    if ops.len() > OPS_MAX {
        let detail = format!(
            "the record is given {} values at once; at most {OPS_MAX} may be",
            ops.len()
        );
        return Err(ApiError::new(Code::TooLarge, detail).at(place));
    }
    Ok(ops)
}

/// Writes the record that was read. One that cannot be read may have been, under another schema, when this
/// same request was made before.
async fn write_one(
    api: &Api,
    incoming: &Incoming,
    mode: WriteMode,
    read: Result<Planned, ApiError>,
) -> Result<Response, ApiError> {
    let (key, ops) = match read {
        Ok(planned) => planned,
        Err(error) => {
            let (key, outcome) = earlier::write_or(api, incoming, error).await?;
            return written(api, key, &outcome).await;
        }
    };
    let edit = LocalEdit {
        collection: key.collection.clone(),
        id: key.id.clone(),
        mode,
        if_match: incoming.expect.etag.clone(),
        ops,
    };
    let outcome = write(api, incoming, key.space.clone(), vec![edit], None).await;
    let outcome = outcome.map_err(|error| match ApiError::of_command(error) {
        error if error.code == Code::AlreadyExists && incoming.expect.absent => ApiError {
            code: Code::PreconditionFailed,
            ..error
        },
        error => error,
    })?;
    written(api, key, &outcome).await
}

/// Writes durably. `answering` says to which review the write is the answer, if it is one.
pub(super) async fn write(
    api: &Api,
    incoming: &Incoming,
    space: SpaceName,
    edits: Vec<LocalEdit>,
    answering: Option<Box<Answering>>,
) -> Result<CommitOutcome, CommandError> {
    let write = Write {
        space,
        person: incoming.person.clone(),
        schema_version: incoming.schema.version,
        edits,
        idempotency: incoming.idempotency(),
        answering,
    };
    api.handle.write(write).await
}

/// The answer to a write of one record.
pub(super) async fn written(
    api: &Api,
    key: RecordKey,
    outcome: &CommitOutcome,
) -> Result<Response, ApiError> {
    let created = outcome.records.iter().any(|record| record.created);
    let location = location(&key);
    let mut record = api.read(move |handle| find(handle, &key, false)).await?;
    let warnings = outcome.records.iter().flat_map(|record| &record.warnings);
    record.warnings = warnings.cloned().collect();
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let mut response = (status, etag_header(&record), Json(record)).into_response();
    if created {
        // Percent-encoded text is a valid header.
        response.headers_mut().extend(
            HeaderValue::try_from(location)
                .ok()
                .map(|l| (header::LOCATION, l)),
        );
    }
    if outcome.replayed {
        let (name, yes) = (
            HeaderName::from_static(REPLAYED_HEADER),
            HeaderValue::from_static("true"),
        );
        response.headers_mut().insert(name, yes);
    }
    Ok(response)
}

/// The path of a record, with its space if it is not the default.
fn location(key: &RecordKey) -> String {
    let mut path = format!(
        "/v1/collections/{}/records/{}",
        key.collection,
        escaped(&key.id)
    );
    if key.space != SpaceName::default() {
        path.push_str(&format!("?space={}", escaped(key.space.as_str())));
    }
    path
}

fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_path_whatever_the_id() {
        let key = |space, id: &str| RecordKey {
            space: SpaceName::new(space).unwrap(),
            collection: "visit".into(),
            id: id.into(),
        };

        assert_eq!(
            location(&key("main", "a?b#é")),
            "/v1/collections/visit/records/a%3Fb%23%C3%A9"
        );
        assert_eq!(
            location(&key("clinic/kisumu", "v-1")),
            "/v1/collections/visit/records/v-1?space=clinic%2Fkisumu"
        );
    }

    #[test]
    fn reasons_have_a_longest_length() {
        assert!(text("reason", "x".repeat(TEXT_BYTES_MAX)).is_ok());
        assert!(text("reason", "x".repeat(TEXT_BYTES_MAX + 1)).is_err());
    }
}
