//! Disks rot: bits flip where nobody has written for long, or in one entry that others may hold as well.

use crdt_schema::ident::Dot;
use fieldmesh::engine::batch::{Held, Walk};
use fieldmesh::store::Reader;

use super::World;
use super::power::REPLACE_MS;
use crate::alike::KILL_NOTICE_MS;
use crate::draw::key;

/// Most bits that flip at once.
const BITS_MAX: u64 = 64;

impl World<'_> {
    /// The device is off for a while, and some bits of cold pages flip.
    /// Returns whether there were such pages.
    pub(super) fn rot(&mut self, device: usize, case: u64, bits: u64) -> bool {
        if self.device(device).is_none() {
            return false;
        }
        self.power_off(device, None, KILL_NOTICE_MS);
        let Some(seat) = self.seats.get_mut(&device) else {
            return false;
        };
        let bits = (0..bits.min(BITS_MAX)).map(|bit| key(&[case, bit]));
        let flipped = bits.filter_map(|case| seat.disk.rot(&self.draw, case));
        let has_rotten = flipped.count() > 0;
        self.end_rot(device);
        has_rotten
    }

    /// The device is switched off properly for a while, and a bit of one entry flips. After a kill the
    /// database would be repaired, which looks at every page and gives all of it up.
    /// Returns whether there was such an entry.
    pub(super) fn rot_entry(&mut self, device: usize, place: u64) -> bool {
        let Some(entry) = self.entry_at(device, place) else {
            return false;
        };
        if let Some(seat) = self.seats.get_mut(&device) {
            seat.close_store();
            seat.disk.rot_bytes(&entry, entry.len() / 2);
        }
        self.drop_ends(device, KILL_NOTICE_MS);
        self.end_rot(device);
        true
    }

    fn end_rot(&mut self, device: usize) {
        if let Some(seat) = self.seats.get_mut(&device) {
            (seat.may_lose, seat.may_be_damaged) = (true, true);
        }
        self.boot_after(device, REPLACE_MS);
    }

    /// The bytes of one of the entries that a device holds.
    ///
    /// Those are preferred that some other device holds and a third does not: the third asks for the entry,
    /// so that it is missed, and the other has it.
    fn entry_at(&self, device: usize, place: u64) -> Option<Vec<u8>> {
        let seat = self.seats.get(&device)?;
        let living = self.living();
        let others = living.iter().filter(|other| **other != device);
        let others: Vec<&Held> = others.map(|other| &self.seats[other].durable).collect();
        let is_in = |held: &Held, dot: Dot| held.get(&dot.log).is_some_and(|seq| *seq >= dot.seq);
        let is_wanted = |dot: &Dot| {
            let holders = others.iter().filter(|held| is_in(held, *dot)).count();
            (1..others.len()).contains(&holders)
        };
        let held = seat.durable.iter();
        let all: Vec<Dot> = held
            .flat_map(|(log, seq)| (1..=*seq).map(|seq| Dot::new(*log, seq)))
            .collect();
        let wanted: Vec<Dot> = all.iter().copied().filter(is_wanted).collect();
        let among = if wanted.is_empty() { all } else { wanted };
        let dot = *among.get(place.checked_rem(among.len() as u64)? as usize)?;
        entry_bytes(&seat.device.as_ref()?.reader(), dot)
    }
}

/// The canonical bytes of an entry, if it reads back.
fn entry_bytes(reader: &Reader, dot: Dot) -> Option<Vec<u8>> {
    let before = Held::from([(dot.log, dot.seq - 1)]);
    let space = reader.header(dot.log).ok()??.space;
    let walk = Walk::Space { space, after: 0 };
    let fetched = reader.fetch(&walk, &before, usize::MAX).ok()?;
    let mut runs = fetched.runs.into_iter();
    let run =
        runs.find(|run| run.header.log == dot.log && (run.from..=run.last()).contains(&dot.seq))?;
    run.entries.into_iter().nth((dot.seq - run.from) as usize)
}
