//! From the words of a condition to an expression that fits the fields' types.
//!
//! Recursive descent, one function for each level: or, and, not, comparison, sum, value.

use std::ops::Range;

use indexmap::IndexMap;
use serde_json::Value as Json;

use super::lex::{Token, Word, error};
use super::{Comparison, ConditionError, Datum, Expr, Kind, Sign};
use crate::nearest::advice;
use crate::schema::{Field, FieldType, element_from_json, value_from_json};
use crate::value::Value;

/// How deep parentheses and `not` may nest.
const DEPTH_MAX: usize = 32;

type Fields = IndexMap<String, Field>;

/// A part of the condition with its type and its place.
struct Term {
    expr: Expr,
    kind: Kind,
    span: Range<usize>,
}

struct Parser<'t> {
    tokens: &'t [Token<'t>],
    at: usize,
    end: usize,
    depth: usize,
    fields: &'t Fields,
}

pub(super) fn condition(
    text: &str,
    tokens: &[Token<'_>],
    fields: &Fields,
) -> Result<Expr, ConditionError> {
    let mut parser = Parser {
        tokens,
        at: 0,
        end: text.len(),
        depth: 0,
        fields,
    };
    let term = parser.or()?;
    if let Some(token) = parser.tokens.get(parser.at) {
        return Err(error(
            token.span.clone(),
            "the condition should have ended here",
            "join two conditions with `and` or `or`",
        ));
    }
    truth(term)
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<Word<'t>> {
        self.tokens.get(self.at).map(|token| token.word)
    }

    /// Takes the word if it comes next.
    fn take(&mut self, word: Word<'_>) -> bool {
        let found = self.peek() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn here(&self) -> Range<usize> {
        match self.tokens.get(self.at) {
            Some(token) => token.span.clone(),
            None => self.end.saturating_sub(1)..self.end,
        }
    }

    fn or(&mut self) -> Result<Term, ConditionError> {
        self.chain("or", Self::and, Expr::Or)
    }

    fn and(&mut self) -> Result<Term, ConditionError> {
        self.chain("and", Self::not, Expr::And)
    }

    fn chain(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Result<Term, ConditionError>,
        join: fn(Box<Expr>, Box<Expr>) -> Expr,
    ) -> Result<Term, ConditionError> {
        let mut left = part(self)?;
        while self.take(Word::Name(word)) {
            let right = part(self)?;
            let span = left.span.start..right.span.end;
            let expr = join(Box::new(truth(left)?), Box::new(truth(right)?));
            left = Term {
                expr,
                kind: Kind::Truth,
                span,
            };
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Term, ConditionError> {
        let start = self.here().start;
        if !self.take(Word::Name("not")) {
            return self.comparison();
        }
        self.nest()?;
        let inner = self.not()?;
        self.depth -= 1;
        let span = start..inner.span.end;
        Ok(Term {
            expr: Expr::Not(Box::new(truth(inner)?)),
            kind: Kind::Truth,
            span,
        })
    }

    fn nest(&mut self) -> Result<(), ConditionError> {
        self.depth += 1;
        if self.depth <= DEPTH_MAX {
            return Ok(());
        }
        let message = format!("the condition nests deeper than {DEPTH_MAX}");
        Err(error(self.here(), &message, "split it into several rules"))
    }

    fn comparison(&mut self) -> Result<Term, ConditionError> {
        let left = self.sum()?;
        if self.take(Word::Name("is")) {
            return self.presence(left);
        }
        if self.take(Word::Name("in")) {
            return self.membership(&left);
        }
        let Some(Word::Symbol(symbol)) = self.peek() else {
            return Ok(left);
        };
        let comparison = match symbol {
            "<" => Comparison::Less,
            "<=" => Comparison::AtMost,
            "=" => Comparison::Equal,
            "!=" => Comparison::Unequal,
            ">=" => Comparison::AtLeast,
            ">" => Comparison::Greater,
            _ => return Ok(left),
        };
        self.at += 1;
        let right = self.sum()?;
        self.compare(left, comparison, right)
    }

    fn compare(
        &self,
        left: Term,
        comparison: Comparison,
        right: Term,
    ) -> Result<Term, ConditionError> {
        let right = self.fit(right, &left)?;
        let left = self.fit(left, &right)?;
        let span = left.span.start..right.span.end;
        if left.kind != right.kind || left.kind == Kind::Opaque {
            let message = format!(
                "{} cannot be compared with {}",
                left.kind.noun(),
                right.kind.noun()
            );
            return Err(error(span, &message, "compare values of one type"));
        }
        let is_ordered = !matches!(comparison, Comparison::Equal | Comparison::Unequal);
        let has_choice = [&left, &right]
            .into_iter()
            .any(|side| self.choices(side).is_some());
        if is_ordered && (left.kind == Kind::Truth || has_choice) {
            let message = "these values have no order";
            return Err(error(span, message, "compare them with `=` or `!=`"));
        }
        Ok(Term {
            expr: Expr::Compare(Box::new(left.expr), comparison, Box::new(right.expr)),
            kind: Kind::Truth,
            span,
        })
    }

    /// A text literal as what it is beside `other`: a date, a moment or a choice.
    fn fit(&self, term: Term, other: &Term) -> Result<Term, ConditionError> {
        let (Expr::Literal(Datum::Text(text)), Some(field)) = (&term.expr, self.field_of(other))
        else {
            return Ok(term);
        };
        if !matches!(
            field.kind,
            FieldType::Date | FieldType::DateTime | FieldType::Choice { .. }
        ) {
            return Ok(term);
        }
        let value = value_from_json(field, &Json::from(text.as_str()));
        let value = value.map_err(|wrong| {
            let hint = format!("write a value that {} can have", field.name);
            error(term.span.clone(), &wrong.message, &hint)
        })?;
        let Value::Text(text) = value else {
            return Ok(term);
        };
        let datum = match &field.kind {
            FieldType::Date => text.parse().map(Datum::Date).ok(),
            FieldType::DateTime => text.parse().map(Datum::Moment).ok(),
            _ => None,
        };
        Ok(match datum {
            Some(datum) => Term {
                kind: other.kind,
                expr: Expr::Literal(datum),
                span: term.span,
            },
            None => term,
        })
    }

    fn field_of(&self, term: &Term) -> Option<&'t Field> {
        match &term.expr {
            Expr::Field { name, .. } => self.fields.get(name),
            _ => None,
        }
    }

    fn choices(&self, term: &Term) -> Option<&'t Field> {
        self.field_of(term)
            .filter(|field| matches!(field.kind, FieldType::Choice { .. }))
    }

    fn presence(&mut self, left: Term) -> Result<Term, ConditionError> {
        let place = self.here();
        let is_set = self.take(Word::Name("set"));
        if !is_set && !self.take(Word::Name("empty")) {
            let message = "`is` takes `set` or `empty`";
            return Err(error(place, message, "to compare values, use `=`"));
        }
        let Expr::Field { name, .. } = left.expr else {
            let hint = "write the name of a field before `is`";
            return Err(error(left.span, "only a field is set or empty", hint));
        };
        let expr = Expr::IsSet(name);
        Ok(Term {
            expr: match is_set {
                true => expr,
                false => Expr::Not(Box::new(expr)),
            },
            kind: Kind::Truth,
            span: left.span.start..place.end,
        })
    }

    fn membership(&mut self, left: &Term) -> Result<Term, ConditionError> {
        let right = self.value()?;
        let span = left.span.start..right.span.end;
        let set = self.field_of(&right);
        let Some((field, FieldType::Set { of })) = set.map(|field| (field, &field.kind)) else {
            let hint = "write the name of a field of type `set` after `in`";
            return Err(error(right.span, "`in` looks into sets only", hint));
        };
        let element = match &left.expr {
            Expr::Literal(Datum::Text(text)) => Json::from(text.as_str()),
            Expr::Literal(Datum::Integer(integer)) => i64::try_from(*integer).ok().into(),
            _ => {
                let hint = "write a text or a number before `in`";
                return Err(error(left.span.clone(), "this is no element", hint));
            }
        };
        let element = element_from_json(field, of, &element).map_err(|wrong| {
            let hint = format!("write an element that {} can have", field.name);
            error(left.span.clone(), &wrong.message, &hint)
        })?;
        Ok(Term {
            expr: Expr::Contains {
                element: element.to_json(),
                field: field.name.clone(),
            },
            kind: Kind::Truth,
            span,
        })
    }

    fn sum(&mut self) -> Result<Term, ConditionError> {
        let mut left = self.value()?;
        loop {
            let sign = match self.peek() {
                Some(Word::Symbol("+")) => Sign::Plus,
                Some(Word::Symbol("-")) => Sign::Minus,
                _ => return Ok(left),
            };
            self.at += 1;
            let right = self.value()?;
            for side in [&left, &right] {
                if side.kind != Kind::Number {
                    let message = format!("{} cannot be added", side.kind.noun());
                    let hint = "`+` and `-` take numbers";
                    return Err(error(side.span.clone(), &message, hint));
                }
            }
            left = Term {
                span: left.span.start..right.span.end,
                kind: Kind::Number,
                expr: Expr::Sum(Box::new(left.expr), sign, Box::new(right.expr)),
            };
        }
    }

    fn value(&mut self) -> Result<Term, ConditionError> {
        let span = self.here();
        let word = self.peek();
        self.at += 1;
        let literal = |datum, kind| {
            Ok(Term {
                expr: Expr::Literal(datum),
                kind,
                span: span.clone(),
            })
        };
        match word {
            Some(Word::Symbol("(")) => self.group(span.start),
            Some(Word::Symbol("-")) => {
                let inner = self.value()?;
                match inner.expr {
                    Expr::Literal(Datum::Integer(i)) => literal(Datum::Integer(-i), Kind::Number),
                    Expr::Literal(Datum::Number(n)) => literal(Datum::Number(-n), Kind::Number),
                    _ => Err(error(
                        span,
                        "only a number has a sign",
                        "write `0 - x` for the opposite of x",
                    )),
                }
            }
            Some(Word::Number(digits)) => literal(number(digits, &span)?, Kind::Number),
            Some(Word::Text(text)) => literal(Datum::Text(text.to_owned()), Kind::Text),
            Some(Word::Name("true")) => literal(Datum::Truth(true), Kind::Truth),
            Some(Word::Name("false")) => literal(Datum::Truth(false), Kind::Truth),
            Some(Word::Name(name)) => self.field(name, span),
            Some(Word::Symbol(_)) | None => Err(error(
                span,
                "a field or a value is missing here",
                "write one, such as `on_hand` or `0`",
            )),
        }
    }

    fn group(&mut self, start: usize) -> Result<Term, ConditionError> {
        self.nest()?;
        let inner = self.or()?;
        self.depth -= 1;
        let end = self.here().end;
        if !self.take(Word::Symbol(")")) {
            let hint = "add `)` after what belongs together";
            return Err(error(start..start + 1, "this is not closed", hint));
        }
        Ok(Term {
            span: start..end,
            ..inner
        })
    }

    fn field(&self, name: &str, span: Range<usize>) -> Result<Term, ConditionError> {
        let Some(field) = self.fields.get(name) else {
            let names: Vec<&str> = self.fields.keys().map(String::as_str).collect();
            let message = format!("there is no field `{name}`");
            return Err(error(span, &message, &advice(name, &names)));
        };
        let kind = match &field.kind {
            FieldType::Integer | FieldType::Number | FieldType::Counter => Kind::Number,
            FieldType::Text | FieldType::Choice { .. } | FieldType::Ref { .. } => Kind::Text,
            FieldType::Bool => Kind::Truth,
            FieldType::Date => Kind::Date,
            FieldType::DateTime => Kind::Moment,
            FieldType::Set { .. } | FieldType::Json => Kind::Opaque,
        };
        let name = name.to_owned();
        Ok(Term {
            expr: Expr::Field { name, kind },
            kind,
            span,
        })
    }
}

fn number(digits: &str, span: &Range<usize>) -> Result<Datum, ConditionError> {
    let integer = digits.parse::<i64>().ok();
    let datum = match integer {
        Some(integer) => Some(Datum::Integer(integer.into())),
        None => digits.parse().ok().map(Datum::Number),
    };
    let hint = "write it like 12 or 36.6";
    datum.ok_or_else(|| error(span.clone(), "this is not a number", hint))
}

fn truth(term: Term) -> Result<Expr, ConditionError> {
    if term.kind == Kind::Truth {
        return Ok(term.expr);
    }
    let message = format!("{} is neither true nor false", term.kind.noun());
    let hint = "compare it, such as with `= 0` or `is set`";
    Err(error(term.span, &message, hint))
}

impl Kind {
    fn noun(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Text => "a text",
            Self::Truth => "a condition",
            Self::Date => "a date",
            Self::Moment => "a date and time",
            Self::Opaque => "a set or JSON",
        }
    }
}
