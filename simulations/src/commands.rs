//! `cargo sim plot` and `cargo sim mutants`: pictures, and the test of the oracles themselves; and what all
//! subcommands share: writing plans.

use std::fs;
use std::path::Path;

use simulations::plan::Plan;
use simulations::report;
#[cfg(feature = "mutations")]
use simulations::shrink::shrink_by;
use simulations::trace::{Renumbered, Writer};
use simulations::world::World;

/// A picture of a run. It is drawn of a failing run too, if it gets as far as a first line.
pub(crate) fn plot(plan: &Plan, out: &Path) -> Result<u8, String> {
    let mut lines = Vec::new();
    let mut writer = Renumbered::new(plan, Writer::new(&mut lines));
    let outcome = World::run(plan, &mut writer);
    let wrong = |why: String| format!("{}: {why}", out.display());
    let ended = writer.into_inner().finish();
    ended.map_err(|error| wrong(error.to_string()))?;
    let svg = simulations::plot::svg(&lines[..]).map_err(|error| wrong(error.to_string()))?;
    write(out, &svg)?;
    println!("{}", report::opening(plan));
    println!("drawn in {}", out.display());
    Ok(outcome.verdict.exit_code())
}

/// Plants bugs and says who caught them.
#[cfg(feature = "mutations")]
pub(crate) fn mutants(
    seeds: u64,
    jobs: usize,
    only: Option<&str>,
    save: Option<&Path>,
) -> Result<u8, String> {
    use fieldmesh::mutation::Mutation;
    use simulations::mutants::{Tried, campaign, play_with, table};
    use simulations::regressions;

    let wanted = match only {
        None => Mutation::ALL.to_vec(),
        Some(name) => {
            vec![Mutation::by_name(name).ok_or_else(|| format!("there is no bug {name:?}"))?]
        }
    };
    let kept = regressions::all()?.into_iter().map(|(_, plan)| plan);
    let kept: Vec<Plan> = kept.collect();
    // A bug that makes a run panic is a bug that is caught; the words are in its verdict.
    std::panic::set_hook(Box::new(|_| {}));
    let all = campaign(&wanted, &kept, seeds, jobs, &|tried: &Tried| {
        let (name, count) = (tried.mutation.name(), tried.count());
        eprintln!("{name}: caught in {count} of {}", tried.runs);
    });
    print!("{}", table(&all));
    if let (Some(path), Some((plan, verdict))) =
        (save, all.first().and_then(|one| one.first.as_ref()))
    {
        let mut play = |plan: &Plan| play_with(all[0].mutation, plan).0.verdict;
        let small = shrink_by(plan, verdict, 400, &mut play, &mut |_, _| {});
        write_plan(path, &small.plan)?;
        println!(
            "{}: {}; {:?}",
            path.display(),
            size(&small.plan),
            small.verdict
        );
    }
    let survivors = all.iter().filter(|tried| tried.survived()).count();
    let left_out = all.iter().map(|tried| tried.left_out).max().unwrap_or(0);
    println!("{} bugs, {survivors} survived", all.len());
    if left_out > 0 {
        println!("{left_out} plans were left out: they fail without a bug");
    }
    Ok(u8::from(survivors + left_out as usize > 0))
}

/// Writes a plan's file, and the folders above it.
pub(crate) fn write_plan(path: &Path, plan: &Plan) -> Result<(), String> {
    write(path, &plan.to_text())
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(path, text))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// How large a plan is, in words.
pub(crate) fn size(plan: &Plan) -> String {
    format!(
        "{} devices, {} contacts, {} operations, {} faults",
        plan.devices.len(),
        plan.contacts.len(),
        plan.operations.len(),
        plan.faults.len()
    )
}
