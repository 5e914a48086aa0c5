//! The real store over faulty disks: what it has promised is there, and what is damaged is said to be.

use std::collections::BTreeMap;
use std::sync::Arc;

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{DeviceId, LogId, OrganisationId, SpaceName};
use crdt_schema::op::Op;
use crdt_schema::schema::Schema;
use crdt_schema::value::Value;
use ed25519_dalek::SigningKey;
use fieldmesh::engine::batch::{
    Batch, CommitOutcome, FrontierRow, Held, LocalCommit, LocalEdit, LogHeader, Rejection,
    StoreFault, Walk, WriteMode,
};
use fieldmesh::store::{ListQuery, Store, StoreError, StoreOptions};
use fieldmesh::wire::chain::{chain_next, chain_start};

use crate::disk::{DiskFaults, SimDisk, Syncs};
use crate::draw::Draw;

const DRAW: Draw = Draw::new(2026);
const ORGANISATION: OrganisationId = OrganisationId([9; 16]);
const RECORDS: u64 = 7;
const SCHEMA: &str =
    "schema = \"clinic\"\nversion = 1\n[collections.patient.fields]\nname = { type = \"text\" }\n";

fn header() -> LogHeader {
    LogHeader {
        log: LogId([5; 16]),
        space: SpaceName::default(),
        device: DeviceId(key().verifying_key().to_bytes()),
        name: "tablet".to_owned(),
        branch_of: None,
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[4; 32])
}

fn open(disk: &SimDisk) -> Result<Store, StoreError> {
    let options = StoreOptions {
        organisation: ORGANISATION,
        signer: key(),
        schema: Arc::new(Schema::parse(SCHEMA).expect("a good schema")),
        cache_bytes: 1 << 20,
        new_store_id: [3; 16],
        schema_follow: true,
    };
    let disk = disk.clone();
    Store::open_with(move || Ok(disk.clone()), options)
}

/// The `number`-th write, from 1: it names one of a few records.
fn write(store: &mut Store, number: u64) -> Result<CommitOutcome, Rejection> {
    let clock_ms = 1_790_000_000_000 + number * 1000;
    let edit = LocalEdit {
        collection: "patient".to_owned(),
        id: (number % RECORDS).to_string(),
        mode: WriteMode::Upsert,
        if_match: None,
        ops: vec![Op::Set {
            key: "name".to_owned(),
            value: Value::Text(name(number)),
        }],
    };
    let commit = LocalCommit {
        request: number,
        log: header(),
        hlc: Timestamp::from_ms(clock_ms),
        unix_ms: clock_ms,
        person: String::new(),
        schema_version: 1,
        edits: vec![edit],
        idempotency: None,
    };
    let mut report = store.commit(vec![Batch::Local(commit)]);
    report.local.remove(0).1
}

fn name(number: u64) -> String {
    let length = DRAW.number("name", number, 1..400) as usize;
    format!("{number} {}", "x".repeat(length))
}

/// The last `seq` writes as people would see them.
fn expected(seq: u64) -> BTreeMap<String, String> {
    let writes = (1..=seq).map(|number| ((number % RECORDS).to_string(), name(number)));
    writes.collect()
}

fn row(store: &Store) -> Result<Option<FrontierRow>, StoreError> {
    Ok(store.opening()?.frontier.into_iter().next())
}

fn held(store: &Store) -> u64 {
    row(store).expect("it reads").map_or(0, |row| row.seq)
}

/// Whether everything that the store shows was written. Returns how many writes it shows.
fn examine(store: &Store) -> Result<u64, StoreError> {
    let reader = store.reader();
    let Some(row) = row(store)? else {
        return Ok(0);
    };
    let mut chain = chain_start(&ORGANISATION, &header());
    let mut seq = 0;
    let fetched = reader.fetch(&Walk::default(), &Held::new(), usize::MAX)?;
    if let Some(dot) = fetched.damaged.first() {
        return Err(StoreError::Damaged {
            path: "the disk".to_owned(),
            detail: format!("{dot} does not read back"),
        });
    }
    for run in fetched.runs {
        for entry in &run.entries {
            chain = chain_next(&chain, entry);
            seq += 1;
        }
    }
    assert_eq!(
        (seq, chain),
        (row.seq, row.chain),
        "the log is what its row says"
    );
    let query = ListQuery {
        space: SpaceName::default(),
        collection: "patient".to_owned(),
        after: None,
        limit: usize::MAX,
        deleted: true,
    };
    let page = reader.list(&query, &|_| true)?;
    let shown: BTreeMap<String, String> = page
        .records
        .into_iter()
        .map(|record| {
            let name = record.view.fields["name"].as_str().unwrap_or_default();
            (record.key.id, name.to_owned())
        })
        .collect();
    assert_eq!(shown, expected(seq), "what is shown is what the log says");
    Ok(seq)
}

