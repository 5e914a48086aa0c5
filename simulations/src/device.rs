//! One device that is switched on: the real engine over the real store, driven by hand.
//!
//! What the engine asks for is handed to the world as [`Ask`]s, which decides how long each takes. A
//! transaction begins, ends and is reported at three different moments, and so does a read for a peer, so
//! a commit can happen during a read, and a kill between a commit and its report.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crdt_schema::ident::{DeviceId, OrganisationId};
use crdt_schema::schema::Schema;
use ed25519_dalek::SigningKey;
use fieldmesh::engine::batch::{
    Batch, CommitReport, Fetched, Held, Opening, SchemaInUse, SchemaTag, SessionId, Walk,
};
use fieldmesh::engine::effect::{CloseReason, Effect};
use fieldmesh::engine::fleet::Fleet;
use fieldmesh::engine::input::{Input, LocalResult, Now};
use fieldmesh::engine::{Engine, EngineConfig};
use fieldmesh::store::{Reader, Store, StoreError, StoreIdentity, StoreOptions, UseSchemaError};
use fieldmesh::wire::chain::JoinSecret;
use fieldmesh::wire::dictionary::Dictionary;

use crate::disk::SimDisk;
use crate::draw::key;
use crate::keep::Keep;
use crate::plan::Amid;
use crate::verified::{self, texts};

/// The organisation of every simulated fleet.
pub const ORGANISATION: OrganisationId = OrganisationId([7; 16]);
/// What its members share.
pub const SECRET: JoinSecret = JoinSecret([9; 32]);
/// Page cache of a simulated store.
const CACHE_BYTES: usize = 1 << 20;
/// An input with more effects has no end: looks are answered at once, and may ask for more looks.
const EFFECTS_MAX: u32 = 1_000_000;

/// A read that a session waits for.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// The session.
    pub session: SessionId,
    /// What to read.
    pub walk: Walk,
    /// What the peer holds or has been sent.
    pub known: Held,
    /// About how many entry bytes to read.
    pub bytes_max: usize,
}

/// Something that a device asks of the world.
#[derive(Debug)]
pub enum Ask {
    /// Deliver a frame to the other end of a session.
    Send(SessionId, Vec<u8>),
    /// End a session.
    Close(SessionId, CloseReason),
    /// A write has been answered.
    Answer(u64, LocalResult),
    /// Begin a transaction: batches wait and none is being written.
    Write,
    /// Read for a peer.
    Fetch(Fetch),
}

/// What a device is made of.
#[derive(Clone, Debug)]
pub struct Make {
    /// Its number.
    pub number: usize,
    /// Whether it counts as a durable copy.
    pub hub: bool,
    /// The schema that it uses.
    pub schema: Arc<Schema>,
    /// Names the store if it is made now.
    pub store_id: [u8; 16],
    /// The engine's randomness.
    pub seed: [u8; 32],
}

/// A device that is switched on.
#[derive(Debug)]
pub struct Device<S = Store> {
    engine: Engine,
    store: S,
    queue: VecDeque<Batch>,
    writing: Vec<Batch>,
    fleet: Arc<Fleet>,
    /// The schema that the engine was told of, if its store has one.
    told_schema: Option<SchemaTag>,
    /// The schema that was in use when it was last asked for news: to work out a tag is to hash the text.
    seen_schema: Option<Arc<Schema>>,
    /// Whether anybody reads `fleet`. The engine copies what it knows whenever it changes after it was read.
    is_watched: bool,
}

/// A store that has been opened and not been trusted yet.
#[derive(Debug)]
pub struct Opened {
    store: Store,
}

impl Opened {
    /// Opens the store on `disk`.
    ///
    /// # Errors
    /// The store's.
    pub fn open(make: &Make, disk: &SimDisk) -> Result<Self, StoreError> {
        let options = StoreOptions {
            organisation: ORGANISATION,
            signer: signing_key(make.number),
            schema: Arc::clone(&make.schema),
            cache_bytes: CACHE_BYTES,
            new_store_id: make.store_id,
            schema_follow: true,
        };
        let disk = disk.clone();
        let store = Store::open_reading(move || Ok(disk.clone()), options, texts::read)?;
        Ok(Self { store })
    }

