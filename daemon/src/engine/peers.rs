//! What is known of the peers, kept in the form that readers outside the engine see.
//!
//! Each peer's `behind` and `ahead` are the sums over all logs of what it holds more, or less, than this
//! device; every change of either side's holdings goes through this module and keeps them so.
//!
//! A snapshot shares its memory with this state until the next change.

use std::collections::BTreeMap;
use std::sync::Arc;

use crdt_schema::ident::{DeviceId, LogId};

use super::batch::{Held, PeerRow};
use super::effect::CloseReason;
use super::fleet::{Fleet, PeerStatus};
use super::limits::{LOGS_MAX, PEERS_MAX, REFUSED_SHOWN_MAX, SEEN_MS};

/// The peers, and whether they changed since a snapshot was last taken.
#[derive(Debug)]
pub(super) struct Peers {
    fleet: Arc<Fleet>,
    changed: bool,
}

impl Peers {
    pub(super) fn new(held: Held, rows: Vec<PeerRow>) -> Self {
        let mut fleet = Fleet {
            held: Arc::new(held),
            online: true,
            ..Fleet::default()
        };
        for row in rows {
            let mut status = PeerStatus {
                held: row.held,
                ..unknown(row.device)
            };
            status.name = row.name;
            status.hub = row.hub;
            status.last_seen_ms = row.last_seen_ms;
            (status.behind, status.ahead) = compare(&status.held, &fleet.held);
            fleet.peers.insert(row.device, status);
        }
        Self {
            fleet: Arc::new(fleet),
            changed: true,
        }
    }

    /// A snapshot, if anything changed since the last one.
    pub(super) fn snapshot(&mut self) -> Option<Arc<Fleet>> {
        std::mem::take(&mut self.changed).then(|| Arc::clone(&self.fleet))
    }

    /// What this device holds durably.
    pub(super) fn our_held(&self) -> &Arc<Held> {
        &self.fleet.held
    }

    /// How far a peer said that it holds a log.
    pub(super) fn held_seq(&self, device: &DeviceId, log: &LogId) -> u64 {
        let peer = self.fleet.peers.get(device);
        peer.and_then(|peer| peer.held.get(log))
            .copied()
            .unwrap_or(0)
    }

    /// What a peer said that it holds.
    pub(super) fn held(&self, device: &DeviceId) -> Option<&Arc<Held>> {
        self.fleet.peers.get(device).map(|peer| &peer.held)
    }

    pub(super) fn is_online(&self) -> bool {
        self.fleet.online
    }

    pub(super) fn set_online(&mut self, online: bool) {
        if self.fleet.online != online {
            self.edit().online = online;
        }
    }

    /// Notes that a log of ours has grown in the store.
    pub(super) fn our_log_moved(&mut self, log: LogId, from: u64, to: u64) {
        let fleet = self.edit();
        Arc::make_mut(&mut fleet.held).insert(log, to);
        for peer in fleet.peers.values_mut() {
            let theirs = peer.held.get(&log).copied().unwrap_or(0);
            peer.behind = peer.behind + theirs.saturating_sub(to) - theirs.saturating_sub(from);
            peer.ahead = peer.ahead + to.saturating_sub(theirs) - from.saturating_sub(theirs);
        }
    }

    /// Notes what a peer says, or shows, that it holds of a log. Returns `false` if it claims more logs
    /// than may be.
    pub(super) fn their_log_moved(&mut self, device: &DeviceId, log: LogId, to: u64) -> bool {
        let Some(known) = self.held(device) else {
            return true;
        };
        let from = known.get(&log).copied().unwrap_or(0);
        if from == 0 && known.len() >= LOGS_MAX {
            return false;
        }
        if to <= from {
            return true;
        }
        let ours = self.fleet.held.get(&log).copied().unwrap_or(0);
        if let Some(peer) = self.edit().peers.get_mut(device) {
            Arc::make_mut(&mut peer.held).insert(log, to);
            peer.behind = peer.behind + to.saturating_sub(ours) - from.saturating_sub(ours);
            peer.ahead = peer.ahead + ours.saturating_sub(to) - ours.saturating_sub(from);
        }
        true
    }

    /// Replaces all that is known of a peer's holdings by what it said at an opening.
    pub(super) fn replace_held(&mut self, device: &DeviceId, held: Held) {
        let fleet = self.edit();
        if let Some(peer) = fleet.peers.get_mut(device) {
            (peer.behind, peer.ahead) = compare(&held, &fleet.held);
            peer.held = Arc::new(held);
        }
    }

    /// Forgets that a peer holds a log: it holds another one under the same name.
    pub(super) fn forget_log(&mut self, device: &DeviceId, log: &LogId) {
        if self.held_seq(device, log) == 0 {
            return;
        }
        let fleet = self.edit();
        if let Some(peer) = fleet.peers.get_mut(device) {
            Arc::make_mut(&mut peer.held).remove(log);
            (peer.behind, peer.ahead) = compare(&peer.held, &fleet.held);
        }
    }

    /// Whether another peer may be remembered.
    pub(super) fn has_room_for(&self, device: &DeviceId) -> bool {
        self.fleet.peers.contains_key(device) || self.fleet.peers.len() < PEERS_MAX
    }

    /// Notes a peer that has proved to be a member.
    pub(super) fn connect(&mut self, device: DeviceId, hub: bool, unix_ms: u64) {
        let fleet = self.edit();
        let ahead = excess(&fleet.held, &Held::new());
        let new = || PeerStatus {
            ahead,
            ..unknown(device)
        };
        let peer = fleet.peers.entry(device).or_insert_with(new);
        peer.hub = hub;
        peer.connected = true;
        peer.last_seen_ms = unix_ms;
        peer.refused_logs.clear();
    }

