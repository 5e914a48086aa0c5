//! Backups, restored devices, forks, and stores that are checked, rebuilt and mended: with the real binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value as Json, json};

use crate::support::{Daemon, converged, fieldmesh, output, stderr, stdout, until_true};

fn json_of(output: &Output) -> Json {
    serde_json::from_str(stdout(output).trim())
        .unwrap_or_else(|_| panic!("{}{}", stdout(output), stderr(output)))
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

async fn visits(device: &Daemon) -> i64 {
    match device.try_get("/v1/collections/patient/records/p").await {
        Ok((_, record)) => record["fields"]["visits"].as_i64().unwrap_or(0),
        Err(_) => 0,
    }
}

fn backup(device: &Daemon, file: &Path) -> Output {
    device.cli(&["--json", "backup", &file.display().to_string()])
}

fn restore(device: &Daemon, file: &Path, args: &[&str]) -> Output {
    let file = file.display().to_string();
    device.cli(&[&["restore", file.as_str()], args].concat())
}

fn copy_dir(from: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(from).expect("the directory");
    let files = files.map(|file| file.expect("a file").path());
    let files = files.filter(|path| path.is_file());
    files
        .map(|path| (path.clone(), fs::read(&path).expect("it reads")))
        .collect()
}

/// Puts contents back in place: the same files on the same machine, so no witness can tell.
fn put_back(files: &[(PathBuf, Vec<u8>)]) {
    for (path, bytes) in files {
        fs::write(path, bytes).expect("it is written");
    }
}

#[tokio::test]
async fn a_backup_of_a_running_device_restores_it_and_what_it_lacks_comes_back() {
    let a = Daemon::found("a").start().await;
    let mut b = Daemon::beside("b", &a).await;
    b.put(
        "patient",
        "p",
        json!({ "name": "Amina", "visits": {"$add": 1} }),
    )
    .await;
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("b.backup");

    let made = backup(&b, &file);
    assert_eq!(code(&made), Some(0), "{}", stderr(&made));
    assert_eq!(json_of(&made)["entries"], 1);
    let left = copy_dir(&b.dir());
    assert!(
        left.iter()
            .all(|(path, _)| !path.display().to_string().contains("copy"))
    );
    let again = backup(&b, &file);
    assert_eq!(
        code(&again),
        Some(5),
        "it is not overwritten: {}",
        stderr(&again)
    );

    b.put("patient", "p", json!({ "visits": {"$add": 2} }))
        .await;
    until_true("a has both", || async { visits(&a).await == 3 }).await;
    let running = restore(&b, &file, &["--replace", "--yes"]);
    assert!(
        stderr(&running).contains("a daemon runs"),
        "{}",
        stderr(&running)
    );
    b.kill();
    assert_eq!(code(&restore(&b, &file, &[])), Some(5), "it is not empty");
    assert_eq!(
        code(&restore(&b, &file, &["--replace"])),
        Some(5),
        "nobody has confirmed it"
    );
    let restored = restore(&b, &file, &["--replace", "--yes", "--json"]);
    assert_eq!(code(&restored), Some(0), "{}", stderr(&restored));
    let aside = json_of(&restored)["aside"]
        .as_str()
        .expect("a path")
        .to_owned();
    assert!(Path::new(&aside).join("store.redb").exists());

    b.restart().await;
    b.put("patient", "p", json!({ "visits": {"$add": 4} }))
        .await;
    for device in [&a, &b] {
        until_true("nothing is lost", || async { visits(device).await == 7 }).await;
    }
    let status = b.get("/v1/status").await;
    assert_eq!(status["repairs"]["taken_back"], 1, "{status}");
}

#[tokio::test]
async fn a_damaged_backup_changes_nothing() {
    let mut a = Daemon::found("a").start().await;
    a.put("patient", "p", json!({ "name": "Amina" })).await;
    a.kill();
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("a.backup");
    assert_eq!(
        code(&backup(&a, &file)),
        Some(0),
        "a stopped device has backups too"
    );
    let mut bytes = fs::read(&file).expect("the backup");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).expect("it is damaged");
    let target = home.path().join("new");

    let said = output(
        fieldmesh()
            .arg("restore")
            .arg(&file)
            .arg("--dir")
            .arg(&target),
    );

    assert!(!said.status.success());
    assert!(stderr(&said).contains("checksum"), "{}", stderr(&said));
    assert!(!target.exists());
}

#[tokio::test]
async fn a_device_that_went_back_in_time_unnoticed_settles_its_fork_and_nothing_is_lost() {
    let a = Daemon::found("a").start().await;
    let mut b = Daemon::beside("b", &a).await;
    b.put(
        "patient",
        "p",
        json!({ "name": "Amina", "visits": {"$add": 1} }),
    )
    .await;
    until_true("a has it", || async { visits(&a).await == 1 }).await;
    b.kill();
    let before = copy_dir(&b.dir());
    b.restart().await;
    b.put("patient", "p", json!({ "visits": {"$add": 2} }))
        .await;
    until_true("a has both", || async { visits(&a).await == 3 }).await;
    b.kill();
    put_back(&before);
    a.online(false).await;
    b.restart().await;
    b.put("patient", "p", json!({ "visits": {"$add": 4} }))
        .await;
    b.put("patient", "q", json!({ "name": "only here" })).await;

    a.online(true).await;

    for device in [&a, &b] {
        until_true("both branches are everywhere", || async {
            visits(device).await == 7
        })
        .await;
    }
    converged(&[&a, &b], "patient").await;
    let status = b.get("/v1/status").await;
    assert_eq!(status["repairs"]["rewritten"], 2, "{status}");
    b.terminate();
    let checked = b.cli(&["doctor", "--json"]);
    assert_eq!(code(&checked), Some(0), "{}", stdout(&checked));
}

#[tokio::test]
async fn a_doctor_passes_a_good_store_refuses_a_running_one_and_rebuilds() {
    let mut a = Daemon::found("a").start().await;
    for n in 0..20 {
        a.put("patient", &format!("p{n}"), json!({ "name": "Amina" }))
            .await;
    }
    let running = a.cli(&["doctor"]);
    assert_eq!(code(&running), Some(1));
    assert!(stderr(&running).contains("stop"), "{}", stderr(&running));
    a.terminate();

    let good = a.cli(&["doctor", "--json"]);
    let rebuilt = a.cli(&["doctor", "--rebuild", "--json"]);

    assert_eq!(code(&good), Some(0), "{}", stdout(&good));
    assert_eq!(json_of(&good)["records"], 20);
    assert_eq!(code(&rebuilt), Some(0), "{}", stdout(&rebuilt));
    assert_eq!(json_of(&rebuilt)["rebuilt"], 20);
    let store = a.dir().join("store.redb");
    let bytes = fs::read(&store).expect("the store");
    fs::write(&store, &bytes[..bytes.len() / 2]).expect("it is damaged");
    let damaged = a.cli(&["doctor"]);
    assert_eq!(code(&damaged), Some(8), "{}", stderr(&damaged));
}
