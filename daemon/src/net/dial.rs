//! Whom to dial, where and when: the address book and the back-off policy. Pure: time is passed in.
//!
//! Invariants: configured peers are dialled for ever; found ones while the local network announces
//! them and an hour longer. A peer has at most one dial under way, none while it is connected, and
//! none for a minute after it was refused. Everything found is bounded in peers and in addresses
//! per peer.
//! Knows nothing of connections beyond whether a peer has one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Most peers that are known only because the network told of them.
const FOUND_PEERS_MAX: usize = 256;

/// Most addresses kept of one found peer.
const FOUND_ADDRESSES_MAX: usize = 8;

/// The first wait before dialling again; it doubles with each failure.
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// The longest wait before dialling again.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// How long a refused peer is left alone.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// How long an address that turned out to be our own is left alone. It may be another's one day.
const OWN_ADDRESS_FOR: Duration = Duration::from_secs(600);

/// A connection that lasted this long shows that dialling works, so the wait starts over.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// How long a found peer is remembered after it was last announced or connected.
const FORGET_AFTER: Duration = Duration::from_secs(3600);

/// Two devices find each other at the same moment. The one with the greater peer id lets the other
/// dial first, which saves both a second handshake.
const YIELD: Duration = Duration::from_secs(1);

/// A found peer that failed this often may make room for another.
const HOPELESS_ATTEMPTS: u32 = 3;

/// Where an address came from, and so how long it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    /// Seen on a connection, or announced once: kept until forgotten.
    Seen,
    /// Announced on the local network: kept while it is.
    Announced,
    /// Configured: kept for ever.
    Configured,
}

/// Names an entry of the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TargetId(u64);

/// A dial to be made. Its end must be told to the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dial {
    /// Whose dial it is.
    pub(super) target: TargetId,
    /// The peer expected there; `None` if whoever answers is right.
    pub(super) peer: Option<PeerId>,
    /// Where.
    pub(super) addresses: Vec<Multiaddr>,
}

#[derive(Debug)]
struct Target {
    /// The peer: given, or who answered last.
    peer: Option<PeerId>,
    /// Whether the peer was given. A configured address may come without a peer id.
    named: bool,
    addresses: Vec<(Multiaddr, Source)>,
    attempts: u32,
    due: Instant,
    held_until: Instant,
    dialling: bool,
    seen: Instant,
}

impl Target {
    fn new(peer: Option<PeerId>, now: Instant) -> Self {
        Self {
            peer,
            named: peer.is_some(),
            addresses: Vec::new(),
            attempts: 0,
            due: now,
            held_until: now,
            dialling: false,
            seen: now,
        }
    }

    fn is_configured(&self) -> bool {
        self.addresses
            .iter()
            .any(|(_, source)| *source == Source::Configured)
    }

    fn ready_at(&self) -> Instant {
        self.due.max(self.held_until)
    }

    fn holds(&self, address: &Multiaddr) -> bool {
        self.addresses.iter().any(|(known, _)| known == address)
    }
}

/// The address book.
pub(super) struct AddressBook {
    me: PeerId,
    targets: BTreeMap<TargetId, Target>,
    next_id: u64,
    rng: ChaCha8Rng,
}

