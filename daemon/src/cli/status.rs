//! `fieldmesh status`, `peers`, `online`, `offline`: how this device and its peers are.

use jiff::Timestamp;
use reqwest::Method;
use serde_json::json;

use super::client::Client;
use super::failure::{Exit, Failure};
use super::output::{Output, bytes, count, header, plain, span};
use crate::api::types::{Network, Peer, PeerList, Status};

/// A peer that has not been heard for longer needs somebody's attention: a week.
const SILENCE_MAX_MS: u64 = 7 * 24 * 3600 * 1000;

#[derive(clap::Args, Debug)]
pub(crate) struct StatusArgs {
    /// End with code 8 if something needs attention
    #[arg(long)]
    check: bool,
}

/// What the first line says.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    good: bool,
    text: String,
}

pub(crate) async fn status(
    client: &Client,
    args: &StatusArgs,
    out: Output,
) -> Result<Exit, Failure> {
    let status: Status = client.read(&["status"])?.fetch().await?;
    let now = Timestamp::now();
    let verdict = verdict(&status, now);
    if out.json {
        out.json(&json!({
            "schema": "fieldmesh.status/1",
            "ok": verdict.good,
            "verdict": verdict.text,
            "status": status,
        }))?;
    } else {
        let word = if verdict.good {
            out.good("OK")
        } else {
            out.bad("ATTENTION")
        };
        out.line(&format!("{word} – {}", verdict.text))?;
        out.line(&facts(&status))?;
        show_peers(&status.peers, now, out)?;
    }
    Ok(if args.check && !verdict.good {
        Exit::Attention
    } else {
        Exit::Done
    })
}

pub(crate) async fn peers(client: &Client, out: Output) -> Result<Exit, Failure> {
    let peers: PeerList = client.read(&["peers"])?.fetch().await?;
    if out.json {
        peers.items.iter().try_for_each(|peer| out.json(peer))?;
        return Ok(Exit::Done);
    }
    show_peers(&peers.items, Timestamp::now(), out)?;
    if peers.items.is_empty() {
        out.talk("no other device has been met yet");
    }
    Ok(Exit::Done)
}

/// Takes the device off the network, or back on it.
pub(crate) async fn network(client: &Client, online: bool, out: Output) -> Result<Exit, Failure> {
    let call = client
        .write(Method::PUT, &["network"])?
        .body(&Network { online })?;
    let network: Network = call.fetch().await?;
    if out.json {
        out.json(&network)?;
    } else {
        out.talk(if network.online {
            "on the network"
        } else {
            "off the network; entry goes on"
        });
    }
    Ok(Exit::Done)
}

/// What needs a person, or else that nothing does.
fn verdict(status: &Status, now: Timestamp) -> Verdict {
    let mut attention = Vec::new();
    if status.reviews > 0 {
        let needs = if status.reviews == 1 { "needs" } else { "need" };
        attention.push(format!(
            "{} {needs} a decision",
            count(status.reviews, "record")
        ));
    }
    if !status.online {
        attention.push("taken off the network, `fieldmesh online` brings it back".to_owned());
    }
    for peer in &status.peers {
        let name = name(peer);
        let silent = silence_ms(peer, now).filter(|ms| !peer.connected && *ms > SILENCE_MAX_MS);
        if let Some(ms) = silent {
            attention.push(format!("{name} not seen for {}", span(ms)));
        }
        if peer.clock_suspect {
            attention.push(format!("the clock of {name} or of this device is wrong"));
        }
        if let Some(note) = &peer.schema_note {
            attention.push(format!("{name}: {}", plain(note)));
        }
        if let Some(log) = peer.refused_logs.first() {
            attention.push(format!(
                "a log is not exchanged with {name}: {}",
                plain(&log.reason)
            ));
        }
    }
    if let Some(why) = &status.schema_status.held_back {
        attention.push(plain(why));
    }
    let damaged = status.repairs.damaged_logs.len() as u64;
    if damaged > 0 {
        attention.push(format!(
            "{} damaged, waiting for a device that can mend it",
            count(damaged, "log")
        ));
    }
    let connected = status.peers.iter().filter(|peer| peer.connected).count();
    if let (Some(error), 0) = (&status.network.mdns_error, connected) {
        attention.push(format!(
            "devices on the local network are not found: {}",
            plain(error)
        ));
    }
    if !attention.is_empty() {
        return Verdict {
            good: false,
            text: attention.join("; "),
        };
    }
    let hubs = status.device.hub || status.peers.iter().any(|peer| peer.hub);
    let spread = match (status.pending, hubs) {
        (_, false) => "no hub is known".to_owned(),
        (0, true) => "everything on a hub".to_owned(),
        (pending, true) => format!("{} not on a hub yet", count(pending, "change set")),
    };
    Verdict {
        good: true,
        text: format!("{} connected, {spread}", count(connected as u64, "peer")),
    }
}

