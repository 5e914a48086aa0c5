//! The network task: one loop that owns the swarm and joins the address book, the table of
//! connections and the sessions.
//!
//! Invariant: the loop never waits for the node, for a peer or for a session; what it has to tell
//! the node waits here, and of two reports only the newer. What happens with peers is in `peers`.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use libp2p::core::transport::{ListenerId, TransportError};
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify, mdns, ping, swarm};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::behaviour::{self, Behaviour, BehaviourEvent};
use super::dial::{AddressBook, TargetId};
use super::identity::{Identity, IdentityError, device_of};
use super::links::Links;
use super::session::{FINISH_WAIT, Session};
use super::{NetCommand, NetConfig, NetError, NetEvent, NetReport, discovery, stream, transport};

/// How long a connection without a session is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Most streams per connection that may be in negotiation at once.
const NEGOTIATING_STREAMS_MAX: usize = 8;

/// How often connections are checked for life and the byte counters are reported.
const TICK: Duration = Duration::from_secs(5);

/// How long the system may take to name the addresses of a new listener.
const BIND_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a shutdown may take beyond the end of the sessions.
const SHUTDOWN_SLACK: Duration = Duration::from_millis(500);

/// Most new listen addresses that may wait to be told. The report holds them all.
const UNTOLD_MAX: usize = 64;

/// A session and the connection it is on.
pub(super) struct Running {
    pub(super) connection: ConnectionId,
    pub(super) session: Session,
    /// Whether the node has sent its first frame, the greeting that anybody gets.
    pub(super) greeted: bool,
}

/// The task's state.
pub(super) struct NetTask {
    pub(super) swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<NetCommand>,
    pub(super) events: mpsc::Sender<NetEvent>,
    pub(super) book: AddressBook,
    pub(super) links: Links,
    pub(super) dials: BTreeMap<ConnectionId, TargetId>,
    pub(super) next_dial: Instant,
    pub(super) sessions: BTreeMap<u64, Running>,
    pub(super) session_tasks: JoinSet<u64>,
    pub(super) online: bool,
    silence_max: Duration,
    loopback_only: bool,
    mdns_wanted: bool,
    mdns_error: Option<String>,
    pub(super) bytes_of_ended: (u64, u64),
    untold: Vec<Multiaddr>,
    report: Option<NetReport>,
    reported: NetReport,
}

impl NetTask {
    /// Builds the swarm. Must be called in a tokio runtime.
    pub(super) fn new(
        identity: &Identity,
        config: &NetConfig,
        commands: mpsc::Receiver<NetCommand>,
        events: mpsc::Sender<NetEvent>,
    ) -> Result<Self, NetError> {
        let me = identity.peer_id();
        let (mdns, mdns_error) = behaviour::start_mdns(identity, config.mdns, config.metered);
        let swarm_config = swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(IDLE_TIMEOUT)
            .with_max_negotiating_inbound_streams(NEGOTIATING_STREAMS_MAX);
        let loopback =
            |address| discovery::socket_of(address).is_some_and(|(ip, _)| ip.is_loopback());
        Ok(Self {
            swarm: Swarm::new(
                transport::build(&identity.keypair())?,
                Behaviour::new(identity, config.metered, mdns),
                me,
                swarm_config,
            ),
            commands,
            events,
            book: address_book(me, &config.peers)?,
            links: Links::new(me),
            dials: BTreeMap::new(),
            next_dial: Instant::now(),
            sessions: BTreeMap::new(),
            session_tasks: JoinSet::new(),
            online: true,
            silence_max: behaviour::silence_max(config.metered),
            loopback_only: !config.listen.is_empty() && config.listen.iter().all(loopback),
            mdns_wanted: config.mdns,
            mdns_error,
            bytes_of_ended: (0, 0),
            untold: Vec::new(),
            report: None,
            reported: NetReport::default(),
        })
    }

    /// Binds the listeners and returns the addresses that the system has named by then.
    pub(super) async fn bind(&mut self, listen: &[Multiaddr]) -> Result<Vec<Multiaddr>, NetError> {
        let mut waiting = Vec::new();
        for address in listen {
            waiting.push(self.listen_on(address)?);
        }
        let deadline = tokio::time::sleep(BIND_TIMEOUT);
        tokio::pin!(deadline);
        while !waiting.is_empty() {
            tokio::select! {
                event = self.swarm.select_next_some() => {
                    if let SwarmEvent::NewListenAddr { listener_id, .. } = &event {
                        waiting.retain(|id| id != listener_id);
                    }
                    self.on_swarm(event);
                }
                // The port is bound. With no interface up there is no address to name yet.
                () = &mut deadline => break,
            }
        }
        while let Some(Some(event)) = self.swarm.next().now_or_never() {
            self.on_swarm(event);
        }
        Ok(std::mem::take(&mut self.untold))
    }

