//! The answers that let stand what a review is about.

use super::lww;
use crate::document::State;
use crate::resolution::{Answered, Review, ReviewId};

/// Every such answer. `accepted` are the reviews that would be open without them.
pub(super) fn accepts(state: &State, accepted: &[Review]) -> Vec<Answered> {
    let mut answered = Vec::new();
    for (id, accepts) in &state.accepts {
        let review = accepted.iter().find(|review| review.id.0 == *id);
        for accept in lww::ranked(accepts) {
            answered.push(Answered {
                review: ReviewId(id.clone()),
                subject: review.map(|review| review.subject.clone()),
                value: None,
                dot: accept.dot,
                hlc: accept.hlc,
                note: accept.answer.unwrap_or_default(),
            });
        }
    }
    answered
}
