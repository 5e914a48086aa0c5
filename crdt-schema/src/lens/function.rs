//! The named functions of migrations: pure, each with its inverse, on a fixed list.
//!
//! A schema can name a function and cannot write one, so every device computes the same. A cleared value
//! stays cleared under all of them. What a function cannot carry stays as it was written and is put
//! before a person; a document keeps the original, so reading under the writer's version is exact.
//!
//! | function | cannot carry | lost on the way back |
//! |---|---|---|
//! | `f_to_c`, `c_to_f`, `lb_to_kg`, `kg_to_lb`, `in_to_cm`, `cm_to_in` | what leaves the finite numbers | beyond four decimals |
//! | `text_to_integer`, `text_to_number` | other text | how it was spelled |
//! | `integer_to_text`, `number_to_text` | nothing | nothing |
//! | `integer_to_number` | beyond 53 bits | nothing |
//! | `round` | beyond 64 bits | the decimals |
//! | `text_to_date` | text that is no date `2026-11-21` | nothing |
//! | `date_to_text` | nothing | nothing |
//! | `date_to_datetime` | nothing (midnight in UTC) | nothing |
//! | `datetime_to_date` | nothing | the time of day in UTC |
//! | `text_to_choice` | nothing (a text that is no choice is put before a person) | nothing |
//! | `choice_to_text` | nothing | nothing |
//! | `bool_to_choice`, `choice_to_bool` | a choice that `values` does not name | nothing |

use std::str::FromStr;

use crate::mutation::{Flaw, is_planted};
use crate::value::Value;

/// A named conversion of single values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Function {
    /// Fahrenheit to Celsius.
    FToC,
    /// Celsius to Fahrenheit.
    CToF,
    /// Pounds to kilograms.
    LbToKg,
    /// Kilograms to pounds.
    KgToLb,
    /// Inches to centimetres.
    InToCm,
    /// Centimetres to inches.
    CmToIn,
    /// Digits to a whole number.
    TextToInteger,
    /// A whole number to digits.
    IntegerToText,
    /// Digits to a number.
    TextToNumber,
    /// A number to digits.
    NumberToText,
    /// A whole number to a number.
    IntegerToNumber,
    /// A number to the nearest whole number, halves away from zero.
    Round,
    /// Text to a date.
    TextToDate,
    /// A date to text.
    DateToText,
    /// A date to its midnight in UTC.
    DateToDateTime,
    /// A moment to its date in UTC.
    DateTimeToDate,
    /// Text to a choice.
    TextToChoice,
    /// A choice to text.
    ChoiceToText,
    /// True and false to two choices.
    BoolToChoice {
        /// The choice for true.
        yes: String,
        /// The choice for false.
        no: String,
    },
    /// Two choices to true and false.
    ChoiceToBool {
        /// The choice for true.
        yes: String,
        /// The choice for false.
        no: String,
    },
}

/// The functions that take no parameters.
const PLAIN: [Function; 18] = [
    Function::FToC,
    Function::CToF,
    Function::LbToKg,
    Function::KgToLb,
    Function::InToCm,
    Function::CmToIn,
    Function::TextToInteger,
    Function::IntegerToText,
    Function::TextToNumber,
    Function::NumberToText,
    Function::IntegerToNumber,
    Function::Round,
    Function::TextToDate,
    Function::DateToText,
    Function::DateToDateTime,
    Function::DateTimeToDate,
    Function::TextToChoice,
    Function::ChoiceToText,
];

/// The names of all functions.
pub(crate) fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = PLAIN.iter().map(Function::name).collect();
    names.extend(PARAMETRIC);
    names
}

/// The names of the functions that take `values = { true = "…", false = "…" }`.
pub(crate) const PARAMETRIC: [&str; 2] = ["bool_to_choice", "choice_to_bool"];

impl Function {
    /// The function of that name, if it takes no parameters.
    pub(crate) fn plain(name: &str) -> Option<Self> {
        PLAIN.into_iter().find(|function| function.name() == name)
    }

