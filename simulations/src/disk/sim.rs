//! The disk itself: a backend for the database, and the hand that cuts its power.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use redb::StorageBackend;

use super::faults::{DiskCounters, DiskFaults};
use super::image::{Image, PAGE_BYTES, Page, spans};
use super::journal::{Damage, Journal};
use super::stop::Stop;
use crate::draw::Draw;

/// "No space left on device", as the database sees it on unix.
const ENOSPC: i32 = 28;
/// "Input/output error".
const EIO: i32 = 5;

/// A page that has not been written for this many writes is cold.
const COLD_WRITES: u64 = 64;

/// A disk. Clones are the same disk; [`SimDisk::image`] makes another one.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Debug, Default)]
struct State {
    faults: DiskFaults,
    /// What a process reads.
    live: Image,
    /// What has been made durable.
    durable: Image,
    /// What makes `live` of `durable`.
    journal: Journal,
    /// A sync was ignored, and none has been done since.
    owes_sync: bool,
    /// It has been damaged at some time, found or not.
    was_damaged: bool,
    /// Pages that cannot be read until they are written again.
    worn: BTreeSet<usize>,
    /// The number of the last write to each page.
    written: BTreeMap<usize, u64>,
    /// Where whoever has the disk open stops.
    stop: Option<Stop>,
    /// The disk as it was then.
    stopped: Option<Box<Self>>,
    counters: DiskCounters,
}

impl SimDisk {
    /// An empty disk.
    pub fn new(faults: DiskFaults) -> Self {
        let state = State {
            faults,
            ..State::default()
        };
        Self::of(state)
    }

    fn of(state: State) -> Self {
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another disk with the same content, cached and durable, and the same faults.
    #[must_use]
    pub fn image(&self) -> Self {
        Self::of(self.with(|state| state.clone()))
    }

    /// Replaces what is wrong with the disk, for those who have it open as well.
    pub fn set_faults(&self, faults: DiskFaults) {
        self.with(|state| state.faults = faults);
    }

    /// What is wrong with the disk.
    pub fn faults(&self) -> DiskFaults {
        self.with(|state| state.faults)
    }

    /// Whether it has said that something is durable which is not.
    pub fn owes_sync(&self) -> bool {
        self.with(|state| state.owes_sync)
    }

    /// Notes that it has been damaged. What a store does not read may be wrong from here on, in copies of it as well.
    pub fn note_damage(&self) {
        self.with(|state| state.was_damaged = true);
    }

    /// Whether it, or what it is a copy of, has been damaged at some time.
    pub fn was_damaged(&self) -> bool {
        self.with(|state| state.was_damaged)
    }

    /// What has been done with the disk.
    pub fn counters(&self) -> DiskCounters {
        self.with(|state| state.counters)
    }

    /// How many bytes the pages take that hold something.
    pub fn allocated_bytes(&self) -> u64 {
        self.with(|state| state.live.allocated_bytes())
    }

    /// Whether something has been written that a power cut may lose.
    pub fn has_unsynced(&self) -> bool {
        self.with(|state| !state.journal.is_empty())
    }

    /// Whether there are pages that cannot be read.
    pub fn is_worn(&self) -> bool {
        self.with(|state| !state.worn.is_empty())
    }

    /// Lets the process that has the disk open stop before one of its next steps, each as likely as the others:
    /// a write, a sync or another length. It goes on without noticing; what it does from there on is forgotten
    /// at the next [`Self::kill`] or [`Self::power_cut`].
    pub fn stop_amid(&self, draw: &Draw, case: u64) {
        self.with(|state| state.stop = Some(Stop::new(*draw, case)));
    }

    /// Whether the process has stopped: whatever it says since then has not happened.
    pub fn has_stopped(&self) -> bool {
        self.with(|state| state.stopped.is_some())
    }

    /// Takes the disk from the process that has it open, which dies now or died when it stopped. The cache is the
    /// system's and lives on.
    pub fn kill(&mut self) {
        *self = Self::of(self.with(|state| state.at_stop()));
    }

    /// Takes the disk from whoever has it open and cuts its power, now or when they stopped: of what was not
    /// synced, sectors are kept, lost and torn as the draws for `case` say.
    pub fn power_cut(&mut self, draw: &Draw, case: u64) -> Damage {
        let mut state = self.with(|state| state.at_stop());
        let journal = std::mem::take(&mut state.journal);
        state.owes_sync = false;
        let damage = journal.cut(&mut state.durable, draw, case);
        state.live = state.durable.clone();
        *self = Self::of(state);
        damage
    }

    /// Takes the disk from whoever has it open and gives it the content of an image, all of it durable. Faults
    /// and counters stay.
    pub fn restore(&mut self, image: &Self) {
        let content = image.with(|state| state.live.clone());
        let state = self.with(|state| State {
            faults: state.faults,
            counters: state.counters,
            live: content.clone(),
            durable: content,
            ..State::default()
        });
        *self = Self::of(state);
    }

    /// Flips a bit in a cold page. Returns its offset in bits, or `None` if there is no cold page.
    pub fn rot(&self, draw: &Draw, case: u64) -> Option<u64> {
        self.with(|state| {
            let page = state.cold_page(draw, case)?;
            let bit = draw.number("disk rot: bit", case, 0..PAGE_BYTES as u64 * 8);
            let offset = (page * PAGE_BYTES) as u64 + bit / 8;
            if offset >= state.live.len() {
                return None;
            }
            let mut byte = [0];
            state.live.read(offset, &mut byte);
            byte[0] ^= 1 << (bit % 8);
            state.live.write(offset, &byte);
            if offset < state.durable.len() {
                state.durable.write(offset, &byte);
            }
            Some(offset * 8 + bit % 8)
        })
    }

    /// Flips a bit of the byte at `place` of these bytes, wherever they are on the disk. Returns how often
    /// that is. Remains of deleted rows count too.
    pub fn rot_bytes(&self, bytes: &[u8], place: usize) -> usize {
        self.with(|state| {
            let found = state.live.find(bytes);
            for offset in &found {
                let offset = offset + place as u64;
                let mut byte = [0];
                state.live.read(offset, &mut byte);
                byte[0] ^= 1;
                state.live.write(offset, &byte);
                if offset < state.durable.len() {
                    state.durable.write(offset, &byte);
                }
            }
            found.len()
        })
    }

    /// Wears a cold page out: it cannot be read until it is written again. Returns its offset in bytes, or
    /// `None` if there is no cold page.
    pub fn wear(&self, draw: &Draw, case: u64) -> Option<u64> {
        self.with(|state| {
            let page = state.cold_page(draw, case)?;
            state.worn.insert(page);
            Some((page * PAGE_BYTES) as u64)
        })
    }
}

impl State {
    /// The disk as the process left it.
    fn at_stop(&self) -> Self {
        let mut state = match &self.stopped {
            Some(stopped) => Self::clone(stopped),
            None => self.clone(),
        };
        state.stop = None;
        state
    }

