//! `cargo sim plot`: pictures of runs.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use simulations::plot::{self, Picture};
use simulations::report;
use simulations::trace::Renumbered;

use super::chosen::{Chosen, Which};
use super::files;
use super::voice::Voice;

#[derive(Args)]
pub(crate) struct Plot {
    #[command(flatten)]
    which: Which,
    /// A trace that `run --trace` wrote, instead of a run.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "profile", "plan", "schema"])]
    trace: Option<PathBuf>,
    /// The picture.
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Plot {
    pub(super) fn play(self) -> Result<u8, String> {
        let voice = Voice::of(self.json);
        let out = self.out.display().to_string();
        let code = match &self.trace {
            Some(trace) => {
                files::write(&self.out, &drawn(trace)?)?;
                voice.object(json!({ "picture": out }));
                0
            }
            None => play(&self.which.chosen()?, &self.out, voice)?,
        };
        voice.say(format!("drawn in {out}"));
        Ok(code)
    }
}

fn drawn(trace: &Path) -> Result<String, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", trace.display());
    let file = File::open(trace).map_err(|error| wrong(&error))?;
    plot::svg(BufReader::new(file)).map_err(|error| wrong(&error))
}

/// A picture of a run. It is drawn of a failing run too, if it gets as far as a first line.
fn play(chosen: &Chosen, out: &Path, voice: Voice) -> Result<u8, String> {
    let picture = Renumbered::new(&chosen.plan, Picture::default());
    let (outcome, picture) = chosen.play("playing", picture);
    let svg = picture.into_inner().svg();
    let svg = svg.map_err(|error| format!("the run cannot be drawn: {error}"))?;
    files::write(out, &svg)?;
    voice.say(report::opening(&chosen.plan));
    let mut told = report::json(&chosen.plan, &outcome, None, None);
    told["picture"] = out.display().to_string().into();
    voice.object(told);
    Ok(outcome.verdict.exit_code())
}
