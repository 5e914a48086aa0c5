//! What one system needed for all phases on all links, gathered from its processes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::contender::System;
use crate::link::Link;
use crate::transport;
use crate::work::{Phase, Reached, Report};

/// What one system needed for one phase.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PhaseOutcome {
    /// On the link that takes no time.
    pub reached: Reached,
    /// Bytes that its transport adds at least; computed.
    pub transport: Option<u64>,
    /// Round trips until the news had arrived.
    pub round_trips: Option<f64>,
    /// Seconds on the rural link, processor time left out.
    pub rural: Option<f64>,
    /// Bytes both ways on the rural link.
    pub rural_bytes: Option<u64>,
}

/// What one system needed for all phases.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Which system.
    pub system: System,
    /// How many records.
    pub records: usize,
    /// How many of them the last phase updates.
    pub updates: usize,
    /// Phases that are missing were not reached.
    pub phases: BTreeMap<Phase, PhaseOutcome>,
    /// The most memory that the process with both devices has used, in bytes, on the link that takes no time.
    pub memory: u64,
}

impl Outcome {
    /// Runs one system in processes of its own.
    ///
    /// # Errors
    /// A process cannot be run, or the devices did not hold equal records.
    pub fn of(system: System, records: usize, updates: usize) -> Result<Self, String> {
        let mut outcome = Self {
            system,
            records,
            updates,
            phases: BTreeMap::new(),
            memory: 0,
        };
        for report in outcome.reports(Link::Instant)? {
            outcome.memory = report.memory;
            let transport = match report.reached {
                Reached::Done(cost) => Some(transport::overhead(system, &cost)),
                Reached::Over(_) => None,
            };
            let phase = PhaseOutcome {
                reached: report.reached,
                transport,
                round_trips: None,
                rural: None,
                rural_bytes: None,
            };
            outcome.phases.insert(report.phase, phase);
        }
        for link in [Link::Distant, Link::Rural] {
            if outcome.is_over() {
                break;
            }
            for report in outcome.reports(link)? {
                let (Some(phase), Reached::Done(cost)) =
                    (outcome.phases.get_mut(&report.phase), report.reached)
                else {
                    break;
                };
                if link == Link::Distant {
                    phase.round_trips = Some(cost.link / link.round_trip());
                } else {
                    phase.rural = Some(cost.link);
                    phase.rural_bytes = Some(cost.total());
                }
            }
        }
        Ok(outcome)
    }

    fn is_over(&self) -> bool {
        self.phases
            .values()
            .any(|phase| matches!(phase.reached, Reached::Over(_)))
    }

    fn reports(&self, link: Link) -> Result<Vec<Report>, String> {
        let (records, updates) = (self.records.to_string(), self.updates.to_string());
        let program =
            std::env::current_exe().map_err(|error| format!("cannot find myself: {error}"))?;
        let mut process = Command::new(program)
            .args(["--one", self.system.name(), "--link", link.name()])
            .args(["--records", &records, "--updates", &updates])
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot be run: {error}"))?;
        let mut reports = Vec::new();
        for line in process
            .stdout
            .take()
            .map(BufReader::new)
            .into_iter()
            .flat_map(BufRead::lines)
        {
            let line = line.map_err(|error| format!("said nothing more: {error}"))?;
            let report =
                serde_json::from_str(&line).map_err(|error| format!("said {line:?}: {error}"))?;
            eprintln!("{} {records} {}: {line}", self.system.name(), link.name());
            reports.push(report);
        }
        let status = process
            .wait()
            .map_err(|error| format!("did not end: {error}"))?;
        if status.success() {
            Ok(reports)
        } else {
            Err(format!("{} link: {status}", link.name()))
        }
    }

    /// How many records, and how many updates of them.
    pub fn work(&self) -> (usize, usize) {
        (self.records, self.updates)
    }

    /// It as one JSON object.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("outcomes can be written as JSON")
    }
}

/// Reads what earlier runs printed as JSON.
///
/// # Errors
/// A file cannot be read, or holds something else.
pub fn read(files: &[PathBuf]) -> Result<Vec<Outcome>, String> {
    let mut outcomes = Vec::new();
    for file in files {
        let place = file.display();
        let text = std::fs::read_to_string(file).map_err(|error| format!("{place}: {error}"))?;
        for line in text.lines() {
            let outcome =
                serde_json::from_str(line).map_err(|error| format!("{place}: {error}"))?;
            outcomes.push(outcome);
        }
    }
    Ok(outcomes)
}
