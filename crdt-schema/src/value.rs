//! The scalar values that registers and set elements hold.

use std::fmt;

/// A value of a field, as it is merged and stored. Which of them a field takes is its type's affair;
/// dates, choices and references are text here.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// The field was cleared.
    Null,
    /// `bool`
    Bool(bool),
    /// `integer`
    Integer(i64),
    /// `number`: finite, and never negative zero.
    Number(f64),
    /// `text`, `choice`, `date`, `datetime`, `ref`
    Text(String),
    /// `json`: an opaque register, kept as compact JSON text.
    Json(String),
}

impl Value {
    /// A number, or `None` if it is not finite. Negative zero becomes zero, so that equal values have
    /// equal bytes.
    pub fn number(number: f64) -> Option<Self> {
        number
            .is_finite()
            .then_some(Self::Number(if number == 0.0 { 0.0 } else { number }))
    }

    /// Whether the field was cleared.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The value as JSON for people and programs.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(b) => (*b).into(),
            Self::Integer(i) => (*i).into(),
            Self::Number(n) => (*n).into(),
            Self::Text(t) => t.as_str().into(),
            Self::Json(text) => serde_json::from_str(text)
                .unwrap_or_else(|_| serde_json::Value::String(text.clone())),
        }
    }

    /// Bytes that order values of one type in a fixed way and are equal only for equal values.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let (tag, body): (u8, Vec<u8>) = match self {
            Self::Null => (0, Vec::new()),
            Self::Bool(b) => (1, vec![u8::from(*b)]),
            Self::Integer(i) => (2, (i.cast_unsigned() ^ (1 << 63)).to_be_bytes().to_vec()),
            Self::Number(n) => (3, n.to_bits().to_be_bytes().to_vec()),
            Self::Text(t) => (4, t.as_bytes().to_vec()),
            Self::Json(t) => (5, t.as_bytes().to_vec()),
        };
        let mut bytes = vec![tag];
        bytes.extend(body);
        bytes
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(t) => f.write_str(t),
            other => write!(f, "{}", other.to_json()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_finite_and_have_one_zero() {
        assert_eq!(Value::number(f64::NAN), None);
        assert_eq!(Value::number(f64::INFINITY), None);
        let zero = Value::number(-0.0).map(|v| v.canonical_bytes());
        assert_eq!(zero, Some(Value::Number(0.0).canonical_bytes()));
    }
}
