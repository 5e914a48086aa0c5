//! `counter`: the sum of what every log has added.
//!
//! Each log keeps its own running sum in a slot that no other log writes, so concurrent increments never
//! meet, and an increment delivered twice is one change applied once. Bounds cannot hold over a merge:
//! two devices may each hand out the last pack. A sum that has left them is shown as it is, and a review
//! opens that closes by itself when the sum is within them again.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::{Merged, Record, review};
use crate::mutation::{Flaw, is_planted};
use crate::resolution::{Candidate, Review, ReviewSubject};
use crate::schema::{Field, check_bounds};
use crate::value::Value;

pub(super) fn merge(sums: &[Candidate], field: &Field, record: &Record<'_>) -> Merged {
    let total: i128 = match is_planted(Flaw::EqualSumsOnce) {
        true => sums
            .iter()
            .map(amount)
            .collect::<BTreeSet<_>>()
            .iter()
            .sum(),
        false => sums.iter().map(amount).sum(),
    };
    let shown = i64::try_from(total).unwrap_or(if total < 0 { i64::MIN } else { i64::MAX });
    let mut latest = sums.to_vec();
    latest.sort_by_key(|sum| Reverse((sum.hlc, sum.dot)));
    let mut why = match sums.len() {
        0 => "nobody has added to it".to_owned(),
        1 => "everything was added by one device".to_owned(),
        n => format!("the sum of what {n} devices have added"),
    };
    let broken = check_bounds(field, &Value::Integer(shown)).err();
    let review = broken.zip(latest.first()).map(|(error, last)| {
        why = format!("{why}; {}, so it waits for a person", error.message);
        Review {
            id: review::name(
                record,
                &format!("{}!bounds", field.key),
                latest.iter().map(|sum| sum.dot),
            ),
            subject: ReviewSubject::Bounds {
                key: field.key.clone(),
            },
            provisional: last.dot,
            candidates: latest.clone(),
        }
    });
    Merged {
        value: Some(shown.into()),
        winner: None,
        others: latest,
        review,
        accepted: Vec::new(),
        why,
    }
}

fn amount(sum: &Candidate) -> i128 {
    match sum.value {
        Value::Integer(amount) => amount.into(),
        _ => 0,
    }
}
