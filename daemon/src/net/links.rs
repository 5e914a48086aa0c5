//! The table of established connections: which of two to one peer stays, and which have fallen
//! silent. Pure: time is passed in.
//!
//! Invariant: of a peer's connections at most one stands; all others are leaving. Both ends judge
//! alike, because they see the same two dials, only from the other side.
//! Knows nothing of sessions beyond their numbers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

/// Two connections that were established this close to each other come from a simultaneous dial.
const SIMULTANEOUS: Duration = Duration::from_secs(10);

/// An established connection.
#[derive(Debug, Clone)]
pub(super) struct Link {
    /// The peer.
    pub(super) peer: PeerId,
    /// Whether this side dialled.
    pub(super) dialled: bool,
    /// Where the peer is.
    pub(super) address: Multiaddr,
    /// When it was established.
    pub(super) since: Instant,
    /// The session on it.
    pub(super) session: Option<u64>,
    /// Whether it is on its way out.
    pub(super) leaving: bool,
    /// Whether the node has told the peer more than its greeting, which it does to members only.
    pub(super) accepted: bool,
    alive_at: Instant,
    bytes_moved: u64,
}

impl Link {
    /// A connection that was established just now.
    pub(super) fn new(peer: PeerId, dialled: bool, address: Multiaddr, now: Instant) -> Self {
        Self {
            peer,
            dialled,
            address,
            since: now,
            session: None,
            leaving: false,
            accepted: false,
            alive_at: now,
            bytes_moved: 0,
        }
    }
}

/// The table.
#[derive(Debug)]
pub(super) struct Links {
    me: PeerId,
    links: BTreeMap<ConnectionId, Link>,
}

impl Links {
    /// The empty table of the device `me`.
    pub(super) fn new(me: PeerId) -> Self {
        Self {
            me,
            links: BTreeMap::new(),
        }
    }

    /// Adds a connection. If the peer had one already, returns the one that must go, marked as
    /// leaving.
    pub(super) fn add(&mut self, connection: ConnectionId, link: Link) -> Option<ConnectionId> {
        let rival = self.standing(&link.peer);
        let loser = rival.map(|(id, rival)| {
            let keep_newer = keeps_newer(rival, &link, self.me < link.peer);
            if keep_newer { id } else { connection }
        });
        self.links.insert(connection, link);
        if let Some(loser) = loser.and_then(|loser| self.links.get_mut(&loser)) {
            loser.leaving = true;
        }
        loser
    }

    /// Takes a connection off the table.
    pub(super) fn remove(&mut self, connection: ConnectionId) -> Option<Link> {
        self.links.remove(&connection)
    }

    /// A connection.
    pub(super) fn get(&self, connection: ConnectionId) -> Option<&Link> {
        self.links.get(&connection)
    }

    /// A connection, to be changed.
    pub(super) fn get_mut(&mut self, connection: ConnectionId) -> Option<&mut Link> {
        self.links.get_mut(&connection)
    }

    /// Every connection.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnectionId, &Link)> {
        self.links.iter().map(|(id, link)| (*id, link))
    }

    /// Whether a connection to the peer stands.
    pub(super) fn is_connected(&self, peer: &PeerId) -> bool {
        self.standing(peer).is_some()
    }

    /// Notes that the peer answered on this connection.
    pub(super) fn answered(&mut self, connection: ConnectionId, now: Instant) {
        if let Some(link) = self.links.get_mut(&connection) {
            link.alive_at = now;
        }
    }

    /// Notes how many bytes a connection's session has moved so far. Growth is a sign of life: on a
    /// slow link the answer to a ping waits behind the bytes, and must not be missed for that.
    pub(super) fn moved(&mut self, connection: ConnectionId, bytes: u64, now: Instant) {
        if let Some(link) = self.links.get_mut(&connection)
            && link.bytes_moved != bytes
        {
            link.bytes_moved = bytes;
            link.alive_at = now;
        }
    }

    /// The connections that have shown no sign of life for this long.
    pub(super) fn silent(&self, silence: Duration, now: Instant) -> Vec<ConnectionId> {
        self.iter()
            .filter(|(_, link)| now.saturating_duration_since(link.alive_at) > silence)
            .map(|(id, _)| id)
            .collect()
    }

    /// The connection that gives way to the one that came in last, if more than `crowd` were begun by others: of
    /// the strangers' the oldest, since whoever is a member is accepted soon. Keys are free, so without this
    /// a few silent strangers hold all places.
    pub(super) fn gives_way(&self, last: ConnectionId, crowd: usize) -> Option<ConnectionId> {
        let inbound = || self.iter().filter(|(_, link)| !link.dialled);
        if inbound().count() <= crowd {
            return None;
        }
        inbound()
            .filter(|(id, link)| *id != last && !link.accepted && !link.leaving)
            .min_by_key(|(_, link)| link.since)
            .map(|(id, _)| id)
    }

    fn standing(&self, peer: &PeerId) -> Option<(ConnectionId, &Link)> {
        self.iter()
            .find(|(_, link)| link.peer == *peer && !link.leaving)
    }
}

