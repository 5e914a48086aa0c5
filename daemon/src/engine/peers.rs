//! What is remembered of every peer, and the snapshot of it that readers get.

use std::collections::BTreeMap;
use std::sync::Arc;

use crdt_schema::ident::{DeviceId, LogId};

use super::batch::{Held, PeerRow, SessionId};
use super::fleet::{Fleet, PeerStatus};
use super::logs::Logs;

/// What is known of one peer, connected or not.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) hub: bool,
    pub(super) last_seen_ms: u64,
    /// What it said it holds durably.
    pub(super) held: Arc<Held>,
    pub(super) session: Option<SessionId>,
    pub(super) refused_logs: BTreeMap<LogId, String>,
    pub(super) clock_suspect: bool,
    /// Since when (monotonic milliseconds) the store has not been told what changed.
    pub(super) unsaved_since: Option<u64>,
}

/// All peers that were ever accepted.
#[derive(Clone, Debug, Default)]
pub(super) struct Peers {
    peers: BTreeMap<DeviceId, Peer>,
}

impl Peers {
    pub(super) fn new(rows: Vec<PeerRow>) -> Self {
        let peer = |row: PeerRow| Peer {
            name: row.name,
            hub: row.hub,
            last_seen_ms: row.last_seen_ms,
            held: row.held,
            session: None,
            refused_logs: BTreeMap::new(),
            clock_suspect: false,
            unsaved_since: None,
        };
        Self {
            peers: rows
                .into_iter()
                .map(|row| (row.device, peer(row)))
                .collect(),
        }
    }

    pub(super) fn get(&self, device: DeviceId) -> Option<&Peer> {
        self.peers.get(&device)
    }

    pub(super) fn get_mut(&mut self, device: DeviceId) -> Option<&mut Peer> {
        self.peers.get_mut(&device)
    }

    /// The peer of an accepted session.
    pub(super) fn accept(&mut self, device: DeviceId, session: SessionId, hub: bool) -> &mut Peer {
        let peer = self.peers.entry(device).or_insert_with(|| Peer {
            name: String::new(),
            hub,
            last_seen_ms: 0,
            held: Arc::default(),
            session: None,
            refused_logs: BTreeMap::new(),
            clock_suspect: false,
            unsaved_since: None,
        });
        peer.hub = hub;
        peer.session = Some(session);
        peer.refused_logs.clear();
        peer
    }

    /// The peer says that it holds a log up to `seq`.
    pub(super) fn holds(&mut self, device: DeviceId, log: LogId, seq: u64, mono_ms: u64) {
        let Some(peer) = self.peers.get_mut(&device) else {
            return;
        };
        if peer.held.get(&log).is_none_or(|&held| held < seq) {
            Arc::make_mut(&mut peer.held).insert(log, seq);
            peer.unsaved_since.get_or_insert(mono_ms);
        }
    }

    /// When the oldest unsaved change was made.
    pub(super) fn oldest_unsaved(&self) -> Option<u64> {
        self.peers
            .values()
            .filter_map(|peer| peer.unsaved_since)
            .min()
    }

    /// The rows of peers that have been unsaved since `mono_ms` or longer; they count as saved from here on.
    pub(super) fn take_unsaved(&mut self, mono_ms: u64) -> Vec<PeerRow> {
        let due = |peer: &Peer| peer.unsaved_since.is_some_and(|since| since <= mono_ms);
        let mut rows = Vec::new();
        for (&device, peer) in self.peers.iter_mut().filter(|(_, peer)| due(peer)) {
            peer.unsaved_since = None;
            rows.push(PeerRow {
                device,
                name: peer.name.clone(),
                hub: peer.hub,
                last_seen_ms: peer.last_seen_ms,
                held: peer.held.clone(),
            });
        }
        rows
    }

    /// The snapshot for readers; what is not about peers is left for the caller to fill in.
    pub(super) fn snapshot(&self, logs: &Logs) -> Fleet {
        let status = |(&device, peer): (&DeviceId, &Peer)| {
            let ours = logs.held();
            let status = PeerStatus {
                device,
                name: peer.name.clone(),
                hub: peer.hub,
                connected: peer.session.is_some(),
                last_seen_ms: peer.last_seen_ms,
                held: peer.held.clone(),
                behind: excess(&peer.held, ours),
                ahead: excess(ours, &peer.held),
                refused_logs: peer.refused_logs.clone(),
                clock_suspect: peer.clock_suspect,
            };
            (device, status)
        };
        Fleet {
            peers: self.peers.iter().map(status).collect(),
            held: logs.held().clone(),
            ..Fleet::default()
        }
    }
}

/// How many entries `a` has beyond `b`.
fn excess(a: &Held, b: &Held) -> u64 {
    a.iter()
        .map(|(log, &seq)| seq.saturating_sub(b.get(log).copied().unwrap_or(0)))
        .sum()
}
