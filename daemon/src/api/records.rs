//! Reads of records: one, a page, or all of a collection as a stream.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use crdt_schema::ident::{RecordKey, SpaceName, check_record_id};
use futures::stream;
use serde_json::Value;

use super::error::{ApiError, Code};
use super::filters::Filters;
use super::request::Incoming;
use super::types::{NDJSON_TYPE, Record, RecordPage};
use super::{Api, collection, render};
use crate::engine::fleet::Fleet;
use crate::node::handle::Handle;
use crate::store::ListQuery;

/// Records in a page when the client does not say, and at most.
const PAGE_RECORDS: usize = 100;
const PAGE_RECORDS_MAX: usize = 1000;

/// A page that has reached this size is ended early. Clients go on with its cursor as with any other.
pub(super) const PAGE_BYTES_MAX: usize = 8 << 20;

/// How many records are read from the store at a time.
const CHUNK_RECORDS: usize = 100;

#[derive(Clone, Copy)]
enum Format {
    Page,
    Lines,
}

/// `GET /v1/collections/{collection}/records/{id}`
pub(super) async fn show(
    State(api): State<Api>,
    Path((collection, id)): Path<(String, String)>,
    mut incoming: Incoming,
) -> Result<Response, ApiError> {
    let why = incoming.params.flag("why")?;
    incoming.finish()?;
    let key = key(&api, incoming.space(), collection, id)?;
    let record = api.read(move |handle| find(handle, &key, why)).await?;
    if !why && incoming.expect.has.contains(&record.etag) {
        return Ok((StatusCode::NOT_MODIFIED, etag_header(&record)).into_response());
    }
    Ok((etag_header(&record), Json(record)).into_response())
}

/// The key of a record that may exist.
pub(super) fn key(
    api: &Api,
    space: SpaceName,
    name: String,
    id: String,
) -> Result<RecordKey, ApiError> {
    collection(&api.handle.schema(), &name)?;
    check_record_id(&id).map_err(|error| ApiError::new(Code::BadRequest, error.to_string()))?;
    Ok(RecordKey {
        space,
        collection: name,
        id,
    })
}

/// Reads a record.
pub(super) fn find(handle: &Handle, key: &RecordKey, why: bool) -> Result<Record, ApiError> {
    let stored = handle.reader().get(key).map_err(ApiError::of_store)?;
    let stored =
        stored.ok_or_else(|| ApiError::new(Code::NotFound, format!("{key} does not exist")))?;
    let mut record = render::record(stored, &handle.fleet());
    if why {
        let schema = handle.schema();
        let collection = collection(&schema, &key.collection)?;
        render::explain(handle.reader(), collection, key, &mut record)?;
    }
    Ok(record)
}

/// The record's entity tag as a header.
pub(super) fn etag_header(record: &Record) -> [(header::HeaderName, String); 1] {
    [(header::ETAG, format!("\"{}\"", record.etag))]
}

/// `GET /v1/collections/{collection}/records`
pub(super) async fn list(
    State(api): State<Api>,
    Path(name): Path<String>,
    mut incoming: Incoming,
) -> Result<Response, ApiError> {
    let params = &mut incoming.params;
    let format = params.word(
        "format",
        &[("json", Format::Page), ("ndjson", Format::Lines)],
    )?;
    let filters = Filters::read(collection(&incoming.schema, &name)?, &params.all("filter"))?;
    let deleted = params.flag("deleted")?;
    let after = params
        .one("cursor")?
        .map(|cursor| read_cursor(&cursor))
        .transpose()?;
    let limit = match format {
        Format::Page => params.limit(PAGE_RECORDS, PAGE_RECORDS_MAX)?,
        Format::Lines => CHUNK_RECORDS,
    };
    incoming.finish()?;
    let query = ListQuery {
        space: incoming.space(),
        collection: name,
        after,
        limit,
        deleted,
    };
    let filters = Arc::new(filters);
    match format {
        Format::Page => {
            let (items, next) = api
                .read(move |handle| page(handle, query, &filters))
                .await?;
            let next = next.map(hex::encode);
            Ok(Json(RecordPage { items, next }).into_response())
        }
        Format::Lines => Ok(lines(api, query, filters)),
    }
}