    /// Which store it is, and how old.
    ///
    /// # Errors
    /// The store's.
    pub fn identity(&self) -> Result<StoreIdentity, StoreError> {
        self.store.identity()
    }

    /// The store is not the one that was last written: it begins new logs.
    ///
    /// # Errors
    /// The store's.
    pub fn begin_incarnation(&mut self) -> Result<(), StoreError> {
        self.store.begin_incarnation()
    }

    /// Starts the engine. Also gives what the store held.
    ///
    /// # Errors
    /// The store's.
    pub fn start(self, make: &Make) -> Result<(Device, Opening), StoreError> {
        let opening = self.store.opening()?;
        let schema = self.store.reader().schemas().in_use();
        let mut engine = engine(
            make.number,
            make.hub,
            schema.clone(),
            opening.clone(),
            make.seed,
        );
        let fleet = engine.fleet().unwrap_or_default();
        let mut device = Device::unwatched(engine, self.store);
        (device.fleet, device.is_watched) = (fleet, true);
        device.told_schema = Some(schema.tag);
        Ok((device, opening))
    }
}

impl<S: Keep> Device<S> {
    /// A device whose knowledge of the others nobody reads.
    pub fn unwatched(engine: Engine, store: S) -> Self {
        Self {
            engine,
            store,
            queue: VecDeque::new(),
            writing: Vec::new(),
            fleet: Arc::default(),
            is_watched: false,
            told_schema: None,
            seen_schema: None,
        }
    }

    /// Its store. The process is gone.
    pub fn into_store(self) -> S {
        self.store
    }

    /// Its store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Gives the engine an input and returns what it asks of the world.
    pub fn feed(&mut self, now: Now, input: Input) -> Vec<Ask> {
        self.engine.handle(now, input);
        let mut asks = Vec::new();
        let mut effects = 0;
        while let Some(effect) = self.engine.poll_effect() {
            effects += 1;
            assert!(
                effects <= EFFECTS_MAX,
                "one input had more than {EFFECTS_MAX} effects"
            );
            match effect {
                Effect::Look {
                    session,
                    for_peer,
                    look,
                } => {
                    let result = self.store.look(&look);
                    let looked = Input::Looked {
                        session,
                        for_peer,
                        result,
                    };
                    self.engine.handle(now, looked);
                }
                Effect::Commit(batch) => {
                    if self.queue.is_empty() && self.writing.is_empty() {
                        asks.push(Ask::Write);
                    }
                    self.queue.push_back(batch);
                }
                Effect::Reply { request, result } => asks.push(Ask::Answer(request, result)),
                Effect::Publish { .. } => {}
                Effect::Send { session, frame } => asks.push(Ask::Send(session, frame)),
                Effect::Fetch {
                    session,
                    walk,
                    known,
                    bytes_max,
                } => asks.push(Ask::Fetch(Fetch {
                    session,
                    walk,
                    known,
                    bytes_max,
                })),
                Effect::Close { session, reason } => asks.push(Ask::Close(session, reason)),
            }
        }
        if self.is_watched
            && let Some(fleet) = self.engine.fleet()
        {
            self.fleet = fleet;
        }
        asks
    }

    /// Takes up to `group` of the batches that wait into the next transaction.
    pub fn begin_write(&mut self, group: usize) {
        let count = group.min(self.queue.len());
        self.writing = self.queue.drain(..count).collect();
    }

    /// Commits the transaction that was begun.
    pub fn commit(&mut self) -> CommitReport {
        self.store.commit(std::mem::take(&mut self.writing))
    }

    /// Whether the commit that was begun is such a transaction. A repair among others is one of several.
    pub fn is_writing(&self, amid: Amid) -> bool {
        let has = |is: fn(&Batch) -> bool| self.writing.iter().any(is);
        let has_repair = has(|batch| matches!(batch, Batch::Repair(..)));
        match amid {
            Amid::Own => !has_repair && has(|batch| matches!(batch, Batch::Local(_))),
            Amid::Peers => !has_repair && has(|batch| matches!(batch, Batch::Remote { .. })),
            Amid::Repair => has_repair && self.writing.len() == 1,
        }
    }

