//! One session with one peer: its phase, its compression streams, and what is on its way in both directions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use crdt_schema::ident::{DeviceId, LogId, SpaceName};

use super::batch::{Arrival, Held};
use crate::wire::message::{FrameDecoder, FrameEncoder, SpaceRoot};

/// How far the opening has come.
#[derive(Debug)]
pub(super) enum Phase {
    /// Our HELLO is out; the peer's is awaited.
    Greeting {
        /// What our HELLO said, by space: the peer compares its roots with these.
        said: BTreeMap<SpaceName, SpaceRoot>,
        /// What we held then.
        held: Arc<Held>,
    },
    /// Both have proved themselves; the peer's frontier is arriving.
    Opening,
    /// The peer's frontier is complete: entries flow.
    Live,
}

/// What is being sent to the peer.
#[derive(Debug, Default)]
pub(super) struct Pump {
    /// Every arrival up to here has been sent, or was held by the peer.
    pub(super) cursor: Arrival,
    /// What the peer holds or has been sent in this session.
    pub(super) sent: Arc<Held>,
    /// Whether entries after the cursor are to be sent.
    pub(super) running: bool,
    /// Whether to go on once more after the fetch in flight: something was committed meanwhile.
    pub(super) again: bool,
    pub(super) fetching: bool,
    /// DATA frames that the peer has not acknowledged: how far it must hold which logs, and their bytes.
    pub(super) in_flight: VecDeque<(Vec<(LogId, u64)>, usize)>,
    pub(super) in_flight_bytes: usize,
}

impl Pump {
    /// Sends everything up to the store's end, as it is when the last fetch begins.
    pub(super) fn run(&mut self) {
        self.running = true;
        self.again = self.fetching;
    }

    /// The peer holds a log up to here, or will when what was sent has arrived.
    pub(super) fn holds(&mut self, log: LogId, seq: u64) {
        if self.sent.get(&log).is_none_or(|&sent| sent < seq) {
            Arc::make_mut(&mut self.sent).insert(log, seq);
        }
    }

    /// Takes note of a DATA frame that is going out.
    pub(super) fn sending(&mut self, ends: Vec<(LogId, u64)>, bytes: usize) {
        for &(log, seq) in &ends {
            self.holds(log, seq);
        }
        self.in_flight_bytes += bytes;
        self.in_flight.push_back((ends, bytes));
    }

    /// Sends nothing of a log, and waits for no acknowledgement of it.
    pub(super) fn leave_out(&mut self, log: LogId) {
        // Counted as sent, so that it is not.
        Arc::make_mut(&mut self.sent).insert(log, u64::MAX);
        for (ends, _) in &mut self.in_flight {
            ends.retain(|(sent, _)| *sent != log);
        }
    }

    /// Frees the window of every frame that the peer now holds.
    pub(super) fn acknowledged(&mut self, held: &Held) {
        let holds = |(log, seq): &(LogId, u64)| held.get(log).is_some_and(|end| end >= seq);
        while let Some((ends, bytes)) = self.in_flight.front() {
            if !ends.iter().all(holds) {
                return;
            }
            self.in_flight_bytes -= bytes;
            self.in_flight.pop_front();
        }
    }
}

/// A session.
pub(super) struct Session {
    pub(super) device: DeviceId,
    pub(super) phase: Phase,
    pub(super) encoder: FrameEncoder,
    pub(super) decoder: FrameDecoder,
    pub(super) pump: Pump,
    /// Spaces that the peer has sent FRONT rows of.
    pub(super) fronted: BTreeSet<SpaceName>,
    /// Logs that are not exchanged in this session.
    pub(super) refused: BTreeSet<LogId>,
    /// Bytes of this peer's entries that the store has not yet confirmed.
    pub(super) staged_bytes: usize,
    /// When to give up on the opening (monotonic milliseconds).
    pub(super) opening_deadline: u64,
    /// When to ask for what was announced and has not come.
    pub(super) want_at: Option<u64>,
    /// When to ask even though entries keep arriving from others.
    pub(super) want_latest: u64,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("device", &self.device)
            .field("phase", &self.phase)
            .field("pump", &self.pump)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Whether the peer has proved that it belongs.
    pub(super) fn is_accepted(&self) -> bool {
        !matches!(self.phase, Phase::Greeting { .. })
    }
}