    /// Its name in schema files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FToC => "f_to_c",
            Self::CToF => "c_to_f",
            Self::LbToKg => "lb_to_kg",
            Self::KgToLb => "kg_to_lb",
            Self::InToCm => "in_to_cm",
            Self::CmToIn => "cm_to_in",
            Self::TextToInteger => "text_to_integer",
            Self::IntegerToText => "integer_to_text",
            Self::TextToNumber => "text_to_number",
            Self::NumberToText => "number_to_text",
            Self::IntegerToNumber => "integer_to_number",
            Self::Round => "round",
            Self::TextToDate => "text_to_date",
            Self::DateToText => "date_to_text",
            Self::DateToDateTime => "date_to_datetime",
            Self::DateTimeToDate => "datetime_to_date",
            Self::TextToChoice => "text_to_choice",
            Self::ChoiceToText => "choice_to_text",
            Self::BoolToChoice { .. } => PARAMETRIC[0],
            Self::ChoiceToBool { .. } => PARAMETRIC[1],
        }
    }

    /// The names of the types that it takes and gives.
    pub(crate) fn types(&self) -> (&'static str, &'static str) {
        match self {
            Self::FToC | Self::CToF | Self::LbToKg | Self::KgToLb | Self::InToCm | Self::CmToIn => {
                ("number", "number")
            }
            Self::TextToInteger => ("text", "integer"),
            Self::IntegerToText => ("integer", "text"),
            Self::TextToNumber => ("text", "number"),
            Self::NumberToText => ("number", "text"),
            Self::IntegerToNumber => ("integer", "number"),
            Self::Round => ("number", "integer"),
            Self::TextToDate => ("text", "date"),
            Self::DateToText => ("date", "text"),
            Self::DateToDateTime => ("date", "datetime"),
            Self::DateTimeToDate => ("datetime", "date"),
            Self::TextToChoice => ("text", "choice"),
            Self::ChoiceToText => ("choice", "text"),
            Self::BoolToChoice { .. } => ("bool", "choice"),
            Self::ChoiceToBool { .. } => ("choice", "bool"),
        }
    }

    fn inverse(&self) -> Self {
        match self {
            Self::FToC => Self::CToF,
            Self::CToF => Self::FToC,
            Self::LbToKg => Self::KgToLb,
            Self::KgToLb => Self::LbToKg,
            Self::InToCm => Self::CmToIn,
            Self::CmToIn => Self::InToCm,
            Self::TextToInteger => Self::IntegerToText,
            Self::IntegerToText => Self::TextToInteger,
            Self::TextToNumber => Self::NumberToText,
            Self::NumberToText => Self::TextToNumber,
            Self::IntegerToNumber => Self::Round,
            Self::Round => Self::IntegerToNumber,
            Self::TextToDate => Self::DateToText,
            Self::DateToText => Self::TextToDate,
            Self::DateToDateTime => Self::DateTimeToDate,
            Self::DateTimeToDate => Self::DateToDateTime,
            Self::TextToChoice => Self::ChoiceToText,
            Self::ChoiceToText => Self::TextToChoice,
            Self::BoolToChoice { yes, no } => Self::ChoiceToBool {
                yes: yes.clone(),
                no: no.clone(),
            },
            Self::ChoiceToBool { yes, no } => Self::BoolToChoice {
                yes: yes.clone(),
                no: no.clone(),
            },
        }
    }

    /// Carries a value forwards; `None` if it cannot.
    pub(crate) fn forwards(&self, value: &Value) -> Option<Value> {
        match (self, value) {
            (_, Value::Null) => Some(Value::Null),
            (Self::FToC, Value::Number(n)) => measured((n - 32.0) * 5.0 / 9.0),
            (Self::CToF, Value::Number(n)) if is_planted(Flaw::OffsetForgotten) => {
                measured(n * 9.0 / 5.0)
            }
            (Self::CToF, Value::Number(n)) => measured(n * 9.0 / 5.0 + 32.0),
            (Self::LbToKg, Value::Number(n)) => measured(n * KG_PER_LB),
            (Self::KgToLb, Value::Number(n)) => measured(n / KG_PER_LB),
            (Self::InToCm, Value::Number(n)) => measured(n * CM_PER_IN),
            (Self::CmToIn, Value::Number(n)) => measured(n / CM_PER_IN),
            (Self::TextToInteger, Value::Text(text)) => {
                text.trim().parse().ok().map(Value::Integer)
            }
            (Self::IntegerToText, Value::Integer(i)) => Some(Value::Text(i.to_string())),
            (Self::TextToNumber, Value::Text(text)) => {
                text.trim().parse().ok().and_then(Value::number)
            }
            (Self::NumberToText, Value::Number(n)) => Some(Value::Text(n.to_string())),
            (Self::IntegerToNumber, Value::Integer(i)) => {
                let exact = i.unsigned_abs() <= EXACT_MAX;
                exact.then_some(Value::Number(*i as f64))
            }
            (Self::Round, Value::Number(n)) => {
                let whole = n.round();
                // 2^63 is a float and is not an i64; -2^63 is both.
                let limit = (1_u64 << 63) as f64;
                (-limit..limit)
                    .contains(&whole)
                    .then_some(Value::Integer(whole as i64))
            }
            (Self::TextToDate, Value::Text(text)) => {
                let date = jiff::civil::Date::from_str(text.trim()).ok()?.to_string();
                (date == text.trim()).then_some(Value::Text(date))
            }
            (Self::DateToDateTime, Value::Text(text)) => {
                let date = jiff::civil::Date::from_str(text).ok()?;
                Some(Value::Text(format!("{date}T00:00:00Z")))
            }
            (Self::DateTimeToDate, Value::Text(text)) => {
                let moment = jiff::Timestamp::from_str(text).ok()?;
                Some(Value::Text(
                    jiff::tz::Offset::UTC.to_datetime(moment).date().to_string(),
                ))
            }
            (Self::TextToChoice | Self::ChoiceToText | Self::DateToText, Value::Text(_)) => {
                Some(value.clone())
            }
            (Self::BoolToChoice { yes, no }, Value::Bool(flag)) => {
                Some(Value::Text(if *flag { yes } else { no }.clone()))
            }
            (Self::ChoiceToBool { yes, .. }, Value::Text(text)) if text == yes => {
                Some(Value::Bool(true))
            }
            (Self::ChoiceToBool { no, .. }, Value::Text(text)) if text == no => {
                Some(Value::Bool(false))
            }
            _ => None,
        }
    }

    /// Carries a value backwards; `None` if it cannot.
    pub(crate) fn backwards(&self, value: &Value) -> Option<Value> {
        self.inverse().forwards(value)
    }
}

