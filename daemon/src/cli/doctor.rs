//! `fieldmesh doctor`: checks the store of a device whose daemon does not run, and rebuilds what can be.

use std::path::Path;

use serde_json::json;

use super::failure::{Exit, Failure};
use super::offline::{failed, load};
use super::output::{Output, count, plain};
use super::progress::Bar;
use crate::node::NodeError;
use crate::node::offline::{Checkup, OfflineStore, StoreError};

#[derive(clap::Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Make documents and views anew from the logs, then check
    #[arg(long)]
    rebuild: bool,
}

pub(crate) fn doctor(dir: &Path, args: &DoctorArgs, out: Output) -> Result<Exit, Failure> {
    let mut store = match OfflineStore::open(&load(dir)?) {
        Ok(store) => store,
        Err(NodeError::Store(error @ StoreError::Damaged { .. })) => {
            return unreadable(&error, out);
        }
        Err(error) => return Err(failed(&error)),
    };
    let mut bar = Bar::new(out);
    let rebuilt = match args.rebuild {
        true => match store.rebuild(&mut bar) {
            Ok(records) => Some(records),
            Err(error @ StoreError::Damaged { .. }) => return unreadable(&error, out),
            Err(error) => return Err(Failure::new(Exit::Failed, error)),
        },
        false => None,
    };
    let checkup = match store.check(&mut bar) {
        Ok(checkup) => checkup,
        Err(error @ StoreError::Damaged { .. }) => return unreadable(&error, out),
        Err(error) => return Err(Failure::new(Exit::Failed, error)),
    };
    bar.clear();
    show(&checkup, rebuilt, out)
}

fn unreadable(error: &StoreError, out: Output) -> Result<Exit, Failure> {
    if out.json {
        out.json(&json!({
            "schema": "fieldmesh.doctor/1",
            "ok": false,
            "problems": 1,
            "told": [{ "what": "store", "detail": error.to_string() }],
        }))?;
        return Ok(Exit::Attention);
    }
    Err(Failure::new(Exit::Attention, error))
}

fn show(checkup: &Checkup, rebuilt: Option<u64>, out: Output) -> Result<Exit, Failure> {
    let good = checkup.problems == 0;
    if out.json {
        let told = checkup.told.iter();
        let told = told.map(|problem| json!({ "what": problem.what, "detail": problem.detail }));
        out.json(&json!({
            "schema": "fieldmesh.doctor/1",
            "ok": good,
            "logs": checkup.logs,
            "entries": checkup.entries,
            "records": checkup.records,
            "rebuilt": rebuilt,
            "problems": checkup.problems,
            "told": told.collect::<Vec<_>>(),
        }))?;
    } else {
        for problem in &checkup.told {
            out.line(&format!("{}: {}", problem.what, plain(&problem.detail)))?;
        }
        if let Some(records) = rebuilt {
            out.talk(&format!(
                "{} rebuilt from the logs",
                count(records, "record")
            ));
        }
        let word = match good {
            true => out.good("OK"),
            false => out.bad("ATTENTION"),
        };
        out.line(&format!(
            "{word} – {}, {}, {}; {}",
            count(checkup.logs, "log"),
            count(checkup.entries, "change set"),
            count(checkup.records, "record"),
            count(checkup.problems, "problem"),
        ))?;
        if !good {
            out.talk(advice(checkup));
        }
    }
    Ok(match good {
        true => Exit::Done,
        false => Exit::Attention,
    })
}

/// What to do about it.
fn advice(checkup: &Checkup) -> &'static str {
    match checkup.told.iter().any(|problem| problem.what == "log") {
        true => {
            "next: start the daemon where other devices are in reach; they mend what is damaged"
        }
        false => "next: fieldmesh doctor --rebuild",
    }
}
