//! `set` and `remove-wins`: every element is decided on its own.
//!
//! With `set` an insert wins over a concurrent remove: a remove takes away only inserts that its author
//! had seen (an observed-remove set, after Shapiro et al., "A comprehensive study of Convergent and
//! Commutative Replicated Data Types", 2011). With `remove-wins` it is the other way round. Either way a
//! later mark of an element has superseded the earlier ones that its author had seen.

use serde_json::Value as Json;

use super::{Merged, lww};
use crate::document::SetElement;
use crate::resolution::Candidate;
use crate::value::Value;

/// Which of a concurrent insert and remove wins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bias {
    Insert,
    Remove,
}

/// Whether an element with these marks is in the set.
pub(super) fn is_in(marks: &[Candidate], bias: Bias) -> bool {
    match bias {
        Bias::Insert => marks.iter().any(is_insert),
        Bias::Remove => !marks.is_empty() && marks.iter().all(is_insert),
    }
}

pub(super) fn merge(elements: &[SetElement], bias: Bias) -> Merged {
    let present: Vec<Json> = elements
        .iter()
        .filter(|element| is_in(&element.marks, bias))
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
        (false, n) => {
            let side = match bias {
                Bias::Insert => "inserts",
                Bias::Remove => "removes",
            };
            format!("{n} of the elements were inserted and removed at once; {side} win")
        }
    };
    let value = (!present.is_empty()).then_some(Json::Array(present));
    Merged {
        value,
        winner: None,
        others: lww::ranked(&marks),
        review: None,
        accepted: Vec::new(),
        why,
    }
}

pub(super) fn is_insert(mark: &Candidate) -> bool {
    mark.value == Value::Bool(true)
}
