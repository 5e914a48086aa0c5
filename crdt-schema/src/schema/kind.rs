//! Reads the type of a field: its name in the file, and what a choice, a set or a reference is of.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeString, DeValue};

use super::FieldType;
use super::keys::{Keys, quoted, wrong_type};
use super::report::Report;
use super::typed::ELEMENT_BYTES_MAX;
use crate::nearest::{advice, advice_or};

/// Most choices of a field.
pub(super) const CHOICES_MAX: usize = 1000;

/// The names of the types.
pub(super) const TYPES: [&str; 11] = [
    "text", "integer", "number", "bool", "choice", "date", "datetime", "ref", "counter", "set",
    "json",
];

/// What other systems call our types.
const FOREIGN_TYPES: [(&str, &str); 14] = [
    ("string", "text"),
    ("str", "text"),
    ("int", "integer"),
    ("float", "number"),
    ("double", "number"),
    ("decimal", "number"),
    ("boolean", "bool"),
    ("enum", "choice"),
    ("timestamp", "datetime"),
    ("time", "datetime"),
    ("reference", "ref"),
    ("list", "set"),
    ("array", "set"),
    ("object", "json"),
];

/// The type that the field names, if there is such a type.
pub(super) fn read_name(
    name: &Spanned<DeString<'_>>,
    keys: Keys<'_>,
    report: &mut Report<'_>,
) -> Option<&'static str> {
    if keys.get("type").is_none() {
        let message = format!("field {} has no type", quoted(name.get_ref()));
        report.error_with_hint(
            name.span(),
            message,
            "add `type = \"text\"` or another type",
        );
        return None;
    }
    let given = keys.text("type", report)?;
    let known = TYPES.into_iter().find(|known| known == given.get_ref());
    if known.is_none() {
        let foreign = FOREIGN_TYPES
            .iter()
            .find(|(foreign, _)| foreign == given.get_ref());
        let hint = match foreign {
            Some((_, ours)) => format!("did you mean `{ours}`?"),
            None => advice(given.get_ref(), &TYPES),
        };
        let message = format!("unknown type {}", quoted(given.get_ref()));
        report.error_with_hint(given.span(), message, hint);
    }
    known
}

/// The type of that name with what it is of.
pub(super) fn read(
    type_name: &str,
    keys: Keys<'_>,
    name: &Spanned<DeString<'_>>,
    collections: &[&str],
    report: &mut Report<'_>,
) -> Option<FieldType> {
    Some(match type_name {
        "text" => FieldType::Text,
        "integer" => FieldType::Integer,
        "number" => FieldType::Number,
        "bool" => FieldType::Bool,
        "choice" => FieldType::Choice {
            of: read_choices(name, keys, report)?,
        },
        "date" => FieldType::Date,
        "datetime" => FieldType::DateTime,
        "ref" => FieldType::Ref {
            to: read_target(name, keys, collections, report)?,
        },
        "counter" => FieldType::Counter,
        "set" => FieldType::Set {
            of: Box::new(read_element_type(name, keys, report)?),
        },
        _ => FieldType::Json,
    })
}

fn read_target(
    name: &Spanned<DeString<'_>>,
    keys: Keys<'_>,
    collections: &[&str],
    report: &mut Report<'_>,
) -> Option<String> {
    if keys.get("to").is_none() {
        let message = format!(
            "field {} does not say what it refers to",
            quoted(name.get_ref())
        );
        report.error_with_hint(
            name.span(),
            message,
            "add `to = \"…\"` with a collection's name",
        );
        return None;
    }
    let target = keys.text("to", report)?;
    if !collections.contains(target.get_ref()) {
        let message = format!("there is no collection {}", quoted(target.get_ref()));
        let hint = advice(target.get_ref(), collections);
        report.error_with_hint(target.span(), message, hint);
        return None;
    }
    Some((*target.get_ref()).to_owned())
}

fn read_element_type(
    name: &Spanned<DeString<'_>>,
    keys: Keys<'_>,
    report: &mut Report<'_>,
) -> Option<FieldType> {
    const ELEMENTS: &str = "`text`, `integer`, `date` or a list of choices";
    let Some((_, value)) = keys.get("of") else {
        let message = format!(
            "field {} does not say what it is a set of",
            quoted(name.get_ref())
        );
        report.error_with_hint(
            name.span(),
            message,
            "add `of = \"text\"` or a list of choices",
        );
        return None;
    };
    match value.get_ref() {
        DeValue::Array(_) => read_choices(name, keys, report).map(|of| FieldType::Choice { of }),
        DeValue::String(of) => match of.as_ref() {
            "text" => Some(FieldType::Text),
            "integer" => Some(FieldType::Integer),
            "date" => Some(FieldType::Date),
            other => {
                let message = format!("a set cannot be of {}", quoted(other));
                let hint = advice_or(other, &["text", "integer", "date"], || {
                    format!("a set is of {ELEMENTS}")
                });
                report.error_with_hint(value.span(), message, hint);
                None
            }
        },
        _ => {
            wrong_type("of", ELEMENTS, value, report);
            None
        }
    }
}

fn read_choices(
    name: &Spanned<DeString<'_>>,
    keys: Keys<'_>,
    report: &mut Report<'_>,
) -> Option<Vec<String>> {
    const HINT: &str = "list them: `of = [\"open\", \"closed\"]`";
    let Some((_, value)) = keys.get("of") else {
        let message = format!("field {} has no choices", quoted(name.get_ref()));
        report.error_with_hint(name.span(), message, HINT);
        return None;
    };
    let Some(items) = value.get_ref().as_array() else {
        wrong_type("of", "a list of choices", value, report);
        return None;
    };
    if items.is_empty() {
        report.error_with_hint(value.span(), "the list of choices is empty", HINT);
        return None;
    }
    if items.len() > CHOICES_MAX {
        let message = format!("{} choices, at most {CHOICES_MAX} can be", items.len());
        report.error_with_hint(value.span(), message, "make them records and refer to them");
        return None;
    }
    check_choices(items, report);
    Some(
        items
            .iter()
            .filter_map(|item| item.get_ref().as_str())
            .map(str::to_owned)
            .collect(),
    )
}

fn check_choices(items: &[Spanned<DeValue<'_>>], report: &mut Report<'_>) {
    const RULE: &str = "a choice is visible text without white space around it";
    let mut seen = BTreeSet::new();
    for item in items {
        let Some(choice) = item.get_ref().as_str() else {
            wrong_type("of", "a list of strings", item, report);
            continue;
        };
        if choice.trim() != choice || choice.is_empty() || choice.contains(char::is_control) {
            let message = format!("{} cannot be a choice", quoted(choice));
            report.error_with_hint(item.span(), message, RULE);
        } else if choice.len() > ELEMENT_BYTES_MAX {
            let message = format!("the choice is longer than {ELEMENT_BYTES_MAX} bytes");
            report.error(item.span(), message);
        } else if !seen.insert(choice) {
            let message = format!("the choice {} is listed twice", quoted(choice));
            report.error(item.span(), message);
        }
    }
}
