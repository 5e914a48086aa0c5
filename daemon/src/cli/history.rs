//! `fieldmesh history`: every edit of a record, newest first, and what became of it.

use super::client::Client;
use super::failure::{Exit, Failure};
use super::output::{Output, human, plain};
use super::pages::Pages;
use super::show;
use crate::api::types::{Fate, HistoryEntry, HistoryOp};

/// Most edits that the API gives in a page.
const PAGE_EDITS_MAX: usize = 200;

#[derive(clap::Args, Debug)]
pub(crate) struct HistoryArgs {
    /// The record's collection
    collection: String,
    /// The record's id
    id: String,
    /// Most edits to show
    #[arg(long, default_value_t = 50, conflicts_with = "all")]
    limit: usize,
    /// Show every edit
    #[arg(long)]
    all: bool,
}

pub(crate) async fn history(
    client: &Client,
    args: &HistoryArgs,
    out: Output,
) -> Result<Exit, Failure> {
    let path = [
        "collections",
        &args.collection,
        "records",
        &args.id,
        "history",
    ];
    let mut left = if args.all { usize::MAX } else { args.limit };
    let mut pages = Pages::new(client.read(&path)?, PAGE_EDITS_MAX);
    while let Some(edits) = pages.next::<HistoryEntry>(left).await? {
        left = left.saturating_sub(edits.len());
        for edit in &edits {
            if out.json {
                out.json(edit)?;
            } else {
                out.line(&entry(edit, out))?;
            }
        }
    }
    if pages.has_more() {
        out.talk("there are more; give --all, or a higher --limit");
    }
    Ok(Exit::Done)
}

/// An edit as a block of text.
fn entry(edit: &HistoryEntry, out: Output) -> String {
    let title = format!("change {}", plain(&edit.origin.dot));
    let mut text = format!("{}  {}", out.bold(&title), show::origin(&edit.origin));
    for op in &edit.ops {
        text += &format!("\n  {}  {}", said(op), fate(op, out));
    }
    for dot in &edit.conflicts {
        text += &format!("\n  conflict with change {}", plain(dot));
    }
    for dot in &edit.parallel {
        text += &format!("\n  parallel update (information): change {}", plain(dot));
    }
    let named = edit.conflicts.len() + edit.parallel.len();
    let unnamed = edit.concurrent.saturating_sub(named);
    if unnamed > 0 {
        text += &format!("\n  and {unnamed} more at the same time");
    }
    text
}

/// What an intent said.
fn said(op: &HistoryOp) -> String {
    let value = human(&op.value);
    let field = plain(op.field.as_deref().unwrap_or_default());
    let text = match op.kind.as_str() {
        "set" if op.value.is_null() => format!("{field} cleared"),
        "set" => format!("{field} = {value}"),
        "resolve" => format!("{field} decided: {value}"),
        "add" => format!("{field} {:+}", op.value.as_i64().unwrap_or_default()),
        "insert" => format!("{field}: {value} put in"),
        "remove" => format!("{field}: {value} taken out"),
        "delete" => "record deleted".to_owned(),
        "restore" => "record restored".to_owned(),
        "accept" => format!("accepted as it is, review {value}"),
        kind => format!("{field} {}", plain(kind)),
    };
    match &op.note {
        Some(note) => format!("{text} ({})", plain(note)),
        None => text,
    }
}

/// What became of an intent.
fn fate(op: &HistoryOp, out: Output) -> String {
    let by = plain(op.by.as_deref().unwrap_or_default());
    match op.fate {
        Fate::Stands => out.good("stands"),
        Fate::Lost => format!("{} to change {by}", out.bad("lost")),
        Fate::Superseded => format!("superseded by change {by}"),
        Fate::Waits => {
            let review = plain(op.review.as_deref().unwrap_or_default());
            out.bad(&format!("waits: fieldmesh review show {review}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_edit_tells_what_it_said_and_what_became_of_it() {
        let edit: HistoryEntry = serde_json::from_value(json!({
            "device": "ab", "device_name": "tablet-3", "person": "Ann\u{1b}[2J",
            "time": "2026-11-21T07:00:00Z", "dot": "00:2",
            "ops": [
                {"kind": "set", "field": "name", "value": "Amina", "fate": "lost", "by": "11:7"},
                {"kind": "add", "field": "visits", "value": -2, "fate": "stands"},
                {"kind": "resolve", "field": "sex", "value": "female", "note": "card",
                 "fate": "superseded", "by": "11:8"},
                {"kind": "delete", "value": null, "note": "twice", "fate": "waits", "review": "r1"},
            ],
            "conflicts": ["11:7"], "parallel": ["22:1"], "concurrent": 5,
        }))
        .unwrap();

        assert_eq!(
            entry(&edit, Output::new(true, true)),
            "change 00:2  by Ann\\u{1b}[2J on tablet-3 at 2026-11-21T07:00:00Z\
             \n  name = Amina  lost to change 11:7\
             \n  visits -2  stands\
             \n  sex decided: female (card)  superseded by change 11:8\
             \n  record deleted (twice)  waits: fieldmesh review show r1\
             \n  conflict with change 11:7\
             \n  parallel update (information): change 22:1\
             \n  and 3 more at the same time"
        );
    }
}
