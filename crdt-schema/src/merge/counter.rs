//! `counter`: the sum of what every log has added.
//!
//! Each log keeps its own running sum in a slot that no other log writes, so concurrent increments never
//! meet, and an increment delivered twice is one change applied once.

use std::cmp::Reverse;

use super::Merged;
use crate::resolution::Candidate;
use crate::value::Value;

pub(super) fn merge(sums: &[Candidate]) -> Merged {
    let total: i128 = sums.iter().map(amount).sum();
    let shown = i64::try_from(total).unwrap_or(if total < 0 { i64::MIN } else { i64::MAX });
    let mut latest = sums.to_vec();
    latest.sort_by_key(|sum| Reverse((sum.hlc, sum.dot)));
    let why = match sums.len() {
        0 => "nobody has added to it".to_owned(),
        1 => "everything was added by one device".to_owned(),
        n => format!("the sum of what {n} devices have added"),
    };
    Merged {
        value: Some(shown.into()),
        winner: None,
        others: latest,
        review: None,
        why,
    }
}

fn amount(sum: &Candidate) -> i128 {
    match sum.value {
        Value::Integer(amount) => amount.into(),
        _ => 0,
    }
}
