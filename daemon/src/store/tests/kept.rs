//! Documents that stay at hand between transactions are those that are stored.

use super::repair::check;
use super::*;

/// Some writes of few records: new ones, changed ones, deleted ones, several at once.
fn writes(n: u64) -> Vec<LocalEdit> {
    let id = (n % 3).to_string();
    let name = set("name", &n.to_string());
    match n % 4 {
        0 => vec![upsert(&id, vec![name])],
        1 => vec![
            upsert(&id, vec![name, add("visits", 1)]),
            upsert("both", vec![set("name", "B"), set("notes", &n.to_string())]),
        ],
        2 => vec![upsert("both", vec![set("name", "B"), add("visits", 2)])],
        _ => vec![upsert(
            &id,
            vec![name, set("notes", &"x".repeat(n as usize * 100))],
        )],
    }
}

#[test]
fn a_store_that_has_documents_at_hand_writes_what_one_does_that_reads_them_each_time() {
    let (kept, read) = (Disk::default(), Disk::default());
    let mut device = Device::on(&kept, 1);

    for n in 0..40 {
        device.write(writes(n)).expect("a write");
        let mut other = Device::on(&read, 1);
        other.clock_ms = device.clock_ms - 1000;
        other.write(writes(n)).expect("a write");
        assert_eq!(device.shown(), other.shown(), "after write {n}");
    }

    assert_eq!(check(&device).problems, 0);
    assert_eq!(check(&Device::on(&read, 1)).problems, 0);
}

#[test]
fn what_a_failed_transaction_did_to_a_document_is_forgotten() {
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    device
        .write(vec![upsert("1", vec![set("name", "A")])])
        .expect("a write");
    device
        .write(vec![upsert("1", vec![add("visits", 1)])])
        .expect("a write");
    disk.fill_to_the_brim();
    let lost = upsert("1", vec![set("name", "lost"), add("visits", 1)]);

    assert!(device.write(vec![lost]).is_err());

    disk.free();
    device
        .write(vec![upsert("1", vec![add("visits", 1)])])
        .expect("a write");
    assert_eq!(device.field("1", "name"), "A");
    assert_eq!(device.field("1", "visits"), 2);
    assert_eq!(check(&device).problems, 0);
}
