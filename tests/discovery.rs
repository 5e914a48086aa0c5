//! Phones on one network with no internet: three network namespaces on a bridge, no default route.
//!
//! Making namespaces needs root and a kernel that has them. Where `CI` is set that is required, and the
//! test fails without; elsewhere it says that it was not run.

use std::process::Command;

use serde_json::json;

use crate::support::{Daemon, converged, fieldmesh, until_true};

/// Namespaces, a bridge and the cables between them; gone when dropped.
struct Lan {
    tag: String,
    size: usize,
}

fn ip(args: &[&str]) -> bool {
    Command::new("ip")
        .args(args)
        .output()
        .is_ok_and(|output| output.status.success())
}

fn must(args: &[&str]) {
    assert!(ip(args), "`ip {}` failed", args.join(" "));
}

impl Lan {
    /// The bridge lives in a namespace of its own, so nothing of the machine's network is touched.
    fn new(size: usize) -> Option<Self> {
        let tag = format!("fm{}", std::process::id());
        let lan = Self { tag, size };
        let switch = lan.namespace(0);
        if !ip(&["netns", "add", &switch]) {
            assert!(
                std::env::var_os("CI").is_none(),
                "cannot make network namespaces: run as root, with iproute2 installed"
            );
            eprintln!("NOT RUN: network namespaces cannot be made here");
            return None;
        }
        must(&["-n", &switch, "link", "add", "br0", "type", "bridge"]);
        must(&["-n", &switch, "link", "set", "br0", "up"]);
        for at in 1..=size {
            let (space, port) = (lan.namespace(at), format!("p{at}"));
            must(&["netns", "add", &space]);
            must(&["-n", &space, "link", "set", "lo", "up"]);
            must(&[
                "-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "e0", "netns",
                &space,
            ]);
            must(&["-n", &switch, "link", "set", &port, "master", "br0", "up"]);
            must(&[
                "-n",
                &space,
                "addr",
                "add",
                &format!("10.77.0.{at}/24"),
                "dev",
                "e0",
            ]);
            must(&["-n", &space, "link", "set", "e0", "up"]);
            let routes = Command::new("ip")
                .args(["-n", &space, "route"])
                .output()
                .expect("ip runs");
            let routes = String::from_utf8_lossy(&routes.stdout).into_owned();
            assert!(
                !routes.contains("default"),
                "there is a default route: {routes}"
            );
        }
        Some(lan)
    }

    fn namespace(&self, at: usize) -> String {
        format!("{}-{at}", self.tag)
    }

    fn cable(&self, at: usize, up: bool) {
        let state = if up { "up" } else { "down" };
        must(&[
            "-n",
            &self.namespace(0),
            "link",
            "set",
            &format!("p{at}"),
            state,
        ]);
    }

    /// Starts a daemon in namespace `at`. Its API is a Unix socket, which namespaces do not separate.
    async fn start(&self, daemon: Daemon, at: usize) -> Daemon {
        let mut daemon = daemon.only_args(&["--api", "none", "--listen", "/ip4/0.0.0.0/tcp/7172"]);
        let program = fieldmesh();
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace(at)])
            .arg(program.get_program());
        daemon.spawn_as(&mut command);
        daemon.serving().await;
        daemon
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for at in 0..=self.size {
            // What could not be made need not be removed.
            ip(&["netns", "del", &self.namespace(at)]);
        }
    }
}

#[tokio::test]
async fn three_devices_find_each_other_by_mdns_alone_and_again_after_a_cut() {
    let Some(lan) = Lan::new(3) else { return };
    let a = Daemon::found("a");
    let b = Daemon::join("b", &a.membership);
    let c = Daemon::join("c", &a.membership);
    let a = lan.start(a, 1).await;
    let b = lan.start(b, 2).await;
    let c = lan.start(c, 3).await;
    let all = [&a, &b, &c];
    for device in all {
        device
            .put("patient", &device.name, json!({ "name": device.name }))
            .await;
    }
    for device in all {
        until_true("every device has three records", || async {
            device.count("patient").await == 3
        })
        .await;
    }
    converged(&all, "patient").await;

    lan.cable(2, false);
    a.put(
        "patient",
        "shared",
        json!({ "name": "x", "visits": {"$add": 1} }),
    )
    .await;
    b.put(
        "patient",
        "shared",
        json!({ "name": "x", "visits": {"$add": 2} }),
    )
    .await;
    until_true("the two that are joined agree", || async {
        c.try_get("/v1/collections/patient/records/shared")
            .await
            .is_ok_and(|(s, _)| s.is_success())
    })
    .await;
    assert_eq!(b.record("patient", "shared").await["fields"]["visits"], 2);
    lan.cable(2, true);

    for device in all {
        until_true("the cut is healed", || async {
            device.record("patient", "shared").await["fields"]["visits"] == 3
        })
        .await;
    }
    converged(&all, "patient").await;
}
