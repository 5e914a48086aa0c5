//! `max` and `min`: of concurrent writes the greatest, or the least, wins.
//!
//! Both are one order, read from either end. It is total: values that measure the same are ordered as in
//! `lww`, and what cannot be measured (a cleared field, a value of another type) comes after everything
//! that can. A causally later write has superseded the earlier one before this is asked, so a person who
//! has seen a wrong maximum can correct it downwards, and only writes that had not seen the correction
//! still compete with it.

use std::cmp::Ordering;
use std::str::FromStr;

use super::{Merged, lww};
use crate::resolution::Candidate;
use crate::schema::{Field, FieldType, integer_from_json};
use crate::value::Value;

/// Which end of the order wins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    Greatest,
    Least,
}

pub(super) fn merge(candidates: &[Candidate], field: &Field, end: End) -> Merged {
    let mut ranked = lww::ranked(candidates);
    // The sort is stable, so equal measures stay in the order of `lww`.
    ranked.sort_by(|a, b| compare(field, end, &a.value, &b.value));
    let side = match end {
        End::Greatest => "greatest",
        End::Least => "least",
    };
    lww::first_of(ranked, |_, count| {
        format!("{count} concurrent writes; the {side} value of them wins")
    })
}

/// The order in which values win.
pub(super) fn compare(field: &Field, end: End, a: &Value, b: &Value) -> Ordering {
    match (measure(field, a), measure(field, b)) {
        (Some(a), Some(b)) if end == End::Greatest => b.compare(&a),
        (Some(a), Some(b)) => a.compare(&b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

/// A value in terms in which its field's values are compared.
enum Measure {
    Integer(i64),
    Number(f64),
    Date(jiff::civil::Date),
    Moment(jiff::Timestamp),
}

fn measure(field: &Field, value: &Value) -> Option<Measure> {
    match (&field.kind, value) {
        (FieldType::Integer, value) => integer_from_json(&value.to_json()).map(Measure::Integer),
        (FieldType::Number, value) => value.to_json().as_f64().map(Measure::Number),
        (FieldType::Date, Value::Text(text)) => {
            jiff::civil::Date::from_str(text).ok().map(Measure::Date)
        }
        (FieldType::DateTime, Value::Text(text)) => {
            jiff::Timestamp::from_str(text).ok().map(Measure::Moment)
        }
        _ => None,
    }
}

impl Measure {
    /// Values of one field have measures of one kind.
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Date(a), Self::Date(b)) => a.cmp(b),
            (Self::Moment(a), Self::Moment(b)) => a.cmp(b),
            _ => Ordering::Equal,
        }
    }
}
