//! What a run at scale is told as: in words for people and as one JSON object for tools.

use std::fmt::Write;
use std::time::Instant;

use serde_json::json;

use super::ScaleOutcome;
use crate::plan::Plan;
use crate::spread::Reach;
use crate::time::hours;

/// What the process took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Seconds of a core, which a busy machine does not change; `None` where the system does not tell.
    pub cpu_seconds: Option<f64>,
    /// The most memory that the process ever had, in bytes; `None` where the system does not tell.
    pub peak_bytes: Option<u64>,
}

impl Cost {
    /// What a run that began at `start` has taken, in a process that does nothing else.
    pub fn since(start: Instant) -> Self {
        Self {
            seconds: start.elapsed().as_secs_f64(),
            cpu_seconds: Self::cpu_seconds(),
            peak_bytes: Self::peak_bytes(),
        }
    }

    /// Seconds of a core that this process has used.
    fn cpu_seconds() -> Option<f64> {
        /// How many ticks Linux counts in a second, on every machine.
        const TICKS: f64 = 100.0;
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The program's name stands in brackets and may hold spaces; user and system time are the 12th and
        // 13th field after it.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut times = fields.split_whitespace().skip(11);
        let mut ticks = || times.next()?.parse::<f64>().ok();
        Some((ticks()? + ticks()?) / TICKS)
    }

    /// The most memory that this process ever had.
    fn peak_bytes() -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    }
}

/// How many device-hours a run simulates.
pub fn device_hours(plan: &Plan) -> f64 {
    plan.devices.len() as f64 * hours(plan.header.horizon_ms)
}

/// The least, median and most bytes that a device sent.
fn sent(outcome: &ScaleOutcome) -> [u64; 3] {
    let mut sent: Vec<u64> = outcome.sent.values().copied().collect();
    sent.sort_unstable();
    let at = |place: usize| sent.get(place).copied().unwrap_or(0);
    [at(0), at(sent.len() / 2), at(sent.len().saturating_sub(1))]
}

/// What is told at the end.
pub fn text(plan: &Plan, outcome: &ScaleOutcome, cost: Cost) -> String {
    let counts = &outcome.counts;
    let hours = device_hours(plan);
    let [least, median, most] = sent(outcome).map(|bytes| bytes as f64 / 1e6);
    let mut text = String::new();
    let mut line = |words: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{words}");
    };
    line(format!(
        "work    {} writes saved, {} entries, {} copies held",
        counts.saved,
        outcome.spread.len(),
        outcome.spread.copies()
    ));
    line(format!(
        "net     {} contacts, {} connections, at most {} at once, {} frames, {:.1} MB",
        counts.contacts,
        counts.connections,
        counts.wires_max,
        counts.frames,
        counts.bytes as f64 / 1e6
    ));
    line(format!(
        "device  sent {least:.2} / {median:.2} / {most:.2} MB (least, median, most)"
    ));
    for reach in outcome.spread.reach() {
        line(told(reach, outcome.spread.len()));
    }
    let peak = match cost.peak_bytes {
        Some(bytes) => format!("{:.0} MB at most", bytes as f64 / 1e6),
        None => "unknown memory".to_owned(),
    };
    let core_s = cost.cpu_seconds.unwrap_or(cost.seconds);
    line(format!(
        "cost    {hours:.0} device-hours in {:.1} s, {core_s:.1} s of a core, {:.0} device-h/s a core, {} events, {peak}",
        cost.seconds,
        hours / core_s.max(1e-6),
        counts.events
    ));
    text
}

fn told(reach: Reach, entries: usize) -> String {
    let hours = |hours: Option<f64>| hours.map_or_else(|| "-".to_owned(), |h| format!("{h:.1} h"));
    format!(
        "spread  {:>3} % of devices hold half of the entries after {}, 95 in 100 after {}, all after {}; {} of {entries} never came so far",
        reach.percent,
        hours(reach.half_of_writes_h),
        hours(reach.most_writes_h),
        hours(reach.all_writes_h),
        reach.never
    )
}

/// The same as one JSON object.
pub fn json(plan: &Plan, outcome: &ScaleOutcome, cost: Cost) -> String {
    let [least, median, most] = sent(outcome);
    json!({
        "fidelity": "scale",
        "seed": plan.header.seed,
        "profile": plan.header.profile,
        "devices": plan.devices.len(),
        "device_hours": device_hours(plan),
        "entries": outcome.spread.len(),
        "copies": outcome.spread.copies(),
        "reach": outcome.spread.reach(),
        "sent_bytes": { "least": least, "median": median, "most": most },
        "counts": outcome.counts,
        "settled_ms": outcome.settled_ms,
        "seconds": cost.seconds,
        "cpu_seconds": cost.cpu_seconds,
        "peak_bytes": cost.peak_bytes,
    })
    .to_string()
}
