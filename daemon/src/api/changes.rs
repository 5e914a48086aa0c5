//! The change feed: what was written, here or elsewhere, in the order in which it arrived on this device.
//!
//! A cursor is an arrival number. A change set comes as one change for each record, and only the last of them
//! moves the cursor on: a client that resumes is given a change set again rather than half of it, so every
//! change is delivered at least once. The feed ends only with the daemon.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use crdt_schema::ident::{Dot, RecordKey, SpaceName};
use crdt_schema::op::{Edit, Op};
use crdt_schema::schema::{Collection, PUBLISHED, Schema};
use futures::stream::poll_fn;
use tokio::sync::mpsc;

use super::error::{ApiError, Code};
use super::request::{Incoming, shortened};
use super::types::{Change, ChangePage};
use super::{Api, collection, listen, render};
use crate::engine::batch::Arrival;
use crate::node::handle::Handle;
use crate::store::FeedItem;

/// How many change sets are read at a time: with entries of the largest size, some megabytes.
const CHUNK_SETS: usize = 16;

/// Changes in a page when the client does not say, and at most, but for the rest of the last change set.
const PAGE_CHANGES: usize = 100;
const PAGE_CHANGES_MAX: usize = 1000;

/// How many change sets are searched for one page.
const PAGE_SETS_MAX: usize = 10_000;

/// How many events wait for a slow client before the feed waits for it.
const EVENTS_WAITING_MAX: usize = 64;

/// How often a feed without changes says that it is alive, and how far it is.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Where browsers say how far they got before the connection was lost.
const LAST_EVENT_ID: &str = "last-event-id";

#[derive(Clone, Copy)]
enum Feed {
    Events,
    Page,
}

/// What a client wants to hear of.
#[derive(Clone, Debug)]
struct Interest {
    collection: Option<String>,
    space: Option<SpaceName>,
    with_records: bool,
}

/// `GET /v1/changes`
pub(super) async fn changes(
    State(api): State<Api>,
    headers: HeaderMap,
    mut incoming: Incoming,
) -> Result<Response, ApiError> {
    let params = &mut incoming.params;
    let feed = params.word("feed", &[("sse", Feed::Events), ("normal", Feed::Page)])?;
    let since = params.one("since")?;
    let since = match headers.get(LAST_EVENT_ID) {
        None => since,
        Some(id) => Some(String::from_utf8_lossy(id.as_bytes()).into_owned()),
    };
    let interest = Interest {
        collection: params.one("collection")?,
        space: incoming.space.clone(),
        with_records: params.word("include", &[("", false), ("record", true)])?,
    };
    let limit = match feed {
        Feed::Page => params.limit(PAGE_CHANGES, PAGE_CHANGES_MAX)?,
        Feed::Events => PAGE_CHANGES,
    };
    incoming.finish()?;
    if let Some(name) = &interest.collection {
        collection(&incoming.schema, name)?;
    }
    let last = api
        .read(|handle| handle.reader().arrival().map_err(ApiError::of_store))
        .await?;
    let after = start(since.as_deref(), last)?;
    match feed {
        Feed::Page => {
            let page = api
                .read(move |handle| page(handle, &interest, after, limit))
                .await?;
            Ok(Json(page).into_response())
        }
        Feed::Events => {
            let (events, mut waiting) = mpsc::channel(EVENTS_WAITING_MAX);
            tokio::spawn(follow(api, interest, after, events));
            Ok(Sse::new(poll_fn(move |cx| waiting.poll_recv(cx))).into_response())
        }
    }
}

/// The arrival that the feed starts after.
fn start(since: Option<&str>, last: Arrival) -> Result<Arrival, ApiError> {
    let cursor = match since {
        None | Some("now") => return Ok(last),
        Some(text) => text.parse::<Arrival>().map_err(|_| {
            let detail = format!("since={:?} is not `now`, 0 or a cursor", shortened(text));
            ApiError::new(Code::BadRequest, detail)
        })?,
    };
    if cursor > last {
        let detail = format!("the cursor {cursor} is beyond the store's last arrival, {last}");
        return Err(ApiError::new(Code::CursorGone, detail));
    }
    Ok(cursor)
}

