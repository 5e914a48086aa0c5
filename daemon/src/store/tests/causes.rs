//! Local writes that follow entries of others which do not read back.

use redb::ReadableTable;

use super::forked::{repaired, run};
use super::repair::{check, tamper};
use super::*;
use crate::engine::batch::StoreFault;
use crate::engine::batch::repair::{Outcome, Repair};
use crate::store::tables;

type Wound = fn(&redb::WriteTransaction);

fn spoil_tag(tx: &redb::WriteTransaction) {
    let mut rows = tx.open_table(tables::ENTRIES).expect("the table");
    let row = rows.get((0, 1)).expect("a read").expect("the row");
    let mut bad = row.value().to_vec();
    drop(row);
    bad[1] ^= 1;
    rows.insert((0, 1), bad.as_slice()).expect("a write");
}

fn lose_entry(tx: &redb::WriteTransaction) {
    let mut rows = tx.open_table(tables::ENTRIES).expect("the table");
    rows.remove((0, 1)).expect("a write");
}

#[test]
fn nothing_is_signed_after_a_damaged_entry_before_that_is_mended_and_other_writes_are_made() {
    let mut author = Device::new(2);
    let name = |id, name| vec![upsert(id, vec![set("name", name)])];
    for id in ["1", "2"] {
        author.write(name(id, "A")).expect("a write");
    }
    for wound in [spoil_tag as Wound, lose_entry] {
        let disk = Disk::default();
        Device::on(&disk, 1).pull(&author, usize::MAX);
        tamper(&disk, wound);
        let mut device = Device::on(&disk, 1);
        let after = Batch::Local(device.local(name("1", "B")));
        let aside = Batch::Local(device.local(name("3", "B")));

        let report = device.store.commit(vec![after, aside]);

        assert_eq!(report.damaged, [Dot::new(author.log.log, 1)]);
        let [refused, made] = &local_results(report)[..] else {
            panic!("two outcomes");
        };
        let Err(Rejection::Store(StoreFault::Failed(why))) = refused else {
            panic!("it is refused: {refused:?}");
        };
        assert!(why.contains("retry"), "{why}");
        assert!(made.is_ok(), "{made:?}");
        assert_eq!(device.field("1", "name"), "A");

        let mend = Repair::Mend(run(&author));
        let mended = repaired(&mut device, Batch::Repair(1, Box::new(mend)));
        assert_eq!(mended, Ok(Outcome::Mended { entries: 2 }));
        device.write(name("1", "C")).expect("a write");
        assert_eq!(check(&device).told, []);
        let mut other = Device::new(3);
        other.pull(&device, usize::MAX);
        assert_eq!(other.field("1", "name"), "C");
    }
}