#[test]
fn no_power_cut_loses_what_an_honest_disk_has_acknowledged() {
    let mut disk = SimDisk::default();
    let (mut acknowledged, mut lost, mut torn) = (0, 0, 0);
    for cut in 0..300 {
        let mut store = open(&disk).unwrap_or_else(|error| panic!("cut {cut}: {error}"));
        let seq = examine(&store).expect("it reads");
        assert!(
            seq == acknowledged || seq == acknowledged + 1,
            "cut {cut}: {seq} writes are held, {acknowledged} were acknowledged"
        );
        acknowledged = seq;
        for _ in 0..DRAW.number("writes", cut, 0..4) {
            write(&mut store, acknowledged + 1).expect("a write");
            acknowledged += 1;
        }
        disk.stop_amid(&DRAW, cut);
        write(&mut store, acknowledged + 1).expect("the process does not notice");
        assert!(disk.has_stopped(), "cut {cut}: a commit writes");
        let damage = disk.power_cut(&DRAW, cut);
        (lost, torn) = (lost + damage.lost, torn + damage.torn);
    }

    assert!(lost > 100 && torn > 10, "{lost} sectors lost, {torn} torn");
    assert!(acknowledged > 300, "{acknowledged}");
}

#[test]
fn a_power_cut_during_recovery_is_no_worse() {
    let mut disk = SimDisk::default();
    let mut store = open(&disk).expect("it opens");
    for number in 1..=20 {
        write(&mut store, number).expect("a write");
    }
    let mut interruptions = 0;
    for cut in 0..80 {
        disk.power_cut(&DRAW, cut);
        disk.stop_amid(&DRAW, cut);
        drop(open(&disk).expect("the process does not notice"));
        interruptions += u64::from(disk.has_stopped());
        disk.power_cut(&DRAW, cut + 1000);

        let store = open(&disk).unwrap_or_else(|error| panic!("cut {cut}: {error}"));

        assert_eq!(examine(&store).expect("it reads"), 20);
    }
    assert!(interruptions > 40, "{interruptions}");
}

#[test]
fn a_store_is_made_however_often_its_making_is_cut_short() {
    let mut cuts = 0;
    for case in 0..60 {
        let mut disk = SimDisk::default();
        for attempt in 0..3 {
            let number = case * 3 + attempt;
            if case % 2 == 0 {
                disk.stop_amid(&DRAW, number);
                drop(open(&disk).unwrap_or_else(|error| panic!("case {case}: {error}")));
                cuts += u64::from(disk.has_stopped());
                disk.power_cut(&DRAW, number);
            } else {
                let full = DRAW.number("making", number, 0..7);
                disk.set_faults(DiskFaults {
                    full_from_write: Some(disk.counters().writes + full),
                    ..DiskFaults::default()
                });
                let refused = open(&disk).map(drop);
                cuts += u64::from(refused.is_err());
                assert!(
                    matches!(refused, Ok(()) | Err(StoreError::DiskFull(_))),
                    "case {case}: {refused:?}"
                );
                disk.set_faults(DiskFaults::default());
                disk.kill();
            }
        }

        let mut store = open(&disk).unwrap_or_else(|error| panic!("case {case}: {error}"));

        write(&mut store, 1).expect("a write");
        assert_eq!(examine(&store).expect("it reads"), 1);
    }
    assert!(cuts > 100, "{cuts}");
}

