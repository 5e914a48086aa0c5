//! A database file whose making was cut short: by a full disk, a kill or a power cut before the first commit.
//!
//! The database writes its magic number last, so such a file is as long as a new one and is no database. Nothing
//! was ever stored in it, and no person should have to move it aside: it is made again from the beginning.
//!
//! Invariants:
//! - Only a file is made again that is empty behind its first page. One that holds anything else is left alone and
//!   called damaged: a store that has lost its first page, or somebody else's file.
//! - It is looked at once, under the database's own lock: nobody else is making it at that moment.

use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{BackendError, StorageBackend};

/// What every database begins with.
const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";
/// The first page, which is written first.
const PAGE_BYTES: u64 = 4096;
/// How much is read at once of what should be empty.
const READ_BYTES: usize = 64 * 1024;

/// A backend that makes a file again whose making was cut short.
#[derive(Debug)]
pub(super) struct Begun<B> {
    inner: B,
    /// Whether the file has been looked at.
    is_known: AtomicBool,
}

impl<B: StorageBackend> Begun<B> {
    pub(super) fn new(inner: B) -> Self {
        Self {
            inner,
            is_known: AtomicBool::new(false),
        }
    }

    /// Empties the file if its making was cut short.
    fn look(&self, len: u64) -> io::Result<()> {
        let mut begins = vec![0; len.min(MAGIC.len() as u64) as usize];
        self.inner.read(0, &mut begins)?;
        if begins.is_empty() || begins == MAGIC {
            return Ok(());
        }
        // The last write of the making may be torn: a part of the magic number among zeros.
        let mut bytes = begins.iter().zip(MAGIC);
        let is_beginning = bytes.all(|(found, magic)| *found == 0 || *found == magic);
        if !is_beginning || len < PAGE_BYTES || !self.is_empty_from(PAGE_BYTES, len)? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it does not begin as a store does: its first page is lost, or it is another kind of file",
            ));
        }
        tracing::warn!(
            "the making of the store was cut short before anything was in it; making it again"
        );
        self.inner.set_len(0)
    }

    fn is_empty_from(&self, from: u64, len: u64) -> io::Result<bool> {
        let mut bytes = vec![0; READ_BYTES];
        let mut at = from;
        while at < len {
            let part = &mut bytes[..READ_BYTES.min((len - at) as usize)];
            self.inner.read(at, part)?;
            if part.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += part.len() as u64;
        }
        Ok(true)
    }
}

impl<B: StorageBackend> StorageBackend for Begun<B> {
    fn len(&self) -> io::Result<u64> {
        let len = self.inner.len()?;
        if self.is_known.load(Ordering::Acquire) {
            return Ok(len);
        }
        self.look(len)?;
        self.is_known.store(true, Ordering::Release);
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.inner.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
