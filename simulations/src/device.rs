//! One device: the real engine over the real store, driven by hand.

use std::collections::VecDeque;
use std::sync::Arc;

use crdt_schema::ident::{DeviceId, OrganisationId};
use crdt_schema::schema::{CLINIC, Schema};
use ed25519_dalek::SigningKey;
use fieldmesh::engine::batch::{Batch, CommitReport, SchemaTag, SessionId};
use fieldmesh::engine::effect::Effect;
use fieldmesh::engine::fleet::Fleet;
use fieldmesh::engine::input::{Input, LocalResult, Now};
use fieldmesh::engine::{Engine, EngineConfig};
use fieldmesh::store::{Reader, Store, StoreOptions};
use fieldmesh::wire::chain::JoinSecret;

use crate::disk::Disk;
use crate::draw::Draw;

/// The organisation of every simulated fleet.
const ORGANISATION: OrganisationId = OrganisationId([7; 16]);

/// Something a device asks of the world.
#[derive(Debug)]
pub enum Ask {
    /// Deliver a frame to the other end of a session.
    Send(SessionId, Vec<u8>),
    /// End a session.
    Close(SessionId),
    /// A write has been answered.
    Answer(u64, LocalResult),
    /// Run the store: batches wait.
    Store,
}

/// A device that is switched on.
#[derive(Debug)]
pub struct Device {
    engine: Engine,
    store: Store,
    queue: Vec<Batch>,
    reads: VecDeque<Input>,
    fleet: Arc<Fleet>,
}

impl Device {
    /// Switches device `number` on over its disk. `life` counts the times it was switched on before.
    ///
    /// # Errors
    /// The store's reason in words: a store that does not open is a finding.
    pub fn start(number: usize, life: u64, disk: &Disk, draw: &Draw) -> Result<Self, String> {
        let key = signing_key(number);
        let schema = Schema::parse(CLINIC).map_err(|errors| errors.to_string())?;
        let tag = SchemaTag::of(&schema);
        let seed_number = number as u64 * 1000 + life;
        let mut new_store_id = [0; 16];
        new_store_id.copy_from_slice(&draw.bytes("store id", seed_number)[..16]);
        let options = StoreOptions {
            organisation: ORGANISATION,
            signer: key,
            schema: Arc::new(schema),
            schema_follow: true,
            cache_bytes: 4 << 20,
            new_store_id,
        };
        let store = Store::open(disk.clone(), options).map_err(|error| error.to_string())?;
        let opening = store.opening().map_err(|error| error.to_string())?;
        let config = EngineConfig {
            organisation: ORGANISATION,
            device: device_id(number),
            name: format!("device {number}"),
            hub: number == 0,
            join_secret: JoinSecret([9; 32]),
            schema: tag,
            metered: false,
        };
        let engine = Engine::new(config, opening, draw.bytes("engine", seed_number));
        let (queue, reads, fleet) = (Vec::new(), VecDeque::new(), Arc::default());
        Ok(Self {
            engine,
            store,
            queue,
            reads,
            fleet,
        })
    }

    /// Gives the engine an input and returns what it asks of the world.
    pub fn feed(&mut self, now: Now, input: Input) -> Vec<Ask> {
        let mut asks = Vec::new();
        self.engine.handle(now, input);
        loop {
            self.drain(&mut asks);
            let Some(read) = self.reads.pop_front() else {
                break;
            };
            self.engine.handle(now, read);
        }
        if let Some(fleet) = self.engine.fleet() {
            self.fleet = fleet;
        }
        asks
    }

    fn drain(&mut self, asks: &mut Vec<Ask>) {
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Commit(batch) => {
                    if self.queue.is_empty() {
                        asks.push(Ask::Store);
                    }
                    self.queue.push(batch);
                }
                Effect::Reply { request, result } => asks.push(Ask::Answer(request, result)),
                Effect::Publish { .. } => {}
                Effect::Send { session, frame } => asks.push(Ask::Send(session, frame)),
                Effect::Fetch {
                    session,
                    after,
                    known,
                    bytes_max,
                } => {
                    let result = self.store.reader().fetch(after, &known, bytes_max);
                    let result = result.map_err(|error| error.to_string());
                    self.reads.push_back(Input::Fetched { session, result });
                }
                Effect::Look {
                    session,
                    for_peer,
                    look,
                } => {
                    let result = self.store.reader().look(&look);
                    let result = result.map_err(|error| error.to_string());
                    self.reads.push_back(Input::Looked {
                        session,
                        for_peer,
                        result,
                    });
                }
                Effect::Close { session, .. } => asks.push(Ask::Close(session)),
            }
        }
    }

    /// Writes everything that waits, in one transaction.
    pub fn write(&mut self) -> CommitReport {
        self.store.commit(std::mem::take(&mut self.queue))
    }

    /// When the engine wants to be woken.
    pub fn deadline(&self) -> Option<u64> {
        self.engine.poll_timeout()
    }

    /// What is stored.
    pub fn reader(&self) -> Reader {
        self.store.reader()
    }

    /// What the engine knows of the others.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }
}

/// The identity of device `number`.
pub fn device_id(number: usize) -> DeviceId {
    DeviceId(signing_key(number).verifying_key().to_bytes())
}

fn signing_key(number: usize) -> SigningKey {
    SigningKey::from_bytes(&blake3::derive_key(
        "fieldmesh simulated device v1",
        &number.to_le_bytes(),
    ))
}
