//! How the demo shows things: one record as every device sees it, and why.

use std::fmt::Write;

use serde_json::Value as Json;

use super::fleet::Kept;
use crate::cli::output::{human, plain};

/// Widest cell, in characters.
const CELL: usize = 22;

/// One record on several devices: a line for each field, a column for each device.
pub(super) fn side_by_side(names: &[&str], records: &[Json], fields: &[&str]) -> String {
    let mut text = format!("    {:<12}", "");
    for name in names {
        let _ = write!(text, "{:<CELL$}", plain(name));
    }
    let mut row = |label: &str, cell: &dyn Fn(&Json) -> String| {
        let _ = write!(text, "\n    {label:<12}");
        for record in records {
            let _ = write!(text, "{:<CELL$}", cut(&cell(record)));
        }
    };
    for field in fields {
        row(field, &|record| human(&record["fields"][field]));
    }
    row("is", &|record| {
        let life = human(&record["life"]);
        match record["reviews"].as_array().map_or(0, Vec::len) {
            0 => life,
            n => format!("{life}, {n} in review"),
        }
    });
    row("copies", &|record| match record["shared"].as_u64() {
        Some(n) if record["status"] == "shared" => format!("shared {n}"),
        _ => human(&record["status"]),
    });
    text
}

/// The reasons of a record read with `why`, for the fields named.
pub(super) fn why(record: &Json, fields: &[&str]) -> String {
    let resolutions = record["why"].as_array().into_iter().flatten();
    let mut text = String::new();
    for resolution in resolutions.filter(|r| fields.iter().any(|field| r["field"] == *field)) {
        let _ = write!(
            text,
            "\n    why {} = {}: {} ({})",
            human(&resolution["field"]),
            human(&resolution["value"]),
            human(&resolution["why"]),
            human(&resolution["policy"]),
        );
        for other in resolution["others"].as_array().into_iter().flatten() {
            let by = human(&other["device_name"]);
            let _ = write!(
                text,
                "\n        {} by {by} at {}",
                human(&other["value"]),
                human(&other["time"])
            );
        }
    }
    text.trim_start_matches('\n').to_owned()
}

/// What a person needs to go on with daemons that were left running.
pub(super) fn kept(kept: &[Kept]) -> String {
    let mut text = "Left running:".to_owned();
    for daemon in kept {
        let _ = write!(
            text,
            "\n  {:<8} {}  token in {}  pid {}",
            daemon.name,
            daemon.api,
            daemon.token_file.display(),
            daemon.pid
        );
    }
    let pids: Vec<String> = kept.iter().map(|daemon| daemon.pid.to_string()).collect();
    if let Some(first) = kept.first() {
        let dir = first.dir.display();
        let _ = write!(text, "\nLook around:  fieldmesh list patient --dir {dir}");
        let _ = write!(text, "\nStop them:    kill {}", pids.join(" "));
    }
    text
}

fn cut(text: &str) -> String {
    if text.chars().count() < CELL {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(CELL - 2).collect();
    cut.push('…');
    cut
}
