//! Which versions of the schema are used where and when (F27): devices that begin with a newer file,
//! publications in mid-run, files that are replaced, people who choose a version or go back, and writes of
//! what only some versions have.

use serde_json::json;

use super::Swarm;
use crate::plan::{Act, EditSpec, OpSpec, Operation, Plan};

/// The versions of the bundled schema.
const VERSIONS: u64 = 3;
/// How many writes of each device name fields of later versions.
const WRITES_PER_DEVICE: u64 = 12;

pub(super) fn mix(swarm: &Swarm, plan: &mut Plan, devices: usize) {
    let draw = &swarm.draw;
    let horizon_ms = plan.header.horizon_ms;
    for spec in plan.devices.iter_mut().filter(|spec| spec.device < devices) {
        if draw.happens("begins newer", spec.device as u64, 150) {
            let version = draw.number("begins with", spec.device as u64, 2..VERSIONS + 1);
            spec.schema = version as u32;
        }
    }
    let mut acts = Vec::new();
    for case in 0..swarm.strength("F27") {
        let version = draw.number("version", case, 1..VERSIONS + 1) as u32;
        let act = match draw.number("version act", case, 0..4) {
            0 => Act::Publish { version },
            1 => Act::Install { version },
            _ => Act::UseSchema { version },
        };
        acts.push((case, act));
    }
    // Without a publication nobody but its author would ever hear of a version.
    acts.push((1_000, Act::Publish { version: 2 }));
    acts.push((1_001, Act::Publish { version: 3 }));
    for (case, act) in acts {
        let device = draw.number("versions on", case, 0..devices as u64) as usize;
        let at_ms = draw.number("versions at", case, 0..horizon_ms);
        plan.operations.push(Operation { at_ms, device, act });
    }
    for case in 0..WRITES_PER_DEVICE * devices as u64 {
        let device = draw.number("newer on", case, 0..devices as u64) as usize;
        let at_ms = draw.number("newer at", case, 0..horizon_ms);
        let act = Act::Write {
            edits: vec![edit(swarm, case)],
            key: None,
        };
        plan.operations.push(Operation { at_ms, device, act });
    }
    plan.operations.sort_by_key(|operation| operation.at_ms);
}

/// An edit that says the same by the names of each version: a device does what the one in use there has.
fn edit(swarm: &Swarm, case: u64) -> EditSpec {
    let draw = &swarm.draw;
    let number = draw.number("newer record", case, 0..8);
    let word = format!("n{case}");
    let set = |field: &str, value: serde_json::Value| OpSpec::Set(field.to_owned(), value);
    let (collection, letter, ops) = match draw.number("newer field", case, 0..4) {
        0 => {
            let celsius = draw.number("celsius", case, 30..45);
            let ops = vec![
                set("notes", json!(word)),
                set("temp_c", json!(celsius)),
                set("temp_f", json!(celsius * 9 / 5 + 32)),
            ];
            ("visit", 'v', ops)
        }
        1 => {
            let ops = vec![
                set("item", json!("gloves")),
                set("unit", json!(word)),
                OpSpec::Add("on_hand".to_owned(), 1),
            ];
            ("stock", 's', ops)
        }
        _ => {
            let mut ops = vec![
                set("name", json!(format!("Awa {word}"))),
                set("given", json!("Awa")),
            ];
            ops.push(match draw.number("newer of patient", case, 0..3) {
                0 => set("phone", json!(word)),
                1 => set("remarks", json!(word)),
                _ => set("family", json!(word)),
            });
            ("patient", 'p', ops)
        }
    };
    EditSpec {
        collection: collection.to_owned(),
        id: format!("{letter}{number}"),
        ops,
    }
}
