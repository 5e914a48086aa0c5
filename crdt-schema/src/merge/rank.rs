//! `rank`: of concurrent choices the one that the schema lists last wins.
//!
//! A rank only moves forward: a local write of an earlier choice is refused (`intent::check_change`). A
//! merge cannot refuse anything, so there the rule is: among *concurrent* writes the greater rank wins,
//! and a causally later write wins as always, even one to a lower rank, which only a device with another
//! schema can have made. The order is total: equal ranks are ordered as in `lww`, and a cleared field or
//! a choice that the schema does not know comes after all that it knows.

use std::cmp::Reverse;

use super::{Merged, lww};
use crate::mutation::{Flaw, is_planted};
use crate::resolution::Candidate;
use crate::schema::{Field, FieldType};
use crate::value::Value;

pub(super) fn merge(candidates: &[Candidate], field: &Field) -> Merged {
    let mut ranked = lww::ranked(candidates);
    // The sort is stable, so equal ranks stay in the order of `lww`.
    ranked.sort_by_key(|candidate| Reverse(rank(field, &candidate.value)));
    if is_planted(Flaw::RankBackwards) {
        ranked.reverse();
    }
    lww::first_of(ranked, |_, count| {
        format!("{count} concurrent writes; the one that is furthest along wins")
    })
}

/// The place among the field's choices.
pub(super) fn rank(field: &Field, value: &Value) -> Option<usize> {
    match (&field.kind, value) {
        (FieldType::Choice { of }, Value::Text(text)) => {
            of.iter().position(|choice| choice == text)
        }
        _ => None,
    }
}
