//! The files of the commands: plans, schemas, workloads, pictures. Every error names the file.

use std::fs;
use std::path::{Path, PathBuf};

use simulations::family::Family;
use simulations::plan::Plan;
use simulations::workload::Workload;

/// What a plan file begins with, and no workload file does.
const PLAN_START: &str = "{\"plan\":";

pub(super) fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes a file, and makes the folders above it.
pub(super) fn write(path: &Path, text: &str) -> Result<(), String> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(path, text))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// The versions of a schema in these files; the bundled ones if there is none.
pub(super) fn read_family(paths: &[PathBuf]) -> Result<Family, String> {
    if paths.is_empty() {
        return Family::bundled();
    }
    let texts = paths.iter().map(|path| read(path));
    let texts: Vec<String> = texts.collect::<Result<_, _>>()?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let names: Vec<String> = paths.iter().map(|it| it.display().to_string()).collect();
    Family::parse(&texts).map_err(|why| format!("{}: {why}", names.join(", ")))
}

/// A file that says what happens: every line of it, or what people are like.
pub(super) enum Source {
    /// A plan.
    Plan(Plan),
    /// A workload.
    Workload(Box<Workload>),
}

/// Reads a plan or a workload, whichever the file is; without one, the village.
pub(super) fn read_source(path: Option<&Path>, family: &Family) -> Result<Source, String> {
    let Some(path) = path else {
        let village = Workload::village().map_err(|error| error.to_string())?;
        return Ok(Source::Workload(Box::new(village)));
    };
    let text = read(path)?;
    let wrong = |why: String| format!("{}: {why}", path.display());
    if text.trim_start().starts_with(PLAN_START) {
        let plan = Plan::from_text(&text, family).map_err(|error| wrong(error.to_string()))?;
        return Ok(Source::Plan(plan));
    }
    let workload = Workload::read(&text, family.first());
    let workload = workload.map_err(|error| wrong(error.to_string()))?;
    Ok(Source::Workload(Box::new(workload)))
}
