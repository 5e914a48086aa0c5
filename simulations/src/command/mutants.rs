//! `cargo sim mutants`: the test of the oracles themselves.

use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use fieldmesh::mutation::Mutation;
use serde_json::json;
use simulations::mutants::{Tried, campaign, play_with, table};
use simulations::plan::Plan;
use simulations::progress::Progress;
use simulations::regressions;
use simulations::shrink::shrink_by;

use super::chosen::size;
use super::files;
use super::voice::Voice;

/// How many runs making the plan of a bug small may take.
const SHRINK_RUNS: u32 = 400;

#[derive(Args)]
pub(crate) struct Mutants {
    /// How many seeds each bug may survive.
    #[arg(long, default_value_t = 60)]
    seeds: u64,
    /// How many bugs at once.
    #[arg(long, default_value_t = 2, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    jobs: usize,
    /// Only the bug of this name.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Make the first plan that catches it small and put it here.
    #[arg(long, value_name = "FILE", requires = "only")]
    save: Option<PathBuf>,
    /// Print one JSON object for each bug.
    #[arg(long)]
    json: bool,
}

impl Mutants {
    /// Plants bugs and says who caught them.
    pub(super) fn play(self) -> Result<u8, String> {
        let voice = Voice::of(self.json);
        let wanted = match &self.only {
            None => Mutation::ALL.to_vec(),
            Some(name) => {
                vec![Mutation::by_name(name).ok_or_else(|| format!("there is no bug {name:?}"))?]
            }
        };
        let kept = regressions::all()?.into_iter().map(|(_, plan)| plan);
        let kept: Vec<Plan> = kept.collect();
        // A bug that makes a run panic is a bug that is caught; the words are in its verdict.
        std::panic::set_hook(Box::new(|_| {}));
        let all = campaign(&wanted, &kept, self.seeds, self.jobs, &|tried: &Tried| {
            let (name, count) = (tried.mutation.name(), tried.count());
            eprintln!("{name}: caught in {count} of {}", tried.runs);
        });
        voice.say(table(&all));
        for tried in &all {
            voice.object(object(tried));
        }
        if let (Some(path), Some(first)) = (&self.save, all.first()) {
            self.keep(path, first, voice)?;
        }
        let survivors = all.iter().filter(|tried| tried.survived()).count();
        let left_out = all.iter().map(|tried| tried.left_out).max().unwrap_or(0);
        voice.say(format!("{} bugs, {survivors} survived", all.len()));
        if left_out > 0 {
            voice.say(format!(
                "{left_out} plans were left out: they fail without a bug"
            ));
        }
        Ok(u8::from(survivors > 0 || left_out > 0))
    }

    fn keep(&self, path: &std::path::Path, tried: &Tried, voice: Voice) -> Result<(), String> {
        let Some((plan, verdict)) = &tried.first else {
            return Ok(());
        };
        let mut progress = Progress::new("making it small", SHRINK_RUNS.into());
        let mut runs = 0;
        let mut play = |plan: &Plan| {
            runs += 1;
            progress.at(runs);
            play_with(tried.mutation, plan).0.verdict
        };
        let small = shrink_by(plan, verdict, SHRINK_RUNS, &mut play, &mut |_, _| {});
        files::write(path, &small.plan.to_text())?;
        let (file, size) = (path.display(), size(&small.plan));
        voice.say(format!("{file}: {size}; {:?}", small.verdict));
        voice.object(json!({ "kept": file.to_string(), "runs": small.runs }));
        Ok(())
    }
}

fn object(tried: &Tried) -> serde_json::Value {
    json!({
        "bug": tried.mutation.name(),
        "runs": tried.runs,
        "left_out": tried.left_out,
        "reached": tried.reached,
        "caught": tried.caught,
        "excuse": tried.excuse(),
        "survived": tried.survived(),
    })
}
