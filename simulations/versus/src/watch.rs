//! A limit on what a phase may take, and how far it came when it is over the limit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::measure::cpu_seconds;

/// How much processor time one phase may take, loading the first device included. Processor time, so that
/// it does not matter what else the machine does.
pub const LIMIT: Duration = Duration::from_secs(180);

/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(500);

static LOADED: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
static MESSAGES: AtomicU64 = AtomicU64::new(0);

/// How far a phase has come.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Progress {
    /// Records that the first device holds.
    pub loaded: u64,
    /// Bytes that were said, of all phases.
    pub bytes: u64,
    /// Messages that were said, of all phases.
    pub messages: u64,
}

/// Takes note of a message.
pub fn said(bytes: usize) {
    BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
    MESSAGES.fetch_add(1, Ordering::Relaxed);
}

/// Takes note of records that the first device has taken.
pub fn loaded(records: usize) {
    LOADED.fetch_add(records as u64, Ordering::Relaxed);
}

/// Watches one phase until it is dropped.
#[derive(Debug)]
pub struct Watch(#[expect(dead_code, reason = "its end is what is waited for")] Sender<()>);

/// Ends the process if the returned watch is not dropped within [`LIMIT`]; calls `over` before.
pub fn begin(over: impl FnOnce(Progress) + Send + 'static) -> Watch {
    let (watched, ended) = channel();
    std::thread::spawn(move || {
        let limit = cpu_seconds() + LIMIT.as_secs_f64();
        while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            if cpu_seconds() < limit {
                continue;
            }
            over(Progress {
                loaded: LOADED.load(Ordering::Relaxed),
                bytes: BYTES.load(Ordering::Relaxed),
                messages: MESSAGES.load(Ordering::Relaxed),
            });
            std::process::exit(0);
        }
    });
    Watch(watched)
}
