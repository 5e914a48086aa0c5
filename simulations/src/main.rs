//! `cargo sim run | campaign | replay | shrink | explain | plot | mutants`: plays fleets and says what held.
//! `cargo sim simulate | compare`: plays a workload under somebody's own schema and says what came of it.

mod commands;
mod failing;
mod simulate;

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand, ValueEnum};
use failing::Keeping;
use indicatif::{ProgressBar, ProgressStyle};
use simulations::campaign::{Campaign, Summary};
use simulations::family::Family;
use simulations::generate::{PROFILES, Profile, generate, profile};
use simulations::outcome::Outcome;
use simulations::plan::Plan;
use simulations::report;
use simulations::scale;
use simulations::shrink::shrink;
use simulations::trace::{Notes, Renumbered, Writer};
use simulations::world::World;

/// A thousand engines make and drop many small things of many sizes: a quarter of a large run's time with the
/// system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit code of runs that are not the same twice.
const NONDETERMINISM: u8 = 4;
/// The exit code of a campaign that never reached some state, and of wrong arguments.
const NOT_TESTED: u8 = 5;
/// How many seeds of which profiles a pull request is tested with: under five minutes on two cores.
const PULL_REQUEST: [(&str, u64); 2] = [("quick", 900), ("field", 100)];
/// How often a campaign says how far it is where there is no terminal to draw a bar in.
const PROGRESS_STEPS: u64 = 10;

