//! Tests of the whole store, over memory and file, with real documents, chains and signatures.

mod calendar;
mod disk;
mod faults;
mod forked;
mod goes_with;
mod implied;
mod implied_forked;
mod kept;
mod log;
mod merges;
mod promises;
mod records;
mod references;
mod remote;
mod repair;
mod rot;
mod schemas;
mod walks;
mod wounds;

use std::sync::Arc;

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{DeviceId, Dot, LogId, OrganisationId, RecordKey, SpaceName};
use crdt_schema::op::{ChangeSet, DotTag, Edit, Op};
use crdt_schema::schema::Schema;
use crdt_schema::value::Value;
use ed25519_dalek::SigningKey;

use super::{ListQuery, Reader, Store, StoreOptions, StoredRecord};
use crate::engine::batch::{
    Arrival, Batch, CommitOutcome, CommitReport, Fetched, Held, Idempotency, LocalCommit,
    LocalEdit, LogHeader, Rejection, Run, VerifiedRun, Walk, WriteMode,
};
use crate::wire::chain::{chain_next, chain_start, sign_point, verify_point};
use crate::wire::changeset::{decode_change_set, encode_change_set};

use disk::Disk;

const ORGANISATION: OrganisationId = OrganisationId([9; 16]);

const SCHEMA: &str = r#"
schema = "clinic"
version = 1

[collections.patient]
label = "name"
delete = "review"
[collections.patient.fields]
name = { type = "text", required = true, merge = "review" }
born = { type = "date" }
status = { type = "choice", of = ["open", "closed"], default = "open" }
visits = { type = "counter", min = 0 }
tags = { type = "set", of = "text" }
notes = { type = "text" }
"#;

const SECOND_COLLECTION: &str = r#"
[collections.stock.fields]
item = { type = "text", required = true }
"#;

fn schema(text: &str) -> Arc<Schema> {
    Arc::new(Schema::parse(text).expect("a good schema"))
}

fn options(device: u8, schema: Arc<Schema>) -> StoreOptions {
    StoreOptions {
        organisation: ORGANISATION,
        signer: SigningKey::from_bytes(&[device; 32]),
        schema,
        schema_follow: true,
        cache_bytes: 4 << 20,
        new_store_id: [device; 16],
    }
}

/// A store with what the engine would keep beside it: the log it writes and a clock.
struct Device {
    store: Store,
    log: LogHeader,
    clock_ms: u64,
}

impl Device {
    fn new(number: u8) -> Self {
        Self::on(&Disk::default(), number)
    }

    fn on(disk: &Disk, number: u8) -> Self {
        Self::with_schema(disk, number, SCHEMA)
    }

    fn with_schema(disk: &Disk, number: u8, text: &str) -> Self {
        let store = disk
            .open(options(number, schema(text)))
            .expect("the store opens");
        Self::of(store, number)
    }

    fn of(store: Store, number: u8) -> Self {
        let key = SigningKey::from_bytes(&[number; 32]);
        let log = LogHeader {
            log: LogId([number; 16]),
            space: SpaceName::default(),
            device: DeviceId(key.verifying_key().to_bytes()),
            name: format!("device {number}"),
            branch_of: None,
        };
        Self {
            store,
            log,
            clock_ms: 1_790_000_000_000,
        }
    }

    fn reader(&self) -> Reader {
        self.store.reader()
    }

    /// A local write, not yet committed.
    fn local(&mut self, edits: Vec<LocalEdit>) -> LocalCommit {
        self.clock_ms += 1000;
        LocalCommit {
            request: self.clock_ms,
            log: self.log.clone(),
            hlc: Timestamp::from_ms(self.clock_ms),
            unix_ms: self.clock_ms,
            person: "Amina".to_owned(),
            schema_version: self.reader().schema().version,
            edits,
            idempotency: None,
        }
    }

    fn write(&mut self, edits: Vec<LocalEdit>) -> Result<CommitOutcome, Rejection> {
        let commit = self.local(edits);
        self.commit(commit)
    }

    fn write_once(&mut self, key: &str, edits: Vec<LocalEdit>) -> Result<CommitOutcome, Rejection> {
        let mut commit = self.local(edits);
        let fingerprint = *blake3::hash(format!("{:?}", commit.edits).as_bytes()).as_bytes();
        commit.idempotency = Some(Idempotency {
            key: key.to_owned(),
            fingerprint,
        });
        self.commit(commit)
    }

    fn commit(&mut self, commit: LocalCommit) -> Result<CommitOutcome, Rejection> {
        let mut report = self.store.commit(vec![Batch::Local(commit)]);
        assert_eq!(report.local.len(), 1);
        report.local.remove(0).1
    }

    /// Derives every view that a switch of the schema has left behind.
    fn refresh(&mut self) {
        while self.store.refresh(2).expect("a refresh") {}
    }

    fn get(&self, id: &str) -> Option<StoredRecord> {
        self.reader().get(&patient(id)).expect("the record reads")
    }

    fn field(&self, id: &str, field: &str) -> serde_json::Value {
        let record = self.get(id).expect("the record exists");
        record.view.fields.get(field).cloned().unwrap_or_default()
    }

    fn held(&self) -> Held {
        let opening = self.store.opening().expect("the store reads");
        opening
            .frontier
            .iter()
            .map(|row| (row.header.log, row.seq))
            .collect()
    }

    /// Takes everything that `other` has and this lacks, verified as the engine would.
    fn pull(&mut self, other: &Self, bytes_max: usize) {
        let mut after: Arrival = 0;
        loop {
            let fetched = other
                .reader()
                .fetch(&walk(after), &self.held(), bytes_max)
                .expect("a fetch");
            self.take(&fetched);
            after = fetched.arrival;
            if fetched.end {
                assert_eq!(after, other.reader().arrival().expect("the store reads"));
                return;
            }
        }
    }

