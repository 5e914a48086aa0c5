//! A disk that outlives the process using it: what was written is there after a kill.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use redb::StorageBackend;

/// Bytes shared by every store opened on this disk, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Disk {
    /// Another disk with the same bytes.
    pub fn image(&self) -> Self {
        Self {
            bytes: Arc::new(Mutex::new(self.with(|bytes| bytes.clone()))),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        work(&mut self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn span(offset: u64, length: usize) -> std::ops::Range<usize> {
    let start = offset as usize;
    start..start + length
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|bytes| bytes.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|bytes| {
            let found = bytes
                .get(span(offset, out.len()))
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(found);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|bytes| bytes.resize(len as usize, 0));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|bytes| {
            let place = bytes
                .get_mut(span(offset, data.len()))
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            place.copy_from_slice(data);
            Ok(())
        })
    }
}
