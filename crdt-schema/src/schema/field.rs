//! Reads one field of a schema file.

use toml::Spanned;
use toml::de::{DeString, DeValue};

use super::flag;
use super::keys::{Keys, check_name, integer, json, quoted, wrong_type};
use super::kind::{self, TYPES};
use super::report::Report;
use super::typed;
use super::{Field, MergePolicy, OnDelete, Priority, Provisional};
use crate::nearest::{advice, listed};
use crate::value::Value;

/// Greatest bound: up to here a 64-bit float tells every integer from its neighbours.
const BOUND_MAX: i64 = 1 << 53;

pub(super) const FIELD_KEYS: [&str; 16] = [
    "type",
    "required",
    "default",
    "min",
    "max",
    "merge",
    "of",
    "to",
    "key",
    "provisional",
    "priority",
    "since",
    "until",
    "rollout",
    "trial",
    "on_delete",
];
pub(super) const POLICIES: [MergePolicy; 8] = [
    MergePolicy::Lww,
    MergePolicy::Review,
    MergePolicy::Max,
    MergePolicy::Min,
    MergePolicy::Rank,
    MergePolicy::Counter,
    MergePolicy::Set,
    MergePolicy::RemoveWins,
];
pub(super) const PROVISIONALS: [Provisional; 2] = [Provisional::Lww, Provisional::Previous];
pub(super) const PRIORITIES: [Priority; 2] = [Priority::Critical, Priority::Normal];
const ON_DELETE: [OnDelete; 4] = [
    OnDelete::Review,
    OnDelete::Restrict,
    OnDelete::Cascade,
    OnDelete::Detach,
];

/// Reads a field, reporting all that is wrong with it. `collections` are the names of all
/// collections of the file, right or wrong in themselves.
pub(super) fn read(
    name: &Spanned<DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
    collections: &[&str],
    report: &mut Report<'_>,
) -> Option<Field> {
    let named = check_name("field name", name, report);
    let Some(table) = value.get_ref().as_table() else {
        report.error_with_hint(
            value.span(),
            format!("field {} is not a table", quoted(name.get_ref())),
            format!(
                "write {} = {{ type = \"text\" }}",
                name.get_ref().escape_debug()
            ),
        );
        return None;
    };
    let keys = Keys::read(table, &FIELD_KEYS, report);
    let key = read_stored_key(name, keys, report);
    let required = keys.flag("required", report);
    let type_name = kind::read_name(name, keys, report);
    let merge = read_policy(type_name, keys, report);
    let provisional = read_provisional(merge, keys, report);
    let priority = read_word("priority", &PRIORITIES, Priority::name, keys, report);
    let flags = flag::read(keys, report);
    let trial = flag::read_trial(type_name, keys, report);
    let on_delete = read_word("on_delete", &ON_DELETE, OnDelete::name, keys, report);
    check_detach(on_delete, required, keys, report);
    let type_name = type_name?;

    check_applicable(type_name, keys, report);
    let min = read_bound("min", type_name, keys, report);
    let max = read_bound("max", type_name, keys, report);
    check_bounds(min, max, keys, report);
    let kind = kind::read(type_name, keys, name, collections, report);
    named.then_some(())?;
    let mut field = Field {
        name: name.to_string(),
        key: key?,
        kind: kind?,
        required,
        default: None,
        min,
        max,
        merge: merge?,
        provisional: provisional?,
        priority: priority?,
        flags: flags?,
        trial: trial?,
        on_delete: on_delete?,
    };
    field.default = read_default(&field, keys, report);
    Some(field)
}

fn read_stored_key(
    name: &Spanned<DeString<'_>>,
    keys: Keys<'_>,
    report: &mut Report<'_>,
) -> Option<String> {
    if keys.get("key").is_none() {
        return Some(name.to_string());
    }
    let key = keys.text("key", report)?;
    let key = Spanned::new(key.span(), DeString::from(*key.get_ref()));
    check_name("stored key", &key, report).then(|| key.to_string())
}

/// The policies that fields of that type may merge by; the type's own first.
pub(super) fn policies(type_name: &str) -> &'static [MergePolicy] {
    match type_name {
        "counter" => &[MergePolicy::Counter],
        "set" => &[MergePolicy::Set, MergePolicy::RemoveWins],
        "choice" => &[MergePolicy::Lww, MergePolicy::Review, MergePolicy::Rank],
        "integer" | "number" | "date" | "datetime" => &[
            MergePolicy::Lww,
            MergePolicy::Review,
            MergePolicy::Max,
            MergePolicy::Min,
        ],
        _ => &[MergePolicy::Lww, MergePolicy::Review],
    }
}

/// The declared policy or the type's own. Without a type, only the policy's name is checked.
pub(super) fn read_policy(
    type_name: Option<&str>,
    keys: Keys<'_>,
    report: &mut Report<'_>,
) -> Option<MergePolicy> {
    let allowed = type_name.map_or(&POLICIES[..], policies);
    if keys.get("merge").is_none() {
        return allowed.first().copied();
    }
    let given = keys.text("merge", report)?;
    let names: Vec<&str> = allowed.iter().map(|policy| policy.name()).collect();
    let Some(policy) = POLICIES
        .into_iter()
        .find(|policy| policy.name() == *given.get_ref())
    else {
        let message = format!("unknown merge policy {}", quoted(given.get_ref()));
        report.error_with_hint(given.span(), message, advice(given.get_ref(), &names));
        return None;
    };
    if !allowed.contains(&policy) {
        let message = format!(
            "a `{}` field cannot merge by `{}`",
            type_name.unwrap_or_default(),
            policy.name()
        );
        report.error_with_hint(
            given.span(),
            message,
            format!("it can by {}", listed(&names)),
        );
        return None;
    }
    Some(policy)
}

