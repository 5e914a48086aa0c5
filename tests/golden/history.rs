//! The history behind the golden store: three devices, two versions of the schema, and every kind of record.
//!
//! Times and names are fixed, so writing the set twice gives the same change sets.

use std::path::Path;
use std::sync::Arc;

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{DeviceId, OrganisationId, SpaceName};
use crdt_schema::intent::ops_from_patch;
use crdt_schema::op::Op;
use crdt_schema::schema::{PUBLISHED, Schema, publication_id, publication_ops};
use crdt_schema::value::Value;
use ed25519_dalek::SigningKey;
use fieldmesh::engine::batch::{
    Batch, Checkpoint, Checkpoints, CommitOutcome, Held, Idempotency, LocalCommit, LocalEdit,
    LogHeader, PeerRow, Rejection, SchemaTag, VerifiedRun, Walk, WriteMode,
};
use fieldmesh::store::{Store, StoreOptions};
use fieldmesh::wire::chain::{JoinSecret, chain_next, chain_start, log_id, organisation_tag};
use fieldmesh::wire::changeset::decode_change_set;
use fieldmesh::wire::message::{FrontRow, Hello, Message, PROTOCOL_VERSION, SpaceRoot};
use serde_json::{Value as Json, json};

const ORGANISATION: OrganisationId = OrganisationId([9; 16]);
const SECRET: JoinSecret = JoinSecret([3; 32]);
const SCHEMA_1: &str = include_str!("format-1/schema-1.toml");
const SCHEMA_2: &str = include_str!("format-1/schema-2.toml");
const START_MS: u64 = 1_790_000_000_000;
/// The place and time of the write that is retried.
const RETRIED_MS: u64 = START_MS + 500_000;

fn schema(text: &str) -> Arc<Schema> {
    Arc::new(Schema::parse(text).unwrap_or_else(|errors| panic!("{errors}")))
}

fn signer(device: u8) -> SigningKey {
    SigningKey::from_bytes(&[device; 32])
}

fn device_id(device: u8) -> DeviceId {
    DeviceId(signer(device).verifying_key().to_bytes())
}

/// How device `device` opens its store.
pub(super) fn options(device: u8) -> StoreOptions {
    StoreOptions {
        organisation: ORGANISATION,
        signer: signer(device),
        schema: schema(SCHEMA_1),
        schema_follow: true,
        cache_bytes: 4 << 20,
        new_store_id: [device; 16],
    }
}

struct Device {
    store: Store,
    number: u8,
    clock_ms: u64,
}

fn header(number: u8, space: &str) -> LogHeader {
    let (space, device) = (SpaceName::new(space).expect("a space"), device_id(number));
    let name = format!("tablet {number}");
    let log = log_id([number; 8], &space, &device, &name);
    LogHeader {
        log,
        space,
        device,
        name,
        branch_of: None,
    }
}

fn edit(collection: &str, id: &str, ops: Vec<Op>) -> LocalEdit {
    LocalEdit {
        collection: collection.to_owned(),
        id: id.to_owned(),
        mode: WriteMode::Upsert,
        if_match: None,
        ops,
    }
}

fn commit_of(store: &Store, log: LogHeader, at_ms: u64, edits: Vec<LocalEdit>) -> LocalCommit {
    LocalCommit {
        request: 1,
        log,
        hlc: Timestamp::from_ms(at_ms),
        unix_ms: at_ms,
        person: "Amina".to_owned(),
        schema_version: store.reader().schema().version,
        edits,
        idempotency: None,
        answering: None,
    }
}

fn commit(store: &mut Store, commit: LocalCommit) -> Result<CommitOutcome, Rejection> {
    store.commit(vec![Batch::Local(commit)]).local.remove(0).1
}

impl Device {
    fn new(number: u8, path: &Path) -> Self {
        let store = Store::open_file(path, options(number)).expect("a new store");
        let clock_ms = START_MS + u64::from(number);
        Self {
            store,
            number,
            clock_ms,
        }
    }

    fn write_in(&mut self, space: &str, edits: Vec<LocalEdit>) {
        self.clock_ms += 10_000;
        let log = header(self.number, space);
        let write = commit_of(&self.store, log, self.clock_ms, edits);
        commit(&mut self.store, write).unwrap_or_else(|why| panic!("{why}"));
    }

