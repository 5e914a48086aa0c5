//! The demo's three devices and the temporary folder that they live in.

use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use super::machine::{self, Machine};
use crate::cli::failure::Failure;
use crate::config::TOKEN_FILE;

/// Three devices of one organisation.
#[derive(Debug)]
pub(super) struct Fleet {
    root: PathBuf,
    pub(super) machines: Vec<Machine>,
    kept: bool,
}

/// Where a daemon that was left running can be found.
#[derive(Debug, Serialize)]
pub(super) struct Kept {
    pub(super) name: String,
    pub(super) dir: PathBuf,
    pub(super) api: String,
    pub(super) token_file: PathBuf,
    pub(super) pid: u32,
}

impl Fleet {
    /// Makes the folder and initialises the devices. Starts nothing yet.
    pub(super) fn create() -> Result<Self, Failure> {
        let mut fleet = Self {
            root: machine::make_root()?,
            machines: Vec::new(),
            kept: false,
        };
        let mut joined: Option<(String, String)> = None;
        for (name, hub) in [("clinic", true), ("amina", false), ("otieno", false)] {
            let dir = fleet.root.join(name);
            let said = machine::init(&dir, name, joined.as_ref())?;
            let word = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
            joined.get_or_insert_with(|| (word("organisation"), word("join")));
            fleet.machines.push(Machine::new(name, dir, hub)?);
        }
        Ok(fleet)
    }

    /// A path in the fleet's folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Starts device `at`, which is told the addresses of the others that run.
    pub(super) async fn start(&mut self, at: usize) -> Result<(), Failure> {
        let mut peers = Vec::new();
        for machine in self.machines.iter().filter(|machine| machine.is_running()) {
            peers.extend(machine.listening().await?);
        }
        let machine = &mut self.machines[at];
        machine.start(&peers)?;
        machine
            .wait_until("its API answers", || async {
                Ok(machine.status().await.is_ok())
            })
            .await
    }

    /// The end of each daemon's log, for when the demo fails.
    pub(super) fn last_words(&self) -> String {
        let mut text = String::new();
        for machine in &self.machines {
            let log = fs::read_to_string(machine.log()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(8)..].join("\n    ");
            text.push_str(&format!("\n{} said last:\n    {tail}\n", machine.name));
        }
        text
    }

    /// Leaves the daemons running after the demo.
    pub(super) async fn keep(&mut self) -> Result<Vec<Kept>, Failure> {
        let mut kept = Vec::new();
        for machine in &self.machines {
            let Some(pid) = machine.pid() else { continue };
            let status = machine.status().await?;
            kept.push(Kept {
                name: machine.name.to_owned(),
                dir: machine.dir.clone(),
                api: format!(
                    "http://{}",
                    status["network"]["api"].as_str().unwrap_or_default()
                ),
                token_file: machine.dir.join(TOKEN_FILE),
                pid,
            });
        }
        self.kept = true;
        self.machines.iter_mut().for_each(Machine::release);
        Ok(kept)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if !self.kept {
            self.machines.clear();
            // Nothing depends on the folder's end; the system clears its temporary files some day.
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}
