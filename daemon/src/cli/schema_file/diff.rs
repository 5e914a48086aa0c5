//! `fieldmesh schema diff`: what a change of the schema does to data and on older devices, as a list.
//!
//! What the changes are is decided in the schema crate; this file only groups and prints them.

use std::path::Path;

use crdt_schema::schema::{Change, Schema, Severity, compare};
use serde_json::{Value as Json, json};

use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{Output, count};

const SEVERITIES: [Severity; 3] = [Severity::Error, Severity::Warning, Severity::Note];

pub(crate) fn diff(old: &Path, new: &Path, output: Output) -> Result<Exit, Failure> {
    let (old, new) = (super::read(old)?, super::read(new)?);
    let changes = compare(&old, &new);
    if !output.json {
        show(&old, &new, &changes, output)?;
        return Ok(Exit::Done);
    }
    let side = |schema: &Schema| json!({ "name": schema.name, "version": schema.version });
    output.json(&json!({
        "schema": "fieldmesh.schema-diff/1",
        "old": side(&old),
        "new": side(&new),
        "changes": changes.iter().map(as_json).collect::<Vec<_>>(),
    }))?;
    Ok(Exit::Done)
}

pub(super) fn as_json(change: &Change) -> Json {
    json!({
        "severity": change.severity.name(),
        "collection": change.collection,
        "field": change.field,
        "data": change.data,
        "older": change.older,
    })
}

/// Prints the changes by collection, and what to do about them.
pub(super) fn show(
    old: &Schema,
    new: &Schema,
    changes: &[Change],
    output: Output,
) -> Result<(), Failure> {
    output.line(&output.bold(&title(old, new, changes)))?;
    for (collection, changes) in grouped(changes) {
        output.line(&format!("\n{}", output.bold(collection)))?;
        for change in changes {
            let mark = format!("{:<8}", change.severity.name());
            let mark = match change.severity {
                Severity::Note => mark,
                Severity::Error | Severity::Warning => output.bad(&mark),
            };
            let field = change.field.as_ref().map(|field| format!("{field}: "));
            output.line(&format!(
                "  {mark} {}{}",
                field.unwrap_or_default(),
                change.data
            ))?;
            if !change.older.is_empty() {
                output.line(&format!("           older devices: {}", change.older))?;
            }
        }
    }
    if let Some(advice) = advice(changes) {
        output.line(&format!("\nto do: {advice}"))?;
    }
    Ok(())
}

fn title(old: &Schema, new: &Schema, changes: &[Change]) -> String {
    let names = if old.name == new.name {
        format!("{} version {} → {}", old.name, old.version, new.version)
    } else {
        format!(
            "{} version {} → {} version {}",
            old.name, old.version, new.name, new.version
        )
    };
    let counts: Vec<String> = SEVERITIES
        .iter()
        .filter_map(|&severity| {
            let number = changes.iter().filter(|c| c.severity == severity).count();
            (number > 0).then(|| count(number as u64, severity.name()))
        })
        .collect();
    if counts.is_empty() {
        return format!("{names}: nothing changes");
    }
    format!("{names}: {}", counts.join(", "))
}

/// The changes under their collections, those of the whole schema first; order is kept otherwise.
fn grouped(changes: &[Change]) -> Vec<(&str, Vec<&Change>)> {
    let mut groups: Vec<(&str, Vec<&Change>)> = Vec::new();
    let (whole, rest): (Vec<&Change>, Vec<&Change>) = changes
        .iter()
        .partition(|change| change.collection.is_none());
    for change in whole.into_iter().chain(rest) {
        let name = change.collection.as_deref().unwrap_or("the whole schema");
        match groups.iter_mut().find(|(group, _)| *group == name) {
            Some((_, of)) => of.push(change),
            None => groups.push((name, vec![change])),
        }
    }
    groups
}

fn advice(changes: &[Change]) -> Option<&'static str> {
    let worst = changes.iter().map(|change| change.severity).min()?;
    Some(match worst {
        Severity::Error => {
            "correct the errors, mostly with a step under [[migrations]]; until then no device takes the new schema"
        }
        Severity::Warning => {
            "try it on real data with `fieldmesh schema simulate NEW --against DIR` before you publish it"
        }
        Severity::Note => "nothing; older devices go on working",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(severity: Severity, collection: Option<&str>, data: &str) -> Change {
        Change {
            severity,
            collection: collection.map(str::to_owned),
            field: None,
            data: data.to_owned(),
            older: String::new(),
        }
    }

    #[test]
    fn changes_stand_under_their_collection_and_those_of_the_whole_schema_first() {
        let changes = [
            change(Severity::Error, Some("b"), "1"),
            change(Severity::Warning, Some("a"), "2"),
            change(Severity::Note, None, "3"),
            change(Severity::Note, Some("b"), "4"),
        ];

        let groups: Vec<(&str, Vec<&str>)> = grouped(&changes)
            .into_iter()
            .map(|(name, of)| (name, of.into_iter().map(|c| c.data.as_str()).collect()))
            .collect();

        assert_eq!(
            groups,
            [
                ("the whole schema", vec!["3"]),
                ("b", vec!["1", "4"]),
                ("a", vec!["2"])
            ]
        );
    }

    #[test]
    fn the_title_counts_and_the_advice_follows_the_worst() {
        let text = |version| {
            format!(
                "schema = \"s\"\nversion = {version}\n[collections.c.fields]\nn = {{ type = \"text\" }}\n"
            )
        };
        let (old, new) = (
            Schema::parse(&text(1)).unwrap(),
            Schema::parse(&text(2)).unwrap(),
        );
        let changes = [
            change(Severity::Warning, None, ""),
            change(Severity::Note, None, ""),
            change(Severity::Note, None, ""),
        ];

        assert_eq!(
            title(&old, &new, &changes),
            "s version 1 → 2: 1 warning, 2 notes"
        );
        assert_eq!(title(&old, &new, &[]), "s version 1 → 2: nothing changes");
        assert!(advice(&changes).unwrap().contains("simulate"));
        assert_eq!(advice(&[]), None);
    }
}
