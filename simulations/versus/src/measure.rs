//! What a phase of work cost this process.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::link::Traffic;

/// What one phase cost both ends together.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Cost {
    /// Bytes from the end that has the news to the other, and back.
    pub bytes: [u64; 2],
    /// Messages both ways.
    pub messages: u64,
    /// Processor seconds.
    pub cpu: f64,
    /// Seconds that passed here.
    pub wall: f64,
    /// Seconds that passed on the link, processor time left out.
    pub link: f64,
}

impl Cost {
    /// Bytes both ways.
    pub fn total(&self) -> u64 {
        self.bytes.iter().sum()
    }
}

/// Runs a phase.
pub fn measured(phase: impl FnOnce() -> Traffic) -> Cost {
    let (cpu, start) = (cpu_seconds(), Instant::now());
    let traffic = phase();
    Cost {
        bytes: traffic.bytes,
        messages: traffic.messages,
        cpu: cpu_seconds() - cpu,
        wall: start.elapsed().as_secs_f64(),
        link: traffic.seconds,
    }
}

/// Processor time of this process's threads so far. None of those that do a system's work ends before it.
pub fn cpu_seconds() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let schedstat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        schedstat.split(' ').next()?.parse::<u64>().ok()
    });
    nanoseconds.sum::<u64>() as f64 / 1e9
}

/// The most memory that this process has used, in bytes.
pub fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