/// Plays simulated fleets over virtual time and says what held. Exit codes: 0 all held, 1 an oracle did
/// not, 2 a fleet did not settle, 3 a panic or a limit, 4 two runs of one plan differed, 5 a state was never
/// reached or a file could not be used.
#[derive(Parser)]
#[command(name = "sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Play one seed, or one plan file.
    Run {
        #[command(flatten)]
        which: Which,
        /// `full`: the real store on a disk, and every oracle. `scale`: the same plan without what breaks
        /// disks or lies, over a store in memory.
        #[arg(long, value_enum, default_value_t = Fidelity::Full)]
        fidelity: Fidelity,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        /// Write the events of the run here, for plots.
        #[arg(long, value_name = "FILE")]
        trace: Option<PathBuf>,
        /// Write the plan here.
        #[arg(long, value_name = "FILE")]
        save: Option<PathBuf>,
    },
    /// Play many seeds; failing ones are made small and kept.
    Campaign {
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        start: u64,
        /// How many seeds.
        #[arg(long, default_value_t = 200)]
        count: u64,
        /// What fleets: field, quick or season.
        #[arg(long, default_value = PROFILES[0].name, value_parser = parse_profile)]
        profile: Profile,
        /// How many at once.
        #[arg(long, default_value_t = 2)]
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
        /// Go on after so many failures.
        #[arg(long, default_value_t = 3)]
        failures_max: u64,
        /// Fail if a state of the `sometimes` list was never reached.
        #[arg(long)]
        all_reached: bool,
        /// Print one JSON object for each run.
        #[arg(long)]
        json: bool,
        /// What a pull request is tested with: some quick and some field fleets, all else as it is set here.
        #[arg(long, conflicts_with_all = ["count", "profile"])]
        pull_request: bool,
    },
    /// Draw a seed or a plan file: contacts, faults, and how far each device was behind.
    Plot {
        #[command(flatten)]
        which: Which,
        /// The picture.
        #[arg(short, long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Plant every known bug in turn and see which oracle catches it; ends with 1 if one survives.
    #[cfg(feature = "mutations")]
    Mutants {
        /// How many seeds each bug may survive.
        #[arg(long, default_value_t = 60)]
        seeds: u64,
        /// How many bugs at once.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Only the bug of this name.
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
        /// Make the first plan that catches it small and put it here.
        #[arg(long, value_name = "FILE", requires = "only")]
        save: Option<PathBuf>,
    },
    /// Play people's days under your own schema: conflicts, reviews, bytes, money.
    Simulate(simulate::Simulate),
    /// Play one plan under two configurations and show what differs.
    Compare(simulate::Compare),
    /// Play a large fleet over stores in memory, and tell how its entries spread and what that costs.
    Scale(scale::command::Scale),
    /// Play a plan file twice and compare the digests.
    Replay {
        /// The plan.
        plan: PathBuf,
    },
    /// Make a failing plan small.
    Shrink {
        #[command(flatten)]
        which: Which,
        /// Where the small plan goes.
        #[arg(long, value_name = "FILE", default_value = "target/sim/small.plan")]
        out: PathBuf,
        /// How many runs it may take.
        #[arg(long, default_value_t = 400)]
        runs: u32,
    },
    /// Play a seed or plan and print what happened last.
    Explain {
        #[command(flatten)]
        which: Which,
        /// How many events to print.
        #[arg(long, default_value_t = 200)]
        last: usize,
        /// Print events that contain this text only.
        #[arg(long)]
        only: Option<String>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Fidelity {
    Full,
    Scale,
}

#[derive(Args)]
struct Which {
    /// The seed.
    #[arg(long, default_value_t = 1, conflicts_with = "plan")]
    seed: u64,
    /// What fleet: field, quick or season.
    #[arg(long, default_value = PROFILES[0].name, value_parser = parse_profile)]
    profile: Profile,
    /// A plan file instead of a seed.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
}

fn parse_profile(name: &str) -> Result<Profile, String> {
    profile(name).ok_or_else(|| {
        let names: Vec<_> = PROFILES.iter().map(|known| known.name).collect();
        format!(
            "there is no profile {name:?}; use one of {}",
            names.join(", ")
        )
    })
}

impl Which {
    fn replay_command(&self, plan: &Plan) -> String {
        report::replay_command(plan, self.plan.as_deref())
    }

    fn plan(&self) -> Result<Plan, String> {
        match &self.plan {
            Some(path) => read_plan(path),
            None => Ok(generate(self.seed, &self.profile)),
        }
    }
}

fn read_plan(path: &Path) -> Result<Plan, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Plan::from_text(&text, Family::bundled()?)
        .map_err(|error| format!("{}: {error}", path.display()))
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run {
            which,
            fidelity: Fidelity::Scale,
            json,
            ..
        } => which
            .plan()
            .and_then(|plan| scale::command::play_small(&plan, json))
            .map(|()| 0),
        Command::Scale(scale) => scale.play().map(|()| 0),
        Command::Run {
            which,
            fidelity: Fidelity::Full,
            json,
            trace,
            save,
        } => run(&which, json, trace.as_deref(), save.as_deref()),
        Command::Simulate(simulate) => simulate.run(),
        Command::Compare(compare) => compare.run(),
        Command::Replay { plan } => replay(&plan),
        Command::Shrink { which, out, runs } => make_small(&which, &out, runs),
        Command::Explain { which, last, only } => explain(&which, last, only.as_deref()),
        Command::Campaign {
            start,
            count,
            profile,
            jobs,
            twice_every,
            out,
            shrink_runs,
            failures_max,
            all_reached,
            json,
            pull_request,
        } => {
            let campaign = Campaign {
                start,
                count,
                profile,
                jobs,
                twice_every,
            };
            let rules = Rules {
                keeping: Keeping { out, shrink_runs },
                failures_max,
                all_reached,
                json,
            };
            match pull_request {
                true => play_pull_request(&campaign, &rules),
                false => play(&campaign, &rules),
            }
        }
        Command::Plot { which, out } => which.plan().and_then(|plan| commands::plot(&plan, &out)),
        #[cfg(feature = "mutations")]
        Command::Mutants {
            seeds,
            jobs,
            only,
            save,
        } => commands::mutants(seeds, jobs, only.as_deref(), save.as_deref()),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(why) => {
            eprintln!("sim: {why}");
            ExitCode::from(NOT_TESTED)
        }
    }
}