    fn ops(&mut self, collection: &str, id: &str, ops: Vec<Op>) {
        self.write_in("main", vec![edit(collection, id, ops)]);
    }

    /// Writes fields as a client's body names them.
    fn put(&mut self, collection: &str, id: &str, fields: Json) {
        let schema = self.store.reader().schema();
        let known = schema.collection(collection).expect("a collection");
        let fields = fields.as_object().expect("an object");
        let ops = ops_from_patch(known, fields).unwrap_or_else(|errors| panic!("{errors:?}"));
        self.ops(collection, id, ops);
    }

    fn delete(&mut self, collection: &str, id: &str) {
        let reason = "entered twice".to_owned();
        self.ops(collection, id, vec![Op::Delete { reason }]);
    }

    /// Takes what the other holds and this one lacks, verified as the engine would.
    fn pull(&mut self, other: &Self) {
        let opening = self.store.opening().expect("a read");
        let ends = opening.frontier.iter().map(|row| (row.header.log, row));
        let ends: std::collections::BTreeMap<_, _> = ends.collect();
        let held: Held = ends.iter().map(|(log, row)| (*log, row.seq)).collect();
        let fetched = other
            .store
            .reader()
            .fetch(&Walk::default(), &held, usize::MAX)
            .expect("a fetch");
        let mut chains = std::collections::BTreeMap::new();
        let verify = |run: &fieldmesh::engine::batch::Run| {
            let log = run.header.log;
            let begin = || match ends.get(&log) {
                Some(row) => row.chain,
                None => chain_start(&ORGANISATION, &run.header),
            };
            let start = *chains.entry(log).or_insert_with(begin);
            let chain = run
                .entries
                .iter()
                .fold(start, |chain, entry| chain_next(&chain, entry));
            chains.insert(log, chain);
            let sets = run
                .entries
                .iter()
                .map(|entry| Arc::new(decode_change_set(entry).expect("a change set")));
            VerifiedRun {
                sets: sets.collect(),
                chain,
                run: run.clone(),
            }
        };
        let runs = fetched.runs.iter().map(verify).collect();
        let report = self.store.commit(vec![Batch::Remote { batch: 1, runs }]);
        assert_eq!(report.remote[0].result, Ok(()));
        self.clock_ms = self.clock_ms.max(other.clock_ms) + u64::from(self.number);
    }
}

/// Plays the history with the first device's store at `path`.
pub(super) fn make(path: &Path) -> Store {
    let folder = path.parent().expect("a path in a folder");
    let [mut a, mut b, mut c] = [
        Device::new(1, path),
        Device::new(2, &folder.join("second.redb")),
        Device::new(3, &folder.join("third.redb")),
    ];
    first_version(&mut a);
    b.pull(&a);
    c.pull(&a);
    concurrently(&mut a, &mut b, &mut c);
    meet(&mut a, &mut b, &mut c);
    answer(&mut a);
    let source = SCHEMA_2;
    let id = publication_id("golden", 2);
    a.ops(PUBLISHED, &id, publication_ops(source));
    assert_eq!(a.store.reader().schemas().held_back, None);
    a.put(
        "patient",
        "both-versions",
        json!({"name": "Atieno", "fever_c": 38.5, "given": "Atieno", "phone": "0700"}),
    );
    c.put(
        "patient",
        "old-version",
        json!({"name": "Wekesa", "fever_f": 104, "full_name": "Wekesa Barasa"}),
    );
    meet(&mut a, &mut b, &mut c);
    remember(&mut a);
    a.store
}

fn meet(a: &mut Device, b: &mut Device, c: &mut Device) {
    a.pull(b);
    a.pull(c);
    b.pull(a);
    c.pull(a);
}

