//! The daemon under a service manager: ready, alive, stopping.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::support::{Daemon, fieldmesh};

/// What the daemon tells the service manager next.
fn told(socket: &UnixDatagram) -> String {
    let mut message = [0; 256];
    let length = socket.recv(&mut message).expect("the daemon tells");
    String::from_utf8_lossy(&message[..length])
        .trim()
        .to_owned()
}

#[tokio::test]
async fn a_service_manager_is_told_when_the_daemon_is_ready_alive_and_stopping() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let path = home.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout");
    let mut daemon = Daemon::found("a");
    let mut command = fieldmesh();
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000");
    daemon.spawn_as(&mut command);

    let mut said = vec![told(&socket)];
    while !said.iter().any(|word| word == "READY=1") {
        said.push(told(&socket));
    }
    daemon.serving().await;
    while told(&socket) != "WATCHDOG=1" {}
    assert_eq!(daemon.terminate(), Some(0));

    while told(&socket) != "STOPPING=1" {}
}
