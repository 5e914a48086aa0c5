//! Whole networks over real TCP on the loopback interface.

mod strangers;

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{Read, Write};
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::swarm::SwarmEvent;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::{PeerId, Swarm, swarm};

use super::discovery::socket_of;
use super::identity::device_of;
use super::*;
use crate::wire::limits::FRAME_BYTES_MAX;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stretch without events after which two networks count as settled.
const QUIET: Duration = Duration::from_millis(300);

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// A network under test, and the sessions that its events say are open.
struct Node {
    net: Net,
    device: DeviceId,
    peer: PeerId,
    address: Multiaddr,
    open: BTreeMap<u64, DeviceId>,
    report: NetReport,
}

impl Node {
    async fn start(seed: u8, listen: Multiaddr, peers: &[&Multiaddr]) -> Self {
        let identity = Identity::from_seed([seed; 32]);
        let config = NetConfig {
            listen: vec![listen],
            peers: peers.iter().map(|peer| (*peer).clone()).collect(),
            ..NetConfig::default()
        };
        let (net, listening) = start(&identity, config).await.unwrap();
        Self {
            net,
            device: identity.device(),
            peer: identity.peer_id(),
            address: listening[0].clone(),
            open: BTreeMap::new(),
            report: NetReport::default(),
        }
    }

    /// The next event of a session. Checks the order of each session's events on the way.
    async fn next(&mut self) -> Option<NetEvent> {
        loop {
            let event = self.net.events.recv().await?;
            match &event {
                NetEvent::Opened { session, device } => {
                    assert_eq!(self.open.insert(*session, *device), None, "opened twice");
                }
                NetEvent::Frame { session, .. } => {
                    assert!(self.open.contains_key(session), "a frame outside a session");
                }
                NetEvent::BadFrame { session, .. } => {
                    assert!(self.open.contains_key(session), "outside a session");
                }
                NetEvent::Closed { session } => {
                    assert!(
                        self.open.remove(session).is_some(),
                        "closed without being open"
                    );
                }
                NetEvent::Listening(_) => continue,
                NetEvent::Status(report) => {
                    self.report = report.clone();
                    continue;
                }
            }
            return Some(event);
        }
    }

    /// The next session that opens.
    async fn opened(&mut self) -> (u64, DeviceId) {
        in_time("a session", async {
            loop {
                if let NetEvent::Opened { session, device } = self.next().await.unwrap() {
                    return (session, device);
                }
            }
        })
        .await
    }

    /// The next frame.
    async fn frame(&mut self) -> (u64, Vec<u8>) {
        in_time("a frame", async {
            loop {
                if let NetEvent::Frame { session, bytes } = self.next().await.unwrap() {
                    return (session, bytes);
                }
            }
        })
        .await
    }

    /// Waits until no session is open.
    async fn all_closed(&mut self) {
        in_time("the end of all sessions", async {
            while !self.open.is_empty() {
                self.next().await.unwrap();
            }
        })
        .await;
    }

    async fn command(&self, command: NetCommand) {
        self.net.commands.send(command).await.unwrap();
    }

    async fn send(&self, session: u64, frame: &[u8]) {
        self.command(NetCommand::Send {
            session,
            frame: frame.to_vec(),
        })
        .await;
    }

    async fn shut_down(mut self) {
        self.command(NetCommand::Shutdown).await;
        in_time("the end of events", async {
            while self.next().await.is_some() {}
        })
        .await;
        assert!(self.open.is_empty(), "sessions were left open");
    }
}

fn any_port() -> Multiaddr {
    "/ip4/127.0.0.1/tcp/0".parse().unwrap()
}

/// An address whose port was free a moment ago.
fn free_port() -> Multiaddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
}

/// Two networks, the second of which dialled the first, and the session on each side.
async fn pair() -> (Node, u64, Node, u64) {
    let mut a = Node::start(1, any_port(), &[]).await;
    let mut b = Node::start(2, any_port(), &[&a.address]).await;
    let ((on_a, peer_of_a), (on_b, peer_of_b)) = tokio::join!(a.opened(), b.opened());
    assert_eq!((peer_of_a, peer_of_b), (b.device, a.device));
    (a, on_a, b, on_b)
}

/// Sends frames as fast as the peer takes them: at most so many ahead of those that came back.
async fn exchange(node: &mut Node, session: u64, frames: u32) {
    const AHEAD: u32 = 100;
    let (mut sent, mut received) = (0, 0);
    while received < frames {
        while sent < frames && sent < received + AHEAD {
            node.send(session, &sent.to_be_bytes()).await;
            sent += 1;
        }
        let (from, bytes) = node.frame().await;
        assert_eq!(
            (from, bytes.as_slice()),
            (session, received.to_be_bytes().as_slice())
        );
        received += 1;
    }
}

