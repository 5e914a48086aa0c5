//! The records that the benchmarks write: twelve fields, made from field-note words.

use serde_json::{Value as Json, json};

/// The schema of the records.
pub(crate) const SCHEMA: &str = r#"
schema = "bench"
version = 1
[collections.item.fields]
kind     = { type = "text" }
title    = { type = "text" }
status   = { type = "choice", of = ["open", "assigned", "done", "closed"] }
priority = { type = "integer" }
assignee = { type = "text" }
lat      = { type = "number" }
lon      = { type = "number" }
quantity = { type = "integer" }
at       = { type = "datetime" }
tags     = { type = "text" }
notes    = { type = "text" }
checked  = { type = "bool" }
"#;

/// Words for titles and notes; chosen so that texts compress about as well as short field notes do.
const WORDS: &str = "water pump broken near school road closed after rain need parts visited family child \
    fever given tablets return monday stock low maize beans seed delivered truck late bridge out clinic \
    full nurse away meeting market day price down harvest good rust on leaves sprayed twice borehole dry \
    tank cleaned chlorine added test negative positive referred district hospital mother well baby weight \
    gaining measles vaccine finished cold box ice fuel empty driver waiting permit signed load checked \
    seal intact bag torn count again tomorrow chief informed land plot boundary dispute settled loan paid \
    group savings meeting absent sick goat cow milk sold cheese shop roof leak repaired solar panel \
    battery weak charge phone signal hill only";

/// A record of twelve fields, about 540 bytes as JSON.
pub(crate) fn item(number: u64) -> Json {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % bound
    };
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut text = |least: u64, most: u64| {
        let length = (least + draw(most - least)) as usize;
        let mut text = String::new();
        while text.len() < length {
            text.push_str(words[draw(words.len() as u64) as usize]);
            text.push(' ');
        }
        text.trim_end().to_owned()
    };
    let (title, notes, tags) = (text(20, 40), text(170, 410), text(10, 25));
    let kind = ["visit", "delivery", "survey", "repair"][draw(4) as usize];
    let status = ["open", "assigned", "done", "closed"][draw(4) as usize];
    json!({
        "kind": kind,
        "title": title,
        "status": status,
        "priority": draw(5),
        "assignee": format!("worker-{:04}", draw(300)),
        "lat": (draw(10_000_000) as f64 - 5_000_000.0) / 1e6,
        "lon": 33.0 + draw(9_000_000) as f64 / 1e6,
        "quantity": draw(500),
        "at": format!("2026-{:02}-{:02}T{:02}:{:02}:00Z", 1 + draw(12), 1 + draw(28), draw(24), draw(60)),
        "tags": tags,
        "notes": notes,
        "checked": draw(2) == 1,
    })
}
