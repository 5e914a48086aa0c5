//! Reads `[[review]]`: the conditions that a person is asked about.

use std::ops::Range;

use indexmap::IndexMap;
use toml::Spanned;

use super::keys::{Keys, quoted, wrong_type};
use super::report::Report;
use super::{Collection, Role};
use crate::ident::check_key;
use crate::nearest::advice;
use crate::rule::{Condition, ConditionError};

/// Most rules in a schema.
pub const RULES_MAX: usize = 200;

/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 500;

const RULE_KEYS: [&str; 5] = ["in", "when", "reason", "role", "name"];

/// A condition over a merged record that a person is asked about as long as it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name within the collection; the text of its condition if the schema gives it none.
    pub name: String,
    /// When a review opens.
    pub condition: Condition,
    /// Why, for people.
    pub reason: String,
    /// The role that may answer; if there is none, those that may in this collection.
    pub role: Option<String>,
}

/// Reads the rules and gives each to its collection.
pub(super) fn read(
    source: &str,
    keys: Keys<'_>,
    roles: &IndexMap<String, Role>,
    collections: &mut IndexMap<String, Collection>,
    report: &mut Report<'_>,
) {
    let Some((key, value)) = keys.get("review") else {
        return;
    };
    let Some(items) = value.get_ref().as_array() else {
        wrong_type("review", "tables, each under `[[review]]`", value, report);
        return;
    };
    if items.len() > RULES_MAX {
        report.error(key, format!("more than {RULES_MAX} rules"));
        return;
    }
    for item in items {
        let Some(table) = item.get_ref().as_table() else {
            wrong_type("review", "tables, each under `[[review]]`", item, report);
            continue;
        };
        let keys = Keys::read(table, &RULE_KEYS, report);
        for needed in ["in", "when", "reason"] {
            if keys.get(needed).is_none() {
                let message = format!("the rule has no `{needed}`");
                let hint = "a rule looks like: in = \"stock\", when = \"on_hand < 0\", reason = \"it went negative\"";
                report.error_with_hint(item.span(), message, hint);
            }
        }
        read_rule(source, keys, roles, collections, report);
    }
}

fn read_rule(
    source: &str,
    keys: Keys<'_>,
    roles: &IndexMap<String, Role>,
    collections: &mut IndexMap<String, Collection>,
    report: &mut Report<'_>,
) -> Option<()> {
    let role = read_role(keys, roles, report);
    let reason = keys.text("reason", report);
    if let Some(reason) = &reason
        && (reason.get_ref().trim().is_empty() || reason.get_ref().len() > REASON_BYTES_MAX)
    {
        let message = format!("a reason is 1 to {REASON_BYTES_MAX} bytes");
        report.error(reason.span(), message);
    }
    let given = keys.text("in", report)?;
    let names: Vec<&str> = collections.keys().map(String::as_str).collect();
    if !collections.contains_key(*given.get_ref()) {
        let message = format!("there is no collection {}", quoted(given.get_ref()));
        report.error_with_hint(given.span(), message, advice(given.get_ref(), &names));
    }
    let collection = collections.get_mut(*given.get_ref())?;
    let when = keys.text("when", report)?;
    let condition = Condition::parse(when.get_ref(), &collection.fields);
    let condition = match condition {
        Ok(condition) => condition,
        Err(error) => {
            let ConditionError {
                span,
                message,
                hint,
            } = error;
            report.error_with_hint(place(source, &when, span), message, hint);
            return None;
        }
    };
    let name = read_name(keys, &when, report)?;
    if collection
        .rules
        .iter()
        .any(|rule| rule.name == *name.get_ref())
    {
        let message = format!(
            "the collection has a rule {} already",
            quoted(name.get_ref())
        );
        report.error_with_hint(name.span(), message, "give each a `name` of its own");
    }
    collection.rules.push(Rule {
        name: name.into_inner(),
        condition,
        reason: (*reason?.get_ref()).to_owned(),
        role,
    });
    Some(())
}

fn read_role(
    keys: Keys<'_>,
    roles: &IndexMap<String, Role>,
    report: &mut Report<'_>,
) -> Option<String> {
    let role = keys.text("role", report)?;
    if !roles.contains_key(*role.get_ref()) {
        let names: Vec<&str> = roles.keys().map(String::as_str).collect();
        let hint = match names.as_slice() {
            [] => "declare it under `[roles]`".to_owned(),
            names => advice(role.get_ref(), names),
        };
        let message = format!("there is no role {}", quoted(role.get_ref()));
        report.error_with_hint(role.span(), message, hint);
    }
    Some((*role.get_ref()).to_owned())
}

/// The given name, or the condition itself: it stays the same wherever the rule stands in the file.
fn read_name(
    keys: Keys<'_>,
    when: &Spanned<&str>,
    report: &mut Report<'_>,
) -> Option<Spanned<String>> {
    if keys.get("name").is_none() {
        let words: Vec<&str> = when.get_ref().split_whitespace().collect();
        return Some(Spanned::new(when.span(), words.join(" ")));
    }
    let name = keys.text("name", report)?;
    if check_key(name.get_ref()).is_err() {
        let message = format!("{} cannot be the name of a rule", quoted(name.get_ref()));
        let hint = "use a lower-case letter, then lower-case letters, digits or `_`";
        report.error_with_hint(name.span(), message, hint);
    }
    Some(Spanned::new(name.span(), (*name.get_ref()).to_owned()))
}

/// Where a part of the condition stands in the file; the whole string if it is written with escapes.
fn place(source: &str, when: &Spanned<&str>, part: Range<usize>) -> Range<usize> {
    let whole = when.span();
    let inner = source
        .get(whole.clone())
        .and_then(|raw| raw.get(1..raw.len().checked_sub(1)?));
    match inner {
        Some(inner) if inner == *when.get_ref() => {
            whole.start + 1 + part.start..whole.start + 1 + part.end
        }
        _ => whole,
    }
}
