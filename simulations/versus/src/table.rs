//! Results for people: one markdown table a phase, with ratios against fieldmesh, and where it loses.

use std::collections::BTreeSet;

use crate::contender::{ALL, System};
use crate::measure::Cost;
use crate::outcome::{Outcome, PhaseOutcome};
use crate::records::{record, updates};
use crate::watch::{LIMIT, Progress};
use crate::work::{PHASES, Phase, Reached};

/// The level of the compressed sizes in titles.
const ZSTD_LEVEL: i32 = 3;

/// Prints tables for every number of records that there are outcomes of.
pub fn print_all(outcomes: &[Outcome]) {
    let works: BTreeSet<(usize, usize)> = outcomes.iter().map(Outcome::work).collect();
    for work in works {
        let place = |outcome: &&Outcome| ALL.iter().position(|system| *system == outcome.system);
        let mut same: Vec<&Outcome> = outcomes
            .iter()
            .filter(|outcome| outcome.work() == work)
            .collect();
        same.sort_by_key(place);
        print(work, &same);
    }
}

fn print((records, updated): (usize, usize), outcomes: &[&Outcome]) {
    println!("## {} records\n", grouped(records as u64));
    for phase in PHASES {
        println!("### {}\n", title(phase, records, updated));
        println!(
            "| | bytes there | bytes back | × bytes | transport adds | messages | round trips | CPU s | wall s | × wall | 64 kbit/s | bytes on it |"
        );
        println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
        let ours = done(outcomes, System::Fieldmesh, phase);
        for outcome in outcomes {
            println!(
                "| {} | {} |",
                outcome.system.name(),
                row(outcome, phase, ours)
            );
        }
        println!();
        for line in losses(outcomes, phase) {
            println!("{line}");
        }
    }
    println!("### Peak memory of the process with both devices\n");
    println!("| | MB |\n|---|--:|");
    for outcome in outcomes {
        let at_least = if outcome.phases.len() < PHASES.len() {
            "≥ "
        } else {
            ""
        };
        println!(
            "| {} | {at_least}{:.0} |",
            outcome.system.name(),
            outcome.memory as f64 / 1e6
        );
    }
    println!();
}

fn title(phase: Phase, records: usize, updated: usize) -> String {
    match phase {
        Phase::First => {
            let all = (0..records).map(|number| record(number).to_json());
            format!("First meeting: {}", sizes(all))
        }
        Phase::Equal => "A meeting with nothing new".to_owned(),
        Phase::One => format!(
            "One field of one record changed: {}",
            sizes(changed(records, 1, 0))
        ),
        Phase::Many => {
            let count = grouped(updated.min(records) as u64);
            format!(
                "One field changed in {count} records: {}",
                sizes(changed(records, updated, 1))
            )
        }
    }
}

fn changed(records: usize, count: usize, round: u64) -> impl Iterator<Item = Vec<u8>> {
    updates(records, count, round).into_iter().map(|update| {
        let mut record = record(update.record);
        record.fields.insert(update.field.to_owned(), update.value);
        record.to_json()
    })
}

fn sizes(texts: impl Iterator<Item = Vec<u8>>) -> String {
    let all = texts.collect::<Vec<_>>().concat();
    let compressed =
        zstd::encode_all(all.as_slice(), ZSTD_LEVEL).expect("memory can be compressed");
    let (plain, compressed) = (grouped(all.len() as u64), grouped(compressed.len() as u64));
    format!("{plain} B of JSON, {compressed} B under zstd")
}

fn phase_of(outcome: &Outcome, phase: Phase) -> Option<(&PhaseOutcome, Cost)> {
    let found = outcome.phases.get(&phase)?;
    match found.reached {
        Reached::Done(cost) => Some((found, cost)),
        Reached::Over(_) => None,
    }
}

fn done(outcomes: &[&Outcome], system: System, phase: Phase) -> Option<Cost> {
    let outcome = outcomes.iter().find(|outcome| outcome.system == system)?;
    Some(phase_of(outcome, phase)?.1)
}

fn row(outcome: &Outcome, phase: Phase, ours: Option<Cost>) -> String {
    let (found, cost) = match outcome.phases.get(&phase) {
        None => return "not reached | | | | | | | | | |".to_owned(),
        Some(found) => match found.reached {
            Reached::Over(progress) => return over(progress),
            Reached::Done(cost) => (found, cost),
        },
    };
    let decimals = |value: Option<f64>, unit: &str| match value {
        Some(value) => format!("{value:.1}{unit}"),
        None => "–".to_owned(),
    };
    let cells = [
        grouped(cost.bytes[0]),
        grouped(cost.bytes[1]),
        ratio(cost.total() as f64, ours.map(|ours| ours.total() as f64)),
        found.transport.map(grouped).unwrap_or_default(),
        grouped(cost.messages),
        decimals(found.round_trips, ""),
        format!("{:.2}", cost.cpu),
        format!("{:.4}", cost.wall),
        ratio(cost.wall, ours.map(|ours| ours.wall)),
        decimals(found.rural, " s"),
        found.rural_bytes.map_or("–".to_owned(), grouped),
    ];
    cells.join(" | ")
}

fn over(progress: Progress) -> String {
    let Progress {
        loaded,
        bytes,
        messages,
    } = progress;
    let minutes = LIMIT.as_secs() / 60;
    format!(
        "over {minutes} min of processor time: {} records loaded, {} B said in {} messages | | | | | | | | | |",
        grouped(loaded),
        grouped(bytes),
        grouped(messages)
    )
}

fn ratio(value: f64, ours: Option<f64>) -> String {
    match ours {
        Some(ours) if ours > 0.0 => format!("{:.2}", value / ours),
        _ => "–".to_owned(),
    }
}

/// A whole number with commas.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",")
}

/// What is compared in one phase.
type Measure = fn(&PhaseOutcome, &Cost) -> Option<f64>;

/// Where another system does better than fieldmesh.
fn losses(outcomes: &[&Outcome], phase: Phase) -> Vec<String> {
    let measures: [(&str, Measure); 5] = [
        ("bytes", |_, cost| Some(cost.total() as f64)),
        ("round trips", |phase, _| phase.round_trips),
        ("processor time", |_, cost| Some(cost.cpu)),
        ("wall time", |_, cost| Some(cost.wall)),
        ("time on the rural link", |phase, _| phase.rural),
    ];
    let ours = outcomes
        .iter()
        .find(|outcome| outcome.system == System::Fieldmesh);
    let Some((ours, cost)) = ours.and_then(|ours| phase_of(ours, phase)) else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    for (what, measure) in measures {
        let better = outcomes.iter().filter_map(|outcome| {
            let (theirs, their_cost) = phase_of(outcome, phase)?;
            let share =
                measure(theirs, &their_cost)? / measure(ours, &cost).filter(|ours| *ours > 0.0)?;
            // Less than a hundredth is no loss.
            (share < 0.99).then(|| format!("{} {share:.2}", outcome.system.name()))
        });
        let better = better.collect::<Vec<_>>().join(", ");
        if !better.is_empty() {
            lines.push(format!("- fieldmesh loses in {what} (1 is ours): {better}"));
        }
    }
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines
}
