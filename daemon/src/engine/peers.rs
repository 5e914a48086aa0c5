//! What is known of the peers, kept in the form that readers outside the engine see.
//!
//! Each peer's `behind` and `ahead` are the sums over all logs of what it holds more, or less, than this
//! device. They are right in every snapshot, and between two snapshots they are by what this device held at the
//! first: an entry that arrives costs nothing for each peer that is not even there.
//!
//! A snapshot shares its memory with this state until the next change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crdt_schema::ident::{DeviceId, LogId};

use super::batch::{Checkpoint, CheckpointId, Checkpoints, Held, PeerRow, SchemaTag};
use super::fleet::{Fleet, PeerStatus};
use super::ingest::Refusal;
use super::limits::{CHECKPOINT_ROWS_MAX, LOGS_MAX, PEERS_MAX, REFUSED_SHOWN_MAX, SEEN_MS};

/// The peers, and whether they changed since a snapshot was last taken.
#[derive(Debug)]
pub(super) struct Peers {
    fleet: Arc<Fleet>,
    changed: bool,
    checkpoints: BTreeMap<DeviceId, Checkpoints>,
    /// What this device held when the peers' `behind` and `ahead` were last made right.
    counted: Held,
    /// The peers whose `behind` and `ahead` have to be counted anew.
    uncounted: BTreeSet<DeviceId>,
    /// Why logs are shown not to be exchanged.
    refused: BTreeMap<DeviceId, BTreeMap<LogId, Refusal>>,
}

impl Peers {
    pub(super) fn new(held: Held, rows: Vec<PeerRow>) -> Self {
        let mut fleet = Fleet {
            held: held.clone(),
            online: true,
            ..Fleet::default()
        };
        let mut checkpoints = BTreeMap::new();
        for row in rows {
            checkpoints.insert(row.device, row.checkpoints);
            let mut status = PeerStatus {
                held: row.held,
                ..unknown(row.device)
            };
            status.name = row.name;
            status.hub = row.hub;
            status.last_seen_ms = row.last_seen_ms;
            fleet.peers.insert(row.device, status);
        }
        Self {
            uncounted: fleet.peers.keys().copied().collect(),
            fleet: Arc::new(fleet),
            changed: true,
            checkpoints,
            counted: held,
            refused: BTreeMap::new(),
        }
    }

