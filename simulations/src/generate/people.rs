//! What people do: they share few records, so that they collide; they tap twice; they delete what others
//! edit; they answer reviews.

use serde_json::Value as Json;

use super::Profile;
use crate::draw::Draw;
use crate::plan::{Act, EditSpec, OpSpec, Operation};
use crate::time::HOUR_MS;

/// How many patients, visits and stock items a fleet shares.
const SHARED: u64 = 8;
/// How long after the first the second tap comes, at most.
const DOUBLE_TAP_MS: u64 = 400;
/// How long after a lost answer a client repeats itself, at most.
const REPEAT_MS: u64 = 300_000;

pub(super) fn operations(draw: &Draw, devices: usize, profile: &Profile) -> Vec<Operation> {
    let count = (profile.hours * profile.edits_in_10_h * devices as u64 / 10).max(10);
    let horizon_ms = profile.hours * HOUR_MS;
    let mut operations = Vec::new();
    for case in 0..count {
        let device = draw.number("writes on", case, 0..devices as u64) as usize;
        // Half of all work falls into bursts around the same moments, in all places.
        let at_ms = match draw.happens("burst", case, 500) {
            true => {
                let hour = draw.number("burst hour", case, 0..profile.hours);
                hour * HOUR_MS + draw.number("in burst", case, 0..60_000)
            }
            false => draw.number("writes at", case, 0..horizon_ms),
        };
        let act = act(draw, case);
        let repeated = repeats(draw, case, at_ms, &act);
        operations.extend(repeated.into_iter().map(|at_ms| Operation {
            at_ms,
            device,
            act: act.clone(),
        }));
        operations.push(Operation { at_ms, device, act });
    }
    operations.sort_by_key(|operation| operation.at_ms);
    operations
}

/// When the same request comes again.
fn repeats(draw: &Draw, case: u64, at_ms: u64, act: &Act) -> Vec<u64> {
    let Act::Write { key: Some(_), .. } = act else {
        return Vec::new();
    };
    let tap = draw.number("tap after", case, 0..DOUBLE_TAP_MS);
    let again = draw.number("again after", case, 0..REPEAT_MS);
    match draw.number("repeats", case, 0..3) {
        0 => vec![at_ms + tap],
        1 => vec![at_ms + again],
        _ => vec![at_ms + tap, at_ms + again],
    }
}

fn act(draw: &Draw, case: u64) -> Act {
    match draw.number("act", case, 0..100) {
        0..=9 => Act::Review {
            place: draw.number("place", case, 0..8),
            choice: draw.number("choice", case, 0..4),
        },
        10..=11 => Act::Network {
            online: draw.happens("online", case, 800),
        },
        12..=19 => {
            let parts = 0..draw.number("parts", case, 2..5);
            let mut edits: Vec<EditSpec> = Vec::new();
            for part in parts {
                let edit = edit(draw, case * 8 + part);
                let is_new = |known: &EditSpec| {
                    (&known.collection, &known.id) != (&edit.collection, &edit.id)
                };
                if edits.iter().all(is_new) {
                    edits.push(edit);
                }
            }
            write(draw, case, edits)
        }
        _ => write(draw, case, vec![edit(draw, case * 8)]),
    }
}

fn write(draw: &Draw, case: u64, edits: Vec<EditSpec>) -> Act {
    let key = draw
        .happens("keyed", case, 200)
        .then(|| format!("request {case}"));
    Act::Write { edits, key }
}

fn edit(draw: &Draw, case: u64) -> EditSpec {
    let shared = draw.number("record", case, 0..SHARED);
    let own = draw.happens("new record", case, 150).then_some(case);
    let (collection, letter) = *draw.pick(
        "collection",
        case,
        &[
            ("patient", 'p'),
            ("patient", 'p'),
            ("patient", 'p'),
            ("visit", 'v'),
            ("stock", 's'),
        ],
    );
    let id = match own {
        Some(case) => format!("{letter}-{case}"),
        None => format!("{letter}{shared}"),
    };
    let word = format!("w{case}");
    let ops = match draw.number("life", case, 0..14) {
        0 => vec![OpSpec::Delete(word)],
        1 => vec![OpSpec::Restore(word)],
        _ => fields(draw, case, collection, &word),
    };
    EditSpec {
        collection: collection.to_owned(),
        id,
        ops,
    }
}

fn set(field: &str, value: impl Into<Json>) -> OpSpec {
    OpSpec::Set(field.to_owned(), value.into())
}

fn fields(draw: &Draw, case: u64, collection: &str, word: &str) -> Vec<OpSpec> {
    let by = draw.number("by", case, 0..12) as i64 - 4;
    let add = |field: &str| OpSpec::Add(field.to_owned(), by);
    match collection {
        "visit" => {
            let temp = 34.0 + draw.number("temp", case, 0..110) as f64 / 10.0;
            vec![set("notes", word), set("temp_c", temp)]
        }
        "stock" => match draw.number("stock", case, 0..3) {
            0 => vec![set("item", word), add("on_hand")],
            1 => vec![set("item", "gloves"), set("unit", word)],
            _ => vec![set("item", "gloves"), add("on_hand")],
        },
        _ => {
            let names = ["Awa", "Binta", "Chidi"];
            let mut ops = vec![set("name", *draw.pick("name", case, &names))];
            ops.extend(patient(draw, case, word, add("visits")));
            ops
        }
    }
}

fn patient(draw: &Draw, case: u64, word: &str, visit: OpSpec) -> Vec<OpSpec> {
    let herb = *draw.pick("herb", case, &["nuts", "latex", "dust"]);
    let herb = ("allergies".to_owned(), herb.to_owned());
    let stages = ["new", "treated", "followed", "closed"];
    match draw.number("field", case, 0..9) {
        0 => vec![set("diagnosis", word)],
        1 => vec![set("notes", word)],
        2 => vec![OpSpec::Insert(herb.0, herb.1)],
        3 => vec![OpSpec::Remove(herb.0, herb.1)],
        4 | 5 => vec![visit],
        6 => {
            let weight = 3.0 + draw.number("weight", case, 0..900) as f64 / 10.0;
            vec![set("weight", weight)]
        }
        7 => {
            let day = draw.number("day", case, 1..29);
            vec![set("due", format!("2026-03-{day:02}"))]
        }
        _ => vec![set("stage", *draw.pick("stage", case, &stages)), visit],
    }
}
