//! Discovery on the local network, and which addresses are worth dialling.
//!
//! What multicast tells is a hint by whoever is on the network: it is filtered here, bounded in the
//! address book, and proved by the handshake.

use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, mdns};

/// How long others may keep an announcement. Longer than any interval between two queries.
const TTL: Duration = Duration::from_secs(31 * 60);

/// How often the network is asked who is there. Each question makes every device answer to all.
const QUERY_INTERVAL: Duration = Duration::from_secs(60);

/// The same when traffic costs money.
const QUERY_INTERVAL_METERED: Duration = Duration::from_secs(15 * 60);

/// Starts discovery over IPv4.
pub(super) fn start(me: PeerId, metered: bool) -> io::Result<mdns::tokio::Behaviour> {
    let query_interval = if metered {
        QUERY_INTERVAL_METERED
    } else {
        QUERY_INTERVAL
    };
    let config = mdns::Config {
        ttl: TTL,
        query_interval,
        enable_ipv6: false,
    };
    mdns::tokio::Behaviour::new(config, me)
}

/// Tries whether this interface takes part in multicast. libp2p only logs it if it does not.
pub(super) fn probe(interface: Ipv4Addr) -> io::Result<()> {
    let socket = UdpSocket::bind((interface, 0))?;
    socket.join_multicast_v4(&mdns::IPV4_MDNS_MULTICAST_ADDRESS, &interface)
}

/// Splits the peer id off the end of an address.
pub(super) fn split_peer(mut address: Multiaddr) -> (Option<PeerId>, Multiaddr) {
    match address.pop() {
        Some(Protocol::P2p(peer)) => (Some(peer), address),
        Some(last) => (None, address.with(last)),
        None => (None, address),
    }
}

/// The IP address and port of `/ip4/…/tcp/…` or `/ip6/…/tcp/…`; `None` for anything else or longer.
pub(super) fn socket_of(address: &Multiaddr) -> Option<(IpAddr, u16)> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    match (parts.next()?, parts.next()) {
        (Protocol::Tcp(port), None) => Some((ip, port)),
        _ => None,
    }
}

/// Whether an address that the network told of can be reached from here. Loopback addresses are
/// another device's own, unless this device listens on nothing else.
pub(super) fn is_dialable(address: &Multiaddr, loopback_only: bool) -> bool {
    let Some((ip, port)) = socket_of(address) else {
        return false;
    };
    // An IPv6 link-local address does not say which interface it is on.
    let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    port != 0
        && !ip.is_unspecified()
        && !ip.is_multicast()
        && !broadcast
        && !link_local
        && (loopback_only || !ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_peer_id_is_split_off_only_at_the_end() {
        let peer = PeerId::random();
        let plain = address("/ip4/10.0.0.1/tcp/7");
        let named = plain.clone().with(Protocol::P2p(peer));

        assert_eq!(split_peer(named), (Some(peer), plain.clone()));
        assert_eq!(split_peer(plain.clone()), (None, plain));
        assert_eq!(split_peer(Multiaddr::empty()), (None, Multiaddr::empty()));
    }

    #[test]
    fn only_addresses_that_can_be_reached_are_dialled() {
        for good in [
            "/ip4/192.168.1.7/tcp/4001",
            "/ip4/169.254.3.4/tcp/1",
            "/ip6/fd00::1/tcp/1",
        ] {
            assert!(is_dialable(&address(good), false), "{good} was refused");
        }
        let bad = [
            "/ip4/192.168.1.7/udp/4001/quic-v1",
            "/ip4/192.168.1.7/tcp/0",
            "/ip4/0.0.0.0/tcp/1",
            "/ip4/224.0.0.251/tcp/1",
            "/ip4/255.255.255.255/tcp/1",
            "/ip4/127.0.0.1/tcp/1",
            "/ip6/fe80::1/tcp/1",
            "/dns4/example.org/tcp/1",
            "/ip4/10.0.0.1/tcp/1/ws",
        ];
        for bad in bad {
            assert!(!is_dialable(&address(bad), false), "{bad} was accepted");
        }
        assert!(is_dialable(&address("/ip4/127.0.0.1/tcp/1"), true));
    }
}
