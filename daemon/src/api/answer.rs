//! What a person decided about a review, as the op that says so.
//!
//! A value supersedes the candidates, a restore or a delete settles a deletion, and an acceptance lets
//! stand what the review is about. The answer to a sum out of its bounds is the right sum; it is written as
//! the addition that leads there.

use crdt_schema::intent::{check_sum, value_from_json};
use crdt_schema::op::Op;
use crdt_schema::resolution::{self, ReviewSubject};
use crdt_schema::schema::{Collection, Field};
use crdt_schema::value::Value;
use serde_json::{Map, Value as JsonValue};

use super::edits::text;
use super::error::{ApiError, Code};
use super::types::ResolveRequest;

/// The field that the review is about, if the schema knows it.
pub(super) fn subject_field<'s>(
    known: &'s Collection,
    review: &resolution::Review,
) -> Option<&'s Field> {
    known.field_by_key(review.subject.key()?)
}

/// What the person decided, as an op. `fields` are those of the record that has the review.
pub(super) fn answer(
    known: &Collection,
    review: &resolution::Review,
    fields: &Map<String, JsonValue>,
    request: ResolveRequest,
) -> Result<Op, ApiError> {
    let ResolveRequest {
        candidate,
        value,
        keep,
        accept,
        note,
        revisit: _,
    } = request;
    let note = text("note", note).map_err(|detail| invalid("/note", detail))?;
    let field = subject_field(known, review);
    if accept.is_some() {
        let is_alone = candidate.is_none() && value.is_none() && keep.is_none();
        return accepted(review, accept == Some(true) && is_alone, note);
    }
    match (&review.subject, candidate, value, keep) {
        (ReviewSubject::Deletion, None, None, Some(false)) => Ok(Op::Delete { reason: note }),
        (ReviewSubject::Deletion | ReviewSubject::Restricted, None, None, Some(true)) => {
            Ok(Op::Restore { reason: note })
        }
        (ReviewSubject::Bounds { key }, None, Some(sum), None) => {
            let delta = addition(field, fields, &sum)?;
            if !note.is_empty() {
                let detail = "an addition to a counter keeps no note; write it into a field";
                return Err(invalid("/note", detail));
            }
            let key = key.clone();
            Ok(Op::Add { key, delta })
        }
        (
            ReviewSubject::Field { key }
            | ReviewSubject::Invalid { key }
            | ReviewSubject::Clock { key },
            candidate,
            value,
            None,
        ) => {
            let value = match (candidate, value) {
                (Some(index), None) => chosen(field, review, index)?,
                (None, Some(json)) => other_value(field, &json)?,
                _ => return Err(takes(&review.subject)),
            };
            let key = key.clone();
            Ok(Op::Resolve { key, value, note })
        }
        (ReviewSubject::Reference { key }, None, Some(json), None) => {
            let value = other_value(field, &json)?;
            let key = key.clone();
            Ok(Op::Resolve { key, value, note })
        }
        (subject, ..) => Err(takes(subject)),
    }
}

fn accepted(review: &resolution::Review, is_clear: bool, note: String) -> Result<Op, ApiError> {
    if !is_clear {
        let detail = "`accept` is true, and stands alone";
        return Err(invalid("/accept", detail));
    }
    if !review.subject.can_be_accepted() {
        return Err(takes(&review.subject));
    }
    let review = review.id.0.clone();
    Ok(Op::Accept { review, note })
}

/// What an answer to such a review may be.
fn takes(subject: &ReviewSubject) -> ApiError {
    let (pointer, detail) = match subject {
        ReviewSubject::Deletion => ("/keep", "a deletion is answered with `keep`: true or false"),
        ReviewSubject::Restricted => (
            "/keep",
            "answer with `accept`: true to let it be deleted, or `keep`: true to restore it",
        ),
        ReviewSubject::Bounds { .. } => (
            "/value",
            "a sum out of its bounds is answered with `value`: the right sum, or `accept`: true",
        ),
        ReviewSubject::Field { .. } => ("", "answer with either `candidate` or `value`"),
        ReviewSubject::Invalid { .. } | ReviewSubject::Clock { .. } => {
            ("", "answer with one of `candidate`, `value` and `accept`")
        }
        ReviewSubject::Reference { .. } => (
            "/value",
            "answer with `value`: the id of another record or null, or with `accept`: true",
        ),
        ReviewSubject::Rule { .. } => (
            "/accept",
            "answer with `accept`: true, or write the record so that the rule does not hold",
        ),
    };
    invalid(pointer, detail)
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