/// Every type of field, by one device alone.
fn first_version(a: &mut Device) {
    for (id, name) in [
        ("kisumu", "Kisumu"),
        ("siaya", "Siaya"),
        ("gone", "Gone"),
        ("held", "Held"),
    ] {
        let more = json!({"words": [name, null, 1.5, true], "deep": {"é": "\u{1f9a0}"}});
        a.put(
            "place",
            id,
            json!({"name": name, "lat": -0.1, "more": more}),
        );
    }
    for id in ["p1", "p2", "p3", "p4", "p5", "p6"] {
        a.put(
            "patient",
            id,
            json!({
                "name": format!("Patient {id}"), "diagnosis": "malaria", "born": "1990-01-02", "weight": 61.25,
                "stage": "new", "alive": true, "allergies": ["penicillin", "peanuts"], "village": "kisumu",
                "fever_f": 101.3, "full_name": "Achieng Otieno"
            }),
        );
    }
    let add = |delta| Op::Add {
        key: "visits".to_owned(),
        delta,
    };
    a.ops("patient", "p1", vec![add(3)]);
    a.put(
        "visit",
        "v1",
        json!({"patient": "p1", "at": "2026-11-21T08:00:00Z", "place": "gone", "temp_c": 38.9}),
    );
    a.put(
        "visit",
        "v2",
        json!({"patient": "p4", "at": "2026-11-21T09:00:00.25Z", "pulse": 260}),
    );
    for id in ["seen", "unseen"] {
        a.put("visit", id, json!({"patient": "p2", "pulse": 260}));
    }
    a.put("room", "r1", json!({"place": "held"}));
    a.write_in(
        "clinic/kisumu",
        vec![edit("place", "elsewhere", vec![text("name", "Elsewhere")])],
    );
    a.put("patient", "p6", json!({"village": "nowhere"}));
}

fn text(key: &str, value: &str) -> Op {
    let value = Value::Text(value.to_owned());
    Op::Set {
        key: key.to_owned(),
        value,
    }
}

/// What nobody agrees on: every policy gets something to decide.
fn concurrently(a: &mut Device, b: &mut Device, c: &mut Device) {
    a.put("patient", "p1", json!({"name": "Achieng", "born": "1990-02-01", "weight": 60, "stage": "treated", "alive": null}));
    b.put(
        "patient",
        "p1",
        json!({"name": "Akinyi", "born": "1989-12-31", "weight": 64.5, "stage": "closed"}),
    );
    c.put("patient", "p1", json!({"diagnosis": "typhoid", "allergies": {"$remove": ["peanuts"], "$insert": ["latex"]}}));
    a.put("patient", "p2", json!({"diagnosis": "cholera"}));
    b.put("patient", "p2", json!({"diagnosis": "typhoid"}));
    for device in [&mut *b, &mut *c] {
        device.ops(
            "patient",
            "p1",
            vec![Op::Add {
                key: "visits".to_owned(),
                delta: -2,
            }],
        );
    }
    a.delete("patient", "p3");
    b.put("patient", "p3", json!({"weight": 70}));
    c.delete("patient", "p4");
    c.delete("place", "gone");
    b.put("place", "gone", json!({"lat": 1}));
    c.delete("place", "siaya");
    a.put("patient", "p5", json!({"village": "siaya"}));
    b.delete("visit", "v1");
    c.put("visit", "v1", json!({"temp_c": 41.5}));
    b.put("room", "r2", json!({"place": "kisumu"}));
}

/// Answers the review of a name, lets another stand, and takes a delete back.
fn answer(a: &mut Device) {
    let note = "seen the card".to_owned();
    let value = Value::Text("Achieng Akinyi".to_owned());
    a.ops(
        "patient",
        "p1",
        vec![Op::Resolve {
            key: "name".to_owned(),
            value,
            note: note.clone(),
        }],
    );
    let open = a.store.reader().reviews().expect("a read");
    let of_visit = open.iter().find(|(key, _)| key.id == "seen");
    let (key, review) = of_visit.expect("its pulse is not likely");
    let accept = Op::Accept {
        review: review.id.0.clone(),
        note,
    };
    a.ops("visit", &key.id, vec![accept]);
    a.ops(
        "place",
        "siaya",
        vec![Op::Restore {
            reason: "it is there".to_owned(),
        }],
    );
    a.delete("place", "siaya");
}

fn retried(store: &Store) -> LocalCommit {
    let edits = vec![edit("place", "retried", vec![text("name", "Retried")])];
    let mut write = commit_of(store, header(1, "main"), RETRIED_MS, edits);
    let key = "a client's key".to_owned();
    write.idempotency = Some(Idempotency {
        key,
        fingerprint: [5; 32],
    });
    write
}

