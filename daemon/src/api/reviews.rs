//! The conflict inbox: what waits for a person, and their answers.
//!
//! An answer is an ordinary edit that expects the record as the reviewer's daemon has it, so of two answers on
//! one device the second is told that the review is gone, or that the record has changed. The answer to a sum
//! out of its bounds is the right sum; it is written as the addition that leads there.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use crdt_schema::ident::{RecordKey, SpaceName};
use crdt_schema::intent::{check_sum, value_from_json};
use crdt_schema::op::Op;
use crdt_schema::resolution::{self, ReviewSubject};
use crdt_schema::schema::{Collection, Field, Priority, Schema};
use crdt_schema::value::Value;
use serde_json::{Map, Value as JsonValue};

use super::edits::{text, write, written};
use super::error::{ApiError, Code, Shape};
use super::records::find;
use super::request::{Incoming, shortened};
use super::types::{ResolveRequest, Review, ReviewKind, ReviewPage};
use super::{Answer, Api, collection, render};
use crate::engine::batch::{CommitOutcome, LocalEdit, WriteMode};
use crate::node::handle::{Handle, Write};
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

fn subject_field<'s>(known: &'s Collection, review: &resolution::Review) -> Option<&'s Field> {
    known.field_by_key(review.subject.key()?)
}

/// `GET /v1/reviews/{id}`
pub(super) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
    incoming: Incoming,
) -> Answer<Review> {
    incoming.finish()?;
    let review = api.read(move |handle| {
        let Some((key, review)) = open_review(handle.reader(), &id)? else {
            let detail = format!("there is no open review {:?}", shortened(&id));
            return Err(ApiError::new(Code::ReviewNotFound, detail));
        };
        let record = find(handle, &key, false)?;
        let shown = shown(handle, key, review)?;
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
    let open = reader.reviews().map_err(ApiError::of_store)?;
    Ok(open.into_iter().find(|(_, review)| review.id.0 == id))
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
    let (about, problem) = match review.subject {
        ReviewSubject::Deletion => (ReviewKind::Deletion, None),
        ReviewSubject::Field { .. } => (ReviewKind::Field, None),
        ReviewSubject::Bounds { .. } => {
            let problem = field.and_then(|field| check_sum(field, &value).err());
            (ReviewKind::Bounds, problem)
        }
        ReviewSubject::Invalid { .. } => {
            let problem = field.and_then(|field| value_from_json(field, &value).err());
            (ReviewKind::Invalid, problem)
        }
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
        about,
        field,
        priority,
        problem: problem.map(|error| error.message),
        candidates: candidates.collect::<Result<_, _>>()?,
        provisional,
        shown: value,
        record: None,
    })
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
        Some((key, edit)) => {
            let outcome = write(&api, &incoming, key.space.clone(), vec![edit], false).await?;
            (key, outcome)
        }
        None => match earlier_answer(&api, &incoming).await? {
            Some(answered) => answered,
            None => {
                let detail = format!("the review {:?} is not open", shortened(&id));
                return Err(ApiError::new(Code::ReviewGone, detail));
            }
        },
    };
    written(&api, key, &outcome).await
}

/// The edit that gives the answer; `None` if the review is not open.
fn plan(
    handle: &Handle,
    id: &str,
    request: ResolveRequest,
    expected: Option<String>,
) -> Result<Option<(RecordKey, LocalEdit)>, ApiError> {
    let Some((key, review)) = open_review(handle.reader(), id)? else {
        return Ok(None);
    };
    let Some(stored) = handle.reader().get(&key).map_err(ApiError::of_store)? else {
        return Ok(None);
    };
    // The two reads are not one. What is expected below is the record as it still had this review.
    if stored.view.reviews.iter().all(|open| open.id != review.id) {
        return Ok(None);
    }
    let schema = handle.schema();
    let op = answer(
        collection(&schema, &key.collection)?,
        &review,
        &stored.view.fields,
        request,
    )?;
    let edit = LocalEdit {
        collection: key.collection.clone(),
        id: key.id.clone(),
        mode: WriteMode::Update,
        if_match: Some(expected.unwrap_or(stored.etag)),
        ops: vec![op],
    };
    Ok(Some((key, edit)))
}

