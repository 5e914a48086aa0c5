//! Faults of disk, files and system: each has a clear error, and loses nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::{Daemon, stderr, until_true};

/// A daemon that nothing reaches: for runs that must end by themselves.
const RUN: [&str; 6] = [
    "run",
    "--no-mdns",
    "--api",
    "none",
    "--listen",
    "/ip4/127.0.0.1/tcp/0",
];

#[tokio::test]
async fn a_second_run_on_one_store_is_refused() {
    let a = Daemon::found("a").start().await;

    let second = a.cli(&RUN);

    assert!(!second.status.success());
    let said = stderr(&second);
    assert!(
        said.contains("store.redb") && said.contains("another process"),
        "{said}"
    );
    assert!(
        a.try_get("/v1/status").await.is_ok(),
        "the first daemon goes on"
    );
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let a = Daemon::found("a");

    let listen = format!("/ip4/127.0.0.1/tcp/{port}");
    let peers = a.cli(&["run", "--no-mdns", "--api", "none", "--listen", &listen]);
    let api = a.cli(&[
        "run",
        "--no-mdns",
        "--api",
        &format!("127.0.0.1:{port}"),
        "--listen",
        "/ip4/127.0.0.1/tcp/0",
    ]);

    for (run, remedy) in [
        (peers, "configure another port"),
        (api, "give another address"),
    ] {
        assert!(!run.status.success());
        let said = stderr(&run);
        assert!(
            said.contains(&port.to_string()) && said.contains(remedy),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_damaged_store_is_named_left_alone_and_filled_again_by_peers() {
    let a = Daemon::found("a").start().await;
    let mut b = Daemon::beside("b", &a).await;
    a.put("patient", "p", json!({ "name": "Amina" })).await;
    until_true("b has it", || async { b.count("patient").await == 1 }).await;
    b.kill();
    let path = b.dir().join("store.redb");
    let whole = fs::read(&path).expect("the store");
    for damaged in [
        whole[..whole.len() / 3].to_vec(),
        vec![0x5a; 4096],
        Vec::from(&whole[..10]),
        [&[0; 4096], &whole[4096..]].concat(),
    ] {
        fs::write(&path, &damaged).expect("the store is writable");

        let run = b.cli(&RUN);

        assert!(!run.status.success());
        let said = stderr(&run);
        assert!(
            said.contains("store.redb")
                && said.contains("damaged")
                && said.contains("move it aside"),
            "{said}"
        );
        assert!(!said.contains("panicked"), "{said}");
        assert_eq!(
            fs::read(&path).expect("the store").len(),
            damaged.len(),
            "it was left alone"
        );
    }

    // The remedy that the message names.
    fs::rename(&path, path.with_extension("damaged")).expect("it can be moved");
    b.restart().await;
    until_true("the record came back", || async {
        b.count("patient").await == 1
    })
    .await;
}

#[tokio::test]
async fn a_restored_backup_writes_into_a_new_log_and_loses_nothing() {
    let a = Daemon::found("a").start().await;
    let mut b = Daemon::beside("b", &a).await;
    b.put(
        "patient",
        "p",
        json!({ "name": "Amina", "visits": {"$add": 1} }),
    )
    .await;
    b.kill();
    let store = b.dir().join("store.redb");
    let backup = fs::read(&store).expect("the store");
    b.restart().await;
    b.put("patient", "p", json!({ "visits": {"$add": 2} }))
        .await;
    until_true("a has both", || async { visits(&a).await == 3 }).await;
    b.kill();
    fs::write(&store, &backup).expect("the backup is restored");
    b.restart().await;
    b.put("patient", "p", json!({ "visits": {"$add": 4} }))
        .await;

    for device in [&a, &b] {
        until_true("everything ever acknowledged is there", || async {
            visits(device).await == 7
        })
        .await;
    }
}

async fn visits(device: &Daemon) -> i64 {
    match device.try_get("/v1/collections/patient/records/p").await {
        Ok((_, record)) => record["fields"]["visits"].as_i64().unwrap_or(0),
        Err(_) => 0,
    }
}

#[tokio::test]
async fn sigterm_ends_the_daemon_cleanly() {
    let mut a = Daemon::found("a").start().await;
    a.put("patient", "p", json!({ "name": "Amina" })).await;

    assert_eq!(a.terminate(), Some(0));

    assert!(!a.dir().join("api.sock").exists(), "the socket is gone");
    a.restart().await;
    assert_eq!(a.count("patient").await, 1);
}

/// A small file system of its own; gone when dropped.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(at: &'a Path, megabytes: u32) -> Option<Self> {
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(at)
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(at));
        }
        assert!(
            std::env::var_os("CI").is_none(),
            "cannot mount a small file system: run as root"
        );
        eprintln!("NOT RUN: file systems cannot be mounted here");
        None
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // A lazy unmount: the daemon of a failed test may still be there.
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_keeps_serving_and_recovers_when_there_is_room() {
    let a = Daemon::found("a");
    let dir = a.dir();
    let files: Vec<(std::path::PathBuf, Vec<u8>)> = fs::read_dir(&dir)
        .expect("the directory")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.clone(), fs::read(&path).expect("a small file")))
        .collect();
    let Some(disk) = SmallDisk::mount(&dir, 12) else {
        return;
    };
    for (path, bytes) in files {
        fs::write(path, bytes).expect("there is room at first");
    }
    // Keys and secrets are for their owner only.
    for name in ["device.key", "join.secret", "api.token"] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(dir.join(name), mode).expect("the mode is set");
    }
    let a = a.start().await;
    a.put("patient", "first", json!({ "name": "Amina" })).await;
    let ballast = dir.join("ballast");
    let notes = "x".repeat(60_000);
    let mut saved = Vec::new();
    let full = 'fill: {
        for n in 0..400 {
            let id = format!("p{n}");
            let path = format!("/v1/collections/patient/records/{id}?upsert=true");
            // Random-looking text, so that compression does not save the disk.
            let text: String = notes
                .chars()
                .enumerate()
                .map(|(i, _)| char::from(b'a' + ((i * i * (n + 7) + i / 3) % 26) as u8))
                .collect();
            let (status, reply) = a
                .ask(
                    reqwest::Method::PATCH,
                    &path,
                    Some(json!({ "name": id, "notes": text })),
                )
                .await;
            if !status.is_success() {
                break 'fill Some((status, reply));
            }
            saved.push(id);
            let room = vec![0u8; 200_000];
            // The ballast fills the disk faster than records would; it may be the one that finds it full.
            let _ = fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&ballast)
                .and_then(|mut file| std::io::Write::write_all(&mut file, &room));
        }
        None
    };
    let (status, reply) = full.expect("the disk fills up");
    assert_eq!(
        (status.as_u16(), reply["code"].as_str()),
        (507, Some("disk_full")),
        "{reply}"
    );
    assert_eq!(
        a.record("patient", "first").await["fields"]["name"],
        "Amina",
        "reads go on"
    );

    fs::remove_file(&ballast).expect("room is made");

    until_true("writes work again", || async {
        let path = "/v1/collections/patient/records/last?upsert=true";
        a.ask(
            reqwest::Method::PATCH,
            path,
            Some(json!({ "name": "Baraka" })),
        )
        .await
        .0
        .is_success()
    })
    .await;
    for id in saved {
        assert_eq!(
            a.record("patient", &id).await["fields"]["name"],
            id.as_str()
        );
    }
    drop(a);
    drop(disk);
}
