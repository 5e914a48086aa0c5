//! The doors through which hostile requests are thrown at the readers of the API; for the fuzz targets alone.
//!
//! Each takes what a client sends to one kind of request, reads it as the handler does, and says whether it
//! was taken. What was asked is not carried out.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use crdt_schema::resolution::RecordView;
use crdt_schema::schema::{Collection, Schema};
use serde_json::{Map, Value};

use super::batch;
use super::edits;
use super::filters::Filters;
use super::records::read_cursor;
use super::request::{Expect, Params, space_name};
use super::types::BatchRequest;
use crate::engine::fleet::Fleet;

/// Reads the target of a list and filters a record with it.
pub fn list(collection: &Collection, target: &str, view: &RecordView) -> Option<bool> {
    let uri: Uri = target.parse().ok()?;
    let mut params = Params::read(&uri).ok()?;
    let filters = Filters::read(collection, &params.all("filter")).ok()?;
    params.flag("deleted").ok()?;
    params.limit(1, 1000).ok()?;
    if let Some(cursor) = params.one("cursor").ok()? {
        read_cursor(&cursor).ok()?;
    }
    if let Some(space) = params.one("space").ok()? {
        space_name(&space).ok()?;
    }
    Some(filters.keep(view, &Fleet::default()))
}

/// Reads the preconditions of a request.
pub fn preconditions(if_match: &[u8], if_none_match: &[u8]) -> bool {
    let mut headers = HeaderMap::new();
    let given: [(HeaderName, &[u8]); 2] = [
        (header::IF_MATCH, if_match),
        (header::IF_NONE_MATCH, if_none_match),
    ];
    for (name, value) in given {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    Expect::read(&headers).is_ok()
}

/// Reads the body of a write of one record; how many ops it asks for.
pub fn patch(collection: &Collection, body: &[u8]) -> Option<usize> {
    let fields: Map<String, Value> = serde_json::from_slice(body).ok()?;
    Some(edits::ops(collection, &fields, "").ok()?.len())
}

/// Reads the body of a batch; how many edits it asks for.
pub fn batch(schema: &Schema, body: &[u8]) -> Option<usize> {
    let request: BatchRequest = serde_json::from_slice(body).ok()?;
    let made = |index: usize| format!("made-{index}");
    Some(batch::read(schema, request.edits, made).ok()?.len())
}
