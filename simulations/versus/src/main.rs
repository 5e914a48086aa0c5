//! `cargo run --release --manifest-path simulations/versus/Cargo.toml`: the same records, edits and link
//! through fieldmesh and through other sync systems, in one run on one machine.
//!
//! Every system runs in a process of its own for every link, so that processor time and memory are its own.
//! Both devices are in that process; what is counted is what a system hands to its transport. Each module
//! of [`contender`] says what was done in its system's favour.

mod contender;
mod link;
mod measure;
mod outcome;
mod records;
mod table;
mod transport;
mod watch;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use contender::{ALL, System};
use link::Link;
use outcome::Outcome;

/// Compares sync systems on the same work.
#[derive(Parser)]
struct Options {
    /// How many records the devices share; may be given several times.
    #[arg(long, default_values_t = [1_000, 10_000])]
    records: Vec<usize>,
    /// How many one-field updates the last meeting carries.
    #[arg(long, default_value_t = 1_000)]
    updates: usize,
    /// Only this system; may be given several times.
    #[arg(long)]
    only: Vec<System>,
    /// Print one JSON object for each system and size instead of tables.
    #[arg(long)]
    json: bool,
    /// Print tables of what earlier runs printed with `--json`; run nothing.
    #[arg(long)]
    read: Vec<PathBuf>,
    /// Run one system in this process and print a line of JSON for each phase.
    #[arg(long, hide = true, requires = "link")]
    one: Option<System>,
    /// The link to run it on.
    #[arg(long, hide = true)]
    link: Option<Link>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let (Some(system), Some(link)) = (options.one, options.link) {
        for records in options.records {
            work::play(system, link, records, options.updates);
        }
        return ExitCode::SUCCESS;
    }
    if !options.read.is_empty() {
        return match outcome::read(&options.read) {
            Ok(outcomes) => {
                table::print_all(&outcomes);
                ExitCode::SUCCESS
            }
            Err(why) => {
                eprintln!("{why}");
                ExitCode::FAILURE
            }
        };
    }
    let is_wanted = |system: &System| options.only.is_empty() || options.only.contains(system);
    let mut is_good = true;
    for &records in &options.records {
        let mut outcomes = Vec::new();
        for system in ALL.into_iter().filter(is_wanted) {
            match Outcome::of(system, records, options.updates) {
                Ok(outcome) if options.json => println!("{}", outcome.to_json()),
                Ok(outcome) => outcomes.push(outcome),
                Err(why) => {
                    eprintln!("{} with {records} records: {why}", system.name());
                    is_good = false;
                }
            }
        }
        table::print_all(&outcomes);
    }
    ExitCode::from(u8::from(!is_good))
}
