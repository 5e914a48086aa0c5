//! A disk in memory that outlives its stores, can be full, and can be damaged.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use crate::store::{Store, StoreError, StoreOptions};

const ENOSPC: i32 = 28;

/// No offset is this large.
const NO_LIMIT: u64 = u64::MAX;

#[derive(Clone, Debug)]
pub(super) struct Disk {
    memory: Arc<InMemoryBackend>,
    /// Nothing can be written at or beyond this offset.
    end: Arc<AtomicU64>,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            memory: Arc::default(),
            end: Arc::new(AtomicU64::new(NO_LIMIT)),
        }
    }
}

impl Disk {
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        let disk = Self::default();
        disk.memory
            .set_len(bytes.len() as u64)
            .expect("memory grows");
        disk.memory.write(0, bytes).expect("memory takes writes");
        disk
    }

    pub(super) fn open(&self, options: StoreOptions) -> Result<Store, StoreError> {
        let disk = self.clone();
        Store::open_with(move || Ok(disk.clone()), options)
    }

    /// From here on the disk cannot grow; what is allocated can be overwritten.
    pub(super) fn fill(&self) {
        self.end
            .store(self.len().expect("memory has a length"), Ordering::SeqCst);
    }

    /// From here on every write fails.
    pub(super) fn fill_to_the_brim(&self) {
        self.end.store(0, Ordering::SeqCst);
    }

    pub(super) fn free(&self) {
        self.end.store(NO_LIMIT, Ordering::SeqCst);
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len().expect("memory has a length") as usize];
        self.memory.read(0, &mut bytes).expect("memory reads");
        bytes
    }

    fn check(&self, end: u64) -> io::Result<()> {
        if end > self.end.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check(len)?;
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.memory.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check(offset + data.len() as u64)?;
        self.memory.write(offset, data)
    }
}