const KG_PER_LB: f64 = 0.453_592_37;
const CM_PER_IN: f64 = 2.54;

/// Up to here a 64-bit float tells every integer from its neighbours.
const EXACT_MAX: u64 = 1 << 53;

/// Rounds a measure to four decimals, so that 98.6 °F is 37 °C and not a hair less.
fn measured(number: f64) -> Option<Value> {
    const PARTS: f64 = 10_000.0;
    let rounded = (number * PARTS).round() / PARTS;
    // The greatest numbers have no decimals to round and would leave the finite ones.
    Value::number(if rounded.is_finite() { rounded } else { number })
}

/// How one text is divided into two, and joined again. A part that nobody gave is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joint {
    /// Divided at the first white space, joined with a space.
    FirstSpace,
    /// Divided at the last white space, joined with a space.
    LastSpace,
    /// Divided at the first comma, joined with a comma and a space.
    Comma,
}

impl Joint {
    /// Its names in schema files: of a split, and of a merge.
    pub(crate) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::FirstSpace => ("first_space", "space"),
            Self::LastSpace => ("last_space", "space_last"),
            Self::Comma => ("first_comma", "comma"),
        }
    }

    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::FirstSpace, Self::LastSpace, Self::Comma];

    /// One of the two parts of a text; `None` if the value is no text.
    pub(crate) fn part(self, index: usize, value: &Value) -> Option<Value> {
        let text = match value {
            Value::Null => return Some(Value::Null),
            Value::Text(text) => text.trim(),
            _ => return None,
        };
        let halves = match self {
            Self::FirstSpace => text.split_once(char::is_whitespace),
            Self::LastSpace => text.rsplit_once(char::is_whitespace),
            Self::Comma => text.split_once(','),
        };
        let (first, second) = halves.unwrap_or((text, ""));
        let half = if index == 0 { first } else { second }.trim();
        Some(match half {
            "" => Value::Null,
            half => Value::Text(half.to_owned()),
        })
    }

    /// The text of two parts; `None` if one is no text.
    pub(crate) fn join(self, parts: &[Value; 2]) -> Option<Value> {
        let mut texts = Vec::new();
        for part in parts {
            match part {
                Value::Null => {}
                Value::Text(text) => texts.push(text.as_str()),
                _ => return None,
            }
        }
        let between = if self == Self::Comma { ", " } else { " " };
        Some(match texts.is_empty() {
            true => Value::Null,
            false => Value::Text(texts.join(between)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn measures_are_converted_without_a_trace_of_binary_fractions() {
        assert_eq!(
            Function::FToC.forwards(&Value::Number(98.6)),
            Some(Value::Number(37.0))
        );
        assert_eq!(
            Function::FToC.backwards(&Value::Number(37.0)),
            Some(Value::Number(98.6))
        );
        assert_eq!(Function::CToF.forwards(&Value::Number(f64::MAX)), None);
    }

    #[test]
    fn every_function_has_an_inverse_that_turns_its_types_round() {
        for function in PLAIN {
            let (takes, gives) = function.types();
            assert_eq!(function.inverse().types(), (gives, takes), "{function:?}");
            assert_eq!(function.inverse().inverse(), function);
            assert_eq!(function.forwards(&Value::Null), Some(Value::Null));
        }
    }

    #[test]
    fn values_round_trip_where_nothing_is_lost() {
        let yes_no = Function::BoolToChoice {
            yes: "yes".into(),
            no: "no".into(),
        };
        for (function, before, after) in [
            (Function::TextToInteger, text("12"), Value::Integer(12)),
            (Function::TextToNumber, text("36.6"), Value::Number(36.6)),
            (
                Function::IntegerToNumber,
                Value::Integer(-3),
                Value::Number(-3.0),
            ),
            (
                Function::DateToDateTime,
                text("2026-11-21"),
                text("2026-11-21T00:00:00Z"),
            ),
            (yes_no, Value::Bool(false), text("no")),
        ] {
            assert_eq!(function.forwards(&before), Some(after.clone()));
            assert_eq!(function.backwards(&after), Some(before));
        }
    }

    #[test]
    fn what_cannot_be_carried_is_not() {
        assert_eq!(Function::TextToInteger.forwards(&text("twelve")), None);
        assert_eq!(Function::TextToDate.forwards(&text("soon")), None);
        assert_eq!(Function::FToC.forwards(&text("37")), None);
        assert_eq!(Function::Round.forwards(&Value::Number(1e300)), None);
        let beyond = Value::Integer((1 << 53) + 1);
        assert_eq!(Function::IntegerToNumber.forwards(&beyond), None);
    }

    #[test]
    fn texts_are_divided_and_joined() {
        let name = text("Amina Wanjiru Otieno");
        let part = |joint: Joint, index| joint.part(index, &name).unwrap();

        assert_eq!(part(Joint::FirstSpace, 0), text("Amina"));
        assert_eq!(part(Joint::FirstSpace, 1), text("Wanjiru Otieno"));
        assert_eq!(part(Joint::LastSpace, 1), text("Otieno"));
        assert_eq!(Joint::FirstSpace.part(1, &text("Amina")), Some(Value::Null));
        assert_eq!(
            Joint::Comma.join(&[text("Otieno"), text("Amina")]),
            Some(text("Otieno, Amina"))
        );
        assert_eq!(
            Joint::Comma.join(&[Value::Null, text("Amina")]),
            Some(text("Amina"))
        );
    }
}
