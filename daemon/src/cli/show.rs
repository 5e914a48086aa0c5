//! Records, and the reasons for their values, as text for people.

use crdt_schema::resolution::Life;
use serde_json::Value as Json;

use super::output::{Output, human, plain};
use crate::api::types::{Candidate, FieldWhy, LifeAction, LifeWhy, Origin, Record, RecordStatus};

/// A record as a block of text.
pub(super) fn record(record: &Record, out: Output) -> String {
    let width = record
        .fields
        .keys()
        .map(|name| name.len())
        .max()
        .unwrap_or(0)
        .max(7);
    let mut text = out.bold(&format!(
        "{}/{}",
        plain(&record.collection),
        plain(&record.id)
    ));
    let state = match record.life {
        Life::Live => String::new(),
        Life::Deleted => ", deleted".to_owned(),
        Life::Contested => ", its deletion waits for a decision".to_owned(),
    };
    text += &format!("  ({}{state})", status(record));
    for (name, value) in &record.fields {
        text += &format!("\n  {name:width$}  {}", human(value), name = plain(name));
    }
    for (name, value) in &record.legacy {
        text += &format!(
            "\n  {name:width$}  {} (removed field)",
            human(value),
            name = plain(name)
        );
    }
    for lack in &record.partial {
        let lack = format!("not shown by this schema: {}", plain(lack));
        text += &format!("\n  {}", out.bad(&lack));
    }
    text += &format!("\n  {:width$}  {}", "updated", plain(&record.updated));
    for missing in &record.waiting {
        text += &format!(
            "\n  {}",
            out.bad(&format!("waiting for {}", plain(missing)))
        );
    }
    for review in &record.reviews {
        text += &format!(
            "\n  {}",
            out.bad(&format!("decision open: {}", plain(review)))
        );
    }
    text
}

/// How a field came to its value: the winner, the others, and the reason in a sentence.
pub(super) fn why(resolution: &FieldWhy, out: Output) -> String {
    let title = out.bold(&plain(&resolution.field));
    let mut text = format!(
        "\n{title} = {}  ({})",
        human(&resolution.value),
        plain(&resolution.policy)
    );
    if let Some(winner) = &resolution.winner {
        let (write, dot) = (candidate(winner), plain(&winner.origin.dot));
        text += &format!("\n  {} {write}  [{dot}]", out.good("chosen"));
    }
    for other in &resolution.others {
        let (write, dot) = (candidate(other), plain(&other.origin.dot));
        text += &format!("\n  other  {write}  [{dot}]");
    }
    if let Some(review) = &resolution.review {
        let open = format!("decision open: fieldmesh review show {}", plain(review));
        text += &format!("\n  {}", out.bad(&open));
    }
    text + &format!("\n  {}", plain(&resolution.why))
}

/// A delete or a restore in one line.
pub(super) fn why_life(life: &LifeWhy) -> String {
    let done = match life.action {
        LifeAction::Delete => "deleted",
        LifeAction::Restore => "restored",
    };
    let reason = if life.reason.is_empty() {
        String::new()
    } else {
        format!(": {}", plain(&life.reason))
    };
    format!("\n{done} {}{reason}", origin(&life.origin))
}

/// A value, and who wrote it.
pub(super) fn candidate(candidate: &Candidate) -> String {
    let value = match &candidate.value {
        Json::String(text) => format!("\"{}\"", plain(text)),
        other => plain(&other.to_string()),
    };
    let note = candidate
        .note
        .as_deref()
        .map(|note| format!("  ({})", plain(note)));
    format!(
        "{value}  {}{}",
        origin(&candidate.origin),
        note.unwrap_or_default()
    )
}

/// Who, where and when.
pub(super) fn origin(origin: &Origin) -> String {
    let person = if origin.person.is_empty() {
        "somebody"
    } else {
        &origin.person
    };
    format!(
        "by {} on {} at {}",
        plain(person),
        plain(&origin.device_name),
        plain(&origin.time)
    )
}

/// Where the record is known to be held.
pub(super) fn status(record: &Record) -> String {
    match record.status {
        RecordStatus::Shared => format!("shared {}", record.shared),
        RecordStatus::Local | RecordStatus::Synced => record.status.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_reason_names_the_winner_the_others_and_why() {
        let write = |value: &str, person: &str| {
            json!({
                "value": value, "device": "ab", "device_name": "tablet-3", "person": person,
                "time": "2026-11-21T07:00:00Z", "dot": "00:1",
            })
        };
        let resolution: FieldWhy = serde_json::from_value(json!({
            "field": "diagnosis", "policy": "review", "value": "flu", "winner": write("flu", "Ann"),
            "others": [write("a\u{1b}[2J", "")], "review": "r1", "why": "written later",
        }))
        .unwrap();

        assert_eq!(
            why(&resolution, Output::new(true, true)),
            "\ndiagnosis = flu  (review)\n  \
             chosen \"flu\"  by Ann on tablet-3 at 2026-11-21T07:00:00Z  [00:1]\n  \
             other  \"a\\u{1b}[2J\"  by somebody on tablet-3 at 2026-11-21T07:00:00Z  [00:1]\n  \
             decision open: fieldmesh review show r1\n  written later"
        );
    }
}
