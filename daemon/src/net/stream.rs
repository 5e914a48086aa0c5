//! The sync stream of a connection: a libp2p behaviour that opens or accepts exactly one.
//!
//! Invariants: only the dialler of a connection opens the stream, and only when told to; only the
//! other side accepts; nothing here ever dials. Every queue holds at most one entry per connection
//! or stream.
//! Knows nothing of frames, and not which of two connections is the better one.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
    NetworkBehaviour, NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol};

/// The protocol that sessions speak.
pub(super) const PROTOCOL: StreamProtocol = StreamProtocol::new("/fieldmesh/sync/1");

/// How long the two sides may take to agree on a stream: several round trips of a satellite link.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);

/// What became of a connection's stream.
#[derive(Debug)]
pub(super) enum Event {
    /// The stream is open.
    Opened {
        peer: PeerId,
        connection: ConnectionId,
        stream: Stream,
    },
    /// The stream could not be opened; there will be no second try on this connection.
    Failed {
        peer: PeerId,
        connection: ConnectionId,
        failure: Failure,
    },
}

/// Why a stream could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("the peer does not speak {PROTOCOL}")]
    Unsupported,
    #[error("the peer did not answer in time, or the connection broke")]
    Broken,
}

/// Asks a handler to open its stream.
#[derive(Debug)]
pub(super) struct Open;

/// The behaviour.
#[derive(Default)]
pub(super) struct Behaviour {
    queue: VecDeque<ToSwarm<Event, Open>>,
}

impl Behaviour {
    /// Opens the stream of a connection that this side dialled. The swarm must be polled
    /// afterwards.
    pub(super) fn open(&mut self, peer: PeerId, connection: ConnectionId) {
        let handler = NotifyHandler::One(connection);
        self.queue.push_back(ToSwarm::NotifyHandler {
            peer_id: peer,
            handler,
            event: Open,
        });
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(Side::Accepts))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(Side::Opens))
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        let event = match event {
            Ok(stream) => Event::Opened {
                peer,
                connection,
                stream,
            },
            Err(failure) => Event::Failed {
                peer,
                connection,
                failure,
            },
        };
        self.queue.push_back(ToSwarm::GenerateEvent(event));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        // Whatever fills the queue runs in the task that polls the swarm right after, so no waker.
        self.queue.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// Which side of the connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Opens,
    Accepts,
}

/// One connection's part of the behaviour.
#[derive(Debug)]
pub(super) struct Handler {
    side: Side,
    /// Whether the connection's one stream has been asked for or accepted.
    used: bool,
    request: bool,
    outcome: Option<Result<Stream, Failure>>,
}

impl Handler {
    fn new(side: Side) -> Self {
        Self {
            side,
            used: false,
            request: false,
            outcome: None,
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Result<Stream, Failure>;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ()).with_timeout(OPEN_TIMEOUT)
    }

    fn on_behaviour_event(&mut self, Open: Open) {
        if self.side == Side::Opens && !self.used {
            self.used = true;
            self.request = true;
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>,
    ) {
        match event {
            // A second stream, or one from the wrong side, is dropped, which resets it.
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: stream,
                ..
            }) if self.side == Side::Accepts && !self.used => {
                self.used = true;
                self.outcome = Some(Ok(stream));
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                ..
            }) => self.outcome = Some(Ok(stream)),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => {
                self.outcome = Some(Err(match error {
                    StreamUpgradeError::NegotiationFailed => Failure::Unsupported,
                    StreamUpgradeError::Timeout | StreamUpgradeError::Io(_) => Failure::Broken,
                    StreamUpgradeError::Apply(never) => match never {},
                }));
            }
            _ => {}
        }
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        if let Some(outcome) = self.outcome.take() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(outcome));
        }
        if std::mem::take(&mut self.request) {
            let protocol = self.listen_protocol();
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn poll(handler: &mut Handler) -> bool {
        handler
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    #[test]
    fn the_dialler_asks_for_one_stream_only() {
        let mut handler = Handler::new(Side::Opens);
        assert!(!poll(&mut handler));

        handler.on_behaviour_event(Open);
        assert!(poll(&mut handler));

        handler.on_behaviour_event(Open);
        assert!(!poll(&mut handler));
    }

    #[test]
    fn the_other_side_never_asks_for_a_stream() {
        let mut handler = Handler::new(Side::Accepts);
        handler.on_behaviour_event(Open);
        assert!(!poll(&mut handler));
    }
}