fn run(which: &Which, json: bool, trace: Option<&Path>, save: Option<&Path>) -> Result<u8, String> {
    let plan = which.plan()?;
    if let Some(path) = save {
        commands::write_plan(path, &plan)?;
    }
    if !json {
        println!("{}", report::opening(&plan));
    }
    let start = Instant::now();
    let outcome = match trace {
        None => World::run(&plan, &mut ()),
        Some(path) => {
            traced(&plan, path).map_err(|error| format!("{}: {error}", path.display()))?
        }
    };
    let cpu_s = start.elapsed().as_secs_f64();
    match json {
        true => println!("{}", report::json(&plan, &outcome, cpu_s)),
        false => {
            print!("{}", report::closing(&outcome, cpu_s));
            println!("replay  {}", which.replay_command(&plan));
        }
    }
    Ok(outcome.verdict.exit_code())
}

fn traced(plan: &Plan, path: &Path) -> std::io::Result<Outcome> {
    let writer = Writer::new(BufWriter::new(File::create(path)?));
    let mut writer = Renumbered::new(plan, writer);
    let outcome = World::run(plan, &mut writer);
    writer.into_inner().finish()?;
    Ok(outcome)
}

fn replay(path: &Path) -> Result<u8, String> {
    let plan = read_plan(path)?;
    println!("{}", report::opening(&plan));
    let start = Instant::now();
    let outcome = World::run(&plan, &mut ());
    print!(
        "{}",
        report::closing(&outcome, start.elapsed().as_secs_f64())
    );
    let again = World::run(&plan, &mut ());
    match simulations::campaign::difference(&outcome, &again) {
        Some(why) => {
            println!("{why}");
            Ok(NONDETERMINISM)
        }
        None => Ok(outcome.verdict.exit_code()),
    }
}

fn make_small(which: &Which, out: &Path, runs: u32) -> Result<u8, String> {
    let plan = which.plan()?;
    let outcome = World::run(&plan, &mut ());
    if outcome.verdict.is_held() {
        return Err("this plan holds; there is nothing to make small".to_owned());
    }
    let small = shrink(&plan, &outcome.verdict, runs, &mut |runs, plan| {
        eprintln!("{runs:>4} runs  {}", commands::size(plan));
    });
    commands::write_plan(out, &small.plan)?;
    let outcome = World::run(&small.plan, &mut ());
    println!("{}", report::opening(&small.plan));
    print!("{}", report::closing(&outcome, f64::INFINITY));
    failing::tell_small(out, &small);
    Ok(outcome.verdict.exit_code())
}

fn explain(which: &Which, last: usize, only: Option<&str>) -> Result<u8, String> {
    let plan = which.plan()?;
    println!("{}", report::opening(&plan));
    let mut notes = Notes::new(if only.is_some() { usize::MAX } else { last });
    let start = Instant::now();
    let outcome = World::run(&plan, &mut notes);
    let wanted = |line: &&str| only.is_none_or(|text| line.contains(text));
    let lines: Vec<&str> = notes.lines().filter(wanted).collect();
    for line in &lines[lines.len().saturating_sub(last)..] {
        println!("{line}");
    }
    print!(
        "{}",
        report::closing(&outcome, start.elapsed().as_secs_f64())
    );
    Ok(outcome.verdict.exit_code())
}

/// What a campaign does about what it finds.
struct Rules {
    keeping: Keeping,
    failures_max: u64,
    all_reached: bool,
    json: bool,
}

/// What a pull request is tested with.
fn play_pull_request(campaign: &Campaign, rules: &Rules) -> Result<u8, String> {
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

fn play(campaign: &Campaign, rules: &Rules) -> Result<u8, String> {
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
        summary.checks
    );
    let total = simulations::sometimes::Sometimes::ALL.len();
    println!("reached {}/{total} sometimes", summary.reached.count());
    for state in summary.reached.missing() {
        println!("  never: {}", state.sentence());
    }
}
