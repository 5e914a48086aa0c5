//! Peers that do not belong, or do not behave.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::support::{Daemon, Membership, converged, until_true};

/// Where a dialable address's TCP port is.
async fn socket(daemon: &Daemon) -> String {
    let address = daemon.address().await;
    let mut parts = address.split('/').skip(1);
    let mut after = |name: &str| {
        parts.find(|part| *part == name);
        parts.next().expect("an address").to_owned()
    };
    format!("{}:{}", after("ip4"), after("tcp"))
}

async fn refused(daemon: &Daemon, code: &str) {
    until_true(&format!("a peer is refused: {code}"), || async {
        let status = daemon.get("/v1/status").await;
        status["network"]["refusals"][code].as_u64().unwrap_or(0) > 0
    })
    .await;
}

#[tokio::test]
async fn a_peer_of_another_organisation_is_refused_and_learns_nothing() {
    let a = Daemon::found("a").start().await;
    a.put("patient", "p", json!({ "name": "Amina" })).await;
    let stranger = Daemon::found("stranger").peer(&a).await.start().await;

    refused(&a, "other_organisation").await;
    refused(&stranger, "other_organisation").await;

    assert_eq!(stranger.count("patient").await, 0);
    let status = a.get("/v1/status").await;
    let why = status["network"]["last_refusal"]["reason"]
        .as_str()
        .expect("a reason");
    assert!(why.contains("another organisation"), "{why}");
}

#[tokio::test]
async fn a_peer_with_the_wrong_secret_is_refused_and_the_right_ones_go_on() {
    let a = Daemon::found("a").start().await;
    a.put("patient", "p", json!({ "name": "Amina" })).await;
    let wrong = Membership {
        secret: "00".repeat(32),
        ..a.membership.clone()
    };
    let stranger = Daemon::join("stranger", &wrong)
        .peer(&a)
        .await
        .start()
        .await;
    refused(&a, "wrong_secret").await;

    let friend = Daemon::beside("friend", &a).await;

    converged(&[&a, &friend], "patient").await;
    assert_eq!(friend.count("patient").await, 1);
    assert_eq!(stranger.count("patient").await, 0);
}

#[tokio::test]
async fn garbage_on_the_port_disturbs_nobody() {
    let a = Daemon::found("a").start().await;
    let b = Daemon::beside("b", &a).await;
    let socket = socket(&a).await;

    for garbage in [
        vec![0u8; 100_000],
        vec![0xff; 100_000],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        let mut stream = TcpStream::connect(&socket).expect("the port is open");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        // The daemon may hang up before everything is written.
        let _ = stream.write_all(&garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(
            answer.len() < 10_000,
            "garbage was answered with {} bytes",
            answer.len()
        );
    }

    a.put("patient", "p", json!({ "name": "Amina" })).await;
    converged(&[&a, &b], "patient").await;
}