#[tokio::test]
async fn ten_thousand_frames_cross_both_ways_in_order() {
    let (mut a, on_a, mut b, on_b) = pair().await;

    tokio::join!(
        exchange(&mut a, on_a, 10_000),
        exchange(&mut b, on_b, 10_000)
    );

    a.shut_down().await;
    b.shut_down().await;
}

#[tokio::test]
async fn the_longest_frame_passes_and_is_counted() {
    let (a, on_a, mut b, on_b) = pair().await;
    let frame: Vec<u8> = (0..FRAME_BYTES_MAX).map(|at| (at / 251) as u8).collect();

    a.send(on_a, &frame).await;

    assert_eq!(b.frame().await, (on_b, frame));
    b.command(NetCommand::Close {
        session: on_b,
        refuse: false,
    })
    .await;
    b.all_closed().await;
    in_time("the report", async {
        while b.report.bytes_in < FRAME_BYTES_MAX as u64 {
            let event = b.net.events.recv().await.unwrap();
            if let NetEvent::Status(report) = event {
                b.report = report;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_queued_before_a_close_arrives_before_the_end() {
    let (mut a, on_a, mut b, on_b) = pair().await;

    for number in 0..50 {
        a.send(on_a, &[number]).await;
    }
    a.command(NetCommand::Close {
        session: on_a,
        refuse: true,
    })
    .await;

    for number in 0..50 {
        assert_eq!(b.frame().await, (on_b, vec![number]));
    }
    tokio::join!(a.all_closed(), b.all_closed());
}

#[tokio::test]
async fn a_shutdown_sends_what_is_queued_and_closes_every_session() {
    let (a, on_a, mut b, on_b) = pair().await;

    a.send(on_a, b"farewell").await;
    a.shut_down().await;

    assert_eq!(b.frame().await, (on_b, b"farewell".to_vec()));
    b.all_closed().await;
}

#[tokio::test]
async fn a_simultaneous_dial_ends_with_one_session_on_both_sides() {
    for round in 0..5 {
        let (at_a, at_b) = (free_port(), free_port());
        let (peers_of_a, peers_of_b) = ([&at_b], [&at_a]);
        let (mut a, mut b) = tokio::join!(
            Node::start(10 + round, at_a.clone(), &peers_of_a),
            Node::start(20 + round, at_b.clone(), &peers_of_b),
        );
        tokio::join!(a.opened(), b.opened());

        // Settled is when neither side has had an event for a while.
        in_time("the two to settle", async {
            let mut either =
                async || tokio::select! { event = a.next() => event, event = b.next() => event };
            while let Ok(event) = tokio::time::timeout(QUIET, either()).await {
                assert!(event.is_some(), "a network stopped");
            }
        })
        .await;
        assert_eq!((a.open.len(), b.open.len()), (1, 1), "round {round}");
        let (on_a, on_b) = (
            *a.open.keys().next().unwrap(),
            *b.open.keys().next().unwrap(),
        );
        a.send(on_a, b"ping").await;
        assert_eq!(b.frame().await, (on_b, b"ping".to_vec()));
        b.send(on_b, b"pong").await;
        assert_eq!(a.frame().await, (on_a, b"pong".to_vec()));
    }
}

#[tokio::test]
async fn a_restarted_peer_is_dialled_again() {
    let at_a = free_port();
    let mut a = Node::start(1, at_a.clone(), &[]).await;
    let mut b = Node::start(2, any_port(), &[&at_a]).await;
    tokio::join!(a.opened(), b.opened());

    a.shut_down().await;
    b.all_closed().await;
    let mut a = Node::start(1, at_a, &[]).await;

    let ((on_a, _), (on_b, device)) = tokio::join!(a.opened(), b.opened());
    assert_eq!(device, a.device);
    b.send(on_b, b"again").await;
    assert_eq!(a.frame().await, (on_a, b"again".to_vec()));
}

#[tokio::test]
async fn a_peer_is_dialled_again_at_the_place_where_it_was_seen_to_listen() {
    let at_b = free_port();
    let mut a = Node::start(1, any_port(), &[]).await;
    let mut b = Node::start(2, at_b.clone(), &[&a.address]).await;
    let ((on_a, _), (on_b, _)) = tokio::join!(a.opened(), b.opened());
    // Identify runs beside the session at once; it is long done when so many frames have crossed.
    tokio::join!(exchange(&mut a, on_a, 2_000), exchange(&mut b, on_b, 2_000));
    b.shut_down().await;
    a.all_closed().await;

    let mut b = Node::start(2, at_b, &[]).await;

    let ((_, peer_of_a), (_, peer_of_b)) = tokio::join!(a.opened(), b.opened());
    assert_eq!((peer_of_a, peer_of_b), (b.device, a.device));
}

#[tokio::test]
async fn a_network_that_goes_offline_closes_everything_and_comes_back() {
    let (mut a, _, mut b, _) = pair().await;

    b.command(NetCommand::Online(false)).await;
    tokio::join!(a.all_closed(), b.all_closed());

    // Nobody gets in meanwhile.
    let mut c = Node::start(3, any_port(), &[&b.address]).await;
    assert!(tokio::time::timeout(QUIET, c.next()).await.is_err());
    assert!(tokio::time::timeout(QUIET, b.next()).await.is_err());

    b.command(NetCommand::Online(true)).await;
    assert_eq!(a.opened().await.1, b.device);
    assert_eq!(c.opened().await.1, b.device);
}

#[tokio::test]
async fn a_refused_peer_is_kept_out_and_others_are_not() {
    let (mut a, on_a, mut b, _) = pair().await;

    a.command(NetCommand::Close {
        session: on_a,
        refuse: true,
    })
    .await;
    tokio::join!(a.all_closed(), b.all_closed());

    let mut c = Node::start(3, any_port(), &[&a.address]).await;
    assert_eq!(a.opened().await.1, c.device);
    assert_eq!(c.opened().await.1, a.device);
    let two_dials = Duration::from_millis(2500);
    assert!(
        tokio::time::timeout(two_dials, a.next()).await.is_err(),
        "b got in"
    );
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_the_address() {
    let a = Node::start(1, any_port(), &[]).await;
    let config = NetConfig {
        listen: vec![a.address.clone()],
        ..NetConfig::default()
    };

    let error = start(&Identity::from_seed([2; 32]), config)
        .await
        .unwrap_err();

    assert!(
        matches!(&error, NetError::PortInUse { address } if *address == a.address),
        "{error}"
    );
    assert!(error.to_string().contains(&a.address.to_string()));
}

#[tokio::test]
async fn addresses_that_cannot_be_used_are_errors() {
    let identity = Identity::from_seed([1; 32]);
    for bad in ["/ip4/127.0.0.1/udp/1", "/dns4/hub.example/tcp/4001"] {
        let bad: Multiaddr = bad.parse().unwrap();
        let listen = NetConfig {
            listen: vec![bad.clone()],
            ..NetConfig::default()
        };
        let peer = NetConfig {
            peers: vec![bad.clone()],
            ..NetConfig::default()
        };
        for config in [listen, peer] {
            let error = start(&identity, config).await.unwrap_err();
            assert!(matches!(error, NetError::Address { .. }), "{bad}: {error}");
        }
    }
}

#[tokio::test]
async fn a_network_on_all_interfaces_names_real_addresses() {
    let node = Node::start(1, "/ip4/0.0.0.0/tcp/0".parse().unwrap(), &[]).await;
    let (ip, port) = socket_of(&node.address).unwrap();
    assert!(!ip.is_unspecified());
    assert_ne!(port, 0);
}

#[tokio::test]
async fn a_client_that_talks_garbage_disturbs_nobody() {
    let (a, on_a, mut b, on_b) = pair().await;
    let (ip, port) = socket_of(&a.address).unwrap();

    let garbage = tokio::task::spawn_blocking(move || {
        for noise in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            &[0xff; 4096],
            b"\x13/multistream/1.0.0\n",
        ] {
            let mut socket = std::net::TcpStream::connect((ip, port)).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_millis(100)))
                .unwrap();
            // The other side may hang up at any moment.
            let _ = socket.write_all(noise);
            let _ = socket.read(&mut [0; 64]);
        }
    });
    garbage.await.unwrap();

    a.send(on_a, b"undisturbed").await;
    assert_eq!(b.frame().await, (on_b, b"undisturbed".to_vec()));
}

#[tokio::test]
async fn a_hub_serves_eight_peers_at_once() {
    let mut hub = Node::start(1, any_port(), &[]).await;
    let mut clients = Vec::new();
    for seed in 2..10 {
        clients.push(Node::start(seed, any_port(), &[&hub.address]).await);
    }

    let mut session_of = BTreeMap::new();
    while session_of.len() < clients.len() {
        let (session, device) = hub.opened().await;
        session_of.insert(device, session);
    }
    for client in &mut clients {
        let (on_client, _) = client.opened().await;
        let on_hub = session_of[&client.device];
        client.send(on_client, &client.device.0).await;
        hub.send(on_hub, b"welcome").await;
        assert_eq!(client.frame().await, (on_client, b"welcome".to_vec()));
        assert_eq!(hub.frame().await, (on_hub, client.device.0.to_vec()));
    }
    in_time("the report", async {
        while hub.report.addresses.len() < clients.len() {
            if let Some(NetEvent::Status(report)) = hub.net.events.recv().await {
                hub.report = report;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_loses_its_session_only() {
    let (mut a, _, mut b, on_b) = pair().await;
    let mut c = Node::start(3, any_port(), &[&b.address]).await;
    tokio::join!(c.opened(), b.opened());

    // Nobody reads a's events, so its window fills, then b's queue; the flood must end the session.
    let flood = vec![0; 256 << 10];
    in_time("the end of the flooded session", async {
        loop {
            b.send(on_b, &flood).await;
            let event = tokio::time::timeout(Duration::from_millis(1), b.next()).await;
            if let Ok(Some(NetEvent::Closed { session })) = event {
                assert_eq!(session, on_b);
                break;
            }
        }
    })
    .await;

    let (on_c, to_b) = c
        .open
        .iter()
        .next()
        .map(|(id, device)| (*id, *device))
        .unwrap();
    assert_eq!(to_b, b.device);
    c.send(on_c, b"still here").await;
    assert_eq!(b.frame().await.1, b"still here");
    a.all_closed().await;
}

/// A libp2p peer that is not ours: it opens the sync stream by hand.
struct RawPeer {
    swarm: Swarm<stream::Behaviour>,
}

impl RawPeer {
    fn new(seed: u8) -> Self {
        let identity = Identity::from_seed([seed; 32]);
        Self {
            swarm: Swarm::new(
                transport::build(&identity.keypair()).unwrap(),
                stream::Behaviour::default(),
                identity.peer_id(),
                swarm::Config::with_tokio_executor().with_idle_connection_timeout(PATIENCE),
            ),
        }
    }

    async fn open(&mut self, node: &Node) -> libp2p::Stream {
        self.swarm
            .dial(
                DialOpts::peer_id(node.peer)
                    .addresses(vec![node.address.clone()])
                    .build(),
            )
            .unwrap();
        in_time("a raw stream", async {
            loop {
                match self.swarm.select_next_some().await {
                    SwarmEvent::ConnectionEstablished {
                        peer_id,
                        connection_id,
                        ..
                    } => {
                        self.swarm.behaviour_mut().open(peer_id, connection_id);
                    }
                    SwarmEvent::Behaviour(stream::Event::Opened { stream, .. }) => return stream,
                    _ => {}
                }
            }
        })
        .await
    }
}

#[tokio::test]
async fn an_oversized_length_closes_only_the_session_that_sent_it() {
    let (mut a, on_a, b, on_b) = pair().await;
    let mut raw = RawPeer::new(9);
    let mut stream = raw.open(&a).await;
    let (on_raw, device) = a.opened().await;
    assert_eq!(Some(device), device_of(raw.swarm.local_peer_id()));

    stream
        .write_all(&[2, b'o', b'k', 0xff, 0xff, 0xff, 0x7f])
        .await
        .unwrap();
    stream.flush().await.unwrap();

    assert_eq!(a.frame().await, (on_raw, b"ok".to_vec()));
    let told = in_time("the end of the raw session", async {
        let (mut rest, mut told) = ([0], None);
        tokio::select! {
            read = stream.read(&mut rest) => assert!(!matches!(read, Ok(1))),
            () = async { loop { raw.swarm.select_next_some().await; } } => {}
        }
        while a.open.contains_key(&on_raw) {
            if let NetEvent::BadFrame { session, bytes } = a.next().await.unwrap() {
                told = Some((session, bytes));
            }
        }
        told
    })
    .await;
    assert_eq!(told, Some((on_raw, Some((1 << 28) - 1))));
    assert_eq!(a.open.keys().copied().collect::<Vec<_>>(), [on_a]);
    b.send(on_b, b"still here").await;
    assert_eq!(a.frame().await, (on_a, b"still here".to_vec()));
}

#[tokio::test]
async fn frames_of_unknown_sessions_are_ignored() {
    let (a, on_a, mut b, on_b) = pair().await;

    a.send(u64::MAX, b"to nobody").await;
    a.command(NetCommand::Close {
        session: u64::MAX,
        refuse: true,
    })
    .await;
    a.send(on_a, b"to somebody").await;

    assert_eq!(b.frame().await, (on_b, b"to somebody".to_vec()));
}
