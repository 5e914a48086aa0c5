//! The network: finds peers, keeps one connection to each, and moves frames over it.
//!
//! One task owns the libp2p swarm (`swarm`) and deals with peers (`peers`). It dials by the address
//! book (`dial`), keeps the better of two connections (`links`), lets a small behaviour open one
//! stream on each (`stream`), and gives every stream a task of its own (`session`) that speaks in
//! frames (`frame`).
//!
//! Invariants: a session is announced by `Opened`, ended by exactly one `Closed`, and nothing of it
//! comes after that. Every queue and table is bounded. A slow peer costs its own session at most; a
//! slow node slows the peers down. The task takes commands at any time, so the node may wait for a
//! place in their queue even while events wait for the node.
//!
//! Knows no messages, no organisation and no membership: that a peer holds the key of its device id
//! is all it vouches for. To whom the node sends more than one frame, its greeting, the node has accepted.

mod behaviour;
mod dial;
mod discovery;
mod frame;
mod gate;
pub mod identity;
mod links;
mod peers;
mod session;
mod stream;
mod swarm;
#[cfg(test)]
mod tests;
mod transport;

use std::collections::BTreeMap;
use std::io;

use crdt_schema::ident::DeviceId;
use libp2p::{Multiaddr, noise};
use tokio::sync::mpsc;

use identity::{Identity, IdentityError};

/// Most commands that may wait for the network task.
const COMMANDS_MAX: usize = 256;

/// Most events that may wait for the node. Each may hold a frame of the greatest length.
const EVENTS_MAX: usize = 32;

/// What the network is to do.
#[derive(Debug, Clone, Default)]
pub struct NetConfig {
    /// The addresses to listen on: `/ip4/…/tcp/…` or `/ip6/…/tcp/…`. Port 0 takes any free port,
    /// and `0.0.0.0` follows the interfaces as they come and go.
    pub listen: Vec<Multiaddr>,
    /// Peers to stay connected to, with or without `/p2p/…` at the end.
    pub peers: Vec<Multiaddr>,
    /// Whether to look for peers on the local network.
    pub mdns: bool,
    /// Whether traffic costs money: then there are fewer pings and queries.
    pub metered: bool,
}

/// What the node asks of the network.
#[derive(Debug)]
pub enum NetCommand {
    /// Send a frame of at most `FRAME_BYTES_MAX` bytes. Frames of unknown sessions are dropped.
    Send {
        /// The session.
        session: u64,
        /// The frame, without its length prefix.
        frame: Vec<u8>,
    },
    /// End a session once its queued frames are sent.
    Close {
        /// The session.
        session: u64,
        /// Whether to leave the peer alone for a while.
        refuse: bool,
    },
    /// Go off the network, or back on it.
    Online(bool),
    /// Send what is queued, close everything and stop. The end shows as the end of the events.
    Shutdown,
}

/// What the network tells the node.
#[derive(Debug)]
pub enum NetEvent {
    /// A session opened; the peer has proved that it is this device.
    Opened {
        /// The session's number, unique for the process.
        session: u64,
        /// The peer.
        device: DeviceId,
    },
    /// A frame arrived.
    Frame {
        /// The session.
        session: u64,
        /// The frame, without its length prefix.
        bytes: Vec<u8>,
    },
    /// What arrives is not frames any more, and is read no further.
    BadFrame {
        /// The session.
        session: u64,
        /// The length that was announced, if it was one and is longer than may be.
        bytes: Option<usize>,
    },
    /// A session is over. Nothing of it follows.
    Closed {
        /// The session.
        session: u64,
    },
    /// One more address is listened on, since `start` returned.
    Listening(Multiaddr),
    /// Something in the report has changed.
    Status(NetReport),
}

/// How the network is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetReport {
    /// The addresses listened on.
    pub listening: Vec<String>,
    /// Where each peer with a session is.
    pub addresses: BTreeMap<DeviceId, String>,
    /// Bytes of frames received since the start.
    pub bytes_in: u64,
    /// Bytes of frames sent since the start.
    pub bytes_out: u64,
    /// Why peers on the local network are not found, if they are not.
    pub mdns_error: Option<String>,
}

/// Why the network did not start.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The port is taken.
    #[error(
        "cannot listen on {address}: another program uses this port; stop it, or configure another \
         port (port 0 takes any that is free)"
    )]
    PortInUse {
        /// The address.
        address: Multiaddr,
    },
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}; check that it is an address of this device and that this user \
         may use the port (/ip4/0.0.0.0/tcp/0 always works)"
    )]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the system said.
        source: io::Error,
    },
    /// The address is of a kind that is not spoken.
    #[error(
        "cannot use the address {address}; write /ip4/<address>/tcp/<port> or \
         /ip6/<address>/tcp/<port>"
    )]
    Address {
        /// The address.
        address: Multiaddr,
    },
    /// Noise refused the device key.
    #[error("cannot encrypt connections with the device key; restore the key file from a copy")]
    Key(#[from] noise::Error),
    /// No randomness.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// A running network. Dropping `commands` shuts it down too.
#[derive(Debug)]
pub struct Net {
    /// To the network.
    pub commands: mpsc::Sender<NetCommand>,
    /// From the network.
    pub events: mpsc::Receiver<NetEvent>,
}

/// Starts the network. Returns once every listener is bound, with the addresses listened on by
/// then.
pub async fn start(
    identity: &Identity,
    config: NetConfig,
) -> Result<(Net, Vec<Multiaddr>), NetError> {
    let (command_sender, commands) = mpsc::channel(COMMANDS_MAX);
    let (event_sender, events) = mpsc::channel(EVENTS_MAX);
    let mut task = swarm::NetTask::new(identity, &config, commands, event_sender)?;
    let listening = task.bind(&config.listen).await?;
    tokio::spawn(task.run());
    Ok((
        Net {
            commands: command_sender,
            events,
        },
        listening,
    ))
}
