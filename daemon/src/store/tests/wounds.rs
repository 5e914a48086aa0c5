//! A database that comes apart as it closes, as one over a damaged file may.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;

use super::*;

/// A disk under a database that panics as soon as it writes, once it is broken.
#[derive(Clone, Debug, Default)]
struct Brittle {
    disk: Disk,
    broken: Arc<AtomicBool>,
}

impl StorageBackend for Brittle {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        assert!(
            !self.broken.load(Ordering::SeqCst),
            "the allocator's state is damaged"
        );
        self.disk.write(offset, data)
    }
}

#[test]
fn a_store_whose_database_panics_as_it_closes_is_closed_and_keeps_what_was_committed() {
    let brittle = Brittle::default();
    let make = {
        let brittle = brittle.clone();
        move || Ok(brittle.clone())
    };
    let store = Store::open_with(make, options(1, schema(SCHEMA))).expect("the store opens");
    let mut device = Device::of(store, 1);
    device
        .write(vec![upsert("1", vec![set("name", "Achieng")])])
        .expect("a write");

    brittle.broken.store(true, Ordering::SeqCst);
    drop(device);

    brittle.broken.store(false, Ordering::SeqCst);
    let again = Device::on(&brittle.disk, 1);
    assert_eq!(again.field("1", "name"), "Achieng");
}
