//! Long runs on a stable compiler, single inputs, and the corpus. See the library's documentation.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use fuzz::judge::{Failure, bombard, corpus, judge};
use fuzz::{TARGETS, Target, corpus_dir, find, seeds};

/// Throws bytes at every decoder of fieldmesh
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes inputs of the corpus and runs them until one fails
    Run {
        /// The target; all of them without one
        target: Option<String>,
        /// How many inputs each target is given
        #[arg(long, default_value_t = 1_000_000)]
        inputs: u64,
        /// What the inputs are drawn from
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Runs one input and lets it panic
    Try {
        /// The target
        target: String,
        /// The input
        file: PathBuf,
    },
    /// Writes the corpus anew with the encoders as they are
    Corpus,
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), String> {
    match command {
        Command::Run {
            target,
            inputs,
            seed,
        } => {
            let chosen: Vec<&Target> = match target {
                Some(name) => vec![known(&name)?],
                None => TARGETS.iter().collect(),
            };
            // A panic is caught and told with its input; some readers catch panics of their own.
            std::panic::set_hook(Box::new(|_| {}));
            let failed = chosen
                .iter()
                .filter(|target| !long_run(target, seed, inputs))
                .count();
            (failed == 0)
                .then_some(())
                .ok_or_else(|| format!("{failed} targets failed"))
        }
        Command::Try { target, file } => {
            let target = known(&target)?;
            let input = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            let allocated = judge(target, &input).map_err(|failure| failure.why)?;
            println!(
                "{}: {} bytes, {allocated} allocated",
                target.name,
                input.len()
            );
            Ok(())
        }
        Command::Corpus => TARGETS.iter().try_for_each(write_corpus),
    }
}

fn known(name: &str) -> Result<&'static Target, String> {
    find(name).ok_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        format!("there is no target {name}; there are {}", names.join(", "))
    })
}

/// Runs one target; whether nothing failed. Tells its slowest and its dearest input.
fn long_run(target: &Target, seed: u64, inputs: u64) -> bool {
    let corpus = match corpus(target) {
        Ok(corpus) => corpus,
        Err(error) => {
            println!("{}: its corpus cannot be read: {error}", target.name);
            return false;
        }
    };
    let start = Instant::now();
    let (mut before, mut slowest, mut dearest) = (start, (Duration::ZERO, 0), (0, 0));
    let result = bombard(target, &corpus, (seed, inputs), |input, allocated| {
        let now = Instant::now();
        slowest = slowest.max((now - before, input.len()));
        dearest = dearest.max((allocated, input.len()));
        before = now;
    });
    match result {
        Ok(()) => {
            println!(
                "{}: {inputs} inputs in {:.1} s; slowest {:.1} ms for {} bytes; most allocated {} for {} bytes",
                target.name,
                start.elapsed().as_secs_f64(),
                slowest.0.as_secs_f64() * 1e3,
                slowest.1,
                dearest.0,
                dearest.1
            );
            true
        }
        Err(failure) => {
            println!("{}", told(&failure));
            false
        }
    }
}

fn told(failure: &Failure) -> String {
    let place = match failure.keep() {
        Ok(path) => path.display().to_string(),
        Err(error) => format!("nowhere ({error}): {}", hex::encode(&failure.input)),
    };
    format!(
        "{}: {}; the input is in {place}",
        failure.target, failure.why
    )
}

fn write_corpus(target: &Target) -> Result<(), String> {
    let dir = corpus_dir(target);
    let failed = |error: std::io::Error| format!("{}: {error}", dir.display());
    fs::create_dir_all(&dir).map_err(failed)?;
    for (name, bytes) in seeds::of(target.name) {
        fs::write(dir.join(name), bytes).map_err(failed)?;
    }
    Ok(())
}
