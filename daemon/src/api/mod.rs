//! The local HTTP API: records, batches, the change feed, reviews and status, for the command line and
//! the programs of the device.
//!
//! It is served on a Unix socket, which its file mode guards, and on loopback TCP, where a token does. A write
//! is answered once it is durable. Reads go to the store's last committed state, a few at a time, on threads of
//! their own. Every bound on what a client may ask has a name, and every error is a row of one table
//! (`error`). The API sees a [`Handle`]; it knows nothing of the engine, the network or how records are
//! stored.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use crdt_schema::nearest::nearest;
use crdt_schema::schema::{Collection, Schema};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use self::error::{ApiError, Code};
use self::guard::Token;
use self::listen::Listeners;
use self::request::shortened;
use crate::node::handle::Handle;

mod answer;
mod answered;
mod backup;
mod batch;
mod changes;
mod earlier;
mod edits;
mod error;
mod filters;
mod guard;
mod history;
mod listen;
#[doc(hidden)]
pub mod probe;
mod records;
mod render;
mod request;
mod reviews;
mod schema_devices;
mod schemas;
mod status;
pub mod types;

/// Largest body of a request.
const BODY_BYTES_MAX: usize = 4 << 20;

/// How many reads of the store run at once. More wait.
const READS_MAX: usize = 8;

/// Where the API listens, and who may use it over TCP.
#[derive(Clone)]
pub struct ApiConfig {
    /// The path of the Unix socket; made with mode 0600.
    pub socket: PathBuf,
    /// The loopback address to listen on as well; port 0 takes a free one.
    pub tcp: Option<SocketAddr>,
    /// The token that requests over TCP must have. Not empty if there is an address.
    pub token: String,
}

impl std::fmt::Debug for ApiConfig {
    /// Leaves out the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            socket,
            tcp,
            token: _,
        } = self;
        f.debug_struct("ApiConfig")
            .field("socket", socket)
            .field("tcp", tcp)
            .finish_non_exhaustive()
    }
}

/// Why the API could not be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another process listens on the socket.
    #[error("{}: another daemon listens here; stop it first, or use another --dir", .0.display())]
    SocketInUse(PathBuf),
    /// The socket could not be made.
    #[error("{}: the API's socket cannot be made: {source}; check the directory, or use a --dir with a shorter path", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The address could not be bound.
    #[error(
        "{address}: the API cannot listen here: {source}; give another address with --api, or `--api none`"
    )]
    Address {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The address can be reached from other devices.
    #[error("{0}: the API listens on loopback addresses only; use one such as 127.0.0.1:7171")]
    NotLoopback(SocketAddr),
    /// There is an address and no token.
    #[error("the API's token is empty, and over TCP one is needed; write one to the token file")]
    NoToken,
}

/// The API, being served.
#[derive(Debug)]
pub struct Served {
    /// The TCP address, with the port that was taken.
    pub tcp: Option<SocketAddr>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    socket: PathBuf,
}

impl Served {
    /// Returns when the API has shut down, with every request answered or dropped.
    pub async fn stopped(self) {
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "an API listener failed");
            }
        }
        if let Err(error) = std::fs::remove_file(&self.socket) {
            tracing::debug!(%error, "the API's socket was not removed");
        }
    }
}

/// Serves the API until `shutdown` ends. Returns when the sockets are bound.
///
/// # Errors
/// Why a socket could not be bound; then nothing is served.
pub async fn serve(
    handle: Handle,
    config: ApiConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<Served, ServeError> {
    let Listeners { unix, tcp } = listen::bind(&config).await?;
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(async move {
        shutdown.await;
        stop.send_replace(true);
    });
    let api = Api {
        handle,
        reads: Arc::new(Semaphore::new(READS_MAX)),
        started: Instant::now(),
        tcp: tcp.as_ref().map(|&(_, bound)| bound),
        stopping: stopping.clone(),
    };
    let routes = routes(api);
    let mut tasks = Vec::new();
    let mut address = None;
    if let Some((listener, bound)) = tcp {
        let admit = from_fn_with_state(Token::new(&config.token), guard::admit);
        let guarded = routes.clone().layer(admit).layer(from_fn(guard::finish));
        tasks.push(tokio::spawn(listen::accept(
            listen::prompt(listener),
            guarded,
            stopping.clone(),
        )));
        address = Some(bound);
    }
    let trusted = routes.layer(from_fn(guard::finish));
    tasks.push(tokio::spawn(listen::accept(unix, trusted, stopping)));
    Ok(Served {
        tcp: address,
        tasks,
        socket: config.socket,
    })
}

fn routes(api: Api) -> Router {
    let records = "/v1/collections/{collection}/records";
    let record = "/v1/collections/{collection}/records/{id}";
    let restore = "/v1/collections/{collection}/records/{id}/restore";
    let history = "/v1/collections/{collection}/records/{id}/history";
    Router::new()
        .route(records, get(records::list).post(edits::create))
        .route(
            record,
            get(records::show)
                .put(edits::put)
                .patch(edits::patch)
                .delete(edits::delete),
        )
        .route(restore, post(edits::restore))
        .route(history, get(history::history))
        .route("/v1/batch", post(batch::batch))
        .route("/v1/changes", get(changes::changes))
        .route("/v1/reviews", get(reviews::list))
        .route("/v1/reviews/{id}", get(reviews::show))
        .route("/v1/reviews/{id}/resolve", post(reviews::resolve))
        .route("/v1/status", get(status::status))
        .route("/v1/peers", get(status::peers))
        .route("/v1/network", put(status::set_network).get(status::network))
        .route("/v1/schema", get(schemas::show).post(schemas::publish))
        .route("/v1/schema/active", put(schemas::choose))
        .route("/v1/schema/devices", get(schema_devices::devices))
        .route("/v1/schema/{version}", get(schemas::text))
        .route("/healthz", get(status::health))
        .route("/readyz", get(status::ready))
        .layer(from_fn(guard::limit_time))
        // A copy takes as long as the store is large.
        .route("/v1/backup", post(backup::copy))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(api)
}

/// What every request may use. Cheap to clone.
#[derive(Clone)]
struct Api {
    handle: Handle,
    reads: Arc<Semaphore>,
    started: Instant,
    tcp: Option<SocketAddr>,
    stopping: watch::Receiver<bool>,
}

/// The answer of a handler that gives JSON.
type Answer<T> = Result<Json<T>, ApiError>;

impl Api {
    /// Reads the store on a blocking thread. At most [`READS_MAX`] run at once, those included whose client
    /// has gone.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Handle) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let internal = |detail: String| ApiError::new(Code::Internal, detail);
        let permit = Arc::clone(&self.reads).acquire_owned().await;
        let permit = permit.map_err(|error| internal(error.to_string()))?;
        let handle = self.handle.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            read(&handle)
        });
        task.await.map_err(|error| {
            tracing::error!(%error, "a read for the API broke off");
            internal("the read broke off".to_owned())
        })?
    }
}

/// The collection of that name.
fn collection<'s>(schema: &'s Schema, name: &str) -> Result<&'s Collection, ApiError> {
    schema.collection(name).ok_or_else(|| {
        let names = schema.collections.keys().map(String::as_str);
        let detail = format!("there is no collection {:?}", shortened(name));
        ApiError::new(Code::UnknownCollection, detail + &meant(name, names))
    })
}

/// What a wrong name may have been meant to be, to follow the complaint; nothing if no name is near.
fn meant<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> String {
    let near = nearest(name, names).map(|near| format!("; did you mean {near}?"));
    near.unwrap_or_default()
}
