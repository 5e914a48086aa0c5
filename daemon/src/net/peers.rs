//! The network task's dealings with peers: dials, connections, streams and sessions.
//!
//! Invariants: a connection is closed when its session ends, and a session finishes when its
//! connection is to go; the address book hears exactly once that a standing connection is lost, and
//! of every dial how it ended.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use libp2p::core::ConnectedPoint;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId, Stream};
use tokio::task::JoinError;

use super::behaviour::{CROWD, DIALS_MAX};
use super::discovery;
use super::identity::device_of;
use super::links::Link;
use super::session::Session;
use super::swarm::{NetTask, Running};

/// Longer than any wait that the address book asks for: something else wakes the loop before.
const NO_DIAL: Duration = Duration::from_secs(3600);

/// Sessions are numbered through the whole process.
static NEXT_SESSION: AtomicU64 = AtomicU64::new(1);

impl NetTask {
    /// Keeps the better connection to the peer, and opens its session if this side dialled.
    pub(super) fn on_established(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
    ) {
        if let Some(target) = self.dials.remove(&connection) {
            self.book.reached(target, peer);
        }
        let (_, address) = discovery::split_peer(endpoint.get_remote_address().clone());
        let link = Link::new(peer, endpoint.is_dialer(), address, Instant::now());
        let loser = self.links.add(connection, link);
        if let Some(loser) = loser {
            self.retire(loser);
        }
        if !endpoint.is_dialer()
            && let Some(oldest) = self.links.gives_way(connection, CROWD)
        {
            tracing::debug!(connection = %oldest, "a stranger gives way to a newcomer");
            self.abandon(oldest);
            self.swarm.close_connection(oldest);
        }
        if device_of(&peer).is_none() {
            self.retire(connection);
        } else if endpoint.is_dialer() && loser != Some(connection) {
            self.swarm.behaviour_mut().stream.open(peer, connection);
        }
        self.dial();
    }

    /// Sets the time of the next try.
    pub(super) fn on_dial_failed(&mut self, connection: ConnectionId, error: &DialError) {
        tracing::debug!(%error, "dial failed");
        let Some(target) = self.dials.remove(&connection) else {
            return;
        };
        let now = Instant::now();
        match error {
            DialError::LocalPeerId { .. } => self.book.reached_ourselves(target, now),
            _ => self.book.failed(target, now),
        }
        self.dial();
    }

    /// Remembers where a connected peer listens, as far as it is the place we see it at.
    pub(super) fn on_identified(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        listening: Vec<Multiaddr>,
        now: Instant,
    ) {
        let seen_at = self
            .links
            .get(connection)
            .and_then(|link| discovery::socket_of(&link.address));
        let Some((seen_at, _)) = seen_at else { return };
        for address in listening {
            let (_, address) = discovery::split_peer(address);
            let same_place = discovery::socket_of(&address).is_some_and(|(ip, _)| ip == seen_at);
            if same_place && discovery::is_dialable(&address, true) {
                self.book.observed(peer, address, now);
            }
        }
    }

    /// Starts a session on a stream. A stream that is not wanted is dropped, which resets it.
    pub(super) fn on_stream(&mut self, peer: PeerId, connection: ConnectionId, stream: Stream) {
        let Some(device) = device_of(&peer) else {
            return;
        };
        let Some(link) = self.links.get_mut(connection) else {
            return;
        };
        if link.leaving || link.session.is_some() {
            return;
        }
        let id = NEXT_SESSION.fetch_add(1, Ordering::Relaxed);
        let (session, task) = Session::start(id, device, stream, self.events.clone());
        link.session = Some(id);
        self.sessions.insert(
            id,
            Running {
                connection,
                session,
                greeted: false,
            },
        );
        self.session_tasks.spawn(task);
        self.refresh_report();
    }

    /// Accounts for a session that is over, and closes its connection.
    pub(super) fn on_session_end(&mut self, ended: Result<u64, JoinError>) {
        let id = match ended {
            Ok(id) => id,
            Err(error) => {
                tracing::error!(%error, "a session's task broke down");
                return;
            }
        };
        let Some(Running {
            connection,
            session,
            ..
        }) = self.sessions.remove(&id)
        else {
            return;
        };
        let (bytes_in, bytes_out) = session.meter().read();
        self.bytes_of_ended.0 += bytes_in;
        self.bytes_of_ended.1 += bytes_out;
        if let Some(link) = self.links.get_mut(connection) {
            link.session = None;
        }
        self.retire(connection);
        self.refresh_report();
    }

    /// Closes a connection once its session has finished, or at once if it has none.
    pub(super) fn retire(&mut self, connection: ConnectionId) {
        let Some(link) = self.links.get(connection) else {
            return;
        };
        match link.session.and_then(|id| self.sessions.get_mut(&id)) {
            Some(running) => running.session.finish(),
            None => {
                self.swarm.close_connection(connection);
            }
        }
        self.leave(connection);
    }

    /// Gives a connection up as broken, together with its session.
    pub(super) fn abandon(&mut self, connection: ConnectionId) {
        let session = self.links.get(connection).and_then(|link| link.session);
        if let Some(running) = session.and_then(|id| self.sessions.get_mut(&id)) {
            running.session.kill();
        }
        self.leave(connection);
    }

    /// Marks a connection as leaving. If it was the one that stood, the peer may be dialled again.
    fn leave(&mut self, connection: ConnectionId) {
        let Some(link) = self.links.get_mut(connection) else {
            return;
        };
        if !std::mem::replace(&mut link.leaving, true) {
            let now = Instant::now();
            let lasted = now.saturating_duration_since(link.since);
            self.book.lost(&link.peer, lasted, now);
        }
        self.dial();
    }

    /// Makes the dials that are due, and sets the time of the next.
    pub(super) fn dial(&mut self) {
        let now = Instant::now();
        self.next_dial = now + NO_DIAL;
        if !self.online {
            return;
        }
        let links = &self.links;
        let connected = |peer: &PeerId| links.is_connected(peer);
        let free = DIALS_MAX.saturating_sub(self.dials.len());
        for dial in self.book.due(now, free, connected) {
            let options = match (dial.peer, dial.addresses) {
                (Some(peer), addresses) => DialOpts::peer_id(peer)
                    .condition(PeerCondition::Always)
                    .addresses(addresses)
                    .allocate_new_port()
                    .build(),
                (None, mut addresses) => DialOpts::unknown_peer_id()
                    .address(addresses.pop().unwrap_or_else(Multiaddr::empty))
                    .allocate_new_port()
                    .build(),
            };
            let connection = options.connection_id();
            match self.swarm.dial(options) {
                Ok(()) => {
                    self.dials.insert(connection, dial.target);
                }
                Err(error) => {
                    tracing::debug!(%error, "dial failed at once");
                    self.book.failed(dial.target, now);
                }
            }
        }
        // With all dials taken, the end of one of them wakes the loop.
        if self.dials.len() < DIALS_MAX
            && let Some(due) = self.book.next_due(connected)
        {
            self.next_dial = due;
        }
    }
}
