//! Which version of the schema is used where nobody chose, and what becomes of choices.

use super::repair::tamper;
use super::schemas::{publish_edit, retyped, second, version};
use super::*;
use crate::store::tables;

#[test]
fn groups_that_published_apart_end_with_one_version_whatever_arrived_first() {
    let (phone, email) = (
        "phone = { type = \"text\" }\n",
        "email = { type = \"text\" }\n",
    );
    let disk = Disk::default();
    let (mut one, mut two) = (Device::new(1), Device::on(&disk, 2));
    two.clock_ms += 500_000;
    one.publish(&version(2, phone));
    two.publish(&version(2, email));
    two.publish(&version(3, email));
    let ops = vec![set("name", "A"), set("email", "a@b")];
    two.write(vec![upsert("1", ops)]).expect("a write");
    assert_eq!((one.active(), two.active()), (2, 3));

    let (mut three, mut four) = (Device::new(3), Device::new(4));
    three.pull(&one, usize::MAX);
    three.pull(&two, usize::MAX);
    four.pull(&two, usize::MAX);
    four.pull(&one, usize::MAX);
    one.pull(&two, usize::MAX);
    two.pull(&one, usize::MAX);
    drop(two);
    let mut two = Device::on(&disk, 2);

    for device in [&mut one, &mut two, &mut three, &mut four] {
        device.refresh();
        let state = device.reader().schemas();
        assert_eq!(state.active.source, version(2, phone));
        let why = state.held_back.clone().expect("a reason");
        assert!(
            why.contains("version 3") && why.contains("patient.phone"),
            "{why}"
        );
    }
    for device in [&two, &three, &four] {
        assert_eq!(device.shown(), one.shown());
    }
    one.publish(&version(4, &[phone, email].concat()));
    for device in [&mut two, &mut three, &mut four] {
        device.pull(&one, usize::MAX);
        assert_eq!(device.active(), 4);
        assert_eq!(device.field("1", "email"), "a@b");
    }
}

#[test]
fn what_is_in_use_does_not_depend_on_the_order_of_arrival() {
    let field = |name: &str| format!("{name} = {{ type = \"text\" }}\n");
    let (a, b, c) = (field("a"), field("b"), field("c"));
    let published: [&[String]; 3] = [
        &[version(3, &a), version(4, &[a.as_str(), &b].concat())],
        &[version(2, &c), version(5, &[a.as_str(), &c].concat())],
        &[version(4, &c), version(6, &[a.as_str(), &b, &c].concat())],
    ];
    let mut authors = Vec::new();
    for (number, texts) in (1..).zip(published) {
        let mut author = Device::new(number);
        author.clock_ms += u64::from(number) * 100_000;
        for text in texts {
            author.publish(text);
        }
        authors.push(author);
    }
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let mut device = Device::new(9);
        for author in order {
            device.pull(&authors[author], usize::MAX);
        }
        assert_eq!(
            device.reader().schema().source,
            published[2][1],
            "{order:?}"
        );
        let mut without_the_last = Device::new(9);
        for author in order.into_iter().filter(|author| *author != 2) {
            without_the_last.pull(&authors[author], usize::MAX);
        }
        let source = without_the_last.reader().schema().source.clone();
        assert_eq!(source, published[0][1], "{order:?}");
    }
}

#[test]
fn of_very_many_versions_the_later_ones_are_chosen_by_hand() {
    let mut device = Device::new(1);
    let edits = (2..=102).map(|number| vec![publish_edit(&version(number, ""))]);
    let commits: Vec<_> = edits.map(|edit| Batch::Local(device.local(edit))).collect();

    let report = device.store.commit(commits);

    assert!(local_results(report).iter().all(Result::is_ok));
    let state = device.reader().schemas();
    assert_eq!((state.active.version, state.newest.version), (100, 102));
    let why = state.held_back.clone().expect("a reason");
    assert!(
        why.contains("version 102") && why.contains("by hand"),
        "{why}"
    );
    device.store.use_schema(102).expect("it is known");
    assert_eq!(device.active(), 102);
}

#[test]
fn a_lower_version_that_is_published_later_takes_nobody_back() {
    let (mut one, mut two) = (Device::new(1), Device::new(2));
    two.clock_ms += 500_000;
    one.publish(&version(3, "phone = { type = \"text\" }\n"));
    two.publish(&version(2, "draft = { type = \"text\" }\n"));

    one.pull(&two, usize::MAX);
    two.pull(&one, usize::MAX);

    assert_eq!((one.active(), two.active()), (3, 3));
}

#[test]
fn a_version_that_is_held_back_stays_once_it_is_chosen_until_the_usual_one_is() {
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    device.publish(&second());
    device.publish(&retyped(3));
    assert_eq!(device.active(), 2);

    device.store.use_schema(3).expect("it is known");
    device.publish(&retyped(4));
    drop(device);

    let mut device = Device::on(&disk, 1);
    assert_eq!(device.active(), 3);
    device.store.use_schema(2).expect("it is known");
    assert!(!device.reader().schemas().pinned);
    device.publish(&version(5, "phone = { type = \"text\" }\n"));
    assert_eq!(device.active(), 5);
}

#[test]
fn a_newer_file_stays_in_use_though_others_hold_it_back() {
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    device.publish(&second());
    device.publish(&retyped(3));
    drop(device);

    let mut device = Device::with_schema(&disk, 1, &retyped(4));

    assert_eq!(device.active(), 4);
    device.publish(&retyped(4));
    assert_eq!(device.active(), 4);
    drop(device);
    assert_eq!(Device::with_schema(&disk, 1, &retyped(4)).active(), 4);
}

#[test]
fn a_damaged_text_of_another_version_leaves_the_one_in_use() {
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    let third = version(3, "phone = { type = \"text\" }\n");
    device.publish(&second());
    device.publish(&third);
    drop(device);
    tamper(&disk, |tx| {
        let digest = *blake3::hash(second().as_bytes()).as_bytes();
        let mut texts = tx.open_table(tables::SCHEMA_TEXTS).expect("the table");
        texts.insert(digest, b"spoilt".as_slice()).expect("a write");
    });

    let mut device = Device::on(&disk, 1);

    assert_eq!(device.active(), 3);
    device.publish(&version(4, "phone = { type = \"text\" }\n"));
    assert_eq!(device.active(), 3);
    device.store.use_schema(4).expect("it is known");
    assert_eq!(device.active(), 4);
}
