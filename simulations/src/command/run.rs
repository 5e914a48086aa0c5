//! `cargo sim run`: plays one seed or one plan, in full or at scale.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueEnum};
use serde_json::json;
use simulations::outcome::Outcome;
use simulations::plan::Plan;
use simulations::progress::Progress;
use simulations::report;
use simulations::scale::{self, ScaleError};
use simulations::trace::{Renumbered, Writer};

use super::chosen::{Chosen, Which};
use super::files;
use super::voice::Voice;

#[derive(Args)]
pub(crate) struct Run {
    #[command(flatten)]
    which: Which,
    /// `full`: the real store on a disk, and every oracle. `scale`: the same plan without what breaks
    /// disks or lies, over a store in memory.
    #[arg(long, value_enum, default_value_t = Fidelity::Full)]
    fidelity: Fidelity,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Write the events of the run here, for `plot --trace`.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Write the plan here.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Fidelity {
    Full,
    Scale,
}

impl Run {
    pub(super) fn play(self) -> Result<u8, String> {
        let voice = Voice::of(self.json);
        let chosen = self.which.chosen()?;
        if let Some(path) = &self.save {
            files::write(path, &chosen.plan.to_text())?;
        }
        match (self.fidelity, &self.trace) {
            (Fidelity::Full, trace) => in_full(&chosen, trace.as_deref(), voice),
            (Fidelity::Scale, None) => at_scale(&chosen, voice),
            (Fidelity::Scale, Some(_)) => {
                Err("the scale fidelity writes no trace: use --fidelity full".to_owned())
            }
        }
    }
}

fn in_full(chosen: &Chosen, trace: Option<&Path>, voice: Voice) -> Result<u8, String> {
    voice.say(report::opening(&chosen.plan));
    let start = Instant::now();
    let outcome = match trace {
        None => chosen.play("playing", ()).0,
        Some(path) => {
            traced(chosen, path).map_err(|error| format!("{}: {error}", path.display()))?
        }
    };
    let took_s = Some(start.elapsed().as_secs_f64());
    voice.report(
        || report::closing(&outcome, took_s),
        || report::json(&chosen.plan, &outcome, took_s, None).to_string(),
    );
    voice.say(format!("replay  {}", chosen.replay_command()));
    Ok(outcome.verdict.exit_code())
}

fn traced(chosen: &Chosen, path: &Path) -> std::io::Result<Outcome> {
    let writer = Writer::new(BufWriter::new(File::create(path)?));
    let (outcome, writer) = chosen.play("playing", Renumbered::new(&chosen.plan, writer));
    writer.into_inner().finish()?;
    Ok(outcome)
}

fn at_scale(chosen: &Chosen, voice: Voice) -> Result<u8, String> {
    let plan = scale::plain(&chosen.plan);
    voice.say(report::opening(&plan));
    voice.say(left_out(&chosen.plan, &plan));
    let start = Instant::now();
    let mut progress = Progress::new("playing", plan.header.horizon_ms);
    let schema = chosen.family.first();
    let played = scale::run_and_settle(&plan, schema, &mut |now_ms| progress.at(now_ms));
    drop(progress);
    let (code, kind, why) = match played {
        Ok(outcome) => {
            let cost = scale::report::Cost::since(start);
            voice.report(
                || scale::report::text(&plan, &outcome, cost),
                || scale::report::json(&plan, &outcome, cost),
            );
            return Ok(0);
        }
        Err(ScaleError::Refused(why)) => return Err(why),
        Err(ScaleError::Broken(why)) => (1, "oracle", why),
        Err(ScaleError::Unsettled(why)) => (2, "liveness", why),
    };
    voice.report(
        || format!("failed  {why}"),
        || json!({ "fidelity": "scale", "verdict": kind, "detail": why }).to_string(),
    );
    Ok(code)
}

/// What the fidelity does without.
fn left_out(plan: &Plan, plain: &Plan) -> String {
    format!(
        "without {} devices, {} operations and {} faults that only --fidelity full plays",
        plan.devices.len() - plain.devices.len(),
        plan.operations.len() - plain.operations.len(),
        plan.faults.len() - plain.faults.len()
    )
}
