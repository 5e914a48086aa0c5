//! One session: the task that turns a stream into frames in both directions.
//!
//! Invariants: a session's events reach the node in the order opened, frames, closed; closed comes
//! exactly once and is the last. What waits to be sent is bounded in frames and in bytes; what was
//! received waits in the node's own bounded queue, so a slow node slows the peer down. A session
//! that is told to finish ends within `FINISH_WAIT`, whatever the peer does.
//! Knows nothing of connections, nor of what frames mean.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crdt_schema::ident::DeviceId;
use futures::io::{BufReader, BufWriter, ReadHalf, WriteHalf};
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::Stream;
use tokio::sync::{mpsc, watch};

use super::NetEvent;
use super::frame::{self, FrameError, Meter};
use crate::wire::limits::FRAME_BYTES_MAX;

/// Most frames that may wait to be sent on one session: far more than a slow link's announcements in the
/// minutes that a full window takes to pass. Their bytes are bounded more tightly.
const QUEUED_FRAMES_MAX: usize = 16 << 10;

/// Most bytes that may wait to be sent on one session.
const QUEUED_BYTES_MAX: usize = 8 << 20;

/// How long a finishing session may take to send what waits and to see the peer's end.
pub(super) const FINISH_WAIT: Duration = Duration::from_secs(1);

/// Small frames are gathered into writes, and read in gulps, of this size.
const BUFFER_BYTES: usize = 16 << 10;

/// How far a session is towards its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Open,
    Finishing,
    Killed,
}

/// Why a frame was not queued; the session is past saving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SendError {
    #[error("{QUEUED_FRAMES_MAX} frames or {QUEUED_BYTES_MAX} bytes wait to be sent already")]
    Overflow,
    #[error("a frame of {0} bytes is longer than the limit of {FRAME_BYTES_MAX}")]
    TooLong(usize),
}

/// The swarm loop's end of a session.
pub(super) struct Session {
    frames: Option<mpsc::Sender<Vec<u8>>>,
    queued_bytes: Arc<AtomicUsize>,
    stage: watch::Sender<Stage>,
    meter: Arc<Meter>,
}

impl Session {
    /// Makes a session of a stream. The future is its task; it yields the session's number at the
    /// end.
    pub(super) fn start(
        id: u64,
        device: DeviceId,
        stream: Stream,
        events: mpsc::Sender<NetEvent>,
    ) -> (Self, impl Future<Output = u64> + Send + 'static) {
        let (frames, queue) = mpsc::channel(QUEUED_FRAMES_MAX);
        let (stage, stage_changes) = watch::channel(Stage::Open);
        let session = Self {
            frames: Some(frames),
            queued_bytes: Arc::default(),
            stage,
            meter: Arc::default(),
        };
        let task = Task {
            id,
            events,
            queue,
            queued_bytes: session.queued_bytes.clone(),
            meter: session.meter.clone(),
        };
        (session, task.run(device, stream, stage_changes))
    }

    /// Queues a frame. A finishing session drops it.
    pub(super) fn send(&self, frame: Vec<u8>) -> Result<(), SendError> {
        let Some(frames) = &self.frames else {
            return Ok(());
        };
        let length = frame.len();
        if length > FRAME_BYTES_MAX {
            return Err(SendError::TooLong(length));
        }
        if self.queued_bytes.fetch_add(length, Ordering::Relaxed) + length > QUEUED_BYTES_MAX {
            return Err(SendError::Overflow);
        }
        match frames.try_send(frame) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(SendError::Overflow),
            // The task has ended on its own; its end is being reported.
            Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }

    /// Sends what is queued, then ends the stream.
    pub(super) fn finish(&mut self) {
        self.frames = None;
        self.advance(Stage::Finishing);
    }

    /// Ends the stream at once.
    pub(super) fn kill(&mut self) {
        self.frames = None;
        self.advance(Stage::Killed);
    }

