//! The store's writer thread: what queued while one transaction was being written is the next one.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use tokio::sync::mpsc;

use super::witness::Witness;
use crate::engine::batch::{Batch, CommitReport};
use crate::store::Store;

/// How many batches one transaction may take: bounds how long the first of them waits for its answer.
const GROUP_MAX: usize = 512;

/// How many reports may wait for the loop.
const REPORTS_MAX: usize = 64;

/// Hands batches to the writer thread. The queue is bounded by its feeders: the loop lets only so many
/// local writes wait, and every session has a window.
#[derive(Debug)]
pub(super) struct Writer {
    batches: Sender<Batch>,
    thread: thread::JoinHandle<()>,
}

impl Writer {
    /// Starts the thread. Reports come in the order of the batches; the channel closes when the thread has
    /// ended.
    pub(super) fn start(
        store: Store,
        witness: Witness,
    ) -> io::Result<(Self, mpsc::Receiver<CommitReport>)> {
        let (batches, queue) = channel();
        let (reports, reports_out) = mpsc::channel(REPORTS_MAX);
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || write(store, &witness, &queue, &reports))?;
        Ok((Self { batches, thread }, reports_out))
    }

    /// Queues a batch. Returns `false` if the thread has ended.
    pub(super) fn send(&self, batch: Batch) -> bool {
        self.batches.send(batch).is_ok()
    }

    /// Writes what is queued and ends the thread.
    pub(super) fn finish(self) {
        drop(self.batches);
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
    queue: &Receiver<Batch>,
    reports: &mpsc::Sender<CommitReport>,
) {
    while let Ok(first) = queue.recv() {
        let mut group = vec![first];
        group.extend(queue.try_iter().take(GROUP_MAX - 1));
        let report = store.commit(group);
        // The store is the truth; a witness that cannot be written only costs a new log after a restart.
        if let Err(error) = note(&store, witness) {
            tracing::warn!(%error, "cannot write the witness file");
        }
        if reports.blocking_send(report).is_err() {
            return;
        }
    }
}
