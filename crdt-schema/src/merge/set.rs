//! `set`: every element is decided on its own, and an insert wins over a concurrent remove.
//!
//! A remove therefore takes away only inserts that its author had seen (an observed-remove set, after
//! Shapiro et al., "A comprehensive study of Convergent and Commutative Replicated Data Types", 2011).

use serde_json::Value as Json;

use super::{Merged, lww};
use crate::document::SetElement;
use crate::resolution::Candidate;
use crate::value::Value;

pub(super) fn merge(elements: &[SetElement]) -> Merged {
    let present: Vec<Json> = elements
        .iter()
        .filter(|element| element.marks.iter().any(is_insert))
        .map(|element| element.element.to_json())
        .collect();
    let contested = elements
        .iter()
        .filter(|element| {
            element.marks.iter().any(is_insert) && !element.marks.iter().all(is_insert)
        })
        .count();
    let marks: Vec<Candidate> = elements
        .iter()
        .flat_map(|element| {
            element.marks.iter().map(|mark| Candidate {
                value: element.element.clone(),
                ..mark.clone()
            })
        })
        .collect();
    let why = match (marks.is_empty(), contested) {
        (true, _) => lww::UNSET.to_owned(),
        (false, 0) => "each element as it was last inserted or removed".to_owned(),
        (false, n) => format!("{n} elements were inserted and removed at once; inserts win"),
    };
    let value = (!present.is_empty()).then_some(Json::Array(present));
    Merged {
        value,
        winner: None,
        others: lww::ranked(&marks),
        review: None,
        why,
    }
}

fn is_insert(mark: &Candidate) -> bool {
    mark.value == Value::Bool(true)
}