/// What the person decided, as an op. `fields` are those of the record that has the review.
fn answer(
    known: &Collection,
    review: &resolution::Review,
    fields: &Map<String, JsonValue>,
    request: ResolveRequest,
) -> Result<Op, ApiError> {
    let ResolveRequest {
        candidate,
        value,
        keep,
        note,
    } = request;
    let note = text("note", note).map_err(|detail| invalid("/note", detail))?;
    let field = subject_field(known, review);
    match (&review.subject, candidate, value, keep) {
        (ReviewSubject::Deletion, None, None, Some(true)) => Ok(Op::Restore { reason: note }),
        (ReviewSubject::Deletion, None, None, Some(false)) => Ok(Op::Delete { reason: note }),
        (ReviewSubject::Deletion, ..) => Err(invalid(
            "/keep",
            "a deletion is answered with `keep`: true or false",
        )),
        (ReviewSubject::Bounds { key }, None, Some(sum), None) => {
            let delta = addition(field, fields, &sum)?;
            if !note.is_empty() {
                let detail = "an addition to a counter keeps no note; write it into a field";
                return Err(invalid("/note", detail));
            }
            let key = key.clone();
            Ok(Op::Add { key, delta })
        }
        (ReviewSubject::Bounds { .. }, ..) => Err(invalid(
            "/value",
            "a sum out of its bounds is answered with `value`: the right sum",
        )),
        (ReviewSubject::Field { key } | ReviewSubject::Invalid { key }, candidate, value, None) => {
            let value = match (candidate, value) {
                (Some(index), None) => chosen(field, review, index)?,
                (None, Some(json)) => other_value(field, &json)?,
                _ => return Err(invalid("", "answer with either `candidate` or `value`")),
            };
            let key = key.clone();
            Ok(Op::Resolve { key, value, note })
        }
        (ReviewSubject::Field { .. } | ReviewSubject::Invalid { .. }, ..) => {
            Err(invalid("", "answer with either `candidate` or `value`"))
        }
    }
}

fn invalid(pointer: &str, detail: impl Into<String>) -> ApiError {
    ApiError::new(Code::Invalid, detail.into()).at(pointer)
}

/// The value of a candidate, which must be one that a person could have entered.
fn chosen(
    field: Option<&Field>,
    review: &resolution::Review,
    index: usize,
) -> Result<Value, ApiError> {
    let Some(chosen) = review.candidates.get(index) else {
        let last = review.candidates.len().saturating_sub(1);
        return Err(invalid(
            "/candidate",
            format!("there are candidates 0 to {last}"),
        ));
    };
    if let Some(Err(error)) = field.map(|field| value_from_json(field, &chosen.value.to_json())) {
        let detail = format!("candidate {index} breaks the schema: {}", error.message);
        return Err(invalid("/candidate", detail));
    }
    Ok(chosen.value.clone())
}

/// What must be added for the counter's sum to be `sum`.
fn addition(
    field: Option<&Field>,
    fields: &Map<String, JsonValue>,
    sum: &JsonValue,
) -> Result<i64, ApiError> {
    let field = field.ok_or_else(|| invalid("/value", "this schema does not know the field"))?;
    check_sum(field, sum).map_err(|error| invalid("/value", error.message))?;
    let now = fields.get(&field.name).and_then(JsonValue::as_i64);
    let delta = sum.as_i64().unwrap_or(0).checked_sub(now.unwrap_or(0));
    delta.ok_or_else(|| invalid("/value", "the sum is too far away to be reached at once"))
}

/// A value that is none of the candidates.
fn other_value(field: Option<&Field>, json: &JsonValue) -> Result<Value, ApiError> {
    let field = field.ok_or_else(|| {
        let detail = "this schema does not know the field, so a candidate must be chosen";
        ApiError::new(Code::Invalid, detail).at("/value")
    })?;
    value_from_json(field, json)
        .map_err(|error| ApiError::new(Code::Invalid, error.message).at("/value"))
}

/// The outcome of this same request, if it has succeeded before: then it is why the review is not open.
///
/// The store looks at the idempotency key before anything else, so it is asked with an edit that it can only
/// refuse: no record has an empty entity tag.
async fn earlier_answer(
    api: &Api,
    incoming: &Incoming,
) -> Result<Option<(RecordKey, CommitOutcome)>, ApiError> {
    let idempotency = incoming.idempotency();
    let any = incoming.schema.collections.keys().next();
    let (Some(_), Some(any)) = (&idempotency, any) else {
        return Ok(None);
    };
    let edit = LocalEdit {
        collection: any.clone(),
        id: "-".to_owned(),
        mode: WriteMode::Update,
        if_match: Some(String::new()),
        ops: Vec::new(),
    };
    let (space, person) = (incoming.space(), incoming.person.clone());
    let write = Write {
        space,
        person,
        schema_version: incoming.schema.version,
        edits: vec![edit],
        idempotency,
    };
    let outcome = match api.handle.write(write).await {
        Ok(outcome) => outcome,
        Err(error) => {
            let error = ApiError::of_command(error, Shape::Fields);
            let refused = matches!(error.code, Code::NotFound | Code::Changed | Code::Deleted);
            return if refused { Ok(None) } else { Err(error) };
        }
    };
    let (dot, Some(record)) = (outcome.dot, outcome.records.first()) else {
        return Ok(None);
    };
    let header =
        api.read(move |handle| handle.reader().header(dot.log).map_err(ApiError::of_store));
    let space = header
        .await?
        .map_or_else(SpaceName::default, |header| header.space);
    let key = RecordKey {
        space,
        collection: record.collection.clone(),
        id: record.id.clone(),
    };
    Ok(Some((key, outcome)))
}

