//! `fieldmesh run`: the daemon itself.

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

use super::failure::{Exit, Failure};
use crate::api::{self, ApiConfig};
use crate::config::{Config, ConfigError, Flags, SOCKET_FILE};
use crate::node::{self, Node};

/// Threads of the runtime. The engine's loop is one task and the store writes on a thread of its own; more
/// would only cost memory on a phone.
const WORKERS: usize = 2;

/// What `-v` logs: our own steps, without those of the libraries.
const VERBOSE: &str = "info,fieldmesh=debug";

#[derive(clap::Args, Debug)]
pub(crate) struct RunArgs {
    /// Be a hub: always on, and counted as the durable copy
    #[arg(long)]
    hub: bool,
    /// A peer to dial, besides those of the configuration; may be repeated
    #[arg(long, value_name = "MULTIADDR")]
    peer: Vec<String>,
    /// Where to listen for peers, in place of the configuration's addresses; may be repeated
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<String>,
    /// Do not look for peers on the local network
    #[arg(long)]
    no_mdns: bool,
    /// What to log: error, warn, info, debug, trace, or a filter such as
    /// `info,fieldmesh=debug` [default: info]
    #[arg(long, value_name = "LEVEL", env = "FIELDMESH_LOG")]
    log: Option<String>,
    /// Traffic costs money: announce and ping less often, compress thoroughly
    #[arg(long)]
    metered: bool,
}

/// Runs the daemon until it is told to stop. `api` is the global `--api`: here, where to listen.
pub(crate) fn run(
    dir: &Path,
    api: Option<String>,
    verbose: bool,
    args: RunArgs,
) -> Result<Exit, Failure> {
    let level = args
        .log
        .as_deref()
        .unwrap_or(if verbose { VERBOSE } else { "info" });
    let filter = EnvFilter::try_new(level)
        .map_err(|error| Failure::usage(format!("--log {level:?}: {error}")))?;
    let flags = Flags {
        hub: args.hub.then_some(true),
        peers: args.peer,
        listen: args.listen,
        mdns: args.no_mdns.then_some(false),
        api,
        metered: args.metered.then_some(true),
    };
    let config = Config::load(dir, flags, |name| std::env::var(name).ok()).map_err(refused)?;

    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && !no_colour)
        .init();

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot start", &error))?;
    runtime.block_on(serve(&config))
}

/// Starts the node and its API, and runs both until a signal comes or the node breaks.
async fn serve(config: &Config) -> Result<Exit, Failure> {
    let not_started = |error: &dyn fmt::Display| {
        Failure::new(Exit::Failed, error).unchanged("the daemon was not started")
    };
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|error| Failure::io("SIGTERM", &error))?;
    let Node {
        handle,
        stop,
        mut task,
    } = node::start(config)
        .await
        .map_err(|error| not_started(&error))?;
    let (stop_api, api_stopped) = oneshot::channel::<()>();
    let api_config = ApiConfig {
        socket: config.dir.join(SOCKET_FILE),
        tcp: config.api_tcp,
        token: config.api_token.clone(),
    };
    let until_stopped = async {
        // A dropped sender says the same as a message: stop.
        let _ = api_stopped.await;
    };
    let api = api::serve(handle, api_config, until_stopped)
        .await
        .map_err(|error| not_started(&error))?;
    tracing::info!(address = ?api.tcp, "the API is served");
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!(%error, "cannot reach the service manager");
    }

    let ended = tokio::select! {
        _ = terminate.recv() => None,
        _ = tokio::signal::ctrl_c() => None,
        ended = &mut task => Some(ended),
    };
    tracing::info!("stopping");
    drop(stop_api);
    drop(stop);
    let ended = match ended {
        Some(ended) => ended,
        None => task.await,
    };
    api.stopped().await;
    match ended {
        Ok(Ok(())) => Ok(Exit::Done),
        Ok(Err(why)) => Err(Failure::new(Exit::Failed, why)),
        Err(panic) => Err(Failure::new(
            Exit::Failed,
            format!("the node's loop failed: {panic}"),
        )),
    }
}

fn refused(error: ConfigError) -> Failure {
    let failure = Failure::usage(&error).unchanged("the daemon was not started");
    match error {
        ConfigError::NotInitialised(dir) => {
            failure.next(format!("fieldmesh init --dir {}", dir.display()))
        }
        ConfigError::Read { .. } | ConfigError::File(_) | ConfigError::Setting { .. } => {
            failure.next("correct this and run the same command again")
        }
    }
}
