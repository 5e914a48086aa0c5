//! Which reviews the standing answers of registers were given to.
//!
//! An answer replaces the writes that stood, so the review that was open then follows from them. An answer
//! that replaces earlier answers was given to their reviews too: it revisits them.

use std::collections::BTreeSet;

use automerge::ChangeHash;

use super::{Document, State, carry, keys, state};
use crate::ident::Dot;
use crate::lens::Lens;
use crate::merge;
use crate::resolution::{Answered, Review};
use crate::schema::{Collection, Field};

/// How many answers back a revisited review is still known: each step reads an older state of the record.
const REVISITS_MAX: usize = 16;

/// The answers that stand in registers.
pub(super) fn of_registers(
    document: &Document,
    state: &State,
    collection: &Collection,
    id: &str,
) -> Vec<Answered> {
    let mut answered = Vec::new();
    for field in collection
        .fields
        .values()
        .filter(|field| field.is_register())
    {
        let standing = state.registers.get(&field.key).into_iter().flatten();
        for write in standing {
            let Some(note) = &write.answer else {
                continue;
            };
            for review in reviews_at(document, collection, id, field, write.dot) {
                answered.push(Answered {
                    review: review.id,
                    subject: Some(review.subject),
                    value: Some(write.value.clone()),
                    dot: write.dot,
                    hlc: write.hlc,
                    note: note.clone(),
                });
            }
        }
    }
    answered
}

/// The reviews that the answer was given to.
pub(super) fn reviews(
    document: &Document,
    collection: &Collection,
    id: &str,
    answer: &Answered,
) -> Vec<Review> {
    let key = answer.subject.as_ref().and_then(|subject| subject.key());
    let field = key.and_then(|key| collection.field_by_key(key));
    field.map_or_else(Vec::new, |field| {
        reviews_at(document, collection, id, field, answer.dot)
    })
}

fn reviews_at(
    document: &Document,
    collection: &Collection,
    id: &str,
    field: &Field,
    answer: Dot,
) -> Vec<Review> {
    let mut reviews: Vec<Review> = Vec::new();
    let mut open = vec![answer];
    let mut seen = BTreeSet::new();
    while let Some(dot) = open.pop() {
        if seen.len() >= REVISITS_MAX || !seen.insert(dot) {
            continue;
        }
        let seen_then = document
            .index
            .find(dot)
            .map_or(&[][..], |change| &change.deps);
        if seen_then.is_empty() {
            continue;
        }
        let lens = &collection.lens;
        let (standing, stuck) = carry::standing_at(document, lens, &field.key, seen_then);
        let notes = answers_at(document, lens, &field.key, seen_then);
        let is_answer = |dot: Dot| notes.contains(&dot);
        open.extend(
            standing
                .iter()
                .map(|write| write.dot)
                .filter(|&dot| is_answer(dot)),
        );
        // Answers that stand beside each other are no conflict.
        let all_answers = standing.iter().all(|write| is_answer(write.dot));
        if !all_answers
            && let Some(review) = merge::review_of(field, collection, id, standing, stuck)
            && reviews.iter().all(|known| known.id != review.id)
        {
            reviews.push(review);
        }
    }
    reviews
}

/// The standing writes that were answers, of the key and of those that it is split from or merged of.
fn answers_at(document: &Document, lens: &Lens, key: &str, heads: &[ChangeHash]) -> BTreeSet<Dot> {
    let joined = lens.join_of(key).into_iter();
    let sides = joined.flat_map(|join| std::iter::once(&join.whole).chain(&join.parts));
    let keys = std::iter::once(key).chain(sides.map(String::as_str));
    let notes = keys.flat_map(|key| state::register_at(document, &keys::answer(key), heads));
    notes.map(|note| note.dot).collect()
}