/// The id in a cursor, which clients should not look into.
pub(super) fn read_cursor(text: &str) -> Result<String, ApiError> {
    let id = hex::decode(text)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    id.filter(|id| check_record_id(id).is_ok()).ok_or_else(|| {
        let detail = "the cursor is not one that a list has given";
        ApiError::new(Code::BadRequest, detail)
    })
}

/// Up to `query.limit` records, and the id to go on after.
fn page(
    handle: &Handle,
    mut query: ListQuery,
    filters: &Filters,
) -> Result<(Vec<Record>, Option<String>), ApiError> {
    let fleet: Arc<Fleet> = handle.fleet();
    let limit = query.limit;
    let mut items: Vec<Record> = Vec::new();
    let mut bytes = 0;
    loop {
        query.limit = (limit - items.len()).min(CHUNK_RECORDS);
        let page = handle
            .reader()
            .list(&query, &|view| filters.keep(view, &fleet));
        let page = page.map_err(ApiError::of_store)?;
        for stored in page.records {
            bytes += stored
                .view
                .fields
                .iter()
                .map(|(name, value)| name.len() + weight(value))
                .sum::<usize>();
            items.push(render::record(stored, &fleet));
        }
        if page.next.is_none() || items.len() >= limit || bytes >= PAGE_BYTES_MAX {
            return Ok((items, page.next));
        }
        query.after = page.next;
    }
}

/// About how many bytes the value takes as JSON.
pub(super) fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => 2 + text.len(),
        Value::Array(items) => 2 + items.iter().map(weight).sum::<usize>(),
        Value::Object(map) => {
            2 + map
                .iter()
                .map(|(name, value)| 4 + name.len() + weight(value))
                .sum::<usize>()
        }
    }
}

/// All records, one JSON object a line. Nothing is read ahead of the client, and nothing is held between two
/// chunks; a record written meanwhile may or may not be in it.
fn lines(api: Api, query: ListQuery, filters: Arc<Filters>) -> Response {
    let chunks = stream::unfold(Some(query), move |query| {
        let (api, filters) = (api.clone(), Arc::clone(&filters));
        async move {
            let mut query = query?;
            let asked = query.clone();
            let read = api.read(move |handle| {
                let (records, next) = page(handle, asked, &filters)?;
                Ok((lines_of(&records), next))
            });
            match read.await {
                Ok((bytes, next)) => {
                    let rest = next.map(|next| {
                        query.after = Some(next);
                        query
                    });
                    Some((Ok(bytes), rest))
                }
                // The body ends without its end mark, so the client sees that it is not whole.
                Err(error) => Some((Err(error), None)),
            }
        }
    });
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON_TYPE))];
    (content_type, Body::from_stream(chunks)).into_response()
}

fn lines_of(records: &[Record]) -> Bytes {
    let mut bytes = Vec::new();
    for record in records {
        // A record holds texts, numbers and maps keyed by text, which always serialise.
        bytes.extend(serde_json::to_vec(record).unwrap_or_default());
        bytes.push(b'\n');
    }
    Bytes::from(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let id = "KE-178040é";

        assert_eq!(read_cursor(&hex::encode(id)).unwrap(), id);
        for bad in [
            "",
            "xyz",
            "ff",
            &hex::encode("a b"),
            &hex::encode("x".repeat(200)),
        ] {
            assert!(read_cursor(bad).is_err(), "{bad:?} was read");
        }
    }

    #[test]
    fn the_weight_of_a_value_is_near_its_size() {
        let value = json!({"name": "x".repeat(1000), "tags": ["a", "b"], "deep": {"text": "y".repeat(500)}});

        let size = serde_json::to_vec(&value).unwrap().len();

        assert!(
            weight(&value).abs_diff(size) < 50,
            "{} is not near {size}",
            weight(&value)
        );
    }
}
