//! A device's place in the world at scale, and what a person asks of it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crdt_schema::ident::{DeviceId, SpaceName};
use crdt_schema::resolution::Review;
use crdt_schema::schema::Schema;
use ed25519_dalek::SigningKey;
use fieldmesh::engine::batch::planned::etag;
use fieldmesh::engine::batch::{CommitReport, Idempotency, LocalEdit, SchemaInUse, WriteMode};
use fieldmesh::engine::input::LocalWrite;

use super::author::shown;
use super::pool::{RecordName, SharedPool};
use super::store::MemoryStore;
use super::world::Active;
use crate::clock::Clock;
use crate::device::{Device, case_of, engine, signing_key};
use crate::draw::Draw;
use crate::holding::Holding;
use crate::plan::{DeviceSpec, EditSpec, Role};
use crate::world::act::answer;

/// A device that may be on or off.
pub(super) struct Seat {
    pub(super) spec: DeviceSpec,
    key: SigningKey,
    pub(super) id: DeviceId,
    pub(super) device: Option<Device<MemoryStore>>,
    /// What it keeps while it is off.
    store: Option<MemoryStore>,
    pub(super) clock: Clock,
    /// How often it was switched off: events for an earlier life are void.
    pub(super) life: u64,
    /// It will not come back.
    pub(super) is_gone: bool,
    /// Transactions that are durable and not reported, oldest first.
    pub(super) unreported: VecDeque<CommitReport>,
    /// When the engine will be woken, if an event for it waits.
    pub(super) wake_ms: Option<u64>,
    /// Its contacts that are active.
    pub(super) active: Active,
    /// Its connections.
    pub(super) wires: BTreeSet<u64>,
    pub(super) sent_bytes: u64,
}

impl Seat {
    pub(super) fn new(spec: DeviceSpec) -> Self {
        let key = signing_key(spec.device);
        Self {
            clock: Clock::new(spec.clock),
            id: DeviceId(key.verifying_key().to_bytes()),
            key,
            device: None,
            store: None,
            life: 0,
            is_gone: false,
            unreported: VecDeque::new(),
            wake_ms: None,
            active: Active::new(),
            wires: BTreeSet::new(),
            sent_bytes: 0,
            spec,
        }
    }

    /// Starts the engine over what the store holds.
    pub(super) fn start(
        &mut self,
        now_ms: u64,
        pool: &SharedPool,
        schema: &Arc<Schema>,
        draw: &Draw,
    ) {
        let new = || MemoryStore::new(pool.clone(), schema.clone(), self.key.clone());
        let store = self.store.take().unwrap_or_else(new);
        let number = self.spec.device;
        let seed = draw.bytes("engine", case_of(number, now_ms));
        let is_hub = self.spec.role == Role::Hub;
        let schema = SchemaInUse::of(schema);
        let engine = engine(number, is_hub, schema, store.opening(), seed);
        self.clock.start(now_ms);
        self.device = Some(Device::unwatched(engine, store));
    }

    /// The process is gone; what it had committed is not.
    pub(super) fn end_process(&mut self) {
        self.life += 1;
        self.store = self.device.take().map(Device::into_store);
        self.unreported.clear();
        self.wake_ms = None;
    }
}

/// What a person writes, as far as the schema has it; `None` if it has none of it.
pub(super) fn write(
    schema: &Schema,
    request: u64,
    edits: &[EditSpec],
    key: Option<&String>,
    mode: WriteMode,
) -> Option<LocalWrite> {
    let edits = edits.iter();
    let edits: Vec<LocalEdit> = edits
        .filter_map(|edit| edit.local_edit(schema, mode))
        .collect();
    (!edits.is_empty()).then(|| LocalWrite {
        request,
        space: SpaceName::default(),
        person: String::new(),
        schema_version: schema.version,
        idempotency: key.map(|key| Idempotency {
            key: key.clone(),
            fingerprint: *blake3::hash(format!("{edits:?}").as_bytes()).as_bytes(),
        }),
        edits,
    })
}

impl MemoryStore {
    /// What it holds and shows.
    pub(super) fn holding(&self) -> Result<Holding, String> {
        let pool = &mut *self.pool.borrow_mut();
        let mut holding = Holding {
            held: Default::default(),
            shown: Default::default(),
        };
        for name in pool.records() {
            let doc = pool.document(&name, |log| self.seq(log));
            let doc = doc.map_err(|error| format!("{name:?}: {error}"))?;
            let collection = self.schema.collection(&name.0);
            if let Some(collection) = collection.filter(|_| !doc.is_empty()) {
                let view = shown(&doc, collection, &name.1);
                holding.shown.insert(name, view);
            }
        }
        holding.held = (0..pool.len() as u32)
            .map(|number| (pool.log(number).header.log, self.seq(number)))
            .filter(|(_, seq)| *seq > 0)
            .collect();
        Ok(holding)
    }

    /// The answer of a device's people to one of the open reviews, if their role may give it.
    pub(super) fn answer_review(
        &self,
        spec: &DeviceSpec,
        request: u64,
        place: u64,
        choice: u64,
    ) -> Option<LocalWrite> {
        let shown = self.holding().ok()?.shown;
        let mut open: Vec<(&RecordName, &Review)> = shown
            .iter()
            .flat_map(|(name, view)| view.reviews.iter().map(move |review| (name, review)))
            .collect();
        open.sort_by_key(|(_, review)| &review.id.0);
        let count = open.len() as u64;
        let (name, review) = *open.get(place.checked_rem(count)? as usize)?;
        if !spec.may_answer(&self.schema, &name.0, &review.subject) {
            return None;
        }
        let edit = LocalEdit {
            collection: name.0.clone(),
            id: name.1.clone(),
            mode: WriteMode::Update,
            if_match: Some(etag(&shown[name].heads)),
            ops: vec![answer(review, choice)?],
        };
        Some(LocalWrite {
            request,
            space: SpaceName::default(),
            person: String::new(),
            schema_version: self.schema.version,
            edits: vec![edit],
            idempotency: None,
        })
    }
}