    fn listen_on(&mut self, address: &Multiaddr) -> Result<ListenerId, NetError> {
        let Some((ip, port)) = discovery::socket_of(address) else {
            return Err(NetError::Address {
                address: address.clone(),
            });
        };
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => NetError::PortInUse {
                address: address.clone(),
            },
            _ => NetError::Listen {
                address: address.clone(),
                source,
            },
        };
        // libp2p lets sockets share a port, so that a second daemon would bind it without an error
        // and take half of the connections. A plain socket finds out.
        if port != 0 {
            TcpListener::bind(SocketAddr::new(ip, port)).map_err(failed)?;
        }
        self.swarm
            .listen_on(address.clone())
            .map_err(|error| match error {
                TransportError::MultiaddrNotSupported(address) => NetError::Address { address },
                TransportError::Other(source) => failed(source),
            })
    }

    /// Runs until told to shut down, or until the node is gone.
    pub(super) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.dial();
        loop {
            let has_news = self.report.is_some() || !self.untold.is_empty();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(NetCommand::Shutdown) | None => break,
                    Some(command) => self.on_command(command),
                },
                event = self.swarm.select_next_some() => self.on_swarm(event),
                Some(ended) = self.session_tasks.join_next() => self.on_session_end(ended),
                () = tokio::time::sleep_until(self.next_dial.into()) => self.dial(),
                _ = tick.tick() => self.on_tick(),
                node_listens = has_room(&self.events), if has_news => {
                    if !node_listens {
                        break;
                    }
                    self.tell_news();
                }
            }
        }
        self.shut_down().await;
    }

    /// Tells the node one piece of news, unless a session has taken the place in the meantime.
    fn tell_news(&mut self) {
        let Ok(place) = self.events.try_reserve() else {
            return;
        };
        if !self.untold.is_empty() {
            place.send(NetEvent::Listening(self.untold.remove(0)));
        } else if let Some(report) = self.report.take() {
            place.send(NetEvent::Status(report));
        }
    }

    /// Lets the sessions finish, then the connections close. What takes too long is dropped.
    async fn shut_down(&mut self) {
        self.set_online(false);
        let deadline = tokio::time::sleep(FINISH_WAIT + SHUTDOWN_SLACK);
        tokio::pin!(deadline);
        while !self.session_tasks.is_empty() || self.links.iter().next().is_some() {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
                Some(ended) = self.session_tasks.join_next() => self.on_session_end(ended),
                () = &mut deadline => break,
            }
        }
    }

    fn on_command(&mut self, command: NetCommand) {
        match command {
            NetCommand::Send { session, frame } => {
                let Some(running) = self.sessions.get_mut(&session) else {
                    return;
                };
                if std::mem::replace(&mut running.greeted, true)
                    && let Some(link) = self.links.get_mut(running.connection)
                {
                    link.accepted = true;
                }
                if let Err(error) = running.session.send(frame) {
                    tracing::warn!(session, %error, "session closed");
                    running.session.kill();
                }
            }
            NetCommand::Close { session, refuse } => {
                let Some(running) = self.sessions.get_mut(&session) else {
                    return;
                };
                running.session.finish();
                if refuse && let Some(link) = self.links.get(running.connection) {
                    let now = Instant::now();
                    self.book.refuse(&link.peer, now);
                    self.swarm.behaviour_mut().gate.turn_away(link.peer, now);
                }
            }
            NetCommand::Online(online) => self.set_online(online),
            NetCommand::Shutdown => {}
        }
    }

    fn set_online(&mut self, online: bool) {
        self.online = online;
        self.swarm.behaviour_mut().gate.set_online(online);
        if online {
            self.book.retry_all(true, Instant::now());
        } else {
            let all: Vec<_> = self
                .links
                .iter()
                .map(|(connection, _)| connection)
                .collect();
            for connection in all {
                self.retire(connection);
            }
        }
        self.dial();
    }

    fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                self.on_established(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed {
                connection_id,
                cause,
                ..
            } => {
                tracing::debug!(%connection_id, ?cause, "connection closed");
                self.abandon(connection_id);
                self.links.remove(connection_id);
                self.dial();
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                error,
                ..
            } => {
                self.on_dial_failed(connection_id, &error);
            }
            SwarmEvent::IncomingConnectionError {
                send_back_addr,
                error,
                ..
            } => {
                tracing::debug!(from = %send_back_addr, %error, "inbound connection failed");
            }
            SwarmEvent::NewListenAddr { address, .. } => self.on_new_listen_address(address),
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                tracing::info!(%address, "no longer listening");
                self.untold.retain(|untold| *untold != address);
                self.refresh_report();
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a listener has trouble");
            }
            SwarmEvent::ListenerClosed {
                addresses, reason, ..
            } => {
                tracing::error!(?addresses, ?reason, "a listener closed; restart the daemon");
                self.refresh_report();
            }
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        let now = Instant::now();
        match event {
            BehaviourEvent::Stream(stream::Event::Opened {
                peer,
                connection,
                stream,
            }) => {
                self.on_stream(peer, connection, stream);
            }
            BehaviourEvent::Stream(stream::Event::Failed {
                peer,
                connection,
                failure,
            }) => {
                tracing::debug!(%peer, %failure, "no session");
                if failure == stream::Failure::Unsupported {
                    self.book.refuse(&peer, now);
                }
                self.retire(connection);
            }
            BehaviourEvent::Ping(ping::Event {
                connection,
                result: Ok(_),
                ..
            }) => {
                self.links.answered(connection, now);
            }
            BehaviourEvent::Ping(ping::Event {
                peer,
                result: Err(error),
                ..
            }) => {
                // Alone it proves nothing: see `Links::moved`. The tick closes silent connections.
                tracing::debug!(%peer, %error, "ping failed");
            }
            BehaviourEvent::Identify(identify::Event::Received {
                peer_id,
                connection_id,
                info,
            }) => self.on_identified(peer_id, connection_id, info.listen_addrs, now),
            BehaviourEvent::Identify(_) => {}
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                for (peer, address) in found {
                    let (_, address) = discovery::split_peer(address);
                    if discovery::is_dialable(&address, self.loopback_only) {
                        self.book.announced(peer, address, now);
                    }
                }
                self.dial();
            }
            BehaviourEvent::Mdns(mdns::Event::Expired(gone)) => {
                for (peer, address) in gone {
                    self.book
                        .expired(&peer, &discovery::split_peer(address).1, now);
                }
            }
            BehaviourEvent::Gate(never) | BehaviourEvent::Limits(never) => match never {},
        }
    }

    fn on_new_listen_address(&mut self, address: Multiaddr) {
        tracing::info!(%address, "listening");
        if self.mdns_wanted
            && let Some((IpAddr::V4(interface), _)) = discovery::socket_of(&address)
            && !interface.is_loopback()
        {
            let probe = discovery::probe(interface);
            self.mdns_error = probe
                .err()
                .map(|error| format!("no multicast on {interface}: {error}"));
        }
        if self.untold.len() < UNTOLD_MAX {
            self.untold.push(address);
        }
        self.book.retry_all(false, Instant::now());
        self.refresh_report();
        self.dial();
    }

    fn on_tick(&mut self) {
        let now = Instant::now();
        for running in self.sessions.values() {
            let (bytes_in, bytes_out) = running.session.meter().read();
            self.links
                .moved(running.connection, bytes_in + bytes_out, now);
        }
        for connection in self.links.silent(self.silence_max, now) {
            tracing::info!(%connection, "connection closed: its peer fell silent");
            self.abandon(connection);
            self.swarm.close_connection(connection);
        }
        self.book.forget(now, |peer| self.links.is_connected(peer));
        self.refresh_report();
        self.dial();
    }

    pub(super) fn refresh_report(&mut self) {
        let report = self.current_report();
        if report != self.reported {
            self.reported = report.clone();
            self.report = Some(report);
        }
    }

    fn current_report(&self) -> NetReport {
        let mut listening: Vec<_> = self.swarm.listeners().map(Multiaddr::to_string).collect();
        listening.sort();
        let with_session = self.links.iter().filter(|(_, link)| link.session.is_some());
        let meters = self
            .sessions
            .values()
            .map(|running| running.session.meter().read());
        let sum = |(a, b): (u64, u64), (c, d): (u64, u64)| (a + c, b + d);
        let (bytes_in, bytes_out) = meters.fold(self.bytes_of_ended, sum);
        NetReport {
            listening,
            addresses: with_session
                .filter_map(|(_, link)| Some((device_of(&link.peer)?, link.address.to_string())))
                .collect(),
            bytes_in,
            bytes_out,
            mdns_error: self.mdns_error.clone(),
        }
    }
}

/// Waits for a place in the node's queue. False if the node is gone.
async fn has_room(events: &mpsc::Sender<NetEvent>) -> bool {
    events.reserve().await.is_ok()
}

fn address_book(me: PeerId, peers: &[Multiaddr]) -> Result<AddressBook, NetError> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(IdentityError::Randomness)?;
    let mut book = AddressBook::new(me, u64::from_le_bytes(seed));
    for configured in peers {
        let (peer, address) = discovery::split_peer(configured.clone());
        if discovery::socket_of(&address).is_none() {
            return Err(NetError::Address {
                address: configured.clone(),
            });
        }
        book.configure(peer, address, Instant::now());
    }
    Ok(book)
}
