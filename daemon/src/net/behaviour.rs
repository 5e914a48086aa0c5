//! The behaviour of this device on the network: its protocols and their settings in one place.
//!
//! Knows no policy: whom to dial and which connection to keep is decided elsewhere.

use std::time::Duration;

use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{identify, mdns, ping};

use super::identity::Identity;
use super::{discovery, gate, stream};

/// Most dials under way at once.
pub(super) const DIALS_MAX: usize = 8;

/// Most connections that may be in their handshake with us at once.
const PENDING_INBOUND_MAX: u32 = 32;

/// Most connections at once: a hub's whole fleet, at about 0.1 MB each.
const ESTABLISHED_MAX: u32 = 256;

/// Most connections at once that others began. They cannot use up what this device's own dials need.
pub(super) const ESTABLISHED_INCOMING_MAX: u32 = 192;

/// With more connections than this that others began, strangers give way: there is a place left for each that
/// may be in its handshake.
pub(super) const CROWD: usize = (ESTABLISHED_INCOMING_MAX - PENDING_INBOUND_MAX) as usize;

/// Most connections to one peer: the old one, the new one, and one that is closing.
const ESTABLISHED_PER_PEER_MAX: u32 = 3;

const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_INTERVAL_METERED: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How often a peer is asked again where it listens.
const IDENTIFY_INTERVAL: Duration = Duration::from_secs(3600);

/// All protocols. The gate and the limits come first, since the first refusal counts.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) gate: gate::Behaviour,
    limits: connection_limits::Behaviour,
    pub(super) stream: stream::Behaviour,
    ping: ping::Behaviour,
    identify: identify::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
}

impl Behaviour {
    /// The behaviour of this device, with discovery if it could be started.
    pub(super) fn new(
        identity: &Identity,
        metered: bool,
        mdns: Option<mdns::tokio::Behaviour>,
    ) -> Self {
        let limits = ConnectionLimits::default()
            .with_max_pending_incoming(Some(PENDING_INBOUND_MAX))
            .with_max_pending_outgoing(Some(DIALS_MAX as u32))
            .with_max_established(Some(ESTABLISHED_MAX))
            .with_max_established_incoming(Some(ESTABLISHED_INCOMING_MAX))
            .with_max_established_per_peer(Some(ESTABLISHED_PER_PEER_MAX));
        let ping = ping::Config::new()
            .with_interval(ping_interval(metered))
            .with_timeout(PING_TIMEOUT);
        let identify =
            identify::Config::new("/fieldmesh/id/1".to_owned(), identity.keypair().public())
                .with_agent_version(format!("fieldmesh/{}", env!("CARGO_PKG_VERSION")))
                .with_interval(IDENTIFY_INTERVAL)
                .with_push_listen_addr_updates(false)
                .with_cache_size(0);
        Self {
            gate: gate::Behaviour::new(),
            limits: connection_limits::Behaviour::new(limits),
            stream: stream::Behaviour::default(),
            ping: ping::Behaviour::new(ping),
            identify: identify::Behaviour::new(identify),
            mdns: mdns.into(),
        }
    }
}

/// Starts discovery if it is wanted. The error, in words, is why there is none.
pub(super) fn start_mdns(
    identity: &Identity,
    wanted: bool,
    metered: bool,
) -> (Option<mdns::tokio::Behaviour>, Option<String>) {
    if !wanted {
        return (None, None);
    }
    match discovery::start(identity.peer_id(), metered) {
        Ok(mdns) => (Some(mdns), None),
        Err(error) => (
            None,
            Some(format!("cannot watch the network interfaces: {error}")),
        ),
    }
}

/// How long a connection may go without a sign of life before it counts as dead.
pub(super) fn silence_max(metered: bool) -> Duration {
    ping_interval(metered) + PING_TIMEOUT
}

fn ping_interval(metered: bool) -> Duration {
    if metered {
        PING_INTERVAL_METERED
    } else {
        PING_INTERVAL
    }
}
