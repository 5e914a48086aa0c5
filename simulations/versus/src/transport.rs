//! What the transport that a system is used with adds at least; computed, not measured here.
//!
//! Segments are full, acknowledgements come for every second segment, nothing is lost or sent again.

use crate::contender::System;
use crate::measure::Cost;

struct Transport {
    /// Bytes both ways until the first message can be sent.
    opening: u64,
    /// Bytes around each message: length, multiplexing, authentication.
    message: u64,
    /// Payload of a packet.
    packet: u64,
    /// Headers of a packet.
    header: u64,
    /// Bytes of an acknowledgement, which comes for every second packet.
    ack: u64,
}

/// TCP with timestamps over IPv4: 1,500 bytes a packet, 52 of them header.
const TCP: Transport = Transport {
    opening: 0,
    message: 0,
    packet: 1_448,
    header: 52,
    ack: 52,
};

/// TCP, Noise, Yamux, identify and the choice of the protocol, as measured between two libp2p nodes; a Noise
/// and a Yamux header and a length for every message.
const NOISE_YAMUX: Transport = Transport {
    opening: 5_150,
    message: 34,
    ..TCP
};

/// TCP and TLS 1.3 with a short chain of certificates; a TLS record for every message.
const TLS: Transport = Transport {
    opening: 6_000,
    message: 22,
    ..TCP
};

/// The same with a WebSocket upgrade and frame header.
const WEB_SOCKET: Transport = Transport {
    opening: 6_400,
    message: 28,
    ..TCP
};

/// QUIC as iroh uses it: a stream header for every message; UDP and IPv4, a short header and an
/// authentication tag for every packet.
const QUIC: Transport = Transport {
    opening: 7_200,
    message: 8,
    packet: 1_200,
    header: 60,
    ack: 64,
};

/// Bytes that the transport of a system adds to what was said.
pub fn overhead(system: System, cost: &Cost) -> u64 {
    let transport = match system {
        // Automerge's sync has no transport of its own: it is given the cheapest.
        System::Fieldmesh | System::Automerge | System::AutomergeTold => NOISE_YAMUX,
        System::Samod => WEB_SOCKET,
        System::IrohDocs => QUIC,
        System::Json | System::JsonZstd => TLS,
    };
    let around = cost.messages * transport.message;
    let packets = (cost.total() + around).div_ceil(transport.packet);
    transport.opening + around + packets * transport.header + packets / 2 * transport.ack
}
