//! `cargo sim campaign`: plays many seeds, and says how far it is and what came of them.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use serde_json::json;
use simulations::campaign::{Campaign, Summary};
use simulations::generate::{PROFILES, Profile};
use simulations::outcome::Outcome;
use simulations::plan::Plan;
use simulations::progress::Progress;
use simulations::report;
use simulations::sometimes::Sometimes;

use super::chosen::parse_profile;
use super::failing::{self, Keeping};
use super::voice::Voice;
use super::{NONDETERMINISM, NOT_TESTED, graver};

/// How many seeds of which profiles a pull request is tested with: under five minutes on two cores.
const PULL_REQUEST: [(&str, u64); 2] = [("quick", 900), ("field", 100)];
/// Most runs at once.
const JOBS_MAX: u64 = 1024;

#[derive(Args)]
pub(crate) struct Options {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    start: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// What fleets: field, quick or season.
    #[arg(long, default_value = PROFILES[0].name, value_parser = parse_profile)]
    profile: Profile,
    /// How many at once.
    #[arg(long, default_value_t = 2, value_parser = RangedU64ValueParser::<usize>::new().range(1..=JOBS_MAX))]
    jobs: usize,
    /// Every how many seeds one is run twice and compared; 0 for none.
    #[arg(long, default_value_t = 20)]
    twice_every: u64,
    /// Where the plans of failing seeds go.
    #[arg(long, value_name = "DIR", default_value = "target/sim")]
    out: PathBuf,
    /// How many runs making one failing plan small may take; 0 to leave it.
    #[arg(long, default_value_t = 200)]
    shrink_runs: u32,
    /// Stop after so many failures.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    failures_max: u64,
    /// Fail if a state of the `sometimes` list was never reached.
    #[arg(long)]
    all_reached: bool,
    /// Print one JSON object for each run, each plan that is kept, and the campaign.
    #[arg(long)]
    json: bool,
    /// What a pull request is tested with: some quick and some field fleets, all else as it is set here.
    #[arg(long, conflicts_with_all = ["count", "profile"])]
    pull_request: bool,
}

/// What a campaign does about what it finds.
struct Rules {
    keeping: Keeping,
    failures_max: u64,
    all_reached: bool,
    voice: Voice,
}

impl Options {
    pub(super) fn play(self) -> Result<u8, String> {
        let campaign = Campaign {
            start: self.start,
            count: self.count,
            profile: self.profile,
            jobs: self.jobs,
            twice_every: self.twice_every,
        };
        let rules = Rules {
            keeping: Keeping {
                out: self.out,
                shrink_runs: self.shrink_runs,
            },
            failures_max: self.failures_max,
            all_reached: self.all_reached,
            voice: Voice::of(self.json),
        };
        match self.pull_request {
            true => play_pull_request(&campaign, &rules),
            false => Ok(play(&campaign, &rules)),
        }
    }
}

/// Plays what a pull request is tested with.
fn play_pull_request(campaign: &Campaign, rules: &Rules) -> Result<u8, String> {
    let mut worst = 0;
    for (name, count) in PULL_REQUEST {
        let profile = parse_profile(name)?;
        let part = Campaign {
            count,
            profile,
            ..*campaign
        };
        worst = graver(worst, play(&part, rules));
    }
    Ok(worst)
}

/// Plays a campaign. Returns the exit code.
fn play(campaign: &Campaign, rules: &Rules) -> u8 {
    let Campaign { start, count, .. } = campaign;
    eprintln!(
        "campaign of {count} seeds from {start}, profile {}, {} at once",
        campaign.profile.name, campaign.jobs
    );
    let mut progress = Progress::new("campaign", campaign.count);
    let begun = Instant::now();
    let mut failures: Vec<(Plan, Outcome)> = Vec::new();
    let mut done = 0;
    let summary = campaign.play(|played| {
        done += 1;
        progress.at(done);
        let differs = played.differs.as_deref();
        rules
            .voice
            .object(report::json(&played.plan, &played.outcome, None, differs));
        if !played.outcome.verdict.is_held() || differs.is_some() {
            progress.suspend(|| failing::tell(played, rules.voice));
            failures.push((played.plan.clone(), played.outcome.clone()));
        }
        (failures.len() as u64) < rules.failures_max
    });
    drop(progress);
    tell_summary(&summary, begun.elapsed().as_secs_f64(), rules.voice);
    for (plan, outcome) in &failures {
        // The exit code says what failed, and not that there was no room to keep it.
        if let Err(why) = failing::keep(plan, outcome, &rules.keeping, rules.voice) {
            eprintln!("sim: the plan is not kept: {why}");
        }
    }
    let codes = failures
        .iter()
        .map(|(_, outcome)| outcome.verdict.exit_code());
    match codes.fold(0, graver) {
        0 if summary.differing > 0 => NONDETERMINISM,
        0 if rules.all_reached && summary.reached.missing().next().is_some() => NOT_TESTED,
        code => code,
    }
}

fn tell_summary(summary: &Summary, took_s: f64, voice: Voice) {
    let speed = summary.device_hours / took_s.max(1e-6);
    let missing: Vec<&str> = summary.reached.missing().map(|it| it.sentence()).collect();
    let words = || {
        let mut words = format!(
            "{} runs, {} failed, {} differed; {:.0} device-hours in {took_s:.0} s, {speed:.0} device-h/s; {} checks",
            summary.runs,
            summary.failed,
            summary.differing,
            summary.device_hours,
            summary.checks.total()
        );
        for oracle in summary.checks.not_asked() {
            words.push_str(&format!(
                "\n  not asked: {} {}",
                oracle.number(),
                oracle.name()
            ));
        }
        let (reached, all) = (summary.reached.count(), Sometimes::ALL.len());
        words.push_str(&format!("\nreached {reached}/{all} sometimes"));
        for state in &missing {
            words.push_str(&format!("\n  never: {state}"));
        }
        for oracle in summary.checks.not_asked() {
            let (number, name) = (oracle.number(), oracle.name());
            words.push_str(&format!("\n  not asked: {number} {name}"));
        }
        words
    };
    let object = json!({ "campaign": {
        "runs": summary.runs,
        "failed": summary.failed,
        "differing": summary.differing,
        "device_hours": summary.device_hours,
        "took_s": took_s,
        "checks": summary.checks,
        "reached": summary.reached.count(),
        "never": missing,
    }});
    voice.report(words, || object.to_string());
}
