//! The arguments of `cargo sim`: which subcommands there are, and which plan each plays.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use simulations::family::Family;
use simulations::generate::{PROFILES, Profile, generate, profile};
use simulations::plan::Plan;
use simulations::report;
use simulations::scale;

use super::simulate;

/// Plays simulated fleets over virtual time and says what held. Exit codes: 0 all held, 1 an oracle did
/// not, 2 a fleet did not settle, 3 a panic or a limit, 4 two runs of one plan differed, 5 a state was never
/// reached or a file could not be used.
#[derive(Parser)]
#[command(name = "sim", version)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
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
pub(super) enum Fidelity {
    Full,
    Scale,
}

#[derive(Args)]
pub(super) struct Which {
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

pub(super) fn parse_profile(name: &str) -> Result<Profile, String> {
    profile(name).ok_or_else(|| {
        let names: Vec<_> = PROFILES.iter().map(|known| known.name).collect();
        format!(
            "there is no profile {name:?}; use one of {}",
            names.join(", ")
        )
    })
}

impl Which {
    pub(super) fn replay_command(&self, plan: &Plan) -> String {
        report::replay_command(plan, self.plan.as_deref())
    }

    pub(super) fn plan(&self) -> Result<Plan, String> {
        match &self.plan {
            Some(path) => read_plan(path),
            None => Ok(generate(self.seed, &self.profile)),
        }
    }
}

pub(super) fn read_plan(path: &Path) -> Result<Plan, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Plan::from_text(&text, Family::bundled()?)
        .map_err(|error| format!("{}: {error}", path.display()))
}
