//! From JSON, and from the text of a CSV cell, to a value of a field's type.
//!
//! A value that is returned keeps the field's type, bounds and choices, and equal values are equal
//! in bytes: dates and times are normalised, JSON is compact. Whether a reference's record exists
//! is not known here.

use std::cmp::Ordering;
use std::str::FromStr;

use serde_json::Value as Json;

use super::{Field, FieldError, FieldType};
use crate::ident::check_record_id;
use crate::nearest::{advice_or, listed};
use crate::value::Value;

/// Longest text, and longest JSON of a `json` field, in bytes.
pub const TEXT_BYTES_MAX: usize = 64 << 10;

/// Longest text that is an element of a set, in bytes: each element is a key of the record's
/// document.
pub const ELEMENT_BYTES_MAX: usize = 1 << 10;

/// Reads a register's value. `null` is [`Value::Null`], which clears the field.
///
/// # Errors
/// What is wrong with it. Counters and sets are not registers and take intents only.
pub fn value_from_json(field: &Field, json: &Json) -> Result<Value, FieldError> {
    match (&field.kind, json) {
        (FieldType::Counter, _) => Err(counter_needs_add(field)),
        (FieldType::Set { .. }, _) => {
            let message = format!(
                "{} is a set: use {{\"$insert\": …}} or {{\"$remove\": …}}",
                field.name
            );
            Err(FieldError::new(&field.name, "wrong_type", message))
        }
        (_, Json::Null) if field.required => {
            let message = format!("{} is required and cannot be cleared", field.name);
            Err(FieldError::new(&field.name, "missing_required", message))
        }
        (_, Json::Null) => Ok(Value::Null),
        (kind, json) => within_bounds(field, scalar_from_json(field, kind, json)?),
    }
}

/// Reads the text of a CSV cell. An empty cell, or one of white space, is `None`. A counter's cell
/// is an integer.
///
/// # Errors
/// What is wrong with it. A set's cell is read with [`elements_from_text`].
pub fn value_from_text(field: &Field, text: &str) -> Result<Option<Value>, FieldError> {
    let cell = text.trim();
    if cell.is_empty() {
        return Ok(None);
    }
    let value = match &field.kind {
        FieldType::Text => string(field, &field.kind, text)?,
        FieldType::Json => match serde_json::from_str::<Json>(cell) {
            Ok(json) => return value_from_json(field, &json).map(Some),
            Err(_) => return Err(wrong_type(field, &field.kind, &quote(cell))),
        },
        FieldType::Counter => return scalar_from_text(field, &FieldType::Integer, cell).map(Some),
        kind => scalar_from_text(field, kind, cell)?,
    };
    within_bounds(field, value).map(Some)
}

/// Reads the elements in a CSV cell of a set, separated by `;`. Each is returned once.
///
/// # Errors
/// What is wrong with the first bad element.
pub fn elements_from_text(field: &Field, text: &str) -> Result<Vec<Value>, FieldError> {
    let FieldType::Set { of } = &field.kind else {
        let message = format!("{} is not a set", field.name);
        return Err(FieldError::new(&field.name, "wrong_type", message));
    };
    let mut elements = Vec::new();
    for part in text
        .split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        elements.push(within_element_size(
            field,
            scalar_from_text(field, of, part)?,
        )?);
    }
    elements.sort_by_cached_key(Value::canonical_bytes);
    elements.dedup();
    Ok(elements)
}

/// Reads one element of a set whose elements are `of`.
pub(crate) fn element_from_json(
    field: &Field,
    of: &FieldType,
    json: &Json,
) -> Result<Value, FieldError> {
    within_element_size(field, scalar_from_json(field, of, json)?)
}

/// The error for a value where an intent is needed.
pub(crate) fn counter_needs_add(field: &Field) -> FieldError {
    let message = format!(
        "{0} is a counter: to add 3 to it, write {{\"{0}\": {{\"$add\": 3}}}}",
        field.name
    );
    FieldError::new(&field.name, "counter_needs_add", message)
}

/// An integer that fits 64 bits, also when written as `2.0`.
pub(crate) fn integer_from_json(json: &Json) -> Option<i64> {
    json.as_i64().or_else(|| json.as_f64().and_then(integral))
}