    /// Another step of the process is about to be done.
    fn step(&mut self) {
        if self.stop.as_mut().is_some_and(Stop::is_here) {
            self.stopped = None;
            self.stopped = Some(Box::new(self.clone()));
        }
    }

    /// A page that holds something and has not been written lately.
    fn cold_page(&self, draw: &Draw, case: u64) -> Option<usize> {
        let warm_since = self.counters.writes.saturating_sub(COLD_WRITES);
        let is_cold = |page: &usize| {
            let last = self.written.get(page).copied().unwrap_or(0);
            last < warm_since
        };
        let cold: Vec<usize> = self.live.used_pages().filter(is_cold).collect();
        let count = cold.len() as u64;
        (count > 0).then(|| cold[draw.number("disk: cold page", case, 0..count) as usize])
    }

    fn check(&self, offset: u64, len: usize) -> io::Result<()> {
        let is_inside = offset
            .checked_add(len as u64)
            .is_some_and(|end| end <= self.live.len());
        is_inside
            .then_some(())
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn read(&mut self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.check(offset, out.len())?;
        if !self.worn.is_empty() && spans(offset, out.len()).any(|s| self.worn.contains(&s.page)) {
            self.counters.read_errors += 1;
            return Err(io::Error::from_raw_os_error(EIO));
        }
        self.live.read(offset, out);
        Ok(())
    }

    /// How many of the bytes fit on the disk.
    fn room(&self, offset: u64, len: usize) -> usize {
        let DiskFaults {
            bytes_max,
            full_from_write,
            ..
        } = self.faults;
        if full_from_write.is_some_and(|from| self.counters.writes >= from) {
            return 0;
        }
        let Some(bytes_max) = bytes_max else {
            return len;
        };
        let mut allocated = self.live.allocated_bytes();
        for span in spans(offset, len) {
            if !self.live.is_allocated(span.page) {
                allocated += PAGE_BYTES as u64;
            }
            if allocated > bytes_max && !self.live.is_allocated(span.page) {
                return span.from;
            }
        }
        len
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check(offset, data.len())?;
        self.step();
        self.counters.writes += 1;
        // A write that finds the disk full half way has written its first half.
        let fitting = &data[..self.room(offset, data.len())];
        for span in spans(offset, fitting.len()) {
            self.worn.remove(&span.page);
            self.written.insert(span.page, self.counters.writes);
        }
        let kept: Arc<[u8]> = Arc::from(fitting);
        // A whole page, as nearly all writes are, is the same for the image and the journal.
        match <Arc<Page>>::try_from(Arc::clone(&kept)) {
            Ok(page) if offset.is_multiple_of(PAGE_BYTES as u64) => {
                self.live
                    .put_page((offset / PAGE_BYTES as u64) as usize, page);
            }
            Ok(_) | Err(_) => self.live.write(offset, fitting),
        }
        self.journal.write(offset, kept, &mut self.durable);
        self.counters.written_bytes += fitting.len() as u64;
        if fitting.len() < data.len() {
            self.counters.full += 1;
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        Ok(())
    }

    fn sync(&mut self) {
        self.step();
        self.counters.syncs += 1;
        if !self.faults.syncs.is_done(self.counters.syncs) {
            self.counters.syncs_ignored += 1;
            self.owes_sync = true;
            return;
        }
        self.owes_sync = false;
        // One after the other: what a shorter length has cut off is zero, however long the disk is now.
        for len in self.journal.lengths() {
            self.durable.set_len(len);
        }
        let pages: BTreeSet<usize> = self
            .journal
            .written()
            .flat_map(|(offset, len)| spans(offset, len))
            .map(|span| span.page)
            .collect();
        for page in pages {
            self.durable.share_page(page, &self.live);
        }
        self.journal.clear();
    }
}

impl StorageBackend for SimDisk {
    fn len(&self) -> io::Result<u64> {
        self.with(|state| Ok(state.live.len()))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|state| state.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|state| {
            state.step();
            state.live.set_len(len);
            state.journal.set_len(len);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|state| {
            state.sync();
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|state| state.write(offset, data))
    }
}