    fn take(&mut self, fetched: &Fetched) {
        if fetched.runs.is_empty() {
            return;
        }
        let runs = self.verify(&fetched.runs);
        let report = self.store.commit(vec![Batch::Remote { batch: 1, runs }]);
        assert_eq!(report.remote[0].result, Ok(()));
    }

    /// Verifies chains, signatures and that causes come before effects.
    fn verify(&self, runs: &[Run]) -> Vec<VerifiedRun> {
        let opening = self.store.opening().expect("the store reads");
        let ends = opening
            .frontier
            .into_iter()
            .map(|row| (row.header.log, (row.seq, row.chain)));
        let mut ends: std::collections::BTreeMap<_, _> = ends.collect();
        runs.iter()
            .map(|run| {
                let start = chain_start(&ORGANISATION, &run.header);
                let (seq, chain) = ends.get(&run.header.log).copied().unwrap_or((0, start));
                assert_eq!(run.from, seq + 1, "a run continues what is held");
                let chain = run
                    .entries
                    .iter()
                    .fold(chain, |c, entry| chain_next(&c, entry));
                let last = run.last();
                assert!(verify_point(
                    &ORGANISATION,
                    &run.header,
                    last,
                    &chain,
                    &run.signature
                ));
                let decode = |entry: &Vec<u8>| {
                    let set = decode_change_set(entry).expect("a change set");
                    Arc::new(set)
                };
                let sets: Vec<_> = run.entries.iter().map(decode).collect();
                for dep in sets
                    .iter()
                    .flat_map(|set| &set.edits)
                    .flat_map(|edit| &edit.deps)
                {
                    let held = ends.get(&dep.log).map_or(0, |(seq, _)| *seq);
                    assert!(
                        dep.seq <= held,
                        "{dep} is a cause that comes after its effect"
                    );
                }
                ends.insert(run.header.log, (last, chain));
                VerifiedRun {
                    run: run.clone(),
                    sets,
                    chain,
                }
            })
            .collect()
    }

    /// A log of this device that no store wrote: one entry, which renames the patient "1" after
    /// `deps`.
    fn log_after(&self, deps: Vec<(Dot, DotTag)>) -> Run {
        let set = ChangeSet {
            implied: Default::default(),
            hlc: Timestamp::from_ms(self.clock_ms),
            schema_version: 1,
            person: String::new(),
            tags: deps.iter().copied().collect(),
            edits: vec![Edit {
                collection: "patient".to_owned(),
                id: "1".to_owned(),
                deps: deps.into_iter().map(|(dep, _)| dep).collect(),
                ops: vec![set("name", "renamed")],
            }],
        };
        let entry = encode_change_set(&set);
        let chain = chain_next(&chain_start(&ORGANISATION, &self.log), &entry);
        let signer = &self.store.options.signer;
        Run {
            header: self.log.clone(),
            from: 1,
            entries: vec![entry],
            signature: sign_point(signer, &ORGANISATION, &self.log, 1, &chain),
        }
    }

    /// The last entry of this device's log, as a dependency.
    fn last(&self) -> (Dot, DotTag) {
        let rows = self.store.opening().expect("the store reads").frontier;
        let mut rows = rows.iter();
        let row = rows.find(|row| row.header.log == self.log.log);
        let row = row.expect("the log");
        (
            Dot::new(self.log.log, row.seq),
            [row.chain[0], row.chain[1]],
        )
    }

    /// Everything that people can see of the patients.
    fn shown(&self) -> Vec<String> {
        let everything = query(None, usize::MAX, true);
        let page = self
            .reader()
            .list(&everything, &|_| true)
            .expect("the records read");
        let show =
            |record: StoredRecord| format!("{} {} {:?}", record.key, record.etag, record.view);
        page.records.into_iter().map(show).collect()
    }
}

fn patient(id: &str) -> RecordKey {
    let collection = "patient".to_owned();
    RecordKey {
        space: SpaceName::default(),
        collection,
        id: id.to_owned(),
    }
}

fn query(after: Option<&str>, limit: usize, deleted: bool) -> ListQuery {
    ListQuery {
        space: SpaceName::default(),
        collection: "patient".to_owned(),
        after: after.map(str::to_owned),
        limit,
        deleted,
    }
}

fn edit(id: &str, mode: WriteMode, ops: Vec<Op>) -> LocalEdit {
    let collection = "patient".to_owned();
    LocalEdit {
        collection,
        id: id.to_owned(),
        mode,
        if_match: None,
        ops,
    }
}

fn upsert(id: &str, ops: Vec<Op>) -> LocalEdit {
    edit(id, WriteMode::Upsert, ops)
}

fn set(key: &str, value: &str) -> Op {
    Op::Set {
        key: key.to_owned(),
        value: Value::Text(value.to_owned()),
    }
}

fn add(key: &str, delta: i64) -> Op {
    Op::Add {
        key: key.to_owned(),
        delta,
    }
}

fn delete() -> Op {
    Op::Delete {
        reason: "moved away".to_owned(),
    }
}

fn restore() -> Op {
    Op::Restore {
        reason: "came back".to_owned(),
    }
}

fn local_results(report: CommitReport) -> Vec<Result<CommitOutcome, Rejection>> {
    report.local.into_iter().map(|(_, result)| result).collect()
}

/// The default space after an arrival.
fn walk(after: Arrival) -> Walk {
    Walk::Space {
        space: SpaceName::default(),
        after,
    }
}
