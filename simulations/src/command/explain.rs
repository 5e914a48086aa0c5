//! `cargo sim explain`: plays a seed or a plan and prints what happened last, in words.

use std::time::Instant;

use clap::Args;
use simulations::notes::Notes;
use simulations::report;

use super::chosen::Which;
use super::voice::Voice;

#[derive(Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    which: Which,
    /// How many events to print.
    #[arg(long, default_value_t = 200)]
    last: usize,
    /// Print only events that have these words, such as "device 2" or "plan line 14".
    #[arg(long, value_name = "WORDS")]
    only: Option<String>,
    /// Print one JSON object for each event, and one for the run.
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn play(self) -> Result<u8, String> {
        let voice = Voice::of(self.json);
        let chosen = self.which.chosen()?;
        voice.say(report::opening(&chosen.plan));
        let notes = Notes::new(self.last, self.only.as_deref(), chosen.lines.clone());
        let start = Instant::now();
        let (outcome, notes) = chosen.play("playing", notes);
        let took_s = Some(start.elapsed().as_secs_f64());
        for note in notes.iter() {
            voice.report(|| note.to_string(), || serde_json::json!(note).to_string());
        }
        voice.report(
            || report::closing(&outcome, took_s),
            || report::json(&chosen.plan, &outcome, took_s, None).to_string(),
        );
        Ok(outcome.verdict.exit_code())
    }
}
