//! Keys that rot where they lie: nothing but the rows behind them can tell.

use super::*;
use crate::store::tables;

/// A store with three patients and, behind them, nothing.
fn three() -> Disk {
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    for id in ["1", "2", "3"] {
        let edit = upsert(id, vec![set("name", id)]);
        device.write(vec![edit]).expect("a write");
    }
    disk
}

fn places(bytes: &[u8], sought: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(sought.len()).enumerate();
    windows
        .filter(|(_, window)| *window == sought)
        .map(|(place, _)| place)
        .collect()
}

#[test]
fn a_list_that_a_damaged_key_would_cut_short_is_an_error() {
    let good = three().bytes();
    let key = tables::record_key(&patient("2"));
    let collection = key.len() - b"patient\x002".len();
    let mut errors = 0;
    for place in places(&good, &key) {
        let mut bad = good.clone();
        // It sorts behind all patients now.
        bad[place + collection] = b'q';

        let device = Device::on(&Disk::of_bytes(&bad), 1);
        match device.reader().list(&query(None, 10, true), &|_| true) {
            Ok(page) => assert_eq!(page.records.len(), 3, "a list that looks whole"),
            Err(_) => errors += 1,
        }
    }
    assert!(errors > 0, "none of them was in use");
}

#[test]
fn a_record_is_never_shown_under_a_damaged_id() {
    let good = three().bytes();
    let key = tables::record_key(&patient("2"));
    let mut errors = 0;
    for place in places(&good, &key) {
        let mut bad = good.clone();
        bad[place + key.len() - 1] = b'0';

        let device = Device::on(&Disk::of_bytes(&bad), 1);
        match device.reader().list(&query(None, 10, true), &|_| true) {
            Ok(page) => assert!(page.records.iter().all(|record| {
                let id = serde_json::Value::from(record.key.id.clone());
                record.view.fields["name"] == id
            })),
            Err(error) => {
                assert!(error.to_string().contains("patient/0"), "{error}");
                errors += 1;
            }
        }
        assert!(device.reader().get(&patient("0")).is_err() || device.get("0").is_none());
    }
    assert!(errors > 0, "none of them was in use");
}
