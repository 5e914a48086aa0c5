//! What a run prints, for people and as one JSON object.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::oracle::Oracle;
use crate::outcome::{Outcome, Verdict};
use crate::plan::Plan;
use crate::sometimes::Sometimes;

/// How the plan can be run again: from its file, if it has one, and otherwise from its seed.
pub fn replay_command(plan: &Plan, file: Option<&Path>, schemas: &[PathBuf]) -> String {
    let header = &plan.header;
    match file {
        Some(file) => format!("cargo sim replay {}{}", file.display(), flags(schemas)),
        None => format!(
            "cargo sim run --seed {} --profile {}",
            header.seed, header.profile
        ),
    }
}

/// How the last events of a kept plan are shown.
pub fn explain_command(file: &Path, schemas: &[PathBuf]) -> String {
    let flags = flags(schemas);
    format!("cargo sim explain --plan {}{flags}", file.display())
}

fn flags(schemas: &[PathBuf]) -> String {
    let flags = schemas.iter();
    flags
        .map(|path| format!(" --schema {}", path.display()))
        .collect()
}

/// What was found, on one line.
pub fn found(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Held => "nothing".to_owned(),
        Verdict::Broken(failure) => format!(
            "oracle {} {}: {}",
            failure.oracle.number(),
            failure.oracle.name(),
            failure.detail
        ),
        Verdict::Unsettled(why) => {
            let first = why.detail.lines().next().unwrap_or_default();
            format!("oracle 2 delivery: {first}")
        }
        Verdict::Crashed(why) => format!("crash: {why}"),
    }
}

/// What a run is about to play: printed before it begins, so that a crash leaves it on the screen.
pub fn opening(plan: &Plan) -> String {
    let hours = plan.header.horizon_ms as f64 / 3_600_000.0;
    format!(
        "sim {} plan v{} seed {} profile {}\nworld   {} devices, {hours:.1} h, {} contacts, {} operations; faults on: {}",
        env!("CARGO_PKG_VERSION"),
        plan.header.plan,
        plan.header.seed,
        plan.header.profile,
        plan.devices.len(),
        plan.contacts.len(),
        plan.operations.len(),
        plan.classes().join(" "),
    )
}

/// What came of a run. `took_s` is how long it took, if that was measured; no run knows that itself.
pub fn closing(outcome: &Outcome, took_s: Option<f64>) -> String {
    let counts = &outcome.counts;
    let refused: u64 = counts.refused.values().sum();
    let reasons: Vec<String> = counts
        .refused
        .iter()
        .map(|(why, n)| format!("{n} {why}"))
        .collect();
    let faults: Vec<String> = counts
        .faults
        .iter()
        .map(|(what, n)| format!("{n} {what}"))
        .collect();
    let device_h = counts.device_ms as f64 / 3_600_000.0;
    // They are counted once the fleet has settled.
    let bound = match outcome.verdict.is_held() {
        true => format!(
            "{:.2}",
            counts.bytes as f64 / counts.entry_bytes.max(1) as f64
        ),
        false => "-".to_owned(),
    };
    let mut text = String::new();
    let mut line = |words: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{words}");
    };
    line(format!(
        "work    {} saved, {refused} refused ({}), {} missed, {} reviews answered, {} open",
        counts.saved,
        or_nothing(&reasons.join(", ")),
        counts.missed,
        counts.answered,
        counts.reviews
    ));
    line(format!(
        "net     {} contacts, {} connections, {} cuts, {} frames, {} kB ({bound} × entries held)",
        counts.contacts,
        counts.connections,
        counts.cuts,
        counts.frames,
        counts.bytes / 1000
    ));
    line(format!("broke   {}", or_nothing(&faults.join(", "))));
    let speed = match took_s {
        Some(took_s) => format!(" {:.0} device-h/s,", device_h / took_s.max(1e-6)),
        None => String::new(),
    };
    let settled = match outcome.settled_ms {
        Some(settled_ms) => format!("settled after {:.1} s", settled_ms as f64 / 1000.0),
        None => "not settled".to_owned(),
    };
    line(format!(
        "time    {device_h:.0} device-hours,{speed} {settled}, {} events; reached {}/{} sometimes",
        counts.events,
        outcome.reached.count(),
        Sometimes::ALL.len()
    ));
    line(verdict(outcome));
    text
}

fn or_nothing(text: &str) -> &str {
    match text {
        "" => "nothing",
        text => text,
    }
}

fn verdict(outcome: &Outcome) -> String {
    let digest = outcome.digest.get(..16).unwrap_or_default();
    match &outcome.verdict {
        Verdict::Held => {
            let checks = &outcome.counts.checks;
            let not_asked = checks.not_asked();
            let all = Oracle::ALL.len() + 1;
            let (held, checks) = (all - not_asked.len(), checks.total());
            let names: Vec<&str> = not_asked.iter().map(|oracle| oracle.name()).collect();
            let others = match names.is_empty() {
                true => String::new(),
                false => format!("; not asked: {}", names.join(", ")),
            };
            format!("oracle  {held}/{all} held ({checks} checks{others})  digest {digest}  PASS")
        }
        Verdict::Broken(failure) => format!(
            "oracle  {} {} at {:.3} s  digest {digest}  FAIL\n        must hold: {}\n        found: {}",
            failure.oracle.number(),
            failure.oracle.name(),
            failure.at_ms as f64 / 1000.0,
            failure.oracle.sentence(),
            failure.detail
        ),
        Verdict::Unsettled(why) => format!(
            "oracle  2 delivery  digest {digest}  FAIL\n        must hold: once faults stop, every device comes to hold the same\n        found: {}",
            why.detail.trim_end().replace('\n', "\n        ")
        ),
        Verdict::Crashed(why) => format!("crash   {why}  FAIL"),
    }
}

/// The same as one JSON object, with `differs` where a second run of the plan differed.
pub fn json(plan: &Plan, outcome: &Outcome, took_s: Option<f64>, differs: Option<&str>) -> Value {
    let (kind, oracle, detail) = match &outcome.verdict {
        Verdict::Held => ("pass", None, String::new()),
        Verdict::Broken(failure) => (
            "oracle",
            Some(failure.oracle.number()),
            failure.detail.clone(),
        ),
        Verdict::Unsettled(why) => ("liveness", Some(2), why.to_string()),
        Verdict::Crashed(why) => ("crash", None, why.to_string()),
    };
    let reached: Vec<String> = outcome
        .reached
        .iter()
        .map(|(state, _)| format!("{state:?}"))
        .collect();
    json!({
        "seed": plan.header.seed,
        "profile": plan.header.profile,
        "devices": plan.devices.len(),
        "faults_on": plan.classes(),
        "verdict": kind,
        "oracle": oracle,
        "detail": detail,
        "settled_ms": outcome.settled_ms,
        "digest": outcome.digest,
        "reached": reached,
        "differs": differs,
        "took_s": took_s,
        "counts": outcome.counts,
    })
}
