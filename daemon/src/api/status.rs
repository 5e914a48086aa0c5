//! How the daemon, its store, its peers and its schema are.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::Json;
use axum::extract::State;
use crdt_schema::hlc::Timestamp;

use super::error::ApiError;
use super::request::Incoming;
use super::schemas;
use super::types::{
    CollectionCount, DamagedLog, Device, Health, Network, NetworkStatus, Peer, PeerList, Refusal,
    RefusedLog, Repairs, SchemaName, Status, StoreStatus,
};
use super::{Answer, Api};
use crate::engine::batch::SchemaTag;
use crate::engine::fleet::{Fleet, PeerStatus};
use crate::node::handle::NetReport;
use crate::store::Counts;

/// `GET /v1/status`
pub(super) async fn status(State(api): State<Api>, incoming: Incoming) -> Answer<Status> {
    incoming.finish()?;
    let counts = api
        .read(|handle| handle.reader().counts().map_err(ApiError::of_store))
        .await?;
    let (handle, facts) = (&api.handle, api.handle.facts());
    let (fleet, net, state) = (handle.fleet(), handle.net(), handle.reader().schemas());
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_s: api.started.elapsed().as_secs(),
        device: Device {
            id: facts.device.to_string(),
            name: facts.name.clone(),
            hub: facts.hub,
            role: facts.role.clone(),
            peer_id: facts.peer_id.clone(),
        },
        organisation: facts.organisation.to_string(),
        schema: SchemaName {
            name: state.active.name.clone(),
            version: state.active.version,
        },
        schema_status: schemas::status(handle, &state),
        online: fleet.online,
        reviews: counts.reviews,
        pending: if facts.hub { 0 } else { pending(&fleet) },
        store: store_status(counts),
        repairs: repairs(&fleet),
        peers: peer_list(&fleet, &net, &state.tag()),
        network: network_status(&fleet, &net, api.tcp),
    }))
}

fn repairs(fleet: &Fleet) -> Repairs {
    let repairs = &fleet.repairs;
    let damaged = repairs.damaged.iter().map(|(log, &from)| DamagedLog {
        log: log.to_string(),
        from,
    });
    Repairs {
        damaged_logs: damaged.collect(),
        mended: repairs.mended,
        taken_back: repairs.taken_back,
        rewritten: repairs.rewritten,
        forks: repairs.forks,
        branched: repairs.branched,
    }
}

/// How many entries are held here but by no hub, as far as the hubs have told.
fn pending(fleet: &Fleet) -> u64 {
    let hubs: Vec<&PeerStatus> = fleet.peers.values().filter(|peer| peer.hub).collect();
    let missing = fleet.held.iter().map(|(log, &seq)| {
        let durable = hubs.iter().filter_map(|hub| hub.held.get(log)).max();
        seq.saturating_sub(durable.copied().unwrap_or_default())
    });
    missing.sum()
}

fn store_status(counts: Counts) -> StoreStatus {
    let count = |(space, collection, live, deleted)| CollectionCount {
        space: String::from(space),
        collection,
        live,
        deleted,
    };
    StoreStatus {
        bytes: counts.bytes,
        entries: counts.entries,
        collections: counts.records.into_iter().map(count).collect(),
    }
}

fn network_status(fleet: &Fleet, net: &NetReport, api: Option<SocketAddr>) -> NetworkStatus {
    let refusals = fleet
        .refusals
        .iter()
        .map(|(&code, &count)| (code.to_owned(), count));
    let refusal = fleet.last_refusal.as_ref().map(|(device, reason)| Refusal {
        device: device.to_string(),
        name: fleet
            .peers
            .get(device)
            .map(|peer| peer.name.clone())
            .unwrap_or_default(),
        reason: reason.clone(),
    });
    NetworkStatus {
        api: api.map(|address| address.to_string()),
        listening: net.listening.clone(),
        bytes_in: net.bytes_in,
        bytes_out: net.bytes_out,
        mdns_error: net.mdns_error.clone(),
        refusals: refusals.collect::<BTreeMap<_, _>>(),
        last_refusal: refusal,
    }
}

/// `GET /v1/peers`
pub(super) async fn peers(State(api): State<Api>, incoming: Incoming) -> Answer<PeerList> {
    incoming.finish()?;
    let schema = api.handle.reader().schemas().tag();
    Ok(Json(PeerList {
        items: peer_list(&api.handle.fleet(), &api.handle.net(), &schema),
    }))
}

