//! SIGKILL at random moments: every acknowledged write is there afterwards, here and on the peer.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::{Daemon, converged, until_true};

/// Kills in all, half of the writer and half of its peer.
const KILLS: usize = 50;
/// Clients that write at once.
const CLIENTS: usize = 6;

/// A small generator with a printed seed: which moment is hit is the kernel's affair anyway.
struct Moments(u64);

impl Moments {
    fn next(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_during_writes_and_syncs_lose_no_acknowledged_write() {
    let mut moments = Moments(0x5eed);
    let mut a = Daemon::found("a").start().await;
    let mut b = Daemon::beside("b", &a).await;
    a.kill();
    // Each knows an address of the other; a's port stays the same from here on.
    let port = free_port();
    a = a.only_args(&[
        "--no-mdns",
        "--api",
        "none",
        "--listen",
        &format!("/ip4/127.0.0.1/tcp/{port}"),
    ]);
    a.restart().await;
    b.kill();
    b = b.peer(&a).await;
    b.restart().await;
    let mut acknowledged: BTreeMap<String, i64> = BTreeMap::new();
    let mut sent: BTreeMap<String, i64> = BTreeMap::new();

    for round in 0..KILLS {
        let victim = if round % 2 == 0 { &mut a } else { &mut b };
        let stop_after = moments.next(40) as usize;
        let writing = (0..CLIENTS).map(|client| write(victim, round, client, stop_after));
        let results = futures::future::join_all(writing).await;
        for (id, acked, tried) in results {
            *acknowledged.entry(id.clone()).or_default() += acked;
            *sent.entry(id).or_default() += tried;
        }
        let unanswered = kill_under_load(victim, round).await;
        for (id, (acked, tried)) in unanswered {
            *acknowledged.entry(id.clone()).or_default() += acked;
            *sent.entry(id).or_default() += tried;
        }
        victim.restart().await;
        for (id, acked) in &acknowledged {
            if *acked > 0 && id.starts_with(&victim.name) {
                let shown = victim.record("patient", id).await["fields"]["visits"]
                    .as_i64()
                    .expect("a sum");
                assert!(
                    shown >= *acked,
                    "round {round}: {id} shows {shown}, {acked} were acknowledged"
                );
                assert!(
                    shown <= sent[id],
                    "round {round}: {id} shows {shown}, only {} were sent",
                    sent[id]
                );
            }
        }
    }

    until_true("both hold the same entries", || async {
        let (left, right) = (a.get("/v1/status").await, b.get("/v1/status").await);
        left["store"]["entries"] == right["store"]["entries"]
    })
    .await;
    let shown = converged(&[&a, &b], "patient").await;
    assert_eq!(shown.len(), acknowledged.len());
    for record in shown {
        let id = record["id"].as_str().expect("an id");
        let sum = record["fields"]["visits"].as_i64().expect("a sum");
        assert!(
            sum >= acknowledged[id] && sum <= sent[id],
            "{id}: {sum} of {} sent",
            sent[id]
        );
    }
}

/// Writes one after the other; returns the record, what was acknowledged and what was sent.
async fn write(daemon: &Daemon, round: usize, client: usize, count: usize) -> (String, i64, i64) {
    let id = format!("{}{client}", daemon.name);
    let (mut acked, mut tried) = (0, 0);
    for n in 0..count {
        let amount = (round * 7 + n) as i64 % 5 + 1;
        tried += amount;
        if add(daemon, &id, amount).await {
            acked += amount;
        }
    }
    (id, acked, tried)
}

async fn add(daemon: &Daemon, id: &str, amount: i64) -> bool {
    let path = format!("/v1/collections/patient/records/{id}?upsert=true");
    let body = json!({ "name": "Amina", "visits": {"$add": amount} });
    let reply = daemon
        .ask_with(reqwest::Method::PATCH, &path, Some(body), &[])
        .await;
    reply.is_ok_and(|(status, _)| status.is_success())
}

/// Starts a burst of writes and kills the daemon while they run.
async fn kill_under_load(daemon: &mut Daemon, round: usize) -> BTreeMap<String, (i64, i64)> {
    let mut told = BTreeMap::new();
    let pid = daemon.pid().to_string();
    let burst = (0..CLIENTS).map(|client| write(daemon, round, client, 30));
    let killer = async {
        let status = tokio::process::Command::new("kill")
            .args(["-KILL", &pid])
            .status()
            .await;
        assert!(status.is_ok_and(|status| status.success()), "kill failed");
    };
    let (results, ()) = tokio::join!(futures::future::join_all(burst), killer);
    for (id, acked, tried) in results {
        told.insert(id, (acked, tried));
    }
    daemon.wait();
    told
}

/// A port below those that the system gives to anybody who asks, so that nobody gets it while its daemon is
/// dead.
fn free_port() -> u16 {
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    (first..first + 1_000)
        .find(|&port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok())
        .expect("one of a thousand ports is free")
}