/// A write that a client may retry, and a peer with checkpoints.
fn remember(a: &mut Device) {
    let write = retried(&a.store);
    commit(&mut a.store, write).expect("a write");
    let held = a.store.opening().expect("a read").frontier;
    let held: Held = held
        .into_iter()
        .map(|row| (row.header.log, row.seq))
        .collect();
    let checkpoint = Checkpoint {
        id: [7; 8],
        arrival: 12,
        rows: held.clone(),
    };
    let checkpoints = Checkpoints {
        agreed: Some(checkpoint.clone()),
        tentative: Some(Checkpoint {
            id: [8; 8],
            ..checkpoint
        }),
    };
    let peer = PeerRow {
        device: device_id(2),
        name: "tablet 2".to_owned(),
        hub: true,
        last_seen_ms: RETRIED_MS,
        held,
        checkpoints,
    };
    a.store.commit(vec![Batch::Peer(peer)]);
}

/// Asks again for the write that [`make`] had answered.
pub(super) fn retry(store: &mut Store) -> Result<CommitOutcome, Rejection> {
    let write = retried(store);
    commit(store, write)
}

/// Goes on where the store stopped.
pub(super) fn write_one_more(store: &mut Store) -> Result<CommitOutcome, Rejection> {
    let edits = vec![edit("patient", "p1", vec![text("name", "Later")])];
    let write = commit_of(store, header(1, "main"), RETRIED_MS + 1_000_000, edits);
    commit(store, write)
}

/// One message of every kind, in the order of a session, with everything that the store holds.
pub(super) fn conversation(store: &Store) -> Vec<Message> {
    let fetched = store
        .reader()
        .fetch(&Walk::default(), &Held::new(), usize::MAX)
        .expect("a fetch");
    let mut said = opening_messages(store);
    // Two to a message, so that the stream's memory is part of what is kept.
    said.extend(
        fetched
            .runs
            .chunks(2)
            .map(|runs| Message::Data(runs.to_vec())),
    );
    let first = fetched
        .runs
        .first()
        .expect("the store holds something")
        .clone();
    let (log, last) = (first.header.log, first.last());
    said.extend([
        Message::Ack(vec![(log, last)]),
        Message::Want,
        Message::Mark([7; 8]),
        Message::Hold,
        Message::Ask { log, from: 1 },
        Message::Given {
            log,
            run: Some(first),
        },
        Message::Given { log, run: None },
        Message::Probe {
            log,
            seqs: vec![1, last],
        },
        Message::Tags {
            log,
            rows: vec![(1, [1; 8]), (last, [2; 8])],
        },
        Message::Bye {
            code: "timeout".to_owned(),
            text: "peer did not answer in time".to_owned(),
        },
    ]);
    said
}

fn opening_messages(store: &Store) -> Vec<Message> {
    let opening = store.opening().expect("a read");
    let mut rows: Vec<FrontRow> = opening
        .frontier
        .iter()
        .filter(|row| row.header.space == SpaceName::default())
        .map(|row| FrontRow {
            log: row.header.log,
            seq: row.seq,
            chain_tag: std::array::from_fn(|index| row.chain[index]),
        })
        .collect();
    rows.sort_by_key(|row| row.log);
    let space = SpaceName::default();
    let hello = Hello {
        version: PROTOCOL_VERSION,
        organisation_tag: organisation_tag(&ORGANISATION),
        proof: SECRET.proof(&ORGANISATION, &device_id(1), &device_id(2)),
        hub: true,
        schema_version: 2,
        dictionary: [9; 8],
        spaces: vec![SpaceRoot {
            tag: SECRET.space_tag(&ORGANISATION, &space),
            root: [6; 16],
            count: 40,
        }],
        checkpoints: vec![[7; 8], [8; 8]],
        accord: None,
    };
    vec![
        Message::Hello(hello),
        Message::Name("tablet 1".to_owned()),
        Message::Schema(SchemaTag::of(&schema(SCHEMA_2))),
        Message::Front { space, rows },
        Message::FrontEnd,
    ]
}
