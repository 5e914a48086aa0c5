//! Who may connect at the moment: nobody while offline, and not a peer that was just turned away.
//!
//! A libp2p behaviour without a protocol of its own. Knows nothing of membership: that is judged in
//! the session's first frames.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

/// How long the connections of a peer that was turned away are dropped.
const TURNED_AWAY_FOR: Duration = Duration::from_secs(5);

/// Most peers turned away at one time; beyond it the one turned away first is let in again.
const TURNED_AWAY_MAX: usize = 1024;

/// Why a connection was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Denial {
    #[error("this device is off the network")]
    Offline,
    #[error("the peer was refused moments ago")]
    TurnedAway,
}

/// The behaviour.
pub(super) struct Behaviour {
    online: bool,
    turned_away: BTreeMap<PeerId, Instant>,
}

impl Behaviour {
    /// A gate that is open.
    pub(super) fn new() -> Self {
        Self {
            online: true,
            turned_away: BTreeMap::new(),
        }
    }

    /// Opens or shuts the gate. Opening it forgets who was turned away.
    pub(super) fn set_online(&mut self, online: bool) {
        self.online = online;
        self.turned_away.clear();
    }

    /// Drops the peer's connections for a few seconds.
    pub(super) fn turn_away(&mut self, peer: PeerId, now: Instant) {
        self.turned_away.retain(|_, until| *until > now);
        if self.turned_away.len() >= TURNED_AWAY_MAX {
            let first = self.turned_away.iter().min_by_key(|(_, until)| **until);
            if let Some(first) = first.map(|(peer, _)| *peer) {
                self.turned_away.remove(&first);
            }
        }
        self.turned_away.insert(peer, now + TURNED_AWAY_FOR);
    }

    fn admit(&self, peer: Option<&PeerId>, now: Instant) -> Result<(), Denial> {
        if !self.online {
            return Err(Denial::Offline);
        }
        match peer.and_then(|peer| self.turned_away.get(peer)) {
            Some(until) if now < *until => Err(Denial::TurnedAway),
            _ => Ok(()),
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.admit(None, Instant::now())
            .map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(Some(&peer), Instant::now())
            .map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(None, Instant::now())
            .map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_was_turned_away_may_return_after_a_while_and_others_at_once() {
        let (refused, other, now) = (PeerId::random(), PeerId::random(), Instant::now());
        let mut gate = Behaviour::new();

        gate.turn_away(refused, now);

        let late = now + TURNED_AWAY_FOR;
        assert_eq!(gate.admit(Some(&refused), now), Err(Denial::TurnedAway));
        assert_eq!(gate.admit(Some(&other), now), Ok(()));
        assert_eq!(gate.admit(Some(&refused), late), Ok(()));
    }

    #[test]
    fn nobody_enters_while_offline() {
        let mut gate = Behaviour::new();
        gate.set_online(false);
        assert_eq!(gate.admit(None, Instant::now()), Err(Denial::Offline));
    }

    #[test]
    fn the_list_of_those_turned_away_is_bounded() {
        let mut gate = Behaviour::new();
        let now = Instant::now();
        for _ in 0..TURNED_AWAY_MAX + 10 {
            gate.turn_away(PeerId::random(), now);
        }
        assert_eq!(gate.turned_away.len(), TURNED_AWAY_MAX);
    }
}
