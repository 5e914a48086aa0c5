//! The kept plans: each failed once or shows a planted bug, so each is played with every `cargo test`, and with every planted bug.
//!
//! They lie in the folder `regressions` of the source tree and are read from there: to put a plan into it is to keep
//! it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::family::Family;
use crate::plan::Plan;

/// Reads all kept plans, each with its name, in the order of their names.
///
/// # Errors
/// Which cannot be read, and why.
pub fn all() -> Result<Vec<(String, Plan)>, String> {
    let folder = folder();
    let unread = |error| format!("the kept plans in {}: {error}", folder.display());
    let mut names = Vec::new();
    for file in fs::read_dir(&folder).map_err(unread)? {
        let path = file.map_err(unread)?.path();
        if path.extension().is_some_and(|ending| ending == "plan") {
            let name = path.file_stem().unwrap_or_default();
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    let read = |name: String| named(&name).map(|plan| (name, plan));
    names.into_iter().map(read).collect()
}

/// Reads the kept plan of that name.
///
/// # Errors
/// Why it cannot be read.
pub fn named(name: &str) -> Result<Plan, String> {
    let path = folder().join(format!("{name}.plan"));
    let wrong = |why: String| format!("{}: {why}", path.display());
    let text = fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
    Plan::from_text(&text, Family::bundled()?).map_err(|error| wrong(error.to_string()))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions")
}
