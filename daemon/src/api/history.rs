//! The history of a record: every original edit, newest first, and what became of it.
//!
//! What an edit said is read from the log, so it is told in full even where the merge shows none of it.
//! The order and the fates come from the document and are the same on every device that holds the edits.

use axum::Json;
use axum::extract::{Path, State};
use crdt_schema::history::{Concurrent, History};
use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{Dot, RecordKey};
use crdt_schema::op::Op;
use crdt_schema::resolution;
use crdt_schema::schema::Collection;
use serde_json::Value;

use super::changes::kind;
use super::error::{ApiError, Code};
use super::records::{PAGE_BYTES_MAX, key, weight};
use super::request::Incoming;
use super::types::{Fate, HistoryEntry, HistoryOp, HistoryPage};
use super::{Answer, Api, collection, render};
use crate::node::handle::Handle;

/// Edits in a page when the client does not say, and at most.
const PAGE_EDITS: usize = 50;
const PAGE_EDITS_MAX: usize = 200;

/// How many concurrent edits of each kind an entry names.
const CONCURRENT_MAX: usize = 20;

/// `GET /v1/collections/{collection}/records/{id}/history`
pub(super) async fn history(
    State(api): State<Api>,
    Path((collection, id)): Path<(String, String)>,
    mut incoming: Incoming,
) -> Answer<HistoryPage> {
    let limit = incoming.params.limit(PAGE_EDITS, PAGE_EDITS_MAX)?;
    let after = incoming.params.one("cursor")?;
    incoming.finish()?;
    let key = key(&api, incoming.space(), collection, id)?;
    let page = api.read(move |handle| page(handle, &key, after.as_deref(), limit));
    page.await.map(Json)
}

/// Up to `limit` edits that come after the one with the dot `after`.
fn page(
    handle: &Handle,
    key: &RecordKey,
    after: Option<&str>,
    limit: usize,
) -> Result<HistoryPage, ApiError> {
    let schema = handle.schema();
    let known = collection(&schema, &key.collection)?;
    let document = handle.reader().document(key).map_err(ApiError::of_store)?;
    let document =
        document.ok_or_else(|| ApiError::new(Code::NotFound, format!("{key} does not exist")))?;
    let history = History::new(&document, known, &key.id);
    let edits = history.edits();
    let start = match after {
        None => 0,
        Some(after) => {
            let at = edits.iter().position(|(dot, _)| dot.to_string() == after);
            let detail = "the cursor is not one that this record's history has given";
            1 + at.ok_or_else(|| ApiError::new(Code::BadRequest, detail))?
        }
    };
    let mut items = Vec::new();
    let mut bytes = 0;
    let mut left = edits.iter().skip(start);
    for &(dot, hlc) in left.by_ref().take(limit) {
        let entry = entry(handle, known, key, &history, (dot, hlc))?;
        bytes += entry.ops.iter().map(|op| weight(&op.value)).sum::<usize>();
        items.push(entry);
        if bytes >= PAGE_BYTES_MAX {
            break;
        }
    }
    let last = items
        .last()
        .map(|entry: &HistoryEntry| entry.origin.dot.clone());
    let next = left.next().and(last);
    Ok(HistoryPage { items, next })
}

fn entry(
    handle: &Handle,
    known: &Collection,
    key: &RecordKey,
    history: &History<'_>,
    (dot, hlc): (Dot, Timestamp),
) -> Result<HistoryEntry, ApiError> {
    let found = handle.reader().entry(dot).map_err(ApiError::of_store)?;
    let (origin, ops) = match found {
        // The document names only edits that the log holds, so this means damage.
        None => (render::unknown_origin(dot, hlc), Vec::new()),
        Some((header, set)) => {
            let origin = render::origin(&header, &set.person, hlc, dot);
            let mut edits = set.edits.into_iter();
            let edit = edits.find(|edit| edit.collection == key.collection && edit.id == key.id);
            (origin, edit.map(|edit| edit.ops).unwrap_or_default())
        }
    };
    let told = |op: Op| told(known, op, |op| history.fate(dot, op));
    let Concurrent {
        parallel,
        conflicts,
    } = history.concurrent(dot);
    Ok(HistoryEntry {
        origin,
        ops: ops.into_iter().map(told).collect(),
        concurrent: parallel.len() + conflicts.len(),
        parallel: named(&parallel),
        conflicts: named(&conflicts),
    })
}

fn named(dots: &[Dot]) -> Vec<String> {
    let dots = dots.iter().take(CONCURRENT_MAX);
    dots.map(Dot::to_string).collect()
}

/// An intent in the words of the API.
fn told(known: &Collection, op: Op, fate: impl Fn(&Op) -> resolution::Fate) -> HistoryOp {
    let (fate, by, review) = match fate(&op) {
        resolution::Fate::Stands => (Fate::Stands, None, None),
        resolution::Fate::Waits { review } => (Fate::Waits, None, Some(review.0)),
        resolution::Fate::Lost { to } => (Fate::Lost, Some(to.to_string()), None),
        resolution::Fate::Superseded { by } => (Fate::Superseded, Some(by.to_string()), None),
    };
    let field = op.key().map(|key| {
        let field = known.field_by_key(key);
        field.map_or_else(|| key.to_owned(), |field| field.name.clone())
    });
    let kind = kind(&op).to_owned();
    let (value, note) = match op {
        Op::Set { value, .. } => (value.to_json(), String::new()),
        Op::Resolve { value, note, .. } => (value.to_json(), note),
        Op::Add { delta, .. } => (delta.into(), String::new()),
        Op::Insert { element, .. } | Op::Remove { element, .. } => {
            (element.to_json(), String::new())
        }
        Op::Delete { reason } | Op::Restore { reason } => (Value::Null, reason),
        Op::Accept { review, note } => (review.into(), note),
    };
    HistoryOp {
        kind,
        field,
        value,
        note: Some(note).filter(|note| !note.is_empty()),
        fate,
        by,
        review,
    }
}

#[cfg(test)]
mod tests {
    use crdt_schema::ident::LogId;
    use crdt_schema::schema::Schema;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_intent_is_told_in_the_names_of_the_schema() {
        let schema = "schema = \"t\"\nversion = 1\n[collections.c.fields]\n\
                      tel = { type = \"text\", key = \"phone\" }";
        let schema = Schema::parse(schema).unwrap();
        let told = |op: Op, fate: resolution::Fate| {
            let told = told(&schema.collections["c"], op, |_| fate.clone());
            serde_json::to_value(told).unwrap()
        };
        let dot = Dot::new(LogId([1; 16]), 7);
        let set = |key: &str| Op::Set {
            key: key.into(),
            value: crdt_schema::value::Value::Text("1".into()),
        };

        assert_eq!(
            told(set("phone"), resolution::Fate::Lost { to: dot }),
            json!({"kind": "set", "field": "tel", "value": "1", "fate": "lost", "by": dot.to_string()})
        );
        assert_eq!(
            told(set("later"), resolution::Fate::Stands)["field"],
            "later"
        );
        let delete = Op::Delete {
            reason: "twice".into(),
        };
        assert_eq!(
            told(delete, resolution::Fate::Superseded { by: dot })["note"],
            "twice"
        );
    }
}