fn peer_list(fleet: &Fleet, net: &NetReport, schema: &SchemaTag) -> Vec<Peer> {
    fleet
        .peers
        .values()
        .map(|peer| peer_shown(peer, net, schema))
        .collect()
}

fn peer_shown(peer: &PeerStatus, net: &NetReport, schema: &SchemaTag) -> Peer {
    let refused = peer.refused_logs.iter().map(|(log, reason)| RefusedLog {
        log: log.to_string(),
        reason: reason.clone(),
    });
    let heard = peer.last_seen_ms > 0;
    Peer {
        device: peer.device.to_string(),
        name: peer.name.clone(),
        hub: peer.hub,
        connected: peer.connected,
        address: net.addresses.get(&peer.device).cloned(),
        last_seen: heard.then(|| Timestamp::from_ms(peer.last_seen_ms).to_string()),
        behind: peer.behind,
        ahead: peer.ahead,
        schema: peer.schema.as_ref().map(|theirs| SchemaName {
            name: theirs.name.clone(),
            version: theirs.version,
        }),
        schema_note: schemas::note(schema, peer),
        clock_suspect: peer.clock_suspect,
        refused_logs: refused.collect(),
    }
}

/// `GET /v1/network`
pub(super) async fn network(State(api): State<Api>, incoming: Incoming) -> Answer<Network> {
    incoming.finish()?;
    Ok(Json(Network {
        online: api.handle.fleet().online,
    }))
}

/// `PUT /v1/network`
pub(super) async fn set_network(State(api): State<Api>, incoming: Incoming) -> Answer<Network> {
    incoming.finish()?;
    let wanted: Network = incoming.json()?;
    let done = api.handle.set_online(wanted.online).await;
    done.map_err(ApiError::of_command)?;
    Ok(Json(wanted))
}

/// `GET /healthz`: the process answers.
pub(super) async fn health() -> Json<Health> {
    Json(Health {
        status: "ok".to_owned(),
    })
}

/// `GET /readyz`: the store can be read.
pub(super) async fn ready(State(api): State<Api>) -> Answer<Health> {
    api.read(|handle| handle.reader().arrival().map_err(ApiError::of_store))
        .await?;
    Ok(health().await)
}

#[cfg(test)]
mod tests {
    use crdt_schema::ident::{DeviceId, LogId};

    use super::*;
    use crate::engine::batch::Held;

    fn held(rows: &[(u8, u64)]) -> Held {
        rows.iter()
            .map(|&(log, seq)| (LogId([log; 16]), seq))
            .collect()
    }

    fn peer(device: u8, hub: bool, rows: &[(u8, u64)]) -> PeerStatus {
        PeerStatus {
            device: DeviceId([device; 32]),
            name: format!("device-{device}"),
            hub,
            connected: true,
            last_seen_ms: 0,
            held: held(rows),
            behind: 0,
            ahead: 0,
            refused_logs: BTreeMap::new(),
            schema: None,
            clock_suspect: false,
        }
    }

    #[test]
    fn pending_counts_what_no_hub_holds() {
        let peers = [
            peer(1, true, &[(1, 5)]),
            peer(2, true, &[(1, 7), (2, 9)]),
            peer(3, false, &[(3, 4)]),
        ];
        let fleet = Fleet {
            peers: peers.into_iter().map(|peer| (peer.device, peer)).collect(),
            held: held(&[(1, 10), (2, 3), (3, 4)]),
            ..Fleet::default()
        };

        assert_eq!(pending(&fleet), 3 + 4);
        assert_eq!(
            pending(&Fleet {
                held: held(&[(1, 10)]),
                ..Fleet::default()
            }),
            10
        );
    }

    #[test]
    fn a_peer_never_heard_has_no_time() {
        let net = NetReport::default();
        let known = PeerStatus {
            last_seen_ms: 1_000,
            ..peer(1, false, &[])
        };

        let ours = SchemaTag {
            name: "clinic".to_owned(),
            version: 1,
            digest: [0; 8],
        };

        assert_eq!(
            peer_shown(&peer(1, false, &[]), &net, &ours).last_seen,
            None
        );
        assert_eq!(
            peer_shown(&known, &net, &ours).last_seen.as_deref(),
            Some("1970-01-01T00:00:01Z")
        );
    }
}