    /// A snapshot, if anything changed since the last one.
    pub(super) fn snapshot(&mut self) -> Option<Arc<Fleet>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        self.count_up();
        Some(Arc::clone(&self.fleet))
    }

    /// Makes every peer's `behind` and `ahead` right.
    fn count_up(&mut self) {
        let (counted, uncounted) = (&mut self.counted, &mut self.uncounted);
        if uncounted.is_empty() && *counted == self.fleet.held {
            return;
        }
        let fleet = Arc::make_mut(&mut self.fleet);
        let moved: Vec<_> = counted.differences(&fleet.held).collect();
        for (device, peer) in &mut fleet.peers {
            if uncounted.contains(device) {
                peer.behind = peer.held.beyond(&fleet.held);
                peer.ahead = fleet.held.beyond(&peer.held);
                continue;
            }
            for (log, from, to) in &moved {
                let theirs = peer.held.seq(log);
                peer.behind =
                    peer.behind + theirs.saturating_sub(*to) - theirs.saturating_sub(*from);
                peer.ahead = peer.ahead + to.saturating_sub(theirs) - from.saturating_sub(theirs);
            }
        }
        uncounted.clear();
        *counted = fleet.held.clone();
    }

    /// What this device holds durably.
    pub(super) fn our_held(&self) -> &Held {
        &self.fleet.held
    }

    /// How far a peer said that it holds a log.
    pub(super) fn held_seq(&self, device: &DeviceId, log: &LogId) -> u64 {
        let peer = self.fleet.peers.get(device);
        peer.map_or(0, |peer| peer.held.seq(log))
    }

    /// What a peer said that it holds.
    pub(super) fn held(&self, device: &DeviceId) -> Option<&Held> {
        self.fleet.peers.get(device).map(|peer| &peer.held)
    }

    /// Whether a peer holds exactly what we hold, as far as it has told. If so, both are one map from here on:
    /// what is known of many peers then takes the memory of one, and is compared at once.
    pub(super) fn is_level(&mut self, device: &DeviceId) -> bool {
        let held = &self.fleet.held;
        let Some(peer) = self.fleet.peers.get(device).filter(|it| it.held == *held) else {
            return false;
        };
        if !peer.held.is_shared_with(held) {
            let fleet = Arc::make_mut(&mut self.fleet);
            let held = fleet.held.clone();
            fleet.peers.entry(*device).and_modify(|it| it.held = held);
        }
        true
    }

    /// What both we and a peer have held.
    pub(super) fn checkpoints(&self, device: &DeviceId) -> Option<&Checkpoints> {
        self.checkpoints.get(device)
    }

    /// Notes a frontier that we know a peer to hold as well.
    pub(super) fn propose(&mut self, device: &DeviceId, checkpoint: Checkpoint) {
        self.make_room(device, checkpoint.rows.len());
        let kept = self.checkpoints.entry(*device).or_default();
        if kept.agreed.as_ref().map(|agreed| agreed.id) != Some(checkpoint.id) {
            kept.tentative = Some(checkpoint);
        }
    }

    /// Forgets the checkpoints of the peers that were seen longest ago, until so many rows more are not too many.
    fn make_room(&mut self, device: &DeviceId, rows: usize) {
        let rows_of = |kept: &Checkpoints| kept.iter().map(|kept| kept.rows.len()).sum::<usize>();
        let mut total = rows + self.checkpoints.values().map(rows_of).sum::<usize>();
        while total > CHECKPOINT_ROWS_MAX {
            let seen = |peer: &&DeviceId| self.fleet.peers.get(*peer).map(|it| it.last_seen_ms);
            let others = self.checkpoints.keys().filter(|other| *other != device);
            let Some(oldest) = others.min_by_key(seen).copied() else {
                return;
            };
            let forgotten = self.checkpoints.remove(&oldest);
            total -= forgotten.as_ref().map_or(0, rows_of);
        }
    }

    /// Notes which checkpoints a peer has named. Returns whether one is agreed that was not.
    pub(super) fn confirm(&mut self, device: &DeviceId, named: &[CheckpointId]) -> bool {
        let Some(kept) = self.checkpoints.get_mut(device) else {
            return false;
        };
        let is_named = |kept: &&mut Checkpoint| named.contains(&kept.id);
        let confirmed = kept.tentative.as_mut().filter(is_named).is_some();
        if confirmed {
            kept.agreed = kept.tentative.take();
        }
        confirmed
    }

    /// Forgets what was agreed with a peer: what it says does not agree with it.
    pub(super) fn forget_checkpoints(&mut self, device: &DeviceId) {
        self.checkpoints.remove(device);
    }

    pub(super) fn is_online(&self) -> bool {
        self.fleet.online
    }

    pub(super) fn set_online(&mut self, online: bool) {
        if self.fleet.online != online {
            self.edit().online = online;
        }
    }

    /// Notes that a log has grown in the store, or become shorter by a settlement.
    pub(super) fn our_log_moved(&mut self, log: LogId, to: u64) {
        self.edit().held.set(log, to);
    }

    /// Notes what a peer says, or shows, that it holds of a log. Returns how far it was known to hold it, or
    /// nothing if it claims more logs than may be.
    pub(super) fn their_log_moved(
        &mut self,
        device: &DeviceId,
        log: LogId,
        to: u64,
    ) -> Option<u64> {
        let Some(known) = self.held(device) else {
            return Some(0);
        };
        let from = known.seq(&log);
        if to <= from {
            return Some(from);
        }
        if from == 0 && known.len() >= LOGS_MAX {
            return None;
        }
        let ours = (!self.uncounted.contains(device)).then(|| self.counted.seq(&log));
        if let Some(peer) = self.edit().peers.get_mut(device) {
            peer.held.insert(log, to);
            if let Some(ours) = ours {
                peer.behind = peer.behind + to.saturating_sub(ours) - from.saturating_sub(ours);
                peer.ahead = peer.ahead + ours.saturating_sub(to) - ours.saturating_sub(from);
            }
        }
        Some(from)
    }

    /// Replaces all that is known of a peer's holdings by what it said at an opening.
    pub(super) fn replace_held(&mut self, device: &DeviceId, held: Held) {
        if let Some(peer) = self.edit().peers.get_mut(device) {
            peer.held = held;
            self.uncounted.insert(*device);
        }
    }

    /// Forgets that a peer holds a log: it holds another one under the same name.
    pub(super) fn forget_log(&mut self, device: &DeviceId, log: &LogId) {
        if self.held_seq(device, log) == 0 {
            return;
        }
        if let Some(peer) = self.edit().peers.get_mut(device) {
            peer.held.remove(log);
            self.uncounted.insert(*device);
        }
    }

    /// Whether another peer may be remembered.
    pub(super) fn has_room_for(&self, device: &DeviceId) -> bool {
        self.fleet.peers.contains_key(device) || self.fleet.peers.len() < PEERS_MAX
    }

    /// Notes a peer that has proved to be a member.
    pub(super) fn connect(&mut self, device: DeviceId, hub: bool, unix_ms: u64) {
        if !self.fleet.peers.contains_key(&device) {
            self.uncounted.insert(device);
        }
        let new = || unknown(device);
        let peer = self.edit().peers.entry(device).or_insert_with(new);
        peer.hub = hub;
        peer.connected = true;
        peer.last_seen_ms = unix_ms;
        peer.refused_logs.clear();
        self.refused.remove(&device);
    }

    pub(super) fn disconnect(&mut self, device: &DeviceId) {
        if let Some(peer) = self.edit().peers.get_mut(device) {
            peer.connected = false;
        }
        // What a peer refuses is its own to say, and nobody hears when it takes it after all.
        self.lift(Some(device), |_, refusal| *refusal == Refusal::ByPeer);
    }

    pub(super) fn set_name(&mut self, device: &DeviceId, name: String) {
        if let Some(peer) = self.edit().peers.get_mut(device) {
            peer.name = name;
        }
    }

    /// Notes which schema a peer uses.
    pub(super) fn set_schema(&mut self, device: &DeviceId, schema: SchemaTag) {
        let differs = |peer: &PeerStatus| peer.schema.as_ref() != Some(&schema);
        if self.fleet.peers.get(device).is_some_and(differs)
            && let Some(peer) = self.edit().peers.get_mut(device)
        {
            peer.schema = Some(schema);
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

    /// Notes whether a device's newest entry was written by a suspect clock.
    pub(super) fn set_clock_suspect(&mut self, device: &DeviceId, suspect: bool) {
        let differs = |peer: &PeerStatus| peer.clock_suspect != suspect;
        if self.fleet.peers.get(device).is_some_and(differs)
            && let Some(peer) = self.edit().peers.get_mut(device)
        {
            peer.clock_suspect = suspect;
        }
    }

    /// Shows that a log is not exchanged with a peer, and why.
    pub(super) fn show_refused(&mut self, device: &DeviceId, log: LogId, refusal: &Refusal) {
        if let Some(peer) = self.edit().peers.get_mut(device)
            && peer.refused_logs.len() < REFUSED_SHOWN_MAX
        {
            peer.refused_logs.insert(log, refusal.to_string());
            let shown = self.refused.entry(*device).or_default();
            shown.insert(log, refusal.clone());
        }
    }

    /// Shows those refusals no longer that have ended, of one peer or of all.
    pub(super) fn lift(
        &mut self,
        of: Option<&DeviceId>,
        has_ended: impl Fn(&LogId, &Refusal) -> bool,
    ) {
        let mut lifted = Vec::new();
        for (device, shown) in &mut self.refused {
            if of.is_none_or(|of| of == device) {
                shown.retain(|log, refusal| {
                    let ends = has_ended(log, refusal);
                    lifted.extend(ends.then_some((*device, *log)));
                    !ends
                });
            }
        }
        self.refused.retain(|_, shown| !shown.is_empty());
        for (device, log) in lifted {
            if let Some(peer) = self.edit().peers.get_mut(&device) {
                peer.refused_logs.remove(&log);
            }
        }
    }

    /// Counts why a session or a log was refused or broken, by one side or the other. `why` is for people, if
    /// they should see it.
    pub(super) fn count(&mut self, device: DeviceId, code: &'static str, why: Option<String>) {
        let fleet = self.edit();
        *fleet.refusals.entry(code).or_default() += 1;
        if let Some(why) = why {
            fleet.last_refusal = Some((device, why));
        }
    }

    /// What all peers said that they hold.
    pub(super) fn all_held(&self) -> impl Iterator<Item = (&LogId, &u64)> {
        self.fleet.peers.values().flat_map(|peer| peer.held.iter())
    }

    /// Shows that a log does not read back from some place on, or does again.
    pub(super) fn show_damage(&mut self, log: LogId, from: Option<u64>) {
        let damaged = &mut self.edit().repairs.damaged;
        match from {
            Some(from) => damaged.insert(log, from),
            None => damaged.remove(&log),
        };
    }

    /// Notes that a log is sealed: what peers hold beyond its end is of one of its branches, nobody knows which.
    pub(super) fn cut(&mut self, log: LogId, end: u64) {
        let beyond = |peer: &PeerStatus| peer.held.get(&log).is_some_and(|seq| *seq > end);
        let peers = self.fleet.peers.values().filter(|peer| beyond(peer));
        let peers: Vec<DeviceId> = peers.map(|peer| peer.device).collect();
        for device in peers {
            if let Some(peer) = self.edit().peers.get_mut(&device) {
                peer.held.set(log, end);
                self.uncounted.insert(device);
            }
        }
    }

    /// Forgets what was agreed with all peers: the frontiers that were named are no longer ours.
    pub(super) fn forget_all_checkpoints(&mut self) {
        self.checkpoints.clear();
    }

    /// Counts a fork that is settled, and the entries that have moved to a branch here.
    pub(super) fn count_fork(&mut self, moved: u64) {
        let repairs = &mut self.edit().repairs;
        repairs.forks += 1;
        repairs.branched += moved;
    }

    pub(super) fn count_mended(&mut self, entries: u64) {
        self.edit().repairs.mended += entries;
    }

    pub(super) fn count_taken_back(&mut self, entries: u64) {
        self.edit().repairs.taken_back += entries;
    }

    pub(super) fn count_rewritten(&mut self, sets: u64) {
        self.edit().repairs.rewritten += sets;
    }

    /// What is to be kept of a peer between sessions.
    pub(super) fn row(&self, device: &DeviceId) -> Option<PeerRow> {
        self.fleet.peers.get(device).map(|peer| PeerRow {
            device: peer.device,
            name: peer.name.clone(),
            hub: peer.hub,
            last_seen_ms: peer.last_seen_ms,
            held: peer.held.clone(),
            checkpoints: self.checkpoints.get(device).cloned().unwrap_or_default(),
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
        held: Held::new(),
        behind: 0,
        ahead: 0,
        refused_logs: BTreeMap::new(),
        schema: None,
        clock_suspect: false,
    }
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

        assert_eq!(peers.their_log_moved(&PEER, LOG, 5), Some(0));
        assert_eq!(status(&mut peers), (4, 0));

        peers.our_log_moved(LOG, 7);
        assert_eq!(status(&mut peers), (2, 2));

        peers.our_log_moved(LogId([9; 16]), 2);
        assert_eq!(status(&mut peers), (0, 2));
    }

    #[test]
    fn a_peer_that_has_told_nothing_yet_lacks_everything() {
        let mut peers = Peers::new(Held::from([(LOG, 3)]), Vec::new());
        peers.connect(PEER, false, 0);
        assert_eq!(status(&mut peers), (0, 3));

        peers.our_log_moved(LOG, 4);
        assert_eq!(status(&mut peers), (0, 4));
    }

    #[test]
    fn what_a_level_peer_holds_is_our_own_map_until_one_of_them_moves() {
        let mut peers = Peers::new(Held::from([(LOG, 3)]), Vec::new());
        peers.connect(PEER, false, 0);
        assert!(!peers.is_level(&PEER));
        peers.their_log_moved(&PEER, LOG, 3);
        let is_shared = |peers: &Peers| {
            let held = peers.held(&PEER);
            held.is_some_and(|held| held.is_shared_with(peers.our_held()))
        };
        assert!(!is_shared(&peers));

        assert!(peers.is_level(&PEER));

        assert!(is_shared(&peers));
        peers.our_log_moved(LOG, 4);
        assert!(!peers.is_level(&PEER));
        assert_eq!(peers.held_seq(&PEER, &LOG), 3);
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
    fn checkpoints_of_peers_seen_long_ago_make_room_for_new_ones() {
        let mut peers = Peers::new(Held::new(), Vec::new());
        let log = |n: usize| LogId((n as u128).to_be_bytes());
        let rows: Held = (0..CHECKPOINT_ROWS_MAX / 4).map(|n| (log(n), 1)).collect();
        let checkpoint = |id: u8| Checkpoint {
            id: [id; 8],
            arrival: 1,
            rows: rows.clone(),
        };
        for number in 1..=6 {
            let device = DeviceId([number; 32]);
            peers.connect(device, false, 1_000 - u64::from(number));
            peers.propose(&device, checkpoint(number));
        }

        let kept = (1..=6).filter(|n| peers.checkpoints(&DeviceId([*n; 32])).is_some());
        assert_eq!(kept.collect::<Vec<_>>(), [1, 2, 3, 6]);
    }

    #[test]
    fn a_peer_may_not_claim_logs_without_end() {
        let mut peers = Peers::new(Held::new(), Vec::new());
        peers.connect(PEER, false, 0);
        let id = |n: usize| LogId((n as u128).to_be_bytes());
        peers.replace_held(&PEER, (0..LOGS_MAX).map(|n| (id(n), 1)).collect());

        assert_eq!(peers.their_log_moved(&PEER, id(LOGS_MAX), 1), None);
        assert_eq!(peers.their_log_moved(&PEER, id(0), 2), Some(1));
    }
}
