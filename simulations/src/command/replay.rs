//! `cargo sim replay`: plays a plan file twice.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use simulations::campaign::difference;
use simulations::report;

use super::NONDETERMINISM;
use super::chosen::Chosen;
use super::voice::Voice;

#[derive(Args)]
pub(crate) struct Replay {
    /// The plan.
    plan: PathBuf,
    /// The schema file of the plan, and its other versions; the bundled one if there is none.
    #[arg(long, value_name = "FILE")]
    schema: Vec<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Replay {
    pub(super) fn play(self) -> Result<u8, String> {
        let voice = Voice::of(self.json);
        let chosen = Chosen::read(self.plan, self.schema)?;
        voice.say(report::opening(&chosen.plan));
        let start = Instant::now();
        let (outcome, ()) = chosen.play("playing", ());
        let took_s = Some(start.elapsed().as_secs_f64());
        let (again, ()) = chosen.play("playing again", ());
        let differs = difference(&outcome, &again);
        voice.report(
            || report::closing(&outcome, took_s),
            || report::json(&chosen.plan, &outcome, took_s, differs.as_deref()).to_string(),
        );
        match differs {
            Some(why) => {
                voice.say(why);
                Ok(NONDETERMINISM)
            }
            None => Ok(outcome.verdict.exit_code()),
        }
    }
}
