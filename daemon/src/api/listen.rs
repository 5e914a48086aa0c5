//! The API's sockets: bound with care, and served with bounds on connections and on slow clients.
//!
//! The two sockets have bounds of their own, so whoever fills the TCP side cannot keep the owner of the
//! device from the Unix socket.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::{Listener, ListenerExt};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::{ApiConfig, ServeError};

/// Most connections to one socket. More wait to be accepted.
const CONNECTIONS_MAX: usize = 128;

/// How long a client may take to send a request's head, and how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// How long requests under way may take to end when the API shuts down.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The owner may read and write; nobody else may connect.
const SOCKET_MODE: u32 = 0o600;

/// The bound sockets.
pub(super) struct Listeners {
    pub(super) unix: UnixListener,
    pub(super) tcp: Option<(TcpListener, SocketAddr)>,
}

/// Binds both sockets, or neither.
pub(super) async fn bind(config: &ApiConfig) -> Result<Listeners, ServeError> {
    let tcp = match config.tcp {
        None => None,
        Some(address) if !address.ip().is_loopback() => {
            return Err(ServeError::NotLoopback(address));
        }
        Some(_) if config.token.is_empty() => return Err(ServeError::NoToken),
        Some(address) => {
            let failed = |source| ServeError::Address { address, source };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            let bound = listener.local_addr().map_err(failed)?;
            Some((listener, bound))
        }
    };
    let path = &config.socket;
    if UnixStream::connect(path).await.is_ok() {
        return Err(ServeError::SocketInUse(path.clone()));
    }
    let unix = bind_unix(path);
    let unix = unix.map_err(|source| ServeError::Socket {
        path: path.clone(),
        source,
    })?;
    Ok(Listeners { unix, tcp })
}

/// Makes the socket under another name and moves it into place: it can be reached only once its mode is set,
/// and what a crashed daemon left behind is replaced.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let mut new = path.as_os_str().to_owned();
    new.push("~");
    let new = Path::new(&new);
    match std::fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(new)?;
    std::fs::set_permissions(new, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    std::fs::rename(new, path)?;
    Ok(listener)
}

/// The listener; its connections send small events at once.
pub(super) fn prompt(listener: TcpListener) -> impl Listener {
    listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection to the API stays slow");
        }
    })
}

/// Serves connections until `stopping` is true.
pub(super) async fn accept<L: Listener>(
    mut listener: L,
    router: Router,
    stopping: watch::Receiver<bool>,
) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut tasks = JoinSet::new();
    let mut stopped = pin!(stop(stopping.clone()));
    loop {
        let next = async {
            // The semaphore is never closed, so there is always a permit in the end.
            let permit = Arc::clone(&connections).acquire_owned().await.ok();
            (listener.accept().await.0, permit)
        };
        tokio::select! {
            () = &mut stopped => break,
            Some(_) = tasks.join_next() => {}
            (stream, permit) = next => {
                tasks.spawn(connection(stream, permit, router.clone(), stopping.clone()));
            }
        }
    }
    drop(listener);
    let ended = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_TIMEOUT, ended).await.is_err() {
        tasks.shutdown().await;
    }
}

async fn connection<S>(
    stream: S,
    permit: Option<OwnedSemaphorePermit>,
    router: Router,
    stopping: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let _permit = permit;
    let service = TowerToHyperService::new(router);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop(stopping) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the API broke off");
    }
}

/// Returns when the API shall stop.
pub(super) async fn stop(mut stopping: watch::Receiver<bool>) {
    // An error means that whoever would say so is gone, which says it as well.
    let _ = stopping.wait_for(|&stop| stop).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path) -> ApiConfig {
        ApiConfig {
            socket: dir.join("api.sock"),
            tcp: None,
            token: String::new(),
        }
    }

    #[tokio::test]
    async fn the_socket_is_its_owners_and_a_stale_one_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        drop(bind(&config).await.unwrap());
        assert!(config.socket.exists());

        let _listeners = bind(&config).await.unwrap();

        let mode = std::fs::metadata(&config.socket)
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, SOCKET_MODE);
        assert!(matches!(
            bind(&config).await,
            Err(ServeError::SocketInUse(_))
        ));
    }

    #[tokio::test]
    async fn tcp_is_for_this_device_and_for_those_who_have_a_token() {
        let dir = tempfile::tempdir().unwrap();
        let with = |tcp: &str, token: &str| ApiConfig {
            tcp: Some(tcp.parse().unwrap()),
            token: token.to_owned(),
            ..config(dir.path())
        };

        assert!(matches!(
            bind(&with("0.0.0.0:0", "t")).await,
            Err(ServeError::NotLoopback(_))
        ));
        assert!(matches!(
            bind(&with("127.0.0.1:0", "")).await,
            Err(ServeError::NoToken)
        ));
        let bound = bind(&with("127.0.0.1:0", "t")).await.unwrap();
        assert_ne!(bound.tcp.unwrap().1.port(), 0);
    }

    #[tokio::test]
    async fn a_path_too_long_for_a_socket_is_an_error_with_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(&dir.path().join("x".repeat(200)));

        let error = bind(&config).await.err().unwrap().to_string();

        assert!(error.contains("shorter path"), "{error}");
    }
}
