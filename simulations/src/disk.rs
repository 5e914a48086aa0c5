//! A disk under the real store: what was written outlives a kill; what was not synced may not outlive a
//! power cut.
//!
//! The live image is what the running store reads. For every sector that was written since the last sync
//! the disk remembers what it held before, which is what a power cut may bring back: whole, in part, or
//! not at all.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use redb::StorageBackend;

use crate::draw::Draw;

const SECTOR_BYTES: usize = 512;
/// The operating system's number for "no space left on device".
const ENOSPC: i32 = 28;

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskFaults {
    /// A sync says that it has been done, and has not.
    pub sync_is_ignored: bool,
    /// Nothing can be written.
    pub is_full: bool,
}

#[derive(Debug, Default)]
struct State {
    live: Vec<u8>,
    /// What the unsynced sectors durably hold, by sector number.
    durable: BTreeMap<usize, [u8; SECTOR_BYTES]>,
    faults: DiskFaults,
    /// A sync was ignored, and none has been done since.
    owes_sync: bool,
}

/// One disk, shared by the stores that are opened on it one after the other.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    /// An empty disk.
    pub fn new(faults: DiskFaults) -> Self {
        let disk = Self::default();
        disk.set_faults(faults);
        disk
    }

    /// From here on this is wrong with it.
    pub fn set_faults(&self, faults: DiskFaults) {
        self.with(|state| state.faults = faults);
    }

    /// What is wrong with it.
    pub fn faults(&self) -> DiskFaults {
        self.with(|state| state.faults)
    }

    /// Whether it has said that something is synced which is not.
    pub fn owes_sync(&self) -> bool {
        self.with(|state| state.owes_sync)
    }

    /// Another disk with the same bytes, synced and unsynced. A store that still holds this one cannot
    /// touch it.
    pub fn image(&self) -> Self {
        self.with(|state| Self {
            state: Arc::new(Mutex::new(State {
                live: state.live.clone(),
                durable: state.durable.clone(),
                faults: state.faults,
                owes_sync: state.owes_sync,
            })),
        })
    }

    /// The power fails: each unsynced sector is kept, lost or torn, as drawn under `number`.
    pub fn power_cut(&self, draw: &Draw, number: u64) {
        self.with(|state| {
            state.owes_sync = false;
            for (sector, before) in std::mem::take(&mut state.durable) {
                let case = number.wrapping_mul(1 << 20).wrapping_add(sector as u64);
                let kept = match draw.number("sector", case, 0..3) {
                    0 => SECTOR_BYTES,
                    1 => 0,
                    _ => draw.number("torn at", case, 0..SECTOR_BYTES as u64) as usize,
                };
                let start = sector * SECTOR_BYTES;
                let end = state.live.len().min(start + SECTOR_BYTES);
                if start + kept < end {
                    let lost = start + kept..end;
                    state.live[lost].copy_from_slice(&before[kept..end - start]);
                }
            }
        });
    }

    /// Flips one bit of what is stored, as age or heat does.
    pub fn rot(&self, draw: &Draw, number: u64) {
        self.with(|state| {
            if !state.live.is_empty() {
                let at = draw.number("rotten byte", number, 0..state.live.len() as u64) as usize;
                state.live[at] ^= 1 << draw.number("rotten bit", number, 0..8);
            }
        });
    }

    /// How many bytes it holds.
    pub fn bytes(&self) -> u64 {
        self.with(|state| state.live.len() as u64)
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn check_room(&self) -> io::Result<()> {
        match self.faults.is_full {
            true => Err(io::Error::from_raw_os_error(ENOSPC)),
            false => Ok(()),
        }
    }

    /// Remembers what the sectors of a span hold, before it is written.
    fn remember(&mut self, start: usize, end: usize) {
        for sector in start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            let live = &self.live;
            self.durable.entry(sector).or_insert_with(|| {
                let mut before = [0; SECTOR_BYTES];
                let from = sector * SECTOR_BYTES;
                let held = live.get(from..).unwrap_or_default();
                let count = held.len().min(SECTOR_BYTES);
                before[..count].copy_from_slice(&held[..count]);
                before
            });
        }
    }
}

fn span(offset: u64, length: usize) -> io::Result<(usize, usize)> {
    let start = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    let end = start
        .checked_add(length)
        .ok_or(io::ErrorKind::InvalidInput)?;
    Ok((start, end))
}

impl StorageBackend for SimDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (start, end) = span(offset, out.len())?;
        self.with(|state| {
            let found = state
                .live
                .get(start..end)
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(found);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let (len, _) = span(len, 0)?;
        self.with(|state| {
            if len > state.live.len() {
                state.check_room()?;
            }
            state.live.resize(len, 0);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|state| {
            state.owes_sync = state.faults.sync_is_ignored;
            if !state.owes_sync {
                state.durable.clear();
            }
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (start, end) = span(offset, data.len())?;
        self.with(|state| {
            state.check_room()?;
            if end > state.live.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            state.remember(start, end);
            state.live[start..end].copy_from_slice(data);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(disk: &SimDisk) -> Vec<u8> {
        let mut bytes = vec![0; disk.bytes() as usize];
        disk.read(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_power_cut_takes_unsynced_writes_only() {
        for number in 0..50 {
            let disk = SimDisk::default();
            disk.set_len(4096).unwrap();
            disk.write(0, &[1; 2048]).unwrap();
            disk.sync_data().unwrap();
            disk.write(1024, &[2; 2048]).unwrap();

            disk.power_cut(&Draw::new(1), number);

            let bytes = content(&disk);
            assert!(bytes[..1024].iter().all(|byte| *byte == 1));
            assert!(bytes[1024..2048].iter().all(|byte| [1, 2].contains(byte)));
            assert!(bytes[2048..3072].iter().all(|byte| [0, 2].contains(byte)));
        }
    }

    #[test]
    fn an_image_is_not_touched_by_who_holds_the_original() {
        let disk = SimDisk::default();
        disk.set_len(512).unwrap();
        let image = disk.image();
        disk.write(0, &[7; 512]).unwrap();
        assert!(content(&image).iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_full_disk_says_so_and_a_lying_one_forgets() {
        let disk = SimDisk::new(DiskFaults {
            sync_is_ignored: true,
            is_full: false,
        });
        disk.set_len(512).unwrap();
        disk.write(0, &[7; 512]).unwrap();
        disk.sync_data().unwrap();
        let forgets = (0..50).any(|number| {
            let after = disk.image();
            after.power_cut(&Draw::new(1), number);
            content(&after) != content(&disk)
        });
        assert!(forgets);

        disk.set_faults(DiskFaults {
            is_full: true,
            ..DiskFaults::default()
        });
        let error = disk.write(0, &[1]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(ENOSPC));
    }
}
