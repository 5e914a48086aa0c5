//! Prints what a simulation found.

use std::time::Duration;

use crdt_schema::schema::Schema;
use serde_json::{Value as Json, json};

use super::tally::{Groups, Sample, Tally};
use crate::cli::failure::Failure;
use crate::cli::output::{Output, count, header, human, plain};

pub(super) fn show(
    old: &Schema,
    new: &Schema,
    tally: &Tally,
    output: Output,
) -> Result<(), Failure> {
    if output.json {
        return output.json(&as_json(old, new, tally));
    }
    output.line(&output.bold(&format!(
        "{} version {} → {}: {} read",
        old.name,
        old.version,
        new.version,
        count(tally.read, "record")
    )))?;
    for (number, words) in [
        (tally.changed, "read otherwise"),
        (
            tally.partial,
            "have values that the new schema does not show (partial)",
        ),
        (tally.unfit, "have a value that does not fit the new schema"),
        (tally.unreadable, "cannot be read"),
        (
            tally.lossy,
            "do not come back the same when an older device reads them",
        ),
        (tally.unfit_before, "do not fit the present schema either"),
    ] {
        output.line(&format!("  {number:>8} {words}"))?;
    }
    output.line(&format!(
        "  reading 1,000 records took {} ms, now {} ms: {}",
        milliseconds(tally.before_time, tally.read),
        milliseconds(tally.after_time, tally.read),
        ratio(tally).map_or_else(
            || "too little to compare".to_owned(),
            |r| format!("× {r:.2}")
        ),
    ))?;
    groups("does not fit", &tally.failures, output)?;
    groups("not shown", &tally.hidden, output)?;
    groups("does not come back", &tally.losses, output)?;
    samples(&tally.samples, output)?;
    let verdict = if tally.failed() == 0 {
        output.good("every record fits")
    } else {
        output.bad(&format!(
            "{} would wait for a person",
            count(tally.failed(), "record")
        ))
    };
    output.line(&format!("\n{verdict}; nothing was changed"))
}

fn groups(title: &str, groups: &Groups, output: Output) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = groups
        .iter()
        .map(|((collection, field, _), group)| {
            let examples = group.examples.iter().map(|id| plain(id));
            vec![
                place(collection, field),
                group.records.to_string(),
                group.reason.clone(),
                examples.collect::<Vec<_>>().join(" "),
            ]
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    output.line("")?;
    output.table(
        &header(&[title, "records", "why (of the first)", "such as"]),
        &rows,
    )
}

fn samples(samples: &[Sample], output: Output) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = samples
        .iter()
        .flat_map(|sample| {
            sample.rows.iter().map(|row| {
                let (before, after) = &row.names;
                let name = match (before.as_str(), after.as_str()) {
                    ("", name) | (name, "") => name.to_owned(),
                    (before, after) if before == after => after.to_owned(),
                    (before, after) => format!("{before} → {after}"),
                };
                vec![
                    place(&sample.key.collection, &sample.key.id),
                    name,
                    human(&row.values.0),
                    human(&row.values.1),
                ]
            })
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    output.line("")?;
    output.table(&header(&["sample", "field", "before", "after"]), &rows)
}

fn place(collection: &str, rest: &str) -> String {
    if rest.is_empty() {
        return collection.to_owned();
    }
    format!("{collection}/{rest}")
}

fn milliseconds(time: Duration, records: u64) -> String {
    let thousands = records.max(1) as f64 / 1e3;
    format!("{:.1}", time.as_secs_f64() * 1e3 / thousands)
}

/// How many times as long reading takes; `None` if there was nothing to read.
fn ratio(tally: &Tally) -> Option<f64> {
    let before = tally.before_time.as_secs_f64();
    (before > 0.0).then(|| tally.after_time.as_secs_f64() / before)
}

fn as_json(old: &Schema, new: &Schema, tally: &Tally) -> Json {
    let per_1000 = |time: Duration| time.as_secs_f64() * 1e6 / tally.read.max(1) as f64;
    let samples = tally.samples.iter().map(|sample| {
        let fields = sample.rows.iter().map(|row| {
            json!({
                "before": { "name": row.names.0, "value": row.values.0 },
                "after": { "name": row.names.1, "value": row.values.1 },
            })
        });
        json!({
            "collection": sample.key.collection,
            "id": sample.key.id,
            "fields": fields.collect::<Vec<_>>(),
        })
    });
    let changed = tally.changed_fields.iter().map(|((collection, field), records)| {
        json!({ "collection": collection, "field": field, "records": records })
    });
    json!({
        "schema": "fieldmesh.schema-simulate/1",
        "ok": tally.failed() == 0,
        "name": new.name,
        "old": old.version,
        "new": new.version,
        "records": {
            "read": tally.read,
            "changed": tally.changed,
            "partial": tally.partial,
            "unfit": tally.unfit,
            "unreadable": tally.unreadable,
            "lossy": tally.lossy,
            "unfit_before": tally.unfit_before,
        },
        "ms_per_1000": {
            "old": per_1000(tally.before_time),
            "new": per_1000(tally.after_time),
            "ratio": ratio(tally),
        },
        "changed": changed.collect::<Vec<_>>(),
        "failures": groups_json(&tally.failures),
        "hidden": groups_json(&tally.hidden),
        "losses": groups_json(&tally.losses),
        "samples": samples.collect::<Vec<_>>(),
    })
}

fn groups_json(groups: &Groups) -> Vec<Json> {
    let rows = groups.iter().map(|((collection, field, code), group)| {
        json!({
            "collection": collection,
            "field": field,
            "code": code,
            "records": group.records,
            "reason": group.reason,
            "examples": group.examples,
        })
    });
    rows.collect()
}
