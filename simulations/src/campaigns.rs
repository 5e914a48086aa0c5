//! `cargo sim campaign`: plays many seeds, and says how far it is and what came of them.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use simulations::campaign::{Campaign, Summary};
use simulations::outcome::Outcome;
use simulations::plan::Plan;
use simulations::report;

use super::args::parse_profile;
use super::failing::{self, Keeping};
use super::{NONDETERMINISM, NOT_TESTED};

/// How many seeds of which profiles a pull request is tested with: under five minutes on two cores.
const PULL_REQUEST: [(&str, u64); 2] = [("quick", 900), ("field", 100)];
/// How often a campaign says how far it is where there is no terminal to draw a bar in.
const PROGRESS_STEPS: u64 = 10;

/// What a campaign does about what it finds.
pub(super) struct Rules {
    pub(super) keeping: Keeping,
    pub(super) failures_max: u64,
    pub(super) all_reached: bool,
    pub(super) json: bool,
}

/// What a pull request is tested with.
pub(super) fn play_pull_request(campaign: &Campaign, rules: &Rules) -> Result<u8, String> {
    let mut worst = 0;
    for (name, count) in PULL_REQUEST {
        let profile = parse_profile(name)?;
        let part = Campaign {
            count,
            profile,
            ..*campaign
        };
        // The smaller code is the graver failure.
        worst = match (worst, play(&part, rules)?) {
            (0, code) | (code, 0) => code,
            (one, other) => one.min(other),
        };
    }
    Ok(worst)
}

/// Plays a campaign. Returns the exit code.
pub(super) fn play(campaign: &Campaign, rules: &Rules) -> Result<u8, String> {
    let Campaign { start, count, .. } = campaign;
    eprintln!(
        "campaign of {count} seeds from {start}, profile {}, {} at once",
        campaign.profile.name, campaign.jobs
    );
    let bar = ProgressBar::new(campaign.count);
    if let Ok(style) = ProgressStyle::with_template("{pos}/{len} {wide_bar} {eta} {msg}") {
        bar.set_style(style);
    }
    let begun = Instant::now();
    let mut failures: Vec<(Plan, Outcome)> = Vec::new();
    let mut failed = 0;
    let summary = campaign.play(|played| {
        bar.inc(1);
        let step = count.div_ceil(PROGRESS_STEPS).max(1);
        if bar.is_hidden() && bar.position().is_multiple_of(step) {
            eprintln!("{} of {count} seeds played", bar.position());
        }
        if rules.json {
            println!("{}", report::json(&played.plan, &played.outcome, 0.0));
        }
        if !played.outcome.verdict.is_held() || played.differs.is_some() {
            failed += 1;
            bar.suspend(|| failing::tell(played));
            failures.push((played.plan.clone(), played.outcome.clone()));
        }
        failed < rules.failures_max
    });
    bar.finish_and_clear();
    tell_summary(&summary, begun.elapsed().as_secs_f64());
    for (plan, outcome) in &failures {
        // The exit code says what failed, and not that there was no room to keep it.
        if let Err(why) = failing::keep(plan, outcome, &rules.keeping) {
            eprintln!("sim: the plan is not kept: {why}");
        }
    }
    let worst = failures
        .iter()
        .map(|(_, outcome)| outcome.verdict.exit_code());
    let worst = worst.filter(|code| *code > 0).min();
    Ok(match worst {
        Some(code) => code,
        None if summary.differing > 0 => NONDETERMINISM,
        None if rules.all_reached && summary.reached.missing().next().is_some() => NOT_TESTED,
        None => 0,
    })
}

fn tell_summary(summary: &Summary, cpu_s: f64) {
    println!(
        "{} runs, {} failed, {} differed; {:.0} device-hours in {cpu_s:.0} s, {:.0} device-h/s; {} checks",
        summary.runs,
        summary.failed,
        summary.differing,
        summary.device_hours,
        summary.device_hours / cpu_s.max(1e-6),
        summary.checks.total()
    );
    for oracle in summary.checks.not_asked() {
        println!("  not asked: {} {}", oracle.number(), oracle.name());
    }
    let total = simulations::sometimes::Sometimes::ALL.len();
    println!("reached {}/{total} sometimes", summary.reached.count());
    for state in summary.reached.missing() {
        println!("  never: {}", state.sentence());
    }
}