/// The device, its store and its network, a line each.
fn facts(status: &Status) -> String {
    let device = &status.device;
    let live: u64 = status.store.collections.iter().map(|c| c.live).sum();
    let deleted: u64 = status.store.collections.iter().map(|c| c.deleted).sum();
    let role = device.role.as_ref();
    let role = role.map_or_else(String::new, |role| format!(", {}", plain(role)));
    let mut lines = vec![
        format!(
            "device   {} ({}{}{role}), fieldmesh {}, up {}",
            plain(&device.name),
            device.id.chars().take(8).collect::<String>(),
            if device.hub { ", hub" } else { "" },
            plain(&status.version),
            span(status.uptime_s.saturating_mul(1000)),
        ),
        format!(
            "store    {} and {deleted} deleted, {}, {}, schema {} version {}",
            count(live, "record"),
            count(status.store.entries, "change set"),
            bytes(status.store.bytes),
            plain(&status.schema.name),
            status.schema.version,
        ),
        format!(
            "network  listening on {}, {} in, {} out",
            plain(&status.network.listening.join(" ")),
            bytes(status.network.bytes_in),
            bytes(status.network.bytes_out),
        ),
    ];
    if let Some(refresh) = status.schema_status.refresh {
        lines.push(format!(
            "schema   reviews and counts are being brought up to date: {} of {}",
            refresh.done,
            count(refresh.total, "record")
        ));
    }
    if let Some(refusal) = &status.network.last_refusal {
        let who = if refusal.name.is_empty() {
            refusal.device.get(..8)
        } else {
            Some(&*refusal.name)
        };
        let who = plain(who.unwrap_or(&refusal.device));
        let counts = status.network.refusals.iter();
        let counts: Vec<String> = counts.map(|(code, n)| format!("{n} {code}")).collect();
        lines.push(format!(
            "refused  {}; last {who}: {}",
            plain(&counts.join(", ")),
            plain(&refusal.reason)
        ));
    }
    lines.join("\n")
}

fn show_peers(peers: &[Peer], now: Timestamp, out: Output) -> Result<(), Failure> {
    let row = |peer: &Peer| {
        let seen = match (peer.connected, silence_ms(peer, now)) {
            (true, _) => "connected".to_owned(),
            (false, Some(ms)) => format!("{} ago", span(ms)),
            (false, None) => "never".to_owned(),
        };
        vec![
            name(peer),
            peer.device.chars().take(8).collect(),
            if peer.hub {
                "hub".to_owned()
            } else {
                String::new()
            },
            seen,
            peer.ahead.to_string(),
            peer.behind.to_string(),
            peer.address.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<Vec<String>> = peers.iter().map(row).collect();
    out.table(
        &header(&[
            "peer", "device", "role", "seen", "to send", "to get", "address",
        ]),
        &rows,
    )
}

fn name(peer: &Peer) -> String {
    if peer.name.is_empty() {
        peer.device.chars().take(8).collect()
    } else {
        plain(&peer.name)
    }
}

/// For how long a peer has not been heard; `None` if it never was.
fn silence_ms(peer: &Peer, now: Timestamp) -> Option<u64> {
    let seen: Timestamp = peer.last_seen.as_deref()?.parse().ok()?;
    Some(u64::try_from(now.as_millisecond() - seen.as_millisecond()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value as Json;

    const NOW: &str = "2026-11-21T08:00:00Z";

    fn peer(name: &str, connected: bool, last_seen: &str) -> Json {
        json!({
            "device": "ab".repeat(32), "name": name, "hub": name == "hub", "connected": connected,
            "last_seen": last_seen, "behind": 0, "ahead": 3, "clock_suspect": false,
            "refused_logs": [],
        })
    }

    fn status(change: impl Fn(&mut Status)) -> Verdict {
        let mut status: Status = serde_json::from_value(json!({
            "version": "0.1.0", "uptime_s": 60, "organisation": "00", "online": true, "reviews": 0,
            "device": {"id": "cd".repeat(32), "name": "tablet-1", "hub": false, "peer_id": "p"},
            "schema": {"name": "clinic", "version": 1}, "pending": 0,
            "store": {"bytes": 1, "entries": 1, "collections": []},
            "peers": [peer("hub", true, NOW), peer("tablet-2", false, "2026-11-20T08:00:00Z")],
            "network": {"listening": [], "bytes_in": 0, "bytes_out": 0, "refusals": {}},
        }))
        .unwrap();
        change(&mut status);
        verdict(&status, NOW.parse().unwrap())
    }

    #[test]
    fn all_is_well_when_a_hub_has_everything() {
        let verdict = status(|_| {});

        assert_eq!(
            (verdict.good, verdict.text.as_str()),
            (true, "1 peer connected, everything on a hub")
        );
        assert_eq!(
            status(|s| s.pending = 2).text,
            "1 peer connected, 2 change sets not on a hub yet"
        );
        assert_eq!(
            status(|s| s.peers.clear()).text,
            "0 peers connected, no hub is known"
        );
    }

    #[test]
    fn what_needs_a_person_comes_first() {
        let verdict = status(|status| {
            status.reviews = 4;
            status.peers[1].last_seen = Some("2026-11-01T08:00:00Z".to_owned());
            status.peers[0].clock_suspect = true;
        });

        assert!(!verdict.good);
        assert_eq!(
            verdict.text,
            "4 records need a decision; the clock of hub or of this device is wrong; \
             tablet-2 not seen for 20 days"
        );
        assert!(
            status(|s| s.reviews = 1)
                .text
                .contains("1 record needs a decision")
        );
        assert!(!status(|s| s.online = false).good);
    }

    #[test]
    fn a_peer_seen_in_the_future_or_never_is_not_silent() {
        assert!(status(|s| s.peers[1].last_seen = Some("2027-01-01T00:00:00Z".to_owned())).good);
        assert!(status(|s| s.peers[1].last_seen = None).good);
        assert!(status(|s| s.peers[1].last_seen = Some("yesterday".to_owned())).good);
    }
}