/// Of a simultaneous dial the connection that the lesser peer dialled stays; otherwise the newer
/// one, because a peer dials again only when it has lost the older one.
fn keeps_newer(older: &Link, newer: &Link, we_are_lesser: bool) -> bool {
    let gap = newer.since.saturating_duration_since(older.since);
    if gap <= SIMULTANEOUS && older.dialled != newer.dialled {
        newer.dialled == we_are_lesser
    } else {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(peer: PeerId, dialled: bool, since: Instant) -> Link {
        Link::new(peer, dialled, Multiaddr::empty(), since)
    }

    fn connection(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    /// Connection 1 was dialled by the lesser peer, 2 by the greater; `order` is the order of
    /// arrival.
    fn loser(me: PeerId, peer: PeerId, order: [usize; 2], gap: Duration) -> Option<ConnectionId> {
        let now = Instant::now();
        let mut links = Links::new(me);
        let lesser_dialled = |number| number == 1;
        let we_dialled = |number| lesser_dialled(number) == (me < peer);
        assert_eq!(
            links.add(connection(order[0]), link(peer, we_dialled(order[0]), now)),
            None
        );
        links.add(
            connection(order[1]),
            link(peer, we_dialled(order[1]), now + gap),
        )
    }

    #[test]
    fn both_ends_of_a_simultaneous_dial_keep_the_one_that_the_lesser_peer_dialled() {
        let (a, b) = (PeerId::random(), PeerId::random());
        for (me, peer) in [(a, b), (b, a)] {
            for order in [[1, 2], [2, 1]] {
                let gap = Duration::from_millis(20);
                assert_eq!(loser(me, peer, order, gap), Some(connection(2)));
            }
        }
    }

    #[test]
    fn a_much_newer_connection_takes_over() {
        let (a, b) = (PeerId::random(), PeerId::random());
        for (me, peer) in [(a, b), (b, a)] {
            for order in [[1, 2], [2, 1]] {
                let gap = SIMULTANEOUS + Duration::from_millis(1);
                assert_eq!(loser(me, peer, order, gap), Some(connection(order[0])));
            }
        }
    }

    #[test]
    fn a_second_dial_from_the_same_side_takes_over() {
        let (me, peer, now) = (PeerId::random(), PeerId::random(), Instant::now());
        for dialled in [true, false] {
            let mut links = Links::new(me);
            links.add(connection(1), link(peer, dialled, now));
            let loser = links.add(connection(2), link(peer, dialled, now));
            assert_eq!(loser, Some(connection(1)));
        }
    }

    #[test]
    fn a_leaving_connection_is_no_rival_and_does_not_count_as_connected() {
        let (me, peer, now) = (PeerId::random(), PeerId::random(), Instant::now());
        let mut links = Links::new(me);
        links.add(connection(1), link(peer, true, now));
        assert!(links.is_connected(&peer));

        links.get_mut(connection(1)).unwrap().leaving = true;
        assert!(!links.is_connected(&peer));
        assert_eq!(links.add(connection(2), link(peer, true, now)), None);
    }

    #[test]
    fn in_a_crowd_the_oldest_stranger_gives_way_but_no_member_and_not_the_newcomer() {
        let (me, now) = (PeerId::random(), Instant::now());
        let mut links = Links::new(me);
        for number in 1..=5 {
            let age = Duration::from_secs(10 - number as u64);
            links.add(
                connection(number),
                link(PeerId::random(), number == 1, now - age),
            );
        }
        links.get_mut(connection(2)).unwrap().accepted = true;

        // The first was dialled by this side, so four were begun by others.
        assert_eq!(links.gives_way(connection(5), 4), None);
        assert_eq!(links.gives_way(connection(5), 3), Some(connection(3)));
        links.get_mut(connection(3)).unwrap().leaving = true;
        assert_eq!(links.gives_way(connection(5), 3), Some(connection(4)));
        links.get_mut(connection(4)).unwrap().accepted = true;
        assert_eq!(links.gives_way(connection(5), 3), None);
    }

    #[test]
    fn only_a_connection_without_answers_and_without_moving_bytes_is_silent() {
        let (me, start) = (PeerId::random(), Instant::now());
        let silence = Duration::from_secs(35);
        let mut links = Links::new(me);
        for number in 1..=3 {
            links.add(connection(number), link(PeerId::random(), true, start));
        }
        let later = start + silence;

        links.answered(connection(1), later);
        links.moved(connection(2), 100, later);
        links.moved(connection(3), 0, later);

        assert_eq!(links.silent(silence, later), []);
        let late = later + Duration::from_secs(1);
        assert_eq!(links.silent(silence, late), [connection(3)]);

        links.moved(connection(2), 100, late);
        let end = late + silence;
        assert_eq!(
            links.silent(silence, end).len(),
            3,
            "bytes that stand still are no life"
        );
    }
}
