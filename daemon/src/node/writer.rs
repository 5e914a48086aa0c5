//! The store's writer thread: what queued while one transaction was being written is the next one. When nothing
//! is queued, it derives views anew that a switch of the schema has left behind.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::witness::Witness;
use crate::engine::batch::{Batch, CommitReport};
use crate::store::{Store, UseSchemaError};

/// How many batches one transaction may take: bounds how long the first of them waits for its answer.
const GROUP_MAX: usize = 512;

/// How many reports may wait for the loop.
const REPORTS_MAX: usize = 64;

/// How many views one idle step derives: bounds how long a write that comes meanwhile waits.
const VIEWS_PER_STEP: usize = 200;

/// How long idle steps pause after one that failed, as on a full disk.
const STEP_RETRY: Duration = Duration::from_secs(5);

/// What the thread is asked to do.
#[derive(Debug)]
enum Job {
    Batch(Box<Batch>),
    UseSchema(u32, oneshot::Sender<Result<(), UseSchemaError>>),
}

/// Hands batches to the writer thread. The queue is bounded by its feeders: the loop lets only so many
/// local writes wait, and every session has a window.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Sender<Job>,
    thread: thread::JoinHandle<()>,
}

impl Writer {
    /// Starts the thread. Reports come in the order of the batches; the channel closes when the thread has
    /// ended.
    pub(super) fn start(
        store: Store,
        witness: Witness,
    ) -> io::Result<(Self, mpsc::Receiver<CommitReport>)> {
        let (jobs, queue) = channel();
        let (reports, reports_out) = mpsc::channel(REPORTS_MAX);
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || write(store, &witness, &queue, &reports))?;
        Ok((Self { jobs, thread }, reports_out))
    }

    /// Queues a batch. Returns `false` if the thread has ended.
    pub(super) fn send(&self, batch: Batch) -> bool {
        self.jobs.send(Job::Batch(Box::new(batch))).is_ok()
    }

    /// Queues a switch of the schema. A report follows it, as after a batch.
    pub(super) fn use_schema(
        &self,
        version: u32,
        reply: oneshot::Sender<Result<(), UseSchemaError>>,
    ) -> bool {
        self.jobs.send(Job::UseSchema(version, reply)).is_ok()
    }

    /// Writes what is queued and ends the thread.
    pub(super) fn finish(self) {
        drop(self.jobs);
        if self.thread.join().is_err() {
            tracing::error!("the store's writer thread panicked");
        }
    }
}

fn note(store: &Store, witness: &Witness) -> Result<(), String> {
    let identity = store.identity().map_err(|error| error.to_string())?;
    witness.record(identity).map_err(|error| error.to_string())
}

fn write(
    mut store: Store,
    witness: &Witness,
    queue: &Receiver<Job>,
    reports: &mpsc::Sender<CommitReport>,
) {
    while let Some(first) = next(&mut store, queue) {
        let mut group = Vec::new();
        let mut switch = None;
        for job in std::iter::once(first).chain(queue.try_iter()) {
            match job {
                Job::Batch(batch) => group.push(*batch),
                Job::UseSchema(version, reply) => switch = Some((version, reply)),
            }
            if group.len() == GROUP_MAX || switch.is_some() {
                break;
            }
        }
        let report = store.commit(group);
        if let Some((version, reply)) = switch {
            // The asker may have gone; the schema is switched all the same.
            let _ = reply.send(store.use_schema(version));
        }
        // The store is the truth; a witness that cannot be written only costs a new log after a restart.
        if let Err(error) = note(&store, witness) {
            tracing::warn!(%error, "cannot write the witness file");
        }
        if reports.blocking_send(report).is_err() {
            return;
        }
    }
}

/// The next job; `None` at the end. While there is none, views are derived anew that need it.
fn next(store: &mut Store, queue: &Receiver<Job>) -> Option<Job> {
    while store.needs_refresh() {
        match queue.try_recv() {
            Ok(job) => return Some(job),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {}
        }
        if let Err(error) = store.refresh(VIEWS_PER_STEP) {
            tracing::error!(%error, "records are not yet all shown under the schema");
            match queue.recv_timeout(STEP_RETRY) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
    queue.recv().ok()
}
