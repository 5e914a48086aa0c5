//! A TOML table all of whose keys must be known, and typed access to its values.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::report::Report;
use crate::ident::check_key;
use crate::nearest::advice;

/// A table of the file. Asking for a key that has a value of the wrong type reports it and gives
/// `None`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys<'t> {
    table: &'t DeTable<'t>,
}

impl<'t> Keys<'t> {
    /// Takes a table in which only `known` keys may stand; reports all others.
    pub(super) fn read(table: &'t DeTable<'t>, known: &[&str], report: &mut Report<'_>) -> Self {
        for key in table.keys() {
            if !known.contains(&key.get_ref().as_ref()) {
                let message = format!("unknown key {}", quoted(key.get_ref()));
                report.error_with_hint(key.span(), message, advice(key.get_ref(), known));
            }
        }
        Self { table }
    }

    /// The key's place and its value.
    pub(super) fn get(self, key: &str) -> Option<(Range<usize>, &'t Spanned<DeValue<'t>>)> {
        let (key, value) = self.table.iter().find(|(name, _)| name.get_ref() == key)?;
        Some((key.span(), value))
    }

    /// A string.
    pub(super) fn text(self, key: &str, report: &mut Report<'_>) -> Option<Spanned<&'t str>> {
        let (_, value) = self.get(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            wrong_type(key, "a string", value, report);
        }
        text.map(|text| Spanned::new(value.span(), text))
    }

    /// `true` or `false`; `false` if the key is absent.
    pub(super) fn flag(self, key: &str, report: &mut Report<'_>) -> bool {
        let Some((_, value)) = self.get(key) else {
            return false;
        };
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            wrong_type(key, "`true` or `false`", value, report);
        }
        flag.unwrap_or(false)
    }

    /// A table.
    pub(super) fn table(self, key: &str, report: &mut Report<'_>) -> Option<&'t DeTable<'t>> {
        let (_, value) = self.get(key)?;
        let table = value.get_ref().as_table();
        if table.is_none() {
            wrong_type(key, "a table", value, report);
        }
        table
    }
}

/// Reports a value that is not what its key takes.
pub(super) fn wrong_type(
    key: &str,
    takes: &str,
    found: &Spanned<DeValue<'_>>,
    report: &mut Report<'_>,
) {
    let message = format!(
        "{} takes {takes}, found {}",
        quoted(key),
        noun(found.get_ref())
    );
    report.error(found.span(), message);
}

/// Reports a name that breaks the rules for names. Returns whether it keeps them.
pub(super) fn check_name(
    what: &str,
    name: &Spanned<DeString<'_>>,
    report: &mut Report<'_>,
) -> bool {
    let good = check_key(name.get_ref()).is_ok();
    if !good {
        report.error_with_hint(
            name.span(),
            format!("{} cannot be a {what}", quoted(name.get_ref())),
            "use a lower-case letter, then lower-case letters, digits or `_`, at most 64 bytes",
        );
    }
    good
}

/// A name from the file for a message, cut if it is endless and with control characters escaped.
pub(super) fn quoted(name: &str) -> String {
    const SHOWN_MAX: usize = 64;
    let shown: String = name
        .chars()
        .take(SHOWN_MAX)
        .flat_map(char::escape_debug)
        .collect();
    format!("`{shown}`")
}

fn noun(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// An integer of the file, if it fits 64 bits.
pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let digits = value.as_integer()?;
    i64::from_str_radix(digits.as_str(), digits.radix()).ok()
}

/// A value of the file as JSON; the place and the reason if JSON cannot say it.
pub(super) fn json(
    value: &Spanned<DeValue<'_>>,
) -> Result<serde_json::Value, (Range<usize>, &'static str)> {
    Ok(match value.get_ref() {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Integer(_) => match integer(value.get_ref()) {
            Some(number) => number.into(),
            None => return Err((value.span(), "the number is too large")),
        },
        DeValue::Float(float) => {
            let number = float
                .as_str()
                .parse()
                .ok()
                .and_then(serde_json::Number::from_f64);
            number
                .ok_or_else(|| (value.span(), "the number is not finite"))?
                .into()
        }
        DeValue::Array(items) => items
            .iter()
            .map(json)
            .collect::<Result<Vec<_>, _>>()?
            .into(),
        DeValue::Table(table) => {
            let entries = table
                .iter()
                .map(|(key, value)| Ok((key.to_string(), json(value)?)));
            serde_json::Value::Object(entries.collect::<Result<_, _>>()?)
        }
    })
}
