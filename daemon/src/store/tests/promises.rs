//! Small promises that others build on: counted transactions, remembered requests, listed reviews, named causes.

use super::*;

#[test]
fn every_transaction_is_counted_for_the_witness() {
    let mut device = Device::new(1);
    let commits = |device: &Device| device.store.identity().expect("an identity").commits;
    let before = commits(&device);

    for name in ["A", "B", "C"] {
        let edits = vec![upsert("1", vec![set("name", name)])];
        device.write(edits).expect("a write");
    }

    assert_eq!(commits(&device), before + 3);
    device.store.begin_incarnation().expect("a new incarnation");
    assert_eq!(commits(&device), before + 4);
}

#[test]
fn a_request_that_succeeded_is_remembered_over_a_restart() {
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    let edits = || vec![upsert("1", vec![set("name", "A"), add("visits", 1)])];
    let first = device.write_once("key", edits()).expect("a write");
    drop(device);
    let mut device = Device::on(&disk, 1);
    device.clock_ms += 10_000;

    let again = device.write_once("key", edits()).expect("a repetition");

    assert!(again.replayed && again.dot == first.dot);
    assert_eq!(device.field("1", "visits"), 1);
}

#[test]
fn a_review_that_gains_a_candidate_stays_in_the_list() {
    let mut devices = [1, 2, 3].map(Device::new);
    devices[0]
        .write(vec![upsert("1", vec![set("name", "A")])])
        .expect("a write");
    let [a, b, c] = &mut devices;
    for (other, name) in [(b, "B"), (c, "C")] {
        other.pull(a, usize::MAX);
        let edits = vec![upsert("1", vec![set("name", name)])];
        other.write(edits).expect("a write");
    }
    let [a, b, c] = &mut devices;
    a.write(vec![upsert("1", vec![set("name", "D")])])
        .expect("a write");

    for other in [b, c] {
        a.pull(other, usize::MAX);

        let listed = a.reader().reviews().expect("reviews");
        assert_eq!(listed.len(), 1);
        let shown = a.get("1").expect("the record").view.reviews;
        assert_eq!(shown[0].id, listed[0].1.id);
    }
}

#[test]
fn an_edit_names_every_change_that_it_follows() {
    let mut devices = [1, 2, 3].map(Device::new);
    devices[0]
        .write(vec![upsert("1", vec![set("name", "A")])])
        .expect("a write");
    let [a, b, c] = &mut devices;
    b.pull(a, usize::MAX);
    c.pull(a, usize::MAX);
    b.write(vec![upsert("1", vec![set("notes", "from b")])])
        .expect("a write");
    a.write(vec![upsert("1", vec![set("born", "1990-01-01")])])
        .expect("a write");
    c.pull(a, usize::MAX);
    c.pull(b, usize::MAX);
    let heads = |device: &Device| device.get("1").expect("the record").view.heads;
    assert_eq!(heads(c).len(), 2, "nobody has seen both");

    let written = c.write(vec![upsert("1", vec![set("status", "closed")])]);

    assert_eq!(heads(c), [written.expect("a write").dot]);
    a.pull(c, usize::MAX);
    assert_eq!(heads(a), heads(c));
}

#[test]
fn a_write_to_several_records_says_what_was_asked_for_and_nothing_else() {
    let mut device = Device::new(1);
    let old = vec![upsert("1", vec![set("name", "A"), set("status", "open")])];
    device.write(old).expect("a write");
    let asked = vec![
        upsert("1", vec![add("visits", 3), set("notes", "well")]),
        upsert("2", vec![set("name", "B"), set("status", "closed")]),
    ];

    let outcome = device.write(asked.clone()).expect("a write");

    let entry = device.reader().entry(outcome.dot).expect("the store reads");
    let (_, set) = entry.expect("the entry");
    let said = set.edits.iter().map(|edit| (&edit.id, &edit.ops));
    let wanted = asked.iter().map(|edit| (&edit.id, &edit.ops));
    assert!(said.eq(wanted), "{:?}", set.edits);
}