    /// What the session has moved so far.
    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    fn advance(&self, to: Stage) {
        self.stage.send_if_modified(|stage| {
            let ahead = to > *stage;
            *stage = to.max(*stage);
            ahead
        });
    }
}

struct Task {
    id: u64,
    events: mpsc::Sender<NetEvent>,
    queue: mpsc::Receiver<Vec<u8>>,
    queued_bytes: Arc<AtomicUsize>,
    meter: Arc<Meter>,
}

impl Task {
    async fn run(mut self, device: DeviceId, stream: Stream, stage: watch::Receiver<Stage>) -> u64 {
        // A failed send below means that the node is gone; then nobody waits for events.
        let _ = self
            .events
            .send(NetEvent::Opened {
                session: self.id,
                device,
            })
            .await;
        tokio::select! {
            () = self.converse(stream) => {}
            () = told_to_end(stage) => {}
        }
        let _ = self
            .events
            .send(NetEvent::Closed { session: self.id })
            .await;
        self.id
    }

    async fn converse(&mut self, stream: Stream) {
        let (read_half, write_half) = stream.split();
        let receiving = receive(self.id, read_half, &self.events, &self.meter);
        let sending = transmit(write_half, &mut self.queue, &self.queued_bytes, &self.meter);
        tokio::pin!(receiving);
        tokio::select! {
            () = &mut receiving => {}
            sent = sending => match sent {
                // Closing a socket that holds unread bytes makes the system throw away what was
                // sent but not yet read. Reading on until the peer ends its side delivers the last
                // frames.
                Ok(()) => receiving.await,
                Err(error) => tracing::debug!(session = self.id, %error, "sending failed"),
            },
        }
    }
}

/// Hands every frame to the node until the peer ends the stream or breaks the framing.
async fn receive(
    session: u64,
    half: ReadHalf<Stream>,
    events: &mpsc::Sender<NetEvent>,
    meter: &Meter,
) {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, half);
    loop {
        match frame::read(&mut reader, meter).await {
            Ok(Some(bytes)) => {
                if events
                    .send(NetEvent::Frame { session, bytes })
                    .await
                    .is_err()
                {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(session, %error, "receiving ended");
                let bytes = match error {
                    FrameError::TooLong { bytes } => Some(bytes),
                    FrameError::BadPrefix => None,
                    FrameError::Io(_) => return,
                };
                let _ = events.send(NetEvent::BadFrame { session, bytes }).await;
                return;
            }
        }
    }
}

/// Sends every queued frame until the queue is closed, then closes this side of the stream.
async fn transmit(
    half: WriteHalf<Stream>,
    queue: &mut mpsc::Receiver<Vec<u8>>,
    queued_bytes: &AtomicUsize,
    meter: &Meter,
) -> std::io::Result<()> {
    let mut writer = BufWriter::with_capacity(BUFFER_BYTES, half);
    loop {
        let frame = match queue.try_recv() {
            Ok(frame) => Some(frame),
            Err(mpsc::error::TryRecvError::Disconnected) => None,
            Err(mpsc::error::TryRecvError::Empty) => {
                writer.flush().await?;
                queue.recv().await
            }
        };
        let Some(frame) = frame else { break };
        frame::write(&mut writer, &frame, meter).await?;
        queued_bytes.fetch_sub(frame.len(), Ordering::Relaxed);
    }
    writer.flush().await?;
    writer.close().await
}

/// Returns at once when the session is killed, and `FINISH_WAIT` after it was told to finish.
async fn told_to_end(mut stage: watch::Receiver<Stage>) {
    let seen = stage
        .wait_for(|stage| *stage != Stage::Open)
        .await
        .map(|stage| *stage);
    if matches!(seen, Ok(Stage::Finishing)) {
        let killed = stage.wait_for(|stage| *stage == Stage::Killed);
        let _ = tokio::time::timeout(FINISH_WAIT, killed).await;
    }
}
