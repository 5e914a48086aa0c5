//! The conflict inbox: what waits for a person, and their answers.
//!
//! An answer is an ordinary edit that expects the record as the reviewer's daemon has it, so of two answers on
//! one device the second is told who has answered, or that the record has changed. What has been answered can
//! be revisited: that writes a new answer over it. Who may answer is a role of the schema, judged where the
//! answer is written; answers that come from other devices are never refused.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use crdt_schema::ident::RecordKey;
use crdt_schema::intent::{check_sum, value_from_json};
use crdt_schema::resolution::{self, ReviewSubject};
use crdt_schema::schema::{Collection, Priority, Schema};
use serde_json::{Map, Value as JsonValue};

use super::answer::{answer, subject_field};
use super::answered::{answered_review, revisited, settled};
use super::edits::{write, written};
use super::error::{ApiError, Code};
use super::records::find;
use super::request::{Incoming, shortened};
use super::types::{ResolveRequest, Review, ReviewKind, ReviewPage};
use super::{Answer, Api, collection, earlier, render};
use crate::engine::batch::rights::Answering;
use crate::engine::batch::{LocalEdit, WriteMode};
use crate::node::handle::Handle;
use crate::store::Reader;

/// Reviews in a page when the client does not say, and at most.
const PAGE_REVIEWS: usize = 100;
const PAGE_REVIEWS_MAX: usize = 1000;

/// `GET /v1/reviews`
pub(super) async fn list(State(api): State<Api>, mut incoming: Incoming) -> Answer<ReviewPage> {
    let params = &mut incoming.params;
    let limit = params.limit(PAGE_REVIEWS, PAGE_REVIEWS_MAX)?;
    let after = params.one("cursor")?;
    let name = params.one("collection")?;
    incoming.finish()?;
    if let Some(name) = &name {
        collection(&incoming.schema, name)?;
    }
    let space = incoming.space.clone();
    let wanted = move |key: &RecordKey| {
        space.as_ref().is_none_or(|space| *space == key.space)
            && name.as_ref().is_none_or(|name| *name == key.collection)
    };
    let page = api
        .read(move |handle| page(handle, wanted, after, limit))
        .await?;
    Ok(Json(page))
}

fn page(
    handle: &Handle,
    wanted: impl Fn(&RecordKey) -> bool,
    after: Option<String>,
    limit: usize,
) -> Result<ReviewPage, ApiError> {
    let mut open = handle.reader().reviews().map_err(ApiError::of_store)?;
    open.retain(|(key, _)| wanted(key));
    let schema = handle.schema();
    let place = |key: &RecordKey, review: &resolution::Review| place(&schema, key, review);
    open.sort_by_cached_key(|(key, review)| place(key, review));
    let total = open.len();
    if let Some(after) = after {
        open.retain(|(key, review)| place(key, review) > after);
    }
    let has_more = open.len() > limit;
    open.truncate(limit);
    let last = open.last().filter(|_| has_more);
    let next = last.map(|(key, review)| place(key, review));
    let items = open
        .into_iter()
        .map(|(key, review)| shown(handle, key, review));
    let items = items.collect::<Result<Vec<Review>, _>>()?;
    Ok(ReviewPage { items, next, total })
}

/// Where the review stands in lists, as a text that sorts: the urgent first, then by id.
fn place(schema: &Schema, key: &RecordKey, review: &resolution::Review) -> String {
    let known = schema.collection(&key.collection);
    let class = match known.map_or(Priority::Normal, |known| priority(known, review)) {
        Priority::Critical => 0,
        Priority::Normal => 1,
    };
    format!("{class}{}", review.id.0)
}

fn priority(known: &Collection, review: &resolution::Review) -> Priority {
    subject_field(known, review).map_or(Priority::Normal, |field| field.priority)
}

/// `GET /v1/reviews/{id}`
pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Answer<Review> {
    incoming.finish()?;
    let review = api.read(move |handle| {
        let (key, review, answers) = match open_review(handle.reader(), &id)? {
            Some((key, review)) => (key, review, Vec::new()),
            None => answered_review(handle, &id)?.ok_or_else(|| {
                let detail = format!("there is no review {:?}", shortened(&id));
                ApiError::new(Code::ReviewNotFound, detail)
            })?,
        };
        let record = find(handle, &key, false)?;
        let shown = settled(handle, shown(handle, key, review)?, answers)?;
        Ok(Review {
            record: Some(Box::new(record)),
            ..shown
        })
    });
    review.await.map(Json)
}

fn open_review(
    reader: &Reader,
    id: &str,
) -> Result<Option<(RecordKey, resolution::Review)>, ApiError> {
    reader.review(id).map_err(ApiError::of_store)
}

/// A review as clients are shown it, without the record.
fn shown(handle: &Handle, key: RecordKey, review: resolution::Review) -> Result<Review, ApiError> {
    let schema = handle.schema();
    let known = collection(&schema, &key.collection)?;
    let stored = handle.reader().get(&key).map_err(ApiError::of_store)?;
    let fields = stored.map(|stored| stored.view.fields).unwrap_or_default();
    let field = subject_field(known, &review);
    let value = field.and_then(|field| fields.get(&field.name)).cloned();
    let value = value.unwrap_or_default();
    let problem = problem(known, &review, &value);
    let role = handle.facts().role.as_deref();
    let may_resolve = handle
        .schema()
        .may_resolve(role, &key.collection, &review.subject);
    let rule = match &review.subject {
        ReviewSubject::Rule { name } => Some(name.clone()),
        _ => None,
    };
    let field = field.map(|field| field.name.clone());
    let field = field.or_else(|| review.subject.key().map(str::to_owned));
    let provisional = review
        .candidates
        .iter()
        .position(|write| write.dot == review.provisional);
    let priority = priority(known, &review).name().to_owned();
    let candidates = review.candidates.into_iter();
    let candidates = candidates.map(|write| render::candidate(handle.reader(), write));
    Ok(Review {
        id: review.id.0,
        label: label(known, &fields),
        space: key.space.into(),
        collection: key.collection,
        record_id: key.id,
        about: kind(&review.subject),
        field,
        rule,
        may_resolve,
        answers: Vec::new(),
        priority,
        problem,
        candidates: candidates.collect::<Result<_, _>>()?,
        provisional,
        shown: value,
        record: None,
    })
}

