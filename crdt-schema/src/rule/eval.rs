//! Whether a record fulfils a condition.

use std::cmp::Ordering;
use std::str::FromStr;

use serde_json::{Map, Value as Json};

use super::{Comparison, Datum, Expr, Kind, Sign};

type Fields = Map<String, Json>;

/// What has no value is false.
pub(super) fn holds(expr: &Expr, fields: &Fields) -> bool {
    matches!(value(expr, fields), Some(Datum::Truth(true)))
}

fn value(expr: &Expr, fields: &Fields) -> Option<Datum> {
    let truth = match expr {
        Expr::Or(a, b) => holds(a, fields) || holds(b, fields),
        Expr::And(a, b) => holds(a, fields) && holds(b, fields),
        Expr::Not(inner) => !holds(inner, fields),
        Expr::Compare(a, comparison, b) => {
            let order = order(&value(a, fields)?, &value(b, fields)?)?;
            comparison.allows(order)
        }
        Expr::IsSet(field) => fields.get(field).is_some_and(|json| !json.is_null()),
        Expr::Contains { element, field } => {
            let elements = fields.get(field).and_then(Json::as_array);
            elements.is_some_and(|elements| elements.contains(element))
        }
        Expr::Sum(a, sign, b) => return sum(value(a, fields)?, *sign, value(b, fields)?),
        Expr::Field { name, kind } => return read(fields.get(name)?, *kind),
        Expr::Literal(datum) => return Some(datum.clone()),
    };
    Some(Datum::Truth(truth))
}

fn sum(a: Datum, sign: Sign, b: Datum) -> Option<Datum> {
    Some(match (a, sign, b) {
        (Datum::Integer(a), Sign::Plus, Datum::Integer(b)) => Datum::Integer(a.checked_add(b)?),
        (Datum::Integer(a), Sign::Minus, Datum::Integer(b)) => Datum::Integer(a.checked_sub(b)?),
        (a, Sign::Plus, b) => Datum::Number(float(&a)? + float(&b)?),
        (a, Sign::Minus, b) => Datum::Number(float(&a)? - float(&b)?),
    })
}

fn read(json: &Json, kind: Kind) -> Option<Datum> {
    Some(match (kind, json) {
        (Kind::Number, Json::Number(number)) => match number.as_i64() {
            Some(integer) => Datum::Integer(integer.into()),
            None => Datum::Number(number.as_f64()?),
        },
        (Kind::Text, Json::String(text)) => Datum::Text(text.clone()),
        (Kind::Truth, Json::Bool(truth)) => Datum::Truth(*truth),
        (Kind::Date, Json::String(text)) => Datum::Date(jiff::civil::Date::from_str(text).ok()?),
        (Kind::Moment, Json::String(text)) => Datum::Moment(jiff::Timestamp::from_str(text).ok()?),
        _ => return None,
    })
}

fn order(a: &Datum, b: &Datum) -> Option<Ordering> {
    match (a, b) {
        (Datum::Integer(a), Datum::Integer(b)) => Some(a.cmp(b)),
        (Datum::Text(a), Datum::Text(b)) => Some(a.cmp(b)),
        (Datum::Truth(a), Datum::Truth(b)) => Some(a.cmp(b)),
        (Datum::Date(a), Datum::Date(b)) => Some(a.cmp(b)),
        (Datum::Moment(a), Datum::Moment(b)) => Some(a.cmp(b)),
        (a, b) => float(a)?.partial_cmp(&float(b)?),
    }
}

fn float(datum: &Datum) -> Option<f64> {
    match datum {
        Datum::Integer(integer) => Some(*integer as f64),
        Datum::Number(number) => Some(*number),
        Datum::Text(_) | Datum::Truth(_) | Datum::Date(_) | Datum::Moment(_) => None,
    }
}

impl Comparison {
    fn allows(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::Unequal => order.is_ne(),
            Self::AtLeast => order.is_ge(),
            Self::Greater => order.is_gt(),
        }
    }
}
