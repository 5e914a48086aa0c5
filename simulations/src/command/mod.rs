//! The subcommands of `cargo sim`, and what the program ends with.
//!
//! `run`, `campaign`, `replay`, `shrink`, `explain`, `plot` and `mutants` play plans and say what held; `simulate`,
//! `compare` and `scale` play people's days and large fleets and say what came of it. With `--json` there are only
//! JSON lines on standard output, and words for people go beside it.

mod campaign;
mod chosen;
mod explain;
mod failing;
mod files;
#[cfg(feature = "mutations")]
mod mutants;
mod plot;
mod replay;
mod run;
mod shrink;
mod simulate;
mod voice;

use clap::{Parser, Subcommand};
use simulations::scale;

/// The exit code of a panic, and of a run that had no end.
pub(super) const CRASHED: u8 = 3;
/// The exit code of runs that are not the same twice.
const NONDETERMINISM: u8 = 4;
/// The exit code of a campaign that never reached some state, of wrong arguments, and of files that cannot be used.
pub(super) const NOT_TESTED: u8 = 5;

/// Plays simulated fleets over virtual time and says what held. Exit codes: 0 all held, 1 an oracle did
/// not, 2 a fleet did not settle, 3 a panic or a limit, 4 two runs of one plan differed, 5 a state was never
/// reached, or an argument or a file could not be used.
#[derive(Parser)]
#[command(name = "sim", version)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Play one seed, or one plan file.
    Run(run::Run),
    /// Play many seeds; failing ones are made small and kept.
    Campaign(campaign::Options),
    /// Draw a seed, a plan file or a saved trace: contacts, faults, and how far each device was behind.
    Plot(plot::Plot),
    /// Plant every known bug in turn and see which oracle catches it; ends with 1 if one survives.
    #[cfg(feature = "mutations")]
    Mutants(mutants::Mutants),
    /// Play people's days under your own schema: conflicts, reviews, bytes, money.
    Simulate(simulate::Simulate),
    /// Play one plan under two configurations and show what differs.
    Compare(simulate::Compare),
    /// Play a large fleet over stores in memory, and tell how its entries spread and what that costs.
    Scale(scale::command::Scale),
    /// Play a plan file twice and compare the digests.
    Replay(replay::Replay),
    /// Make a failing plan small.
    Shrink(shrink::Shrink),
    /// Play a seed or plan and print what happened last.
    Explain(explain::Explain),
}

impl Command {
    /// Carries it out. Returns the exit code.
    ///
    /// # Errors
    /// Why it cannot be carried out, in words.
    pub(super) fn play(self) -> Result<u8, String> {
        match self {
            Self::Run(run) => run.play(),
            Self::Campaign(options) => options.play(),
            Self::Plot(plot) => plot.play(),
            #[cfg(feature = "mutations")]
            Self::Mutants(mutants) => mutants.play(),
            Self::Simulate(simulate) => simulate.play(),
            Self::Compare(compare) => compare.play(),
            Self::Scale(scale) => scale.play().map(|()| 0),
            Self::Replay(replay) => replay.play(),
            Self::Shrink(shrink) => shrink.play(),
            Self::Explain(explain) => explain.play(),
        }
    }
}

/// The graver of two exit codes: of failures the smaller one.
fn graver(one: u8, other: u8) -> u8 {
    match (one, other) {
        (0, code) | (code, 0) => code,
        (one, other) => one.min(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_graver_than_none_and_a_broken_oracle_than_any_other() {
        assert_eq!(graver(0, 0), 0);
        assert_eq!(graver(2, 0), 2);
        assert_eq!(graver(3, 1), 1);
        assert_eq!(graver(4, NOT_TESTED), 4);
    }

    #[test]
    fn no_two_arguments_of_a_command_have_one_name() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
