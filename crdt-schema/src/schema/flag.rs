//! Reads the flags of a field, and its trial.

use jiff::civil::Date;
use toml::de::DeValue;

use super::field::read_policy;
use super::keys::{Keys, integer, wrong_type};
use super::report::Report;
use crate::flags::{Flags, Trial};

const TRIAL_KEYS: [&str; 4] = ["merge", "since", "until", "rollout"];

/// Reads `since`, `until` and `rollout`.
pub(super) fn read(keys: Keys<'_>, report: &mut Report<'_>) -> Option<Flags> {
    let since = read_day("since", keys, report);
    let until = read_day("until", keys, report);
    let rollout = read_rollout(keys, report);
    let flags = Flags {
        since: since?,
        until: until?,
        rollout: rollout?,
    };
    if let (Some(since), Some(until)) = (flags.since, flags.until)
        && until < since
    {
        let place = keys.get("until").map_or(0..0, |(_, value)| value.span());
        report.error(
            place,
            format!("`until` is {until}, before `since`, which is {since}"),
        );
    }
    Some(flags)
}

/// Reads `trial = { merge = "review", since = "2027-01-01", rollout = 10 }`.
pub(super) fn read_trial(
    type_name: Option<&str>,
    keys: Keys<'_>,
    report: &mut Report<'_>,
) -> Option<Option<Trial>> {
    let Some((place, _)) = keys.get("trial") else {
        return Some(None);
    };
    let table = keys.table("trial", report)?;
    let trial = Keys::read(table, &TRIAL_KEYS, report);
    if trial.get("merge").is_none() {
        let hint = "add `merge = \"review\"` or another policy";
        report.error_with_hint(place, "the trial does not say which policy it tries", hint);
        return None;
    }
    let merge = read_policy(type_name, trial, report);
    let flags = read(trial, report);
    Some(Some(Trial {
        merge: merge?,
        flags: flags?,
    }))
}

/// A day as a string, or as TOML's own date.
fn read_day(key: &str, keys: Keys<'_>, report: &mut Report<'_>) -> Option<Option<Date>> {
    let Some((_, value)) = keys.get(key) else {
        return Some(None);
    };
    let text = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Datetime(day) => day.to_string(),
        _ => String::new(),
    };
    let day: Option<Date> = text.parse().ok();
    let day = day.filter(|day| day.to_string() == text);
    if day.is_none() {
        wrong_type(key, "a day such as \"2027-01-31\"", value, report);
    }
    day.map(Some)
}

fn read_rollout(keys: Keys<'_>, report: &mut Report<'_>) -> Option<Option<u8>> {
    let Some((_, value)) = keys.get("rollout") else {
        return Some(None);
    };
    let percent = integer(value.get_ref()).and_then(|percent| u8::try_from(percent).ok());
    let percent = percent.filter(|percent| (1..=100).contains(percent));
    if percent.is_none() {
        wrong_type("rollout", "whole percents from 1 to 100", value, report);
    }
    percent.map(Some)
}
