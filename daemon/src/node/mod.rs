//! The node: the one loop that joins the engine, the store, the network and the clock.
//!
//! The engine decides, everything else carries out. The loop's order within a turn is fixed: the order to
//! stop, the watchdog and due timers, then finished commits (they free waiting clients), then fetches, then
//! local commands, then the network, so local work goes before remote work. After every input the engine's
//! effects are drained to the last one before the next input is taken.
//!
//! The loop never blocks: the store writes on a thread of its own ([`writer`]), reads for peers run on
//! blocking tasks, and the network is a task behind bounded channels.

mod clock;
pub mod handle;
pub mod offline;
mod runtime;
mod witness;
mod writer;

use std::path::Path;
use std::sync::Arc;

use crdt_schema::ident::DeviceId;
use crdt_schema::schema::Schema;
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::{Config, KEY_FILE, STORE_FILE};
use crate::engine::{Engine, EngineConfig};
use crate::net::identity::{Identity, IdentityError};
use crate::net::{self, NetConfig, NetError};
use crate::store::{Store, StoreError, StoreOptions};
use crate::wire::chain::JoinSecret;

use clock::Clock;
use handle::{Command, Handle, NetReport, NodeFacts};
use runtime::Runtime;
use witness::Witness;
use writer::Writer;

/// How many commands may wait for the loop; one more is told that the daemon is busy.
const COMMANDS_MAX: usize = 1024;

/// The store's page cache: small, because phones are, and the system caches the file as well.
const CACHE_BYTES: usize = 16 << 20;

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The device's key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A file beside the store, or the system's randomness.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    /// The way in for the API.
    pub handle: Handle,
    /// Tells the loop to stop; dropping it does so too.
    pub stop: oneshot::Sender<()>,
    /// Ends when the loop has ended. `Err` says what broke.
    pub task: tokio::task::JoinHandle<Result<(), String>>,
}

/// Opens the store, binds the network and starts the loop.
///
/// # Errors
/// Nothing is left running after an error.
pub async fn start(config: &Config) -> Result<Node, NodeError> {
    let identity = Identity::load_or_create(&config.dir.join(KEY_FILE))?;
    let device = identity.device();
    offline::remove_copies(&config.dir);
    let mut store = tokio::task::block_in_place(|| open_store(config, &identity))?;
    let witness = reconcile_witness(&mut store, &config.dir, &config.dir.join(STORE_FILE))?;
    let opening = store.opening()?;
    let arrival = opening.arrival;
    let reader = store.reader();

    let net_config = NetConfig {
        listen: config.listen.clone(),
        peers: config.peers.clone(),
        mdns: config.mdns,
        metered: config.metered,
    };
    let peer_id = identity.peer_id().to_string();
    let (net, listening) = net::start(&identity, net_config).await?;
    let listening: Vec<String> = listening.iter().map(ToString::to_string).collect();
    tracing::info!(%device, ?listening, "node started");

    let engine_config = EngineConfig {
        organisation: config.organisation,
        device,
        name: config.name.clone(),
        hub: config.hub,
        join_secret: JoinSecret(config.join_secret),
        schema: reader.schemas().in_use(),
        metered: config.metered,
    };
    let mut engine = Engine::new(engine_config, opening, random("seeding the engine")?);
    let clock = Clock::start();
    let (writer, reports) = Writer::start(store, witness).map_err(|source| NodeError::System {
        what: "starting the store's writer thread".to_owned(),
        source,
    })?;
    let (command_sender, commands) = mpsc::channel(COMMANDS_MAX);
    let fleet = watch::channel(engine.fleet().unwrap_or_default());
    let net_status = watch::channel(Arc::new(NetReport {
        listening,
        ..NetReport::default()
    }));
    let arrivals = watch::channel(arrival);
    let handle = Handle {
        commands: command_sender,
        reader: reader.clone(),
        facts: Arc::new(facts(config, device, peer_id)),
        fleet: fleet.1,
        net: net_status.1,
        arrival: arrivals.1,
    };
    publish_own(&handle)?;
    let (stop, stopped) = oneshot::channel();
    let runtime = Runtime::new(runtime::Parts {
        engine,
        clock,
        writer,
        reports,
        reader,
        commands,
        net,
        fleet: fleet.0,
        net_status: net_status.0,
        arrivals: arrivals.0,
    });
    let task = tokio::spawn(runtime.run(stopped));
    Ok(Node { handle, stop, task })
}

/// Publishes the versions up to the one in use that others may need, before anything is written under it. The
/// first version needs it only once there is a second: every device has it.
fn publish_own(handle: &Handle) -> Result<(), NodeError> {
    let state = handle.reader().schemas();
    let active = state.active.version;
    if active == 1 || !state.unpublished().contains(&active) {
        return Ok(());
    }
    for version in state.unpublished() {
        let text = handle.reader().schema_text(version)?.unwrap_or_default();
        match Schema::parse(&text) {
            Ok(schema) => {
                tracing::info!(version, "publishing this device's schema");
                let write = handle::publication(&schema, String::new(), active);
                // It is the first command, so there is room, and nobody waits for its outcome.
                let (unheard, _) = oneshot::channel();
                let sent = handle.commands.try_send(Command::Write(write, unheard));
                if let Err(error) = sent {
                    tracing::error!(version, %error, "this device's schema is not published");
                }
            }
            Err(error) => {
                let error = error.to_string();
                tracing::warn!(version, error, "an old schema cannot be published");
            }
        }
    }
    Ok(())
}

/// Opens the device's store.
fn open_store(config: &Config, identity: &Identity) -> Result<Store, NodeError> {
    let options = StoreOptions {
        organisation: config.organisation,
        signer: identity.signing_key().clone(),
        schema: Arc::new(config.schema.clone()),
        schema_follow: config.schema_follow,
        cache_bytes: CACHE_BYTES,
        new_store_id: random("drawing a store id")?,
    };
    Ok(Store::open_file(&config.dir.join(STORE_FILE), options)?)
}

fn facts(config: &Config, device: DeviceId, peer_id: String) -> NodeFacts {
    NodeFacts {
        organisation: config.organisation,
        device,
        dir: config.dir.clone(),
        name: config.name.clone(),
        hub: config.hub,
        role: config.role.clone(),
        peer_id,
    }
}

fn random<const N: usize>(what: &str) -> Result<[u8; N], NodeError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| NodeError::System {
        what: what.to_owned(),
        source: error.into(),
    })?;
    Ok(bytes)
}

/// Compares the store with the witness beside it. A store that went back in time, or that was copied from
/// elsewhere, gets new logs: writing on in the old ones would give two histories the same positions.
fn reconcile_witness(store: &mut Store, dir: &Path, file: &Path) -> Result<Witness, NodeError> {
    let witness = Witness::of(dir, file).map_err(|source| NodeError::System {
        what: format!("reading {}", file.display()),
        source,
    })?;
    let identity = store.identity()?;
    if let Some(doubt) = witness.doubt(identity) {
        tracing::warn!(
            doubt,
            "the store is not the one last written here: beginning new logs"
        );
        store.begin_incarnation()?;
    }
    witness
        .record(store.identity()?)
        .map_err(|source| NodeError::System {
            what: format!("writing {}", witness.path().display()),
            source,
        })?;
    Ok(witness)
}