    pub(super) fn disconnect(&mut self, device: &DeviceId) {
        if let Some(peer) = self.edit().peers.get_mut(device) {
            peer.connected = false;
        }
    }

    pub(super) fn set_name(&mut self, device: &DeviceId, name: String) {
        if let Some(peer) = self.edit().peers.get_mut(device) {
            peer.name = name;
        }
    }

    /// Notes that a peer has been heard. Coarse, so that not every frame makes a new snapshot.
    pub(super) fn heard(&mut self, device: &DeviceId, unix_ms: u64) {
        let stale = |peer: &PeerStatus| peer.last_seen_ms.abs_diff(unix_ms) >= SEEN_MS;
        if self.fleet.peers.get(device).is_some_and(stale)
            && let Some(peer) = self.edit().peers.get_mut(device)
        {
            peer.last_seen_ms = unix_ms;
        }
    }

    /// Notes whether a device's newest entry was written by a clock that may be trusted.
    pub(super) fn set_clock_suspect(&mut self, device: &DeviceId, suspect: bool) {
        let differs = |peer: &PeerStatus| peer.clock_suspect != suspect;
        if self.fleet.peers.get(device).is_some_and(differs)
            && let Some(peer) = self.edit().peers.get_mut(device)
        {
            peer.clock_suspect = suspect;
        }
    }

    /// Shows that a log is not exchanged with a peer, and why.
    pub(super) fn show_refused(&mut self, device: &DeviceId, log: LogId, why: String) {
        if let Some(peer) = self.edit().peers.get_mut(device)
            && peer.refused_logs.len() < REFUSED_SHOWN_MAX
        {
            peer.refused_logs.insert(log, why);
        }
    }

    /// Counts why a session was refused or broken, by one side or the other.
    pub(super) fn count(&mut self, device: DeviceId, code: &'static str, why: String) {
        let fleet = self.edit();
        *fleet.refusals.entry(code).or_default() += 1;
        if CloseReason::refusal_code(code).is_some() {
            fleet.last_refusal = Some((device, why));
        }
    }

    /// What is to be kept of a peer between sessions.
    pub(super) fn row(&self, device: &DeviceId) -> Option<PeerRow> {
        self.fleet.peers.get(device).map(|peer| PeerRow {
            device: peer.device,
            name: peer.name.clone(),
            hub: peer.hub,
            last_seen_ms: peer.last_seen_ms,
            held: Arc::clone(&peer.held),
        })
    }

    fn edit(&mut self) -> &mut Fleet {
        self.changed = true;
        Arc::make_mut(&mut self.fleet)
    }
}

fn unknown(device: DeviceId) -> PeerStatus {
    PeerStatus {
        device,
        name: String::new(),
        hub: false,
        connected: false,
        last_seen_ms: 0,
        held: Arc::default(),
        behind: 0,
        ahead: 0,
        refused_logs: BTreeMap::new(),
        clock_suspect: false,
    }
}

/// How many entries `theirs` has more than `ours`, and `ours` more than `theirs`.
fn compare(theirs: &Held, ours: &Held) -> (u64, u64) {
    (excess(theirs, ours), excess(ours, theirs))
}

fn excess(of: &Held, over: &Held) -> u64 {
    of.iter()
        .map(|(log, seq)| seq.saturating_sub(over.get(log).copied().unwrap_or(0)))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: DeviceId = DeviceId([1; 32]);
    const LOG: LogId = LogId([2; 16]);

    fn status(peers: &mut Peers) -> (u64, u64) {
        let fleet = peers.snapshot().expect("changed");
        (fleet.peers[&PEER].behind, fleet.peers[&PEER].ahead)
    }

    #[test]
    fn behind_and_ahead_follow_both_sides() {
        let mut peers = Peers::new(Held::from([(LOG, 3)]), Vec::new());
        peers.connect(PEER, false, 0);
        peers.replace_held(&PEER, Held::from([(LogId([9; 16]), 2)]));
        assert_eq!(status(&mut peers), (2, 3));

        assert!(peers.their_log_moved(&PEER, LOG, 5));
        assert_eq!(status(&mut peers), (4, 0));

        peers.our_log_moved(LOG, 3, 7);
        assert_eq!(status(&mut peers), (2, 2));

        peers.our_log_moved(LogId([9; 16]), 0, 2);
        assert_eq!(status(&mut peers), (0, 2));
    }

    #[test]
    fn a_peer_that_has_told_nothing_yet_lacks_everything() {
        let mut peers = Peers::new(Held::from([(LOG, 3)]), Vec::new());
        peers.connect(PEER, false, 0);
        assert_eq!(status(&mut peers), (0, 3));

        peers.our_log_moved(LOG, 3, 4);
        assert_eq!(status(&mut peers), (0, 4));
    }

    #[test]
    fn a_snapshot_is_given_once_and_does_not_change() {
        let mut peers = Peers::new(Held::new(), Vec::new());
        let before = peers.snapshot().expect("first");
        assert!(peers.snapshot().is_none());

        peers.set_online(false);

        assert!(before.online);
        assert!(!peers.snapshot().expect("changed").online);
    }

    #[test]
    fn a_peer_may_not_claim_logs_without_end() {
        let mut peers = Peers::new(Held::new(), Vec::new());
        peers.connect(PEER, false, 0);
        let id = |n: usize| LogId((n as u128).to_be_bytes());
        peers.replace_held(&PEER, (0..LOGS_MAX).map(|n| (id(n), 1)).collect());

        assert!(!peers.their_log_moved(&PEER, id(LOGS_MAX), 1));
        assert!(peers.their_log_moved(&PEER, id(0), 2));
    }
}
