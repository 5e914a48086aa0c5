//! Local writes that follow entries of others which do not read back.

use redb::ReadableTable;

use super::forked::{repaired, run};
use super::repair::{check, tamper};
use super::*;
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
fn a_write_after_a_damaged_entry_is_made_without_naming_it_and_everybody_takes_it() {
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
        let damaged = Dot::new(author.log.log, 1);
        let after = Batch::Local(device.local(name("1", "B")));
        let aside = Batch::Local(device.local(name("3", "B")));

        let report = device.store.commit(vec![after, aside]);

        assert_eq!(report.damaged, [damaged]);
        assert!(report.local.iter().all(|(_, result)| result.is_ok()));
        let written = device.reader().entry(Dot::new(device.log.log, 1));
        let (_, set) = written.expect("a read").expect("the entry");
        assert!(set.edits[0].deps.is_empty() && set.tags.is_empty());

        let mut other = Device::new(3);
        other.pull(&author, usize::MAX);
        other.pull(&device, usize::MAX);
        let view = |device: &Device| device.get("1").expect("the record").view;
        assert_eq!(
            view(&other).reviews.len(),
            1,
            "both names wait for a person"
        );
        let mend = Repair::Mend(run(&author));
        let mended = repaired(&mut device, Batch::Repair(1, Box::new(mend)));
        assert_eq!(mended, Ok(Outcome::Mended { entries: 2 }));
        assert_eq!(view(&device), view(&other));
        assert_eq!(check(&device).told, []);
    }
}
