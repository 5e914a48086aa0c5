//! What a failing run is told and kept as: everything to see it fail again from a fresh terminal.

use std::path::{Path, PathBuf};

use simulations::campaign::Played;
use simulations::outcome::Outcome;
use simulations::plan::Plan;
use simulations::report;
use simulations::shrink::{Shrunk, shrink};

use crate::commands;

/// What is done about failing plans.
pub(crate) struct Keeping {
    /// Where they go.
    pub(crate) out: PathBuf,
    /// How many runs making one small may take; 0 to leave it.
    pub(crate) shrink_runs: u32,
}

/// Says what came of a run that failed.
pub(crate) fn tell(played: &Played) {
    println!("{}", report::opening(&played.plan));
    print!("{}", report::closing(&played.outcome, f64::INFINITY));
    if let Some(why) = &played.differs {
        println!("{why}");
    }
    println!("replay  {}\n", report::replay_command(&played.plan, None));
}

/// Makes a failing plan small and keeps it. One that held and was not the same twice is kept as it is.
///
/// # Errors
/// Why its file could not be written.
pub(crate) fn keep(plan: &Plan, outcome: &Outcome, keeping: &Keeping) -> Result<(), String> {
    let (seed, profile) = (plan.header.seed, &plan.header.profile);
    let path = keeping.out.join(format!("{profile}-{seed}.plan"));
    let runs_max = match outcome.verdict.is_held() {
        true => 0,
        false => keeping.shrink_runs,
    };
    let small = shrink(plan, &outcome.verdict, runs_max, &mut |_, _| {});
    commands::write_plan(&path, &small.plan)?;
    tell_small(&path, &small);
    Ok(())
}

/// Says what a failing plan was made into, and what to do with it.
pub(crate) fn tell_small(path: &Path, small: &Shrunk) {
    let runs = match small.runs {
        0 => "as it was".to_owned(),
        runs => format!("made small in {runs} runs"),
    };
    let file = path.display();
    println!("kept    {file}: {}, {runs}", commands::size(&small.plan));
    println!("found   {}", report::found(&small.verdict));
    println!(
        "replay  {}",
        report::replay_command(&small.plan, Some(path))
    );
    println!("why     cargo sim explain --plan {file}");
    println!(
        "then    mv {file} simulations/regressions/ once it holds, under a name that says why\n"
    );
}