#[cfg(test)]
mod tests {
    use crdt_schema::hlc::Timestamp;
    use crdt_schema::ident::{Dot, LogId};
    use crdt_schema::resolution::{Candidate, ReviewId};
    use crdt_schema::schema::Schema;
    use serde_json::json;

    use super::*;

    fn review(subject: ReviewSubject) -> resolution::Review {
        let candidate = |seq, text: &str| Candidate {
            value: Value::Text(text.into()),
            dot: Dot::new(LogId([1; 16]), seq),
            hlc: Timestamp::from_ms(seq),
            version: 1,
            answer: None,
        };
        resolution::Review {
            id: ReviewId("r".into()),
            subject,
            candidates: vec![
                candidate(2, "malaria"),
                candidate(1, "typhoid"),
                candidate(3, "far too long a text"),
            ],
            provisional: Dot::new(LogId([1; 16]), 2),
        }
    }

    fn answered(subject: ReviewSubject, request: JsonValue) -> Result<Op, String> {
        let schema = "schema = \"t\"\nversion = 1\n[collections.visit.fields]\n\
                      diagnosis = { type = \"text\", merge = \"review\", max = 10, required = true }\n\
                      stock = { type = \"counter\", min = 0 }";
        let schema = Schema::parse(schema).unwrap();
        let request = serde_json::from_value(request).unwrap();
        let fields = Map::from_iter([("stock".to_owned(), json!(-3))]);
        let known = &schema.collections["visit"];
        answer(known, &review(subject), &fields, request)
            .map_err(|error| error.errors[0].pointer.clone())
    }

    #[test]
    fn a_field_is_answered_with_a_candidate_or_another_value() {
        let field = || ReviewSubject::Field {
            key: "diagnosis".into(),
        };
        let resolve = |text: &str, note: &str| Op::Resolve {
            key: "diagnosis".into(),
            value: Value::Text(text.into()),
            note: note.into(),
        };

        assert_eq!(
            answered(field(), json!({"candidate": 1, "note": "test"})),
            Ok(resolve("typhoid", "test"))
        );
        assert_eq!(
            answered(field(), json!({"value": "flu"})),
            Ok(resolve("flu", ""))
        );
        for (bad, pointer) in [
            (json!({"candidate": 2}), "/candidate"),
            (json!({"candidate": 3}), "/candidate"),
            (json!({"value": "far too long a text"}), "/value"),
            (json!({"value": null}), "/value"),
            (json!({"candidate": 0, "value": "flu"}), ""),
            (json!({"keep": true}), ""),
            (json!({}), ""),
        ] {
            assert_eq!(
                answered(field(), bad.clone()),
                Err(pointer.to_owned()),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_deletion_is_answered_with_keep() {
        let note = || String::from("moved away");

        assert_eq!(
            answered(
                ReviewSubject::Deletion,
                json!({"keep": true, "note": "moved away"})
            ),
            Ok(Op::Restore { reason: note() })
        );
        assert_eq!(
            answered(
                ReviewSubject::Deletion,
                json!({"keep": false, "note": "moved away"})
            ),
            Ok(Op::Delete { reason: note() })
        );
        assert_eq!(
            answered(ReviewSubject::Deletion, json!({"candidate": 0})),
            Err("/keep".into())
        );
    }

    #[test]
    fn a_value_that_breaks_the_schema_is_answered_like_a_contested_one() {
        let invalid = || ReviewSubject::Invalid {
            key: "diagnosis".into(),
        };
        let resolve = |text: &str| Op::Resolve {
            key: "diagnosis".into(),
            value: Value::Text(text.into()),
            note: String::new(),
        };

        assert_eq!(
            answered(invalid(), json!({"value": "flu"})),
            Ok(resolve("flu"))
        );
        assert_eq!(
            answered(invalid(), json!({"candidate": 0})),
            Ok(resolve("malaria"))
        );
        assert_eq!(
            answered(invalid(), json!({"candidate": 2})),
            Err("/candidate".into())
        );
    }

    #[test]
    fn a_sum_out_of_bounds_is_answered_with_the_right_sum() {
        let bounds = || ReviewSubject::Bounds {
            key: "stock".into(),
        };
        let add = |delta| Op::Add {
            key: "stock".into(),
            delta,
        };

        assert_eq!(answered(bounds(), json!({"value": 2})), Ok(add(5)));
        assert_eq!(answered(bounds(), json!({"value": 0})), Ok(add(3)));
        for (bad, pointer) in [
            (json!({"value": -1}), "/value"),
            (json!({"value": "2"}), "/value"),
            (json!({"value": null}), "/value"),
            (json!({"candidate": 0}), "/value"),
            (json!({"keep": true}), "/value"),
            (json!({"value": 2, "note": "counted"}), "/note"),
        ] {
            assert_eq!(
                answered(bounds(), bad.clone()),
                Err(pointer.to_owned()),
                "{bad}"
            );
        }
    }
}
