//! Whether people may answer a review with a write: what a role allows.
//!
//! Judged where the write is made, on the record as it is then. Nothing is judged of what arrives from others: a role is
//! what its own device's configuration says.

use crdt_schema::resolution::{ReviewId, ReviewSubject};
use crdt_schema::schema::Schema;

use super::planned::{Planned, etag};
use super::{LocalCommit, Rejection};
use crate::mutation::{Mutation, is_planted};

/// The review that a write answers, and in which role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answering {
    /// The review, of a record that the write edits.
    pub review: ReviewId,
    /// The role of the device; `None` if it has none.
    pub role: Option<String>,
}

/// Judges the answer that a write gives, if it gives one.
///
/// # Errors
/// A rejection, if the role does not allow it, or none of the records has such a review any more.
pub fn check(schema: &Schema, commit: &LocalCommit, plan: &[Planned<'_>]) -> Result<(), Rejection> {
    let Some(Answering { review, role }) = commit.answering.as_deref() else {
        return Ok(());
    };
    let asked = plan
        .iter()
        .find_map(|planned| Some((planned, subject(planned, review)?)));
    let Some((planned, subject)) = asked else {
        return Err(gone(plan));
    };
    let collection = &planned.key.collection;
    if schema.may_resolve(role.as_deref(), collection, subject)
        || is_planted(Mutation::RightsUnchecked)
    {
        return Ok(());
    }
    Err(Rejection::NotAllowed {
        role: match role {
            Some(role) => format!("the role {role}"),
            None => "no role".to_owned(),
        },
        who: match schema.reviewers(collection, subject).as_slice() {
            [] => "no role may".to_owned(),
            roles => format!("those with the role {} may", roles.join(" or ")),
        },
    })
}

/// What the review is about, if the record has it: open, or answered and still about something.
fn subject<'a>(planned: &'a Planned<'_>, review: &ReviewId) -> Option<&'a ReviewSubject> {
    let open = planned.view.reviews.iter();
    let open = open.map(|open| (&open.id, Some(&open.subject)));
    let answered = planned.view.answered.iter();
    let answered = answered.map(|answered| (&answered.review, answered.subject.as_ref()));
    let mut reviews = open.chain(answered).filter(|(id, _)| *id == review);
    reviews.find_map(|(_, subject)| subject)
}

/// The rejection of an answer to what nobody asks any more.
fn gone(plan: &[Planned<'_>]) -> Rejection {
    match plan.first() {
        Some(Planned { key, view, .. }) => Rejection::Changed {
            collection: key.collection.clone(),
            id: key.id.clone(),
            etag: etag(&view.heads),
        },
        None => super::planned::failed("a write without edits".to_owned()),
    }
}