/// What a client sent, for a message: short, and without control characters.
pub(crate) fn shown(json: &Json) -> String {
    match json {
        Json::Null => "nothing".to_owned(),
        Json::Bool(_) | Json::Number(_) => json.to_string(),
        Json::String(text) => quote(text),
        Json::Array(_) => "a list".to_owned(),
        Json::Object(_) => "an object".to_owned(),
    }
}

fn scalar_from_json(field: &Field, kind: &FieldType, json: &Json) -> Result<Value, FieldError> {
    let value = match (kind, json) {
        (FieldType::Json, json) => return compact_json(field, json),
        (FieldType::Integer, Json::Number(_)) => integer_from_json(json).map(Value::Integer),
        (FieldType::Number, Json::Number(number)) => number.as_f64().and_then(Value::number),
        (FieldType::Bool, Json::Bool(flag)) => Some(Value::Bool(*flag)),
        (
            FieldType::Text
            | FieldType::Choice { .. }
            | FieldType::Date
            | FieldType::DateTime
            | FieldType::Ref { .. },
            Json::String(text),
        ) => return string(field, kind, text),
        _ => None,
    };
    value.ok_or_else(|| wrong_type(field, kind, &shown(json)))
}

fn scalar_from_text(field: &Field, kind: &FieldType, text: &str) -> Result<Value, FieldError> {
    let value = match kind {
        FieldType::Integer => {
            let whole = i64::from_str(text).ok();
            whole
                .or_else(|| f64::from_str(text).ok().and_then(integral))
                .map(Value::Integer)
        }
        FieldType::Number => f64::from_str(text).ok().and_then(Value::number),
        FieldType::Bool => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Some(Value::Bool(true)),
            "false" | "no" | "0" => Some(Value::Bool(false)),
            _ => None,
        },
        _ => return string(field, kind, text),
    };
    value.ok_or_else(|| wrong_type(field, kind, &quote(text)))
}

/// Reads the types that are kept as text.
fn string(field: &Field, kind: &FieldType, text: &str) -> Result<Value, FieldError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(too_long(field, text.len(), TEXT_BYTES_MAX));
    }
    let kept = match kind {
        FieldType::Text => Some(text.to_owned()),
        FieldType::Choice { of } => return choice(field, of, text),
        FieldType::Date => date(text),
        FieldType::DateTime => moment(text),
        FieldType::Ref { .. } => check_record_id(text).is_ok().then(|| text.to_owned()),
        _ => None,
    };
    kept.map(Value::Text)
        .ok_or_else(|| wrong_type(field, kind, &quote(text)))
}

fn choice(field: &Field, of: &[String], text: &str) -> Result<Value, FieldError> {
    if of.iter().any(|choice| choice == text) {
        return Ok(Value::Text(text.to_owned()));
    }
    let names: Vec<&str> = of.iter().map(String::as_str).collect();
    let advice = advice_or(text, &names, || {
        format!("the choices are {}", listed(&names))
    });
    let message = format!("{} cannot be {}; {advice}", field.name, quote(text));
    Err(FieldError::new(&field.name, "not_a_choice", message))
}

/// `2026-11-21` and no other spelling of a date.
fn date(text: &str) -> Option<String> {
    let date = jiff::civil::Date::from_str(text).ok()?.to_string();
    (date == text && !text.starts_with('-')).then_some(date)
}

/// A moment in UTC, given with any offset. Seconds may be left out.
fn moment(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let separated = matches!(bytes.get(10), Some(b'T' | b't' | b' '));
    let in_shape = separated && bytes[4] == b'-' && bytes[7] == b'-' && !text.contains('[');
    let moment = jiff::Timestamp::from_str(text)
        .ok()
        .filter(|_| in_shape)?
        .to_string();
    // An offset can carry the first and last hours of the calendar out of years of four digits.
    moment
        .starts_with(|c: char| c.is_ascii_digit())
        .then_some(moment)
}

fn compact_json(field: &Field, json: &Json) -> Result<Value, FieldError> {
    let text = json.to_string();
    if text.len() > TEXT_BYTES_MAX {
        return Err(too_long(field, text.len(), TEXT_BYTES_MAX));
    }
    Ok(Value::Json(text))
}

