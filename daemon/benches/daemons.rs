//! `cargo bench -p fieldmesh`: what real daemons cost, in seconds, bytes and memory.
//!
//! Every figure is of release builds that talk over loopback and write durably to this machine's disk.
//! Ratios are within this one run; absolute times are this machine's. `-- --quick` leaves the large sizes out;
//! `-- --million` measures one size only, a million records, and takes as long as they take to be written.

mod records;
#[path = "../../tests/support.rs"]
mod support;

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use records::{SCHEMA, item};
use support::{Daemon, resident_bytes, until_true};

const BATCH: u64 = 200;

async fn load(daemon: &Daemon, from: u64, to: u64) -> u64 {
    let mut json_bytes = 0;
    for first in (from..to).step_by(BATCH as usize) {
        let edits: Vec<Json> = (first..(first + BATCH).min(to))
            .map(|n| {
                let fields = item(n);
                json_bytes += fields.to_string().len() as u64;
                json!({ "op": "create", "collection": "item", "id": format!("i{n:07}"), "fields": fields })
            })
            .collect();
        daemon
            .good(
                reqwest::Method::POST,
                "/v1/batch",
                Some(json!({ "edits": edits })),
            )
            .await;
    }
    json_bytes
}

/// Frame bytes received and sent so far.
async fn traffic(daemon: &Daemon) -> (u64, u64) {
    let status = daemon.get("/v1/status").await;
    let of = |key: &str| status["network"][key].as_u64().expect("a counter");
    (of("bytes_in"), of("bytes_out"))
}

async fn agree(a: &Daemon, b: &Daemon) {
    until_true("both hold the same", || async {
        let (left, right) = (a.get("/v1/status").await, b.get("/v1/status").await);
        left["store"]["entries"] == right["store"]["entries"]
    })
    .await;
}

async fn connected(daemon: &Daemon) {
    until_true("a session is open", || async {
        let peers = daemon.get("/v1/peers").await;
        peers["items"]
            .as_array()
            .is_some_and(|peers| peers.iter().any(|peer| peer["connected"] == true))
    })
    .await;
}

/// Longer than the daemon takes between two reports of its counters.
const STILL: Duration = Duration::from_secs(6);

/// Waits until the counters have stood still.
async fn quiet(daemon: &Daemon) -> (u64, u64) {
    let mut last = traffic(daemon).await;
    let mut since = Instant::now();
    while since.elapsed() < STILL {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = traffic(daemon).await;
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

/// Waits until so many records are durable, as long as there are more of them from minute to minute.
async fn arrived(daemon: &Daemon, records: u64) {
    let mut held = 0;
    while held < records {
        until_true("more records are durable", || async {
            daemon.count("item").await > held
        })
        .await;
        held = daemon.count("item").await;
    }
}

async fn first_sync(records: u64) -> (Daemon, Daemon) {
    let a = Daemon::with_schema("a", None, SCHEMA).start().await;
    let started = Instant::now();
    let json_bytes = load(&a, 0, records).await;
    let loaded = started.elapsed();
    let b = Daemon::with_schema("b", Some(&a.membership), SCHEMA)
        .peer(&a)
        .await
        .start()
        .await;
    let started = Instant::now();
    arrived(&b, records).await;
    let seconds = started.elapsed().as_secs_f64();
    let (received, _) = quiet(&b).await;
    println!(
        "first sync     {records:>7} records  {seconds:>6.2} s  {:>6.0} records/s  {:>9} B on the wire  {:>5.1} % of {} B JSON  (loaded in {:.1} s)",
        records as f64 / seconds,
        received,
        received as f64 * 100.0 / json_bytes as f64,
        json_bytes,
        loaded.as_secs_f64(),
    );
    (a, b)
}

/// Two devices that agree meet again.
async fn meet_again(a: &Daemon, b: &Daemon, records: u64) {
    agree(a, b).await;
    b.online(false).await;
    let before = quiet(b).await;
    b.online(true).await;
    connected(b).await;
    let after = quiet(b).await;
    println!(
        "already equal  {records:>7} records  {:>6} B in  {:>6} B out",
        after.0 - before.0,
        after.1 - before.1
    );
}

/// One field of one record changes while both are connected.
async fn one_change(a: &Daemon, b: &Daemon, records: u64) {
    let before = quiet(b).await;
    let started = Instant::now();
    a.put(
        "item",
        "i0000042",
        json!({ "status": "closed", "priority": 9 }),
    )
    .await;
    until_true("b shows the change", || async {
        b.record("item", "i0000042").await["fields"]["priority"] == 9
    })
    .await;
    let millis = started.elapsed().as_millis();
    let after = quiet(b).await;
    println!(
        "one live edit  {records:>7} records  {:>6} B in  {:>6} B out  shown on the peer after {millis} ms",
        after.0 - before.0,
        after.1 - before.1
    );
}

/// Durable writes through the API for a fixed time, by so many clients.
async fn write_rate(daemon: &Daemon, clients: usize) -> f64 {
    let time = Duration::from_secs(5);
    let started = Instant::now();
    let writing = (0..clients).map(|client| async move {
        let mut count = 0u64;
        while started.elapsed() < time {
            let id = format!("w{client}-{count}");
            daemon
                .put(
                    "item",
                    &id,
                    json!({ "title": "a durable write", "quantity": count }),
                )
                .await;
            count += 1;
        }
        count
    });
    let total: u64 = futures::future::join_all(writing).await.into_iter().sum();
    total as f64 / started.elapsed().as_secs_f64()
}

async fn group_commit() {
    let a = Daemon::with_schema("a", None, SCHEMA).start().await;
    write_rate(&a, 4).await;
    let one = write_rate(&a, 1).await;
    let many = write_rate(&a, 64).await;
    println!(
        "durable writes  1 client {one:>6.0}/s   64 clients {many:>6.0}/s   ratio {:.1}",
        many / one
    );
}

async fn idle_and_restart(mut b: Daemon, records: u64) {
    let resident = |daemon: &Daemon| resident_bytes(daemon.pid()).expect("it runs") as f64 / 1e6;
    let synced = resident(&b);
    b.terminate();
    let started = Instant::now();
    b.restart().await;
    let served = started.elapsed().as_secs_f64();
    b.record("item", "i0000001").await;
    quiet(&b).await;
    let idle = resident(&b);
    b.kill();
    let started = Instant::now();
    b.restart().await;
    let after_kill = started.elapsed().as_secs_f64();
    println!(
        "idle           {records:>7} records  RSS {synced:>5.1} MB after the sync, {idle:>5.1} MB after a restart  \
         restart to serving {served:.2} s, after SIGKILL {after_kill:.2} s"
    );
}

#[tokio::main]
async fn main() {
    let is_asked = |flag: &str| std::env::args().any(|arg| arg == flag);
    let million = is_asked("--million");
    let sizes: &[u64] = match (million, is_asked("--quick")) {
        (true, _) => &[1_000_000],
        (false, true) => &[1_000, 10_000],
        (false, false) => &[1_000, 10_000, 100_000],
    };
    println!(
        "machine: {} cores",
        std::thread::available_parallelism().map_or(0, usize::from)
    );
    for &records in sizes {
        let (a, b) = first_sync(records).await;
        meet_again(&a, &b, records).await;
        one_change(&a, &b, records).await;
        drop(a);
        idle_and_restart(b, records).await;
    }
    if !million {
        group_commit().await;
    }
}
