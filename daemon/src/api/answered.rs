//! Reviews that people have answered: who decided what, and how to decide anew.
//!
//! An answer is known as long as it stands: somebody who writes the field anew ends it.

use crdt_schema::ident::RecordKey;
use crdt_schema::resolution::{self, Answered, Candidate, ReviewId, ReviewSubject};
use crdt_schema::value::Value;

use super::error::{ApiError, Code};
use super::types::{Review, ReviewAnswer, ReviewKind};
use super::{collection, render};
use crate::node::handle::Handle;

/// A review that has been answered, with its answers.
pub(super) type AnsweredReview = (RecordKey, resolution::Review, Vec<Answered>);

/// Stands for what an accepted review was about and is so no longer. Like a rule, it can only be accepted.
const NO_SUBJECT: ReviewSubject = ReviewSubject::Rule {
    name: String::new(),
};

/// The review as it was, as far as the record still tells.
pub(super) fn answered_review(
    handle: &Handle,
    id: &str,
) -> Result<Option<AnsweredReview>, ApiError> {
    let reader = handle.reader();
    let Some((key, answers)) = reader.answers(id).map_err(ApiError::of_store)? else {
        return Ok(None);
    };
    let Some(latest) = answers.first() else {
        return Ok(None);
    };
    let schema = handle.schema();
    let known = collection(&schema, &key.collection)?;
    let document = reader.document(&key).map_err(ApiError::of_store)?;
    let mut before = answers
        .iter()
        .filter_map(|answer| document.as_ref()?.review_answered(known, &key.id, answer));
    let review = before.next().unwrap_or_else(|| resolution::Review {
        id: ReviewId(id.to_owned()),
        subject: latest.subject.clone().unwrap_or(NO_SUBJECT),
        candidates: Vec::new(),
        provisional: latest.dot,
    });
    Ok(Some((key, review, answers)))
}

/// The review to be answered anew; an error that names who has answered it, unless that is `wanted`.
pub(super) fn revisited(
    handle: &Handle,
    (key, review, answers): AnsweredReview,
    wanted: bool,
) -> Result<Result<(RecordKey, resolution::Review), ApiError>, ApiError> {
    if wanted {
        return Ok(Ok((key, review)));
    }
    let told = answers.into_iter().next();
    let told = told.map(|answer| told_answer(handle, answer)).transpose()?;
    let by = told.map_or_else(String::new, |told| {
        let person = match told.origin.person.as_str() {
            "" => "somebody".to_owned(),
            person => person.to_owned(),
        };
        let decided = match told.accepted {
            true => "that it may stay".to_owned(),
            false => format!("on {}", told.value),
        };
        let (device, time) = (told.origin.device_name, told.origin.time);
        format!(": {person} on {device} decided {decided} at {time}")
    });
    let detail = format!(
        "the review {} has been answered{by}; to decide anew, send `\"revisit\": true`",
        review.id.0
    );
    Ok(Err(ApiError::new(Code::ReviewResolved, detail)))
}

/// The review with its answers.
pub(super) fn settled(
    handle: &Handle,
    mut review: Review,
    answers: Vec<Answered>,
) -> Result<Review, ApiError> {
    if review.rule.as_deref() == Some("") {
        review.about = ReviewKind::Past;
        review.rule = None;
    }
    let answers = answers
        .into_iter()
        .map(|answer| told_answer(handle, answer));
    review.answers = answers.collect::<Result<_, _>>()?;
    Ok(review)
}

fn told_answer(handle: &Handle, answer: Answered) -> Result<ReviewAnswer, ApiError> {
    let accepted = answer.value.is_none();
    let write = Candidate {
        value: answer.value.unwrap_or(Value::Null),
        dot: answer.dot,
        hlc: answer.hlc,
        // An answer is shown under the version in use.
        version: handle.schema().version,
        answer: None,
    };
    let write = render::candidate(handle.reader(), write)?;
    Ok(ReviewAnswer {
        accepted,
        value: write.value,
        note: answer.note,
        origin: write.origin,
    })
}
