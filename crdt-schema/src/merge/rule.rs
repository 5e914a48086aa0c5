//! Rules of the schema over the merged record: conditions that a person is asked about.
//!
//! A review is named after its rule and the standing writes of the fields that the rule mentions, so a
//! new write of one of them asks anew. Where nobody has written any, it is named after what created the
//! record, as records of one id in two spaces have nothing else to tell them apart by. It closes by itself
//! when the condition no longer holds.

use serde_json::{Map, Value as Json};

use super::{Record, elements, lww, register, review, sums};
use crate::document::State;
use crate::ident::Dot;
use crate::resolution::{Candidate, Review, ReviewSubject};
use crate::schema::{Collection, Rule};

/// The reviews of the rules whose conditions hold.
pub(super) fn check(
    state: &State,
    collection: &Collection,
    fields: &Map<String, Json>,
    heads: &[Dot],
    record: &Record<'_>,
) -> impl Iterator<Item = Review> {
    let rules = collection.rules.iter();
    let holding = rules.filter(|rule| rule.condition.holds(fields));
    holding.filter_map(move |rule| {
        let candidates = lww::ranked(&standing(state, collection, rule));
        let latest = candidates.first().map(|latest| latest.dot);
        let dots = match candidates.as_slice() {
            [] => state.created.clone(),
            written => written.iter().map(|candidate| candidate.dot).collect(),
        };
        Some(Review {
            id: review::name(record, &format!("!rule/{}", rule.name), dots.into_iter()),
            subject: ReviewSubject::Rule {
                name: rule.name.clone(),
            },
            // A rule may hold because nobody has written its fields.
            provisional: latest.or_else(|| heads.last().copied())?,
            candidates,
        })
    })
}

/// The writes that stand in the fields that the rule mentions.
fn standing(state: &State, collection: &Collection, rule: &Rule) -> Vec<Candidate> {
    let names = rule.condition.fields().into_iter();
    let fields = names.filter_map(|name| collection.fields.get(name));
    let mut standing = Vec::new();
    for field in fields {
        standing.extend_from_slice(register(state, field));
        standing.extend_from_slice(sums(state, field));
        for element in elements(state, field) {
            standing.extend(element.marks.iter().map(|mark| Candidate {
                value: element.element.clone(),
                ..mark.clone()
            }));
        }
    }
    standing
}