    /// Whether batches wait for a transaction.
    pub fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether nothing waits to be written.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.writing.is_empty()
    }

    /// Reads for a peer.
    pub fn read(&self, fetch: &Fetch, bytes_max: usize) -> Result<Fetched, String> {
        self.store.fetch(&fetch.walk, &fetch.known, bytes_max)
    }

    /// When the engine wants to be woken.
    pub fn deadline(&self) -> Option<u64> {
        self.engine.poll_timeout()
    }
}

impl Device {
    /// Uses another known version of the schema.
    ///
    /// # Errors
    /// Why nothing has changed.
    pub fn use_schema(&mut self, version: u32) -> Result<(), UseSchemaError> {
        self.store.use_schema(version)
    }

    /// What the engine must be told if the schema in use has changed since it was last told.
    pub fn schema_news(&mut self) -> Option<Input> {
        let schemas = self.store.reader().schemas();
        let seen = self.seen_schema.replace(Arc::clone(&schemas.active));
        if seen.is_some_and(|seen| Arc::ptr_eq(&seen, &schemas.active)) {
            return None;
        }
        let tag = schemas.tag();
        let is_news = self.told_schema.as_ref() != Some(&tag);
        is_news.then(|| {
            self.told_schema = Some(tag);
            Input::Schema(schemas.in_use())
        })
    }

    /// Whether views remain to be derived anew.
    pub fn needs_refresh(&self) -> bool {
        self.store.needs_refresh()
    }

    /// Derives up to `limit` views anew. Returns whether more remain.
    ///
    /// # Errors
    /// The store's; the same step can be tried again.
    pub fn refresh(&mut self, limit: usize) -> Result<bool, StoreError> {
        self.store.refresh(limit)
    }

    /// What DATA of a session is compressed with.
    pub fn dictionary(&self, session: SessionId) -> Option<&Dictionary> {
        self.engine.dictionary(session)
    }

    /// What is stored.
    pub fn reader(&self) -> Reader {
        self.store.reader()
    }

    /// Which store it is, and how old.
    ///
    /// # Errors
    /// The store's.
    pub fn identity(&self) -> Result<StoreIdentity, StoreError> {
        self.store.identity()
    }

    /// What the engine knows of the others.
    pub fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }
}

/// The engine of device `number`.
pub fn engine(
    number: usize,
    hub: bool,
    schema: SchemaInUse,
    opening: Opening,
    seed: [u8; 32],
) -> Engine {
    let config = EngineConfig {
        organisation: ORGANISATION,
        device: device_id(number),
        name: format!("device {number}"),
        hub,
        join_secret: SECRET,
        schema,
        metered: false,
    };
    Engine::new(config, opening, seed)
        .with_point_check(verified::check)
        .with_entry_reader(verified::read)
}

/// Keys the draws of what happens to a device at a moment.
pub fn case_of(number: usize, at_ms: u64) -> u64 {
    key(&[number as u64, at_ms])
}

/// The identity of device `number`.
pub fn device_id(number: usize) -> DeviceId {
    with_key(number, |key| DeviceId(key.verifying_key().to_bytes()))
}

thread_local! {
    /// The keys that were asked for: to derive one costs as much as to sign with it, and devices are asked for
    /// their names all the time.
    static KEYS: RefCell<BTreeMap<usize, SigningKey>> = RefCell::default();
}

/// The key of device `number`.
pub fn signing_key(number: usize) -> SigningKey {
    with_key(number, SigningKey::clone)
}

fn with_key<T>(number: usize, read: impl FnOnce(&SigningKey) -> T) -> T {
    KEYS.with_borrow_mut(|keys| {
        read(keys.entry(number).or_insert_with(|| {
            SigningKey::from_bytes(&blake3::derive_key(
                "fieldmesh simulated device v1",
                &(number as u64).to_le_bytes(),
            ))
        }))
    })
}
