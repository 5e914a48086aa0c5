//! `cargo sim shrink`: makes a failing plan small.

use std::path::PathBuf;

use clap::Args;
use simulations::progress::Progress;
use simulations::report;

use super::chosen::Which;
use super::failing;
use super::files;
use super::voice::Voice;

#[derive(Args)]
pub(crate) struct Shrink {
    #[command(flatten)]
    which: Which,
    /// Where the small plan goes.
    #[arg(long, value_name = "FILE", default_value = "target/sim/small.plan")]
    out: PathBuf,
    /// How many runs it may take.
    #[arg(long, default_value_t = 400)]
    runs: u32,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Shrink {
    pub(super) fn play(self) -> Result<u8, String> {
        let voice = Voice::of(self.json);
        let mut chosen = self.which.chosen()?;
        let (outcome, ()) = chosen.play("playing", ());
        if outcome.verdict.is_held() {
            return Err("this plan holds; there is nothing to make small".to_owned());
        }
        let progress = Progress::new("making it small", self.runs.into());
        let small = failing::made_small(&chosen, &outcome.verdict, self.runs, progress);
        files::write(&self.out, &small.plan.to_text())?;
        chosen.plan = small.plan.clone();
        let (outcome, ()) = chosen.play("playing what is left", ());
        voice.say(report::opening(&chosen.plan));
        voice.say(report::closing(&outcome, None));
        failing::tell_small(&self.out, &small, &chosen.schemas, voice);
        Ok(outcome.verdict.exit_code())
    }
}
