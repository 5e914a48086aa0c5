//! Conditions over the fields of one merged record, as `[[review]]` rules of a schema state them.
//!
//! `on_hand < 0 and not (outcome is set)`: literals (numbers, texts in either kind of quotes, `true`,
//! `false`), names of fields, `+` and `-`, `< <= = != >= >`, `is set`, `is empty`, `"x" in field`, `not`,
//! `and`, `or` and parentheses. A text beside a date or a time is one.
//!
//! Invariants:
//! - A condition that parsed fits the types of its fields; what is wrong with it has a place in its text.
//! - Evaluation is total and a function of the fields alone. A comparison with a field that has no value,
//!   or one of another type, is false.
//!
//! It does not know reviews, roles, nor how fields came to their values.

mod eval;
mod lex;
mod parse;

use std::collections::BTreeSet;
use std::ops::Range;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json};

use crate::schema::Field;

/// Longest condition, in bytes.
pub const CONDITION_BYTES_MAX: usize = 1000;

/// A condition that fits the fields of its collection.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    root: Expr,
}

/// What is wrong with a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionError {
    /// The bytes of its text that are wrong.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: String,
}

impl Condition {
    /// Reads a condition over these fields.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str, fields: &IndexMap<String, Field>) -> Result<Self, ConditionError> {
        if text.len() > CONDITION_BYTES_MAX {
            return Err(ConditionError {
                span: 0..text.len(),
                message: format!("the condition is longer than {CONDITION_BYTES_MAX} bytes"),
                hint: "split it into several rules".to_owned(),
            });
        }
        let root = parse::condition(text, &lex::tokens(text)?, fields)?;
        Ok(Self { root })
    }

    /// Whether the record with these fields, by name, fulfils it.
    pub fn holds(&self, fields: &Map<String, Json>) -> bool {
        eval::holds(&self.root, fields)
    }

    /// The names of the fields that it mentions.
    pub fn fields(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        self.root.collect_fields(&mut names);
        names
    }
}

/// What an expression is about.
#[derive(Clone, Debug, PartialEq)]
enum Expr {
    Or(Box<Self>, Box<Self>),
    And(Box<Self>, Box<Self>),
    Not(Box<Self>),
    Compare(Box<Self>, Comparison, Box<Self>),
    IsSet(String),
    Contains { element: Json, field: String },
    Sum(Box<Self>, Sign, Box<Self>),
    Field { name: String, kind: Kind },
    Literal(Datum),
}

/// The type of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Truth,
    Date,
    Moment,
    /// A field of which only its presence, or its elements, can be asked.
    Opaque,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    Equal,
    Unequal,
    AtLeast,
    Greater,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Plus,
    Minus,
}

/// The value of an expression.
#[derive(Clone, Debug, PartialEq)]
enum Datum {
    /// A sum of up to a thousand 64-bit integers fits.
    Integer(i128),
    Number(f64),
    Text(String),
    Truth(bool),
    Date(jiff::civil::Date),
    Moment(jiff::Timestamp),
}

impl Expr {
    fn collect_fields<'e>(&'e self, names: &mut BTreeSet<&'e str>) {
        match self {
            Self::Or(a, b) | Self::And(a, b) | Self::Compare(a, _, b) | Self::Sum(a, _, b) => {
                a.collect_fields(names);
                b.collect_fields(names);
            }
            Self::Not(inner) => inner.collect_fields(names),
            Self::IsSet(field) | Self::Contains { field, .. } => {
                names.insert(field);
            }
            Self::Field { name, .. } => {
                names.insert(name);
            }
            Self::Literal(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