impl AddressBook {
    /// An empty book of the device `me`. The seed only spreads the waits.
    pub(super) fn new(me: PeerId, seed: u64) -> Self {
        Self {
            me,
            targets: BTreeMap::new(),
            next_id: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// Adds a configured peer, or a configured address whose peer is not known.
    pub(super) fn configure(&mut self, peer: Option<PeerId>, address: Multiaddr, now: Instant) {
        if peer == Some(self.me) {
            return;
        }
        if peer.is_none() && self.targets.values().any(|target| target.holds(&address)) {
            return;
        }
        let known = peer.and_then(|peer| self.named(&peer));
        let id = known.unwrap_or_else(|| self.insert(Target::new(peer, now)));
        if let Some(target) = self.targets.get_mut(&id) {
            target.addresses.retain(|(known, _)| *known != address);
            target.addresses.push((address, Source::Configured));
        }
    }

    /// Notes an address that the local network announces. Its peer may be dialled at once.
    pub(super) fn announced(&mut self, peer: PeerId, address: Multiaddr, now: Instant) {
        let yields = self.me > peer && self.named(&peer).is_none();
        let Some(target) = self.found(peer, address, Source::Announced, now) else {
            return;
        };
        target.attempts = 0;
        target.due = if yields { now + YIELD } else { now };
    }

    /// Notes that the local network announces an address no longer. Nothing is disconnected.
    pub(super) fn expired(&mut self, peer: &PeerId, address: &Multiaddr, now: Instant) {
        let Some(target) = self.named(peer).and_then(|id| self.targets.get_mut(&id)) else {
            return;
        };
        target.seen = now;
        for (known, source) in &mut target.addresses {
            if known == address && *source == Source::Announced {
                *source = Source::Seen;
            }
        }
    }

    /// Notes where a connected peer listens.
    pub(super) fn observed(&mut self, peer: PeerId, address: Multiaddr, now: Instant) {
        self.found(peer, address, Source::Seen, now);
    }

    /// Lets everybody be dialled now: the device's own situation has changed. Those that were
    /// refused are let off only if the person in charge asks.
    pub(super) fn retry_all(&mut self, pardon: bool, now: Instant) {
        for target in self.targets.values_mut() {
            target.attempts = 0;
            target.due = now;
            if pardon {
                target.held_until = now;
            }
        }
    }

    /// The dials to make now, at most `free` of them. Each counts as under way until its end is
    /// told.
    pub(super) fn due(
        &mut self,
        now: Instant,
        free: usize,
        connected: impl Fn(&PeerId) -> bool,
    ) -> Vec<Dial> {
        let mut waiting: Vec<_> = self
            .targets
            .iter()
            .filter(|(_, target)| target.ready_at() <= now)
            .map(|(id, target)| (target.ready_at(), *id))
            .collect();
        waiting.sort();

        let mut dials = Vec::new();
        for (_, id) in waiting {
            if dials.len() == free {
                break;
            }
            if !self.may_dial(id, &connected) {
                continue;
            }
            let Some(target) = self.targets.get_mut(&id) else {
                continue;
            };
            target.dialling = true;
            dials.push(Dial {
                target: id,
                peer: target.peer.filter(|_| target.named),
                addresses: target
                    .addresses
                    .iter()
                    .map(|(address, _)| address.clone())
                    .collect(),
            });
        }
        dials
    }

    /// When `due` will next have something, if nothing else happens.
    pub(super) fn next_due(&self, connected: impl Fn(&PeerId) -> bool) -> Option<Instant> {
        self.targets
            .iter()
            .filter(|(id, _)| self.may_dial(**id, &connected))
            .map(|(_, target)| target.ready_at())
            .min()
    }

    /// A dial reached this peer.
    pub(super) fn reached(&mut self, id: TargetId, peer: PeerId) {
        if let Some(target) = self.targets.get_mut(&id) {
            target.dialling = false;
            target.peer = Some(peer);
        }
    }

    /// A dial failed.
    pub(super) fn failed(&mut self, id: TargetId, now: Instant) {
        let Some(target) = self.targets.get_mut(&id) else {
            return;
        };
        target.dialling = false;
        back_off(target, &mut self.rng, now);
    }

    /// A dial reached this device itself.
    pub(super) fn reached_ourselves(&mut self, id: TargetId, now: Instant) {
        if let Some(target) = self.targets.get_mut(&id) {
            target.dialling = false;
            target.held_until = now + OWN_ADDRESS_FOR;
        }
    }

    /// A peer's last connection ended after it had lasted so long.
    pub(super) fn lost(&mut self, peer: &PeerId, lasted: Duration, now: Instant) {
        for target in self
            .targets
            .values_mut()
            .filter(|target| target.peer == Some(*peer))
        {
            target.seen = now;
            if lasted >= STABLE_AFTER {
                target.attempts = 0;
            }
            back_off(target, &mut self.rng, now);
        }
    }

    /// A peer is not to be dialled for a while. What only its connections told of it is forgotten.
    pub(super) fn refuse(&mut self, peer: &PeerId, now: Instant) {
        for target in self
            .targets
            .values_mut()
            .filter(|target| target.peer == Some(*peer))
        {
            target.held_until = now + REFUSED_FOR;
            target
                .addresses
                .retain(|(_, source)| *source != Source::Seen);
        }
        self.targets
            .retain(|_, target| target.dialling || !target.addresses.is_empty());
    }

    /// Forgets found peers that have not been seen for long.
    pub(super) fn forget(&mut self, now: Instant, connected: impl Fn(&PeerId) -> bool) {
        self.targets.retain(|_, target| {
            if target.peer.is_some_and(|peer| connected(&peer)) {
                target.seen = now;
            }
            if now.saturating_duration_since(target.seen) >= FORGET_AFTER {
                target
                    .addresses
                    .retain(|(_, source)| *source != Source::Seen);
            }
            target.dialling || !target.addresses.is_empty()
        });
    }

    fn may_dial(&self, id: TargetId, connected: &impl Fn(&PeerId) -> bool) -> bool {
        let Some(target) = self.targets.get(&id) else {
            return false;
        };
        let busy = |peer: &PeerId| connected(peer) || self.is_dialling(peer);
        if target.dialling || target.addresses.is_empty() {
            return false;
        }
        match &target.peer {
            Some(peer) => !busy(peer),
            // An address without a peer: whoever is known to listen there is the one it would
            // reach.
            None => !self.targets.values().any(|other| {
                other.peer.as_ref().is_some_and(busy)
                    && target
                        .addresses
                        .iter()
                        .any(|(address, _)| other.holds(address))
            }),
        }
    }

    fn is_dialling(&self, peer: &PeerId) -> bool {
        self.targets
            .values()
            .any(|target| target.dialling && target.peer == Some(*peer))
    }

    fn named(&self, peer: &PeerId) -> Option<TargetId> {
        let mut targets = self.targets.iter();
        targets
            .find(|(_, target)| target.named && target.peer == Some(*peer))
            .map(|(id, _)| *id)
    }

    fn insert(&mut self, target: Target) -> TargetId {
        let id = TargetId(self.next_id);
        self.next_id += 1;
        self.targets.insert(id, target);
        id
    }

    /// The entry of a found peer, with the address noted. `None` if there is no room for it.
    fn found(
        &mut self,
        peer: PeerId,
        address: Multiaddr,
        source: Source,
        now: Instant,
    ) -> Option<&mut Target> {
        if peer == self.me {
            return None;
        }
        let id = match self.named(&peer) {
            Some(id) => id,
            None => {
                self.make_room()?;
                self.insert(Target::new(Some(peer), now))
            }
        };
        let target = self.targets.get_mut(&id)?;
        target.seen = now;
        note_address(target, address, source);
        Some(target)
    }

    /// Sees to it that one more found peer fits: the most hopeless one gives way.
    fn make_room(&mut self) -> Option<()> {
        let found = || {
            self.targets
                .iter()
                .filter(|(_, target)| !target.is_configured())
        };
        if found().count() < FOUND_PEERS_MAX {
            return Some(());
        }
        let hopeless = found()
            .filter(|(_, target)| !target.dialling && target.attempts >= HOPELESS_ATTEMPTS)
            .max_by_key(|(_, target)| target.attempts)
            .map(|(id, _)| *id)?;
        self.targets.remove(&hopeless);
        Some(())
    }
}

/// Keeps the address with the better of its two sources. If there are too many, the oldest one of
/// the least source goes.
fn note_address(target: &mut Target, address: Multiaddr, source: Source) {
    if let Some((_, known)) = target
        .addresses
        .iter_mut()
        .find(|(known, _)| *known == address)
    {
        *known = source.max(*known);
        return;
    }
    target.addresses.push((address, source));
    let found = |(_, source): &&(Multiaddr, Source)| *source != Source::Configured;
    if target.addresses.iter().filter(found).count() > FOUND_ADDRESSES_MAX {
        let indices = 0..target.addresses.len();
        if let Some(least) = indices.min_by_key(|at| target.addresses[*at].1) {
            target.addresses.remove(least);
        }
    }
}

/// Sets the next dial to half to all of a wait that doubles each time, so that devices which lost
/// each other at one moment do not all dial at one moment.
fn back_off(target: &mut Target, rng: &mut ChaCha8Rng, now: Instant) {
    let doublings = target.attempts.min(16);
    let wait = RETRY_FIRST.saturating_mul(1 << doublings).min(RETRY_MAX);
    let share = 0.5 + 0.5 * f64::from(rng.next_u32()) / f64::from(u32::MAX);
    target.attempts = target.attempts.saturating_add(1);
    target.due = now + wait.mul_f64(share);
}

#[cfg(test)]
mod tests;