fn page(
    handle: &Handle,
    interest: &Interest,
    mut after: Arrival,
    limit: usize,
) -> Result<ChangePage, ApiError> {
    let mut items = Vec::new();
    let mut searched = 0;
    let more = loop {
        let sets = handle
            .reader()
            .feed(after, CHUNK_SETS)
            .map_err(ApiError::of_store)?;
        let at_end = sets.len() < CHUNK_SETS;
        let mut full = false;
        for set in sets {
            searched += 1;
            after = set.arrival;
            items.extend(changes_of(handle, interest, set)?);
            full = items.len() >= limit || searched >= PAGE_SETS_MAX;
            if full {
                break;
            }
        }
        if full {
            break after < handle.reader().arrival().map_err(ApiError::of_store)?;
        }
        if at_end {
            break false;
        }
    };
    Ok(ChangePage {
        items,
        cursor: after.to_string(),
        more,
    })
}

/// The changes of a change set that are of interest. All are given the cursor before it but for the last.
fn changes_of(
    handle: &Handle,
    interest: &Interest,
    item: FeedItem,
) -> Result<Vec<Change>, ApiError> {
    let FeedItem {
        arrival,
        header,
        seq,
        set,
    } = item;
    if interest
        .space
        .as_ref()
        .is_some_and(|space| *space != header.space)
    {
        return Ok(Vec::new());
    }
    let origin = render::origin(&header, &set.person, set.hlc, Dot::new(header.log, seq));
    let mut changes = Vec::new();
    for edit in set.edits {
        if interest
            .collection
            .as_ref()
            .is_some_and(|name| *name != edit.collection)
            || edit.collection == PUBLISHED
        {
            continue;
        }
        let key = RecordKey {
            space: header.space.clone(),
            collection: edit.collection.clone(),
            id: edit.id.clone(),
        };
        let stored = match interest.with_records {
            true => handle.reader().get(&key).map_err(ApiError::of_store)?,
            false => None,
        };
        changes.push(Change {
            cursor: arrival.saturating_sub(1).to_string(),
            kinds: kinds(&edit),
            fields: fields(&handle.schema(), &edit),
            collection: edit.collection,
            id: edit.id,
            space: header.space.to_string(),
            origin: origin.clone(),
            record: stored.map(|stored| render::record(stored, &handle.fleet())),
        });
    }
    if let Some(last) = changes.last_mut() {
        last.cursor = arrival.to_string();
    }
    Ok(changes)
}

/// The kinds of the edit's ops, each once.
fn kinds(edit: &Edit) -> Vec<String> {
    distinct(edit.ops.iter().map(kind))
}

/// The kind of intent.
pub(super) fn kind(op: &Op) -> &'static str {
    match op {
        Op::Set { .. } => "set",
        Op::Add { .. } => "add",
        Op::Insert { .. } => "insert",
        Op::Remove { .. } => "remove",
        Op::Delete { .. } => "delete",
        Op::Restore { .. } => "restore",
        Op::Resolve { .. } => "resolve",
        Op::Accept { .. } => "accept",
    }
}

/// The names of the fields that the edit wrote, each once; the stored key of a field that the schema lacks.
fn fields(schema: &Schema, edit: &Edit) -> Vec<String> {
    let collection = schema.collection(&edit.collection);
    let name = |key| {
        let field = collection.and_then(|collection: &Collection| collection.field_by_key(key));
        field.map_or(key, |field| field.name.as_str())
    };
    distinct(edit.ops.iter().filter_map(Op::key).map(name))
}

/// The words in the order in which they first come.
fn distinct<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    words
        .filter(|&word| seen.insert(word))
        .map(str::to_owned)
        .collect()
}

type Events = mpsc::Sender<Result<Event, Infallible>>;