fn integral(number: f64) -> Option<i64> {
    // 2^63 is a float and is not an i64; -2^63 is both.
    const LIMIT: f64 = (1_u64 << 63) as f64;
    (number.fract() == 0.0 && (-LIMIT..LIMIT).contains(&number)).then_some(number as i64)
}

/// Checks a value that a device wrote under a schema that may have been another one. A cleared
/// field is wrong only if it is required.
pub(crate) fn check_value(field: &Field, value: &Value) -> Result<(), FieldError> {
    match (&field.kind, value) {
        (FieldType::Text, Value::Text(_))
        | (FieldType::Integer, Value::Integer(_))
        | (FieldType::Number, Value::Number(_)) => check_bounds(field, value),
        _ => value_from_json(field, &value.to_json()).map(drop),
    }
}

fn within_bounds(field: &Field, value: Value) -> Result<Value, FieldError> {
    check_bounds(field, &value).map(|()| value)
}

/// Checks a value, or a counter's sum, against the field's least and greatest.
pub(crate) fn check_bounds(field: &Field, value: &Value) -> Result<(), FieldError> {
    let (size, unit) = match value {
        Value::Text(text) => (text.chars().count().to_string(), " characters long"),
        other => (other.to_string(), ""),
    };
    let error = |code, side, bound| {
        let message = format!("{} must be {side} {bound}{unit}, found {size}", field.name);
        Err(FieldError::new(&field.name, code, message))
    };
    if let Some(min) = field
        .min
        .filter(|&min| compare(value, min) == Some(Ordering::Less))
    {
        return error("below_min", "at least", min);
    }
    if let Some(max) = field
        .max
        .filter(|&max| compare(value, max) == Some(Ordering::Greater))
    {
        return error("above_max", "at most", max);
    }
    Ok(())
}

fn compare(value: &Value, bound: f64) -> Option<Ordering> {
    match value {
        Value::Text(text) => (text.chars().count() as f64).partial_cmp(&bound),
        // The schema allows integers only as the bounds of integers, so the cast loses nothing.
        Value::Integer(i) => Some(i128::from(*i).cmp(&(bound as i128))),
        Value::Number(n) => n.partial_cmp(&bound),
        Value::Null | Value::Bool(_) | Value::Json(_) => None,
    }
}

fn within_element_size(field: &Field, element: Value) -> Result<Value, FieldError> {
    match &element {
        Value::Text(text) if text.len() > ELEMENT_BYTES_MAX => {
            Err(too_long(field, text.len(), ELEMENT_BYTES_MAX))
        }
        Value::Text(text) if text.trim().is_empty() => {
            let message = format!("an element of {} cannot be empty", field.name);
            Err(FieldError::new(&field.name, "wrong_type", message))
        }
        _ => Ok(element),
    }
}

fn too_long(field: &Field, found: usize, max: usize) -> FieldError {
    let message = format!("{} takes at most {max} bytes, found {found}", field.name);
    FieldError::new(&field.name, "above_max", message)
}

fn wrong_type(field: &Field, kind: &FieldType, found: &str) -> FieldError {
    let takes = match kind {
        FieldType::Text => "a text".to_owned(),
        FieldType::Integer | FieldType::Counter => "a whole number such as 12".to_owned(),
        FieldType::Number => "a number such as 36.6".to_owned(),
        FieldType::Bool => "true or false".to_owned(),
        FieldType::Choice { of } => {
            let names: Vec<&str> = of.iter().map(String::as_str).collect();
            format!("one of {}", listed(&names))
        }
        FieldType::Date => "a date such as 2026-11-21".to_owned(),
        FieldType::DateTime => {
            "a date and time with its offset, such as 2026-11-21T10:30:00+03:00".to_owned()
        }
        FieldType::Ref { to } => format!("the id of a {to}"),
        FieldType::Set { .. } => "a list".to_owned(),
        FieldType::Json => "JSON".to_owned(),
    };
    FieldError::new(
        &field.name,
        "wrong_type",
        format!("{} takes {takes}, found {found}", field.name),
    )
}

fn quote(text: &str) -> String {
    const SHOWN_MAX: usize = 40;
    let shown: String = text.chars().take(SHOWN_MAX).collect();
    let rest = if shown.len() < text.len() { "…" } else { "" };
    format!("{shown:?}{rest}")
}