/// A reference that may read as empty cannot be required.
fn check_detach(
    on_delete: Option<OnDelete>,
    required: bool,
    keys: Keys<'_>,
    report: &mut Report<'_>,
) {
    let (Some(OnDelete::Detach), true) = (on_delete, required) else {
        return;
    };
    if let Some((place, _)) = keys.get("on_delete") {
        report.error_with_hint(
            place,
            "a required reference cannot be detached",
            "use `review`, `restrict` or `cascade`, or leave out `required`",
        );
    }
}

/// What is shown while a review is open; means nothing where concurrent writes open none.
fn read_provisional(
    merge: Option<MergePolicy>,
    keys: Keys<'_>,
    report: &mut Report<'_>,
) -> Option<Provisional> {
    if let (Some((place, _)), Some(policy)) = (keys.get("provisional"), merge)
        && policy != MergePolicy::Review
    {
        let message = format!(
            "`provisional` does not apply to fields that merge by `{}`",
            policy.name()
        );
        report.error_with_hint(place, message, "add `merge = \"review\"` or leave it out");
        return None;
    }
    read_word(
        "provisional",
        &PROVISIONALS,
        Provisional::name,
        keys,
        report,
    )
}

/// A key that takes one of a few words; the default if it is absent.
fn read_word<T: Copy + Default>(
    key: &str,
    known: &[T],
    name: fn(T) -> &'static str,
    keys: Keys<'_>,
    report: &mut Report<'_>,
) -> Option<T> {
    if keys.get(key).is_none() {
        return Some(T::default());
    }
    let given = keys.text(key, report)?;
    let found = known.iter().find(|&&word| name(word) == *given.get_ref());
    if found.is_none() {
        let names: Vec<&str> = known.iter().map(|&word| name(word)).collect();
        let message = format!("{} cannot be {}", quoted(key), quoted(given.get_ref()));
        report.error_with_hint(given.span(), message, advice(given.get_ref(), &names));
    }
    found.copied()
}

/// Whether a key of a field means anything for fields of that type.
pub(super) fn applies(key: &str, type_name: &str) -> bool {
    match key {
        "of" => matches!(type_name, "choice" | "set"),
        "to" | "on_delete" => type_name == "ref",
        "min" | "max" => matches!(type_name, "text" | "integer" | "number" | "counter"),
        "required" | "default" => !matches!(type_name, "counter" | "set"),
        _ => true,
    }
}

fn check_applicable(type_name: &str, keys: Keys<'_>, report: &mut Report<'_>) {
    for key in FIELD_KEYS {
        let Some((place, _)) = keys.get(key).filter(|_| !applies(key, type_name)) else {
            continue;
        };
        let hint = if matches!(key, "required" | "default") {
            format!("a {type_name} that nobody has written is empty; leave `{key}` out")
        } else {
            let types: Vec<&str> = TYPES
                .into_iter()
                .filter(|name| applies(key, name))
                .collect();
            format!("`{key}` is for {}", listed(&types))
        };
        let message = format!("`{key}` does not apply to `{type_name}` fields");
        report.error_with_hint(place, message, hint);
    }
}

fn read_bound(key: &str, type_name: &str, keys: Keys<'_>, report: &mut Report<'_>) -> Option<f64> {
    let (_, value) = keys.get(key).filter(|_| applies(key, type_name))?;
    let decimals = type_name == "number";
    let bound = match value.get_ref() {
        DeValue::Integer(_) => integer(value.get_ref())
            .filter(|bound| bound.unsigned_abs() <= BOUND_MAX.unsigned_abs())
            .map(|bound| bound as f64),
        DeValue::Float(float) if decimals => float
            .as_str()
            .parse()
            .ok()
            .filter(|bound: &f64| bound.is_finite()),
        _ => {
            wrong_type(
                key,
                if decimals { "a number" } else { "an integer" },
                value,
                report,
            );
            return None;
        }
    };
    if bound.is_none() {
        let message = format!("`{key}` must lie between -{BOUND_MAX} and {BOUND_MAX}");
        report.error(value.span(), message);
    }
    if bound.is_some_and(|bound| bound < 0.0) && type_name == "text" {
        report.error(
            value.span(),
            format!("`{key}` of a text is its length, which is never negative"),
        );
        return None;
    }
    bound
}

fn check_bounds(min: Option<f64>, max: Option<f64>, keys: Keys<'_>, report: &mut Report<'_>) {
    let (Some(min), Some(max)) = (min, max) else {
        return;
    };
    if let Some((_, value)) = keys.get("max").filter(|_| min > max) {
        report.error(
            value.span(),
            format!("`max` is {max}, less than `min`, which is {min}"),
        );
    }
}

fn read_default(field: &Field, keys: Keys<'_>, report: &mut Report<'_>) -> Option<Value> {
    let (_, value) = keys.get("default").filter(|_| field.is_register())?;
    let given = match json(value) {
        Ok(given) => given,
        Err((place, reason)) => {
            report.error(place, format!("bad default: {reason}"));
            return None;
        }
    };
    match typed::value_from_json(field, &given) {
        Ok(default) => Some(default),
        Err(error) => {
            report.error(value.span(), format!("bad default: {}", error.message));
            None
        }
    }
}
