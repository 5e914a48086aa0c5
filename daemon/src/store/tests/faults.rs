//! Full disks, damaged rows and files that are no stores.

use super::*;
use crate::engine::batch::StoreFault;
use crate::store::{StoreError, tables};

fn name(value: &str) -> Vec<Op> {
    vec![set("name", value), set("notes", &value.repeat(5000))]
}

/// Writes until the disk refuses. Returns how many writes succeeded.
fn write_until_full(device: &mut Device) -> usize {
    for n in 0..10_000 {
        match device.write(vec![upsert(&n.to_string(), name("A"))]) {
            Ok(_) => {}
            Err(Rejection::Store(StoreFault::DiskFull(_))) => return n,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the disk never filled");
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_needs_no_restart() {
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    device
        .write(vec![upsert("first", name("A"))])
        .expect("a write");
    disk.fill();

    let written = write_until_full(&mut device);

    assert!(device.get("first").is_some(), "reads go on");
    assert_eq!(device.held(), [(device.log.log, written as u64 + 1)].into());
    let local = device.local(vec![upsert("more", name("A"))]);
    let report = device.store.commit(vec![
        Batch::Local(local),
        Batch::Remote {
            batch: 3,
            runs: vec![],
        },
    ]);
    assert_eq!(report.arrival, written as u64 + 1);
    assert!(matches!(
        report.local[0].1,
        Err(Rejection::Store(StoreFault::DiskFull(_)))
    ));
    assert!(matches!(
        report.remote[0].result,
        Err(StoreFault::DiskFull(_))
    ));
    disk.free();
    device
        .write(vec![upsert("second", name("B"))])
        .expect("a write");
    assert!(device.get("second").is_some() && device.get("more").is_none());
    drop(device);
    assert!(Device::on(&disk, 1).get("second").is_some());
}

#[test]
fn a_disk_without_any_room_closes_the_store_until_there_is_some() {
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    device
        .write(vec![upsert("first", name("A"))])
        .expect("a write");
    disk.fill_to_the_brim();

    for _ in 0..3 {
        let refused = device.write(vec![upsert("more", name("A"))]);
        assert!(matches!(refused, Err(Rejection::Store(_))), "{refused:?}");
    }

    assert!(device.reader().get(&patient("first")).is_err());
    disk.free();
    assert!(device.get("first").is_some() && device.get("more").is_none());
    device
        .write(vec![upsert("second", name("B"))])
        .expect("a write");
}

/// Flips a bit in the last byte of each of the record's rows in one table.
fn damage(disk: &Disk, table: redb::TableDefinition<'static, u64, &'static [u8]>) {
    use redb::ReadableTable;
    let database = redb::Builder::new()
        .create_with_backend(disk.clone())
        .expect("it opens");
    let tx = database.begin_write().expect("a transaction");
    {
        let mut rows = tx.open_table(table).expect("the table");
        let row = rows
            .get(0)
            .expect("a read")
            .expect("the row")
            .value()
            .to_vec();
        let mut bad = row;
        if let Some(last) = bad.last_mut() {
            *last ^= 1;
        }
        rows.insert(0, bad.as_slice()).expect("a write");
    }
    tx.commit().expect("a commit");
}

#[test]
fn a_damaged_view_is_derived_from_its_document_and_the_next_write_repairs_it() {
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    let edits = vec![upsert("1", name("A")), upsert("2", name("B"))];
    device.write(edits).expect("a write");
    let before = device.shown();
    drop(device);
    damage(&disk, tables::VIEWS);
    let mut device = Device::on(&disk, 1);

    assert_eq!(device.shown(), before);
    assert_eq!(device.field("1", "name"), "A");
    device.clock_ms += 10_000;
    device
        .write(vec![upsert("1", vec![set("name", "C")])])
        .expect("a write");
    drop(device);
    damage(&disk, tables::DOCS);
    let device = Device::on(&disk, 1);
    assert_eq!(device.field("1", "name"), "C", "the view is whole again");
    assert_eq!(device.reader().counts().expect("counts").records[0].2, 2);
}

#[test]
fn a_record_whose_view_and_document_are_damaged_is_named() {
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    device.write(vec![upsert("1", name("A"))]).expect("a write");
    drop(device);
    damage(&disk, tables::VIEWS);
    damage(&disk, tables::DOCS);
    let device = Device::on(&disk, 1);

    let get = device.reader().get(&patient("1")).map(drop);
    let list = device.reader().list(&query(None, 9, false), &|_| true);

    for error in [get, list.map(drop)].map(|read| read.expect_err("both rows are damaged")) {
        assert!(
            matches!(&error, StoreError::Damaged { detail, .. } if detail.contains("patient/1"))
        );
    }
}

#[test]
fn a_damaged_document_is_named_and_rebuilt_from_the_log() {
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    device
        .write(vec![upsert("1", name("A")), upsert("2", name("A"))])
        .expect("a write");
    let mut other = Device::new(2);
    other.pull(&device, usize::MAX);
    device
        .write(vec![upsert("1", vec![add("visits", 1)])])
        .expect("a write");
    let before = device.shown();
    drop(device);
    damage(&disk, tables::DOCS);
    let mut device = Device::on(&disk, 1);
    device.clock_ms += 10_000;

    let read = device
        .reader()
        .document(&patient("1"))
        .map(drop)
        .expect_err("the document is damaged");
    assert!(matches!(&read, StoreError::Damaged { detail, .. } if detail.contains("patient/1")));
    let refused = device.write(vec![upsert("1", vec![add("visits", 1)])]);
    assert!(
        matches!(refused, Err(Rejection::Store(StoreFault::Failed(_)))),
        "{refused:?}"
    );
    assert_eq!(device.shown(), before, "the refused write has rebuilt it");
    device
        .write(vec![upsert("1", vec![add("visits", 1)])])
        .expect("a write");

    drop(device);
    damage(&disk, tables::DOCS);
    let mut device = Device::on(&disk, 1);
    other
        .write(vec![upsert("1", vec![set("notes", "from afar")])])
        .expect("a write");
    device.pull(&other, usize::MAX);
    other.pull(&device, usize::MAX);
    assert_eq!(device.shown(), other.shown());
    assert_eq!(device.field("1", "visits"), 2);
}

#[test]
fn an_edit_that_could_not_be_applied_does_not_keep_its_record_from_being_rebuilt() {
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    device.write(vec![upsert("1", name("A"))]).expect("a write");
    device.write(vec![upsert("2", name("B"))]).expect("a write");
    // Its cause is held, but has never touched the record that it edits.
    let senseless = Device::new(2).log_after(vec![device.last()]);
    let runs = device.verify(&[senseless]);
    let report = device.store.commit(vec![Batch::Remote { batch: 1, runs }]);
    assert_eq!(report.remote[0].result, Ok(()));
    let before = device.shown();
    drop(device);
    damage(&disk, tables::DOCS);
    let mut device = Device::on(&disk, 1);
    device.clock_ms += 10_000;

    let refused = device.write(vec![upsert("1", vec![add("visits", 1)])]);

    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(device.shown(), before);
    device
        .write(vec![upsert("1", vec![add("visits", 1)])])
        .expect("the refused write has rebuilt the record");
}

fn open_error(disk: &Disk, options: StoreOptions) -> StoreError {
    disk.open(options)
        .map(drop)
        .expect_err("the store does not open")
}

#[test]
fn a_store_of_another_organisation_or_a_later_format_is_refused() {
    let disk = Disk::default();
    drop(Device::on(&disk, 1));
    let ours = || options(1, schema(SCHEMA));

    let other = StoreOptions {
        organisation: OrganisationId([1; 16]),
        ..ours()
    };
    assert!(matches!(
        open_error(&disk, other),
        StoreError::OtherOrganisation { .. }
    ));
    let database = redb::Builder::new()
        .create_with_backend(disk.clone())
        .expect("it opens");
    let tx = database.begin_write().expect("a transaction");
    let format = 3_u32.to_le_bytes();
    tx.open_table(tables::META)
        .expect("the table")
        .insert("format", format.as_slice())
        .expect("a write");
    tx.commit().expect("a commit");
    drop(database);
    let newer = open_error(&disk, ours());
    assert!(
        matches!(
            newer,
            StoreError::NewerFormat {
                found: 3,
                known: 2,
                ..
            }
        ),
        "{newer}"
    );
}

#[test]
fn a_file_that_is_in_use_or_no_store_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("store.redb");
    let open = || Store::open_file(&path, options(1, schema(SCHEMA))).map(drop);
    let store = Store::open_file(&path, options(1, schema(SCHEMA))).expect("it opens");

    assert!(matches!(open(), Err(StoreError::InUse { .. })));
    drop(store);
    let whole = std::fs::read(&path).expect("the file reads");
    let texts = [b"hello".to_vec(), b"not a database ".repeat(1000)];
    let torn = [1, 100, 4096, whole.len() / 2, whole.len() - 1].map(|len| whole[..len].to_vec());
    for bytes in texts.into_iter().chain(torn) {
        std::fs::write(&path, &bytes).expect("the file is written");
        let result = open();
        assert!(
            matches!(result, Err(StoreError::Damaged { .. })),
            "{}: {result:?}",
            bytes.len()
        );
    }
    std::fs::write(&path, &whole).expect("the file is written");
    open().expect("the whole file");
    std::fs::write(&path, vec![0; whole.len()]).expect("the file is written");
    open().expect("a file whose making was cut short");
    let nowhere = dir.path().join("no such directory").join("store.redb");
    let missing = Store::open_file(&nowhere, options(1, schema(SCHEMA))).map(drop);
    assert!(matches!(missing, Err(StoreError::Failed(_))), "{missing:?}");
}

/// The database writes its magic number last, so what comes before it is what a full disk or a kill leaves.
#[test]
fn a_store_whose_making_was_cut_short_is_made_again_and_one_that_holds_anything_is_not() {
    let new = Disk::default();
    drop(Device::on(&new, 1));
    let len = new.bytes().len();
    let empty = vec![0; len];
    let mut without_magic = empty.clone();
    without_magic[9..400].copy_from_slice(&new.bytes()[9..400]);
    let mut torn = without_magic.clone();
    torn[5..9].copy_from_slice(&new.bytes()[5..9]);
    for cut in [empty, without_magic.clone(), torn] {
        let disk = Disk::of_bytes(&cut);

        let mut device = Device::on(&disk, 1);

        device.write(vec![upsert("p", name("A"))]).expect("a write");
        drop(device);
        assert!(Device::on(&disk, 1).get("p").is_some());
    }

    let mut used = without_magic.clone();
    used[len / 2] = 1;
    let mut other = without_magic;
    other[..9].copy_from_slice(b"somewhere");
    for bytes in [used, other] {
        let disk = Disk::of_bytes(&bytes);
        let error = open_error(&disk, options(1, schema(SCHEMA)));
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        let words = error.to_string();
        assert!(
            words.contains("its first page is lost") && words.contains("move it aside"),
            "{words}"
        );
        assert_eq!(disk.bytes(), bytes, "it is left alone");
    }
}

#[test]
fn a_database_that_is_no_store_is_refused() {
    let disk = Disk::default();
    let other: redb::TableDefinition<'_, u64, u64> = redb::TableDefinition::new("other");
    let database = redb::Builder::new()
        .create_with_backend(disk.clone())
        .expect("it opens");
    let tx = database.begin_write().expect("a transaction");
    tx.open_table(other)
        .expect("a table")
        .insert(1, 1)
        .expect("a write");
    tx.commit().expect("a commit");
    drop(database);

    assert!(matches!(
        open_error(&disk, options(1, schema(SCHEMA))),
        StoreError::Damaged { .. }
    ));
}

/// Whatever bit of the file flips, the process lives, and what is shown is what was written.
#[test]
fn flipped_bits_end_as_errors_or_do_not_matter() {
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    for n in 0..20 {
        device
            .write(vec![upsert(&n.to_string(), name("A"))])
            .expect("a write");
    }
    drop(device);
    let whole = disk.bytes();
    let used: Vec<usize> = (0..whole.len()).filter(|&at| whole[at] != 0).collect();

    for at in used.iter().step_by(used.len() / 150) {
        let mut bytes = whole.clone();
        bytes[*at] ^= 0x10;
        let Ok(store) = Disk::of_bytes(&bytes).open(options(1, schema(SCHEMA))) else {
            continue;
        };
        let mut device = Device::of(store, 1);
        device.clock_ms += 100_000;
        if let Ok(page) = device.reader().list(&query(None, 99, true), &|_| true) {
            assert!(
                page.records
                    .iter()
                    .all(|record| record.view.fields["name"] == "A")
            );
        }
        // Errors are as good as answers here; only a panic fails the test.
        drop(
            device
                .reader()
                .fetch(&Walk::default(), &Held::new(), usize::MAX),
        );
        drop(device.reader().counts());
        drop(device.write(vec![upsert("3", vec![set("notes", "n")])]));
    }
}
