//! What a failing run is told and kept as: everything to see it fail again from a fresh terminal.

use std::path::{Path, PathBuf};

use serde_json::json;
use simulations::campaign::Played;
use simulations::family::Family;
use simulations::outcome::{Outcome, Verdict};
use simulations::plan::Plan;
use simulations::progress::Progress;
use simulations::report;
use simulations::shrink::{Shrunk, shrink_by};
use simulations::world::World;

use super::chosen::{Chosen, size};
use super::files;
use super::voice::Voice;

/// What is done about failing plans.
pub(super) struct Keeping {
    /// Where they go.
    pub(super) out: PathBuf,
    /// How many runs making one small may take; 0 to leave it.
    pub(super) shrink_runs: u32,
}

/// Says what came of a run that failed.
pub(super) fn tell(played: &Played, voice: Voice) {
    voice.say(report::opening(&played.plan));
    voice.say(report::closing(&played.outcome, None));
    if let Some(why) = &played.differs {
        voice.say(why);
    }
    let replay = report::replay_command(&played.plan, None, &[]);
    voice.say(format!("replay  {replay}"));
}

/// Makes a failing plan small, under the schema that it is played under, and says how far that is.
pub(super) fn made_small(
    chosen: &Chosen,
    verdict: &Verdict,
    runs_max: u32,
    mut progress: Progress,
) -> Shrunk {
    let mut runs = 0;
    let mut play = |plan: &Plan| {
        runs += 1;
        progress.at(runs);
        World::run_under(plan, &chosen.family, &mut ()).verdict
    };
    shrink_by(&chosen.plan, verdict, runs_max, &mut play, &mut |_, _| {})
}

/// Makes a failing plan small and keeps it. One that held and was not the same twice is kept as it is.
///
/// # Errors
/// Why its file could not be written.
pub(super) fn keep(
    plan: &Plan,
    outcome: &Outcome,
    keeping: &Keeping,
    voice: Voice,
) -> Result<(), String> {
    let (seed, profile) = (plan.header.seed, &plan.header.profile);
    let path = keeping.out.join(format!("{profile}-{seed}.plan"));
    let runs_max = match outcome.verdict.is_held() {
        true => 0,
        false => keeping.shrink_runs,
    };
    let chosen = Chosen::of(plan.clone(), Family::bundled()?);
    let progress = Progress::new(format!("making seed {seed} small"), runs_max.into());
    let small = made_small(&chosen, &outcome.verdict, runs_max, progress);
    files::write(&path, &small.plan.to_text())?;
    tell_small(&path, &small, &[], voice);
    Ok(())
}

/// Says what a failing plan was made into, and what to do with it.
pub(super) fn tell_small(path: &Path, small: &Shrunk, schemas: &[PathBuf], voice: Voice) {
    let runs = match small.runs {
        0 => "as it was".to_owned(),
        runs => format!("made small in {runs} runs"),
    };
    let file = path.display().to_string();
    let found = report::found(&small.verdict);
    let replay = report::replay_command(&small.plan, Some(path), schemas);
    let explain = report::explain_command(path, schemas);
    voice.say(format!("kept    {file}: {}, {runs}", size(&small.plan)));
    voice.say(format!("found   {found}"));
    voice.say(format!("replay  {replay}"));
    voice.say(format!("why     {explain}"));
    if schemas.is_empty() {
        voice.say(format!(
            "then    mv {file} simulations/regressions/ once it holds, under a name that says why"
        ));
    }
    voice.object(json!({
        "kept": file,
        "runs": small.runs,
        "found": found,
        "replay": replay,
    }));
}
