//! `cargo sim run | campaign | replay | shrink | explain | plot | mutants`: plays fleets and says what held.
//! `cargo sim simulate | compare`: plays a workload under somebody's own schema and says what came of it.

mod args;
mod campaigns;
mod commands;
mod failing;
mod simulate;

use std::fs::File;
use std::io::BufWriter;
use std::panic;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use args::{Cli, Command, Fidelity, Which, parse_profile, read_plan};
use campaigns::Rules;
use clap::Parser;
use failing::Keeping;
use simulations::campaign::Campaign;
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

/// The database panics on some damaged pages, and the store takes that for damage: whoever plays fleets with disks
/// that rot need not read of it. Other panics are shown.
fn quiet_the_database() {
    let show = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let of_database = panic
            .location()
            .is_some_and(|at| at.file().contains("redb-"));
        if !of_database {
            show(panic);
        }
    }));
}

fn main() -> ExitCode {
    quiet_the_database();
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
                true => campaigns::play_pull_request(&campaign, &rules),
                false => campaigns::play(&campaign, &rules),
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
