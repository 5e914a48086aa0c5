//! `fieldmesh demo`: three real daemons on this machine live through a bad week.
//!
//! Every daemon is a process of its own, started from this same program, with its own key, store and
//! ports. The demo talks to them only through their public API. Each promise it shows is a [`Check`];
//! the exit code says whether all of them held.

mod fleet;
mod machine;
mod show;
mod story;

use std::time::{Duration, Instant};

use serde_json::json;

use super::failure::{Exit, Failure};
use super::output::Output;
use fleet::Fleet;

/// How long the demo may take in all.
const LIMIT: Duration = Duration::from_secs(60);

#[derive(clap::Args, Debug)]
pub(crate) struct DemoArgs {
    /// Leave the three daemons running, and say where their APIs are
    #[arg(long)]
    keep: bool,
}

/// One promise, and whether it held.
#[derive(Debug)]
struct Check {
    sentence: String,
    held: bool,
}

/// What the demo has printed and checked so far.
#[derive(Debug)]
struct Report {
    output: Output,
    checks: Vec<Check>,
}

impl Report {
    fn say(&self, text: &str) {
        if !self.output.json {
            self.output.talk(text);
        }
    }

    fn chapter(&self, title: &str) {
        self.say(&format!("\n{}", self.output.bold(title)));
    }

    fn check(&mut self, held: bool, sentence: impl Into<String>) {
        let sentence = sentence.into();
        let mark = if held {
            self.output.good("  ok  ")
        } else {
            self.output.bad("  FAILED  ")
        };
        self.say(&format!("{mark}{sentence}"));
        self.checks.push(Check { sentence, held });
    }
}

pub(crate) async fn demo(args: &DemoArgs, output: Output) -> Result<Exit, Failure> {
    let started = Instant::now();
    let mut report = Report {
        output,
        checks: Vec::new(),
    };
    let mut fleet = Fleet::create()?;
    let told = tokio::time::timeout(LIMIT, story::tell(&mut fleet, &mut report)).await;
    let failure = match told {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => Some(failure),
        Err(_) => Some(Failure::new(
            Exit::Failed,
            format!("the demo took longer than {LIMIT:?}"),
        )),
    };
    if let Some(failure) = failure {
        report.say(&fleet.last_words());
        return Err(failure.unchanged("the demo's daemons were stopped and its folder was removed"));
    }
    let held = report.checks.iter().filter(|check| check.held).count();
    let all = held == report.checks.len();
    let seconds = started.elapsed().as_secs_f64();
    let kept = if args.keep {
        Some(fleet.keep().await?)
    } else {
        None
    };
    if output.json {
        let checks: Vec<_> = report
            .checks
            .iter()
            .map(|check| json!({ "sentence": check.sentence, "held": check.held }))
            .collect();
        output.json(&json!({
            "schema": "fieldmesh.demo/1", "held": all, "seconds": seconds, "checks": checks, "daemons": kept,
        }))?;
    } else {
        output.line(&format!(
            "\n{held} of {} promises held, in {seconds:.0} s with three daemons and three SIGKILLs.",
            report.checks.len()
        ))?;
        if let Some(kept) = &kept {
            output.line(&show::kept(kept))?;
        }
    }
    Ok(if all { Exit::Done } else { Exit::Failed })
}