fn kind(subject: &ReviewSubject) -> ReviewKind {
    match subject {
        ReviewSubject::Deletion => ReviewKind::Deletion,
        ReviewSubject::Field { .. } => ReviewKind::Field,
        ReviewSubject::Bounds { .. } => ReviewKind::Bounds,
        ReviewSubject::Invalid { .. } => ReviewKind::Invalid,
        ReviewSubject::Rule { .. } => ReviewKind::Rule,
        ReviewSubject::Clock { .. } => ReviewKind::Clock,
        ReviewSubject::Reference { .. } | ReviewSubject::Restricted => ReviewKind::Reference,
    }
}

/// What is wrong with what is shown.
fn problem(known: &Collection, review: &resolution::Review, value: &JsonValue) -> Option<String> {
    let field = subject_field(known, review);
    match &review.subject {
        ReviewSubject::Deletion | ReviewSubject::Field { .. } => None,
        ReviewSubject::Bounds { .. } => Some(check_sum(field?, value).err()?.message),
        ReviewSubject::Invalid { .. } => Some(value_from_json(field?, value).err()?.message),
        ReviewSubject::Rule { name } => {
            let rule = known.rules.iter().find(|rule| rule.name == *name)?;
            Some(rule.reason.clone())
        }
        ReviewSubject::Clock { .. } => {
            Some("the clocks that chose this value cannot be trusted".to_owned())
        }
        ReviewSubject::Reference { .. } => {
            let (to, id) = (field?.refers_to()?, value.as_str()?);
            Some(format!("it refers to {to}/{id}, which is deleted"))
        }
        ReviewSubject::Restricted => {
            Some("it was deleted while other records refer to it".to_owned())
        }
    }
}

/// What people know the record by.
fn label(known: &Collection, fields: &Map<String, JsonValue>) -> String {
    match known.label.as_ref().and_then(|field| fields.get(field)) {
        None | Some(JsonValue::Null) => String::new(),
        Some(JsonValue::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// `POST /v1/reviews/{id}/resolve`
pub(super) async fn resolve(
    State(api): State<Api>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    incoming.finish()?;
    let request: ResolveRequest = incoming.json()?;
    let expected = incoming.expect.etag.clone();
    let name = id.clone();
    let planned = api
        .read(move |handle| plan(handle, &name, request, expected))
        .await?;
    let (key, outcome) = match planned {
        Plan::Write(key, edit, answering) => {
            let (space, answering) = (key.space.clone(), Some(answering));
            let outcome = write(&api, &incoming, space, vec![*edit], answering).await;
            (key, outcome.map_err(ApiError::of_command)?)
        }
        Plan::Refuse(error) => earlier::write_or(&api, &incoming, error).await?,
    };
    written(&api, key, &outcome).await
}

/// What comes of a request to answer a review.
enum Plan {
    /// The edit that gives the answer, and to what.
    Write(RecordKey, Box<LocalEdit>, Box<Answering>),
    /// The review is not open, or does not take the answer. That is an error unless this same request has
    /// given it before.
    Refuse(ApiError),
}

fn plan(
    handle: &Handle,
    id: &str,
    request: ResolveRequest,
    expected: Option<String>,
) -> Result<Plan, ApiError> {
    let gone = || {
        let detail = format!("the review {:?} is not open", shortened(id));
        Ok(Plan::Refuse(ApiError::new(Code::ReviewGone, detail)))
    };
    let (key, review) = match open_review(handle.reader(), id)? {
        Some(open) => open,
        None => match answered_review(handle, id)? {
            None => return gone(),
            Some(answered) => match revisited(handle, answered, request.revisit)? {
                Ok(again) => again,
                Err(error) => return Ok(Plan::Refuse(error)),
            },
        },
    };
    let Some(stored) = handle.reader().get(&key).map_err(ApiError::of_store)? else {
        return gone();
    };
    // The two reads are not one. What is expected below is the record as it still had this review.
    let is_open = stored.view.reviews.iter().any(|open| open.id == review.id);
    let mut answers = stored.view.answered.iter();
    if !is_open && answers.all(|answer| answer.review != review.id) {
        return gone();
    }
    let schema = handle.schema();
    let known = collection(&schema, &key.collection)?;
    let op = match answer(known, &review, &stored.view.fields, request) {
        Ok(op) => op,
        Err(error) => return Ok(Plan::Refuse(error)),
    };
    let edit = LocalEdit {
        collection: key.collection.clone(),
        id: key.id.clone(),
        mode: WriteMode::Update,
        if_match: Some(expected.unwrap_or(stored.etag)),
        ops: vec![op],
    };
    let answering = Answering {
        review: review.id,
        role: handle.facts().role.clone(),
    };
    Ok(Plan::Write(key, Box::new(edit), Box::new(answering)))
}