/// Sends the changes after `after`, now and as they arrive, until the client or the daemon goes.
async fn follow(api: Api, interest: Interest, mut after: Arrival, events: Events) {
    let mut arrivals = api.handle.arrivals();
    // Tells the client where it is before the first change, so that it can resume from there.
    if events.send(Ok(position(after))).await.is_err() {
        return;
    }
    loop {
        // Marked as seen before reading, so that what arrives while reading wakes the wait below.
        arrivals.borrow_and_update();
        loop {
            let wanted = interest.clone();
            match api.read(move |handle| chunk(handle, &wanted, after)).await {
                Ok((_, end)) if end == after => break,
                Ok((changes, end)) => {
                    after = end;
                    for change in changes {
                        let Some(event) = event(&change) else { return };
                        if events.send(Ok(event)).await.is_err() {
                            return;
                        }
                    }
                }
                // The client connects again, and is then told of the cause.
                Err(error) => {
                    tracing::warn!(%error, "a change feed ended");
                    return;
                }
            }
        }
        tokio::select! {
            changed = arrivals.changed() => if changed.is_err() { return },
            () = events.closed() => return,
            () = listen::stop(api.stopping.clone()) => return,
            () = tokio::time::sleep(HEARTBEAT) => {
                if events.send(Ok(position(after).comment("alive"))).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The next changes, and the last arrival that was looked at.
fn chunk(
    handle: &Handle,
    interest: &Interest,
    after: Arrival,
) -> Result<(Vec<Change>, Arrival), ApiError> {
    let mut changes = Vec::new();
    let mut end = after;
    for set in handle
        .reader()
        .feed(after, CHUNK_SETS)
        .map_err(ApiError::of_store)?
    {
        end = set.arrival;
        changes.extend(changes_of(handle, interest, set)?);
    }
    Ok((changes, end))
}

/// An event without data: clients take note of its id and of nothing else.
fn position(after: Arrival) -> Event {
    Event::default().id(after.to_string())
}

fn event(change: &Change) -> Option<Event> {
    let event = Event::default()
        .event("change")
        .id(&change.cursor)
        .json_data(change);
    event
        .inspect_err(|error| tracing::error!(%error, "a change cannot be written as JSON"))
        .ok()
}

#[cfg(test)]
mod tests {
    use crdt_schema::value::Value;

    use super::*;

    #[test]
    fn a_feed_starts_where_the_client_got_to_and_never_beyond_the_end() {
        assert_eq!(start(None, 7).unwrap(), 7);
        assert_eq!(start(Some("now"), 7).unwrap(), 7);
        assert_eq!(start(Some("0"), 7).unwrap(), 0);
        assert_eq!(start(Some("7"), 7).unwrap(), 7);
        assert_eq!(start(Some("8"), 7).unwrap_err().code, Code::CursorGone);
        assert_eq!(start(Some("-1"), 7).unwrap_err().code, Code::BadRequest);
    }

    #[test]
    fn a_change_names_kinds_and_fields_once_and_by_the_schemas_names() {
        let schema = "schema = \"t\"\nversion = 1\n[collections.visit.fields]\n\
                      tel = { type = \"text\", key = \"phone\" }\ntags = { type = \"set\", of = \"text\" }";
        let insert = |text: &str| Op::Insert {
            key: "tags".into(),
            element: Value::Text(text.into()),
        };
        let edit = Edit {
            collection: "visit".into(),
            id: "v1".into(),
            deps: Vec::new(),
            ops: vec![
                Op::Set {
                    key: "phone".into(),
                    value: Value::Null,
                },
                insert("a"),
                insert("b"),
                Op::Set {
                    key: "later".into(),
                    value: Value::Null,
                },
            ],
        };

        assert_eq!(kinds(&edit), ["set", "insert"]);
        assert_eq!(
            fields(&Schema::parse(schema).unwrap(), &edit),
            ["tel", "tags", "later"]
        );
    }
}