#[test]
fn a_lying_disk_may_lose_writes_but_damage_is_never_passed_off_as_good() {
    let (mut shorter, mut damaged) = (0, 0);
    for seed in 0..90 {
        let mut disk = SimDisk::default();
        let mut store = open(&disk).expect("it opens");
        let honest = DRAW.number("honest", seed, 0..6);
        for number in 1..=honest {
            write(&mut store, number).expect("a write");
        }
        disk.set_faults(DiskFaults {
            syncs: match seed % 3 {
                0 => Syncs::HonestEvery(std::num::NonZeroU64::new(3).expect("three")),
                _ => Syncs::Ignored,
            },
            ..DiskFaults::default()
        });
        let written = honest + DRAW.number("lied", seed, 1..12);
        for number in honest + 1..=written {
            write(&mut store, number).expect("it says yes");
        }
        if seed % 2 == 0 {
            // A clean end: the database believes that it need not check anything when it opens.
            drop(store);
        }

        disk.power_cut(&DRAW, seed);

        match open(&disk).and_then(|store| examine(&store)) {
            Ok(seq) => {
                assert!(seq <= written, "seed {seed}: {seq} of {written}");
                shorter += u64::from(seq < written);
            }
            Err(StoreError::Damaged { .. } | StoreError::Failed(_)) => damaged += 1,
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    assert!(
        shorter > 5 && damaged > 5,
        "{shorter} shorter, {damaged} damaged"
    );
}

#[test]
fn a_full_disk_refuses_and_recovers_wherever_it_happens() {
    let disk = SimDisk::default();
    let mut store = open(&disk).expect("it opens");
    let (mut written, mut refused) = (0, 0);
    for round in 0..60 {
        disk.set_faults(match round % 2 {
            0 => DiskFaults {
                full_from_write: Some(disk.counters().writes + DRAW.number("full", round, 1..30)),
                ..DiskFaults::default()
            },
            _ => DiskFaults {
                bytes_max: Some(disk.allocated_bytes()),
                ..DiskFaults::default()
            },
        });
        for _ in 0..12 {
            match write(&mut store, written + 1) {
                Ok(_) => written += 1,
                Err(Rejection::Store(StoreFault::DiskFull(_) | StoreFault::Failed(_))) => {
                    refused += 1;
                }
                Err(error) => panic!("round {round}: {error}"),
            }
        }
        disk.set_faults(DiskFaults::default());

        assert_eq!(held(&store), written, "round {round}");
        written += 1;
        write(&mut store, written).expect("there is room again");
        assert_eq!(examine(&store).expect("it reads"), written, "round {round}");
    }
    assert!(refused > 60, "{refused}");
}

#[test]
fn rot_and_read_errors_end_as_errors_or_do_not_matter() {
    let disk = SimDisk::default();
    let mut store = open(&disk).expect("it opens");
    for number in 1..=150 {
        write(&mut store, number).expect("a write");
    }
    drop(store);
    let mut errors = 0;
    for number in 0..80 {
        let bad = disk.image();
        match number % 2 {
            0 => assert!(bad.rot(&DRAW, number).is_some()),
            _ => assert!(bad.wear(&DRAW, number).is_some()),
        }

        match open(&bad).and_then(|store| examine(&store)) {
            Ok(seq) => assert_eq!(seq, 150),
            Err(_) => errors += 1,
        }
        if let Ok(mut store) = open(&bad) {
            // Errors are as good as answers here; what is written must not be taken for good if it is not.
            let _ = write(&mut store, 151);
            let _ = examine_after_write(&store);
        }
    }
    assert!(errors > 5, "{errors}");
}

fn examine_after_write(store: &Store) -> Result<(), StoreError> {
    match store.opening()?.frontier.first() {
        Some(row) if row.seq == 151 => examine(store).map(drop),
        Some(_) | None => Ok(()),
    }
}

#[test]
fn a_restored_image_is_the_store_as_it_was_and_a_clone_goes_its_own_way() {
    let mut disk = SimDisk::default();
    let mut store = open(&disk).expect("it opens");
    for number in 1..=5 {
        write(&mut store, number).expect("a write");
    }
    let backup = disk.image();
    let mut other = open(&backup.image()).expect("a clone opens");
    write(&mut store, 6).expect("a write");
    write(&mut other, 6).expect("a write");
    write(&mut other, 7).expect("a write");

    disk.restore(&backup);

    assert_eq!(
        examine(&open(&disk).expect("it opens")).expect("it reads"),
        5
    );
    assert_eq!(held(&other), 7);
    assert_eq!(held(&store), 6, "the old process still sees its own disk");
}

#[test]
fn thousands_of_commits_cost_little() {
    let disk = SimDisk::default();
    let mut store = open(&disk).expect("it opens");
    for number in 1..=400 {
        write(&mut store, number).expect("a write");
    }
    let images: Vec<SimDisk> = (0..1000).map(|_| disk.image()).collect();

    // Nothing here is timed: the bytes that move are counted.
    let counters = disk.counters();
    assert!(counters.written_bytes < 200 << 20, "{counters:?}");
    assert!(
        images
            .iter()
            .all(|image| image.allocated_bytes() == disk.allocated_bytes())
    );
    assert_eq!(counters.syncs_ignored, 0);
}
