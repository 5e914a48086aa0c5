//! What has been written since the last honest sync, and what a power cut leaves of it.
//!
//! Each sector of each write is kept, lost or torn by a draw of its own. Since a sector may be kept from an
//! older write and lost from a newer one, and any sector may be kept without the ones written before it, this
//! covers every order in which a disk may write its cache out.

use std::collections::VecDeque;
use std::sync::Arc;

use super::image::Image;
use crate::draw::{Draw, key};

/// What a disk writes at once or not at all, unless it is torn.
const SECTOR_BYTES: usize = 512;

/// The greatest cache a disk has: older writes reach the medium even if no sync is ever done.
const CACHE_BYTES_MAX: usize = 8 << 20;

/// Of a hundred unsynced sectors, about how many a power cut tears.
const TORN_PER_CENT: u64 = 4;

#[derive(Clone, Debug)]
enum Step {
    Write { offset: u64, data: Arc<[u8]> },
    SetLen(u64),
}

/// What has been done since the last honest sync, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    steps: VecDeque<Step>,
    bytes: usize,
}

/// How many sectors a power cut damaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Sectors that are as they were before.
    pub lost: u64,
    /// Sectors that are partly as they were before.
    pub torn: u64,
}

impl Journal {
    /// Notes a write. What no longer fits into the cache goes to the durable image.
    pub(super) fn write(&mut self, offset: u64, data: Arc<[u8]>, durable: &mut Image) {
        self.bytes += data.len();
        self.steps.push_back(Step::Write { offset, data });
        while self.bytes > CACHE_BYTES_MAX {
            match self.steps.pop_front() {
                Some(Step::Write { offset, data }) => {
                    self.bytes -= data.len();
                    put(durable, offset, &data);
                }
                Some(Step::SetLen(len)) => durable.set_len(len),
                None => return,
            }
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        self.steps.push_back(Step::SetLen(len));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The ranges that were written, for whoever makes them durable.
    pub(super) fn written(&self) -> impl Iterator<Item = (u64, usize)> {
        self.steps.iter().filter_map(|step| match step {
            Step::Write { offset, data } => Some((*offset, data.len())),
            Step::SetLen(_) => None,
        })
    }

    /// The lengths that were set, oldest first.
    pub(super) fn lengths(&self) -> impl Iterator<Item = u64> {
        self.steps.iter().filter_map(|step| match step {
            Step::SetLen(len) => Some(*len),
            Step::Write { .. } => None,
        })
    }

    pub(super) fn clear(&mut self) {
        self.steps.clear();
        self.bytes = 0;
    }

    /// Cuts the power: some of what is here reaches `durable`, as the draws say.
    pub(super) fn cut(self, durable: &mut Image, draw: &Draw, case: u64) -> Damage {
        // How eager the disk was to write its cache out: nothing of it, all of it, or anything between.
        let kept_per_cent = match draw.number("disk cut: kind", case, 0..10) {
            0 => 0,
            1 => 100,
            _ => draw.number("disk cut: kept", case, 5..96),
        };
        let mut cut = Cut {
            draw,
            case,
            kept_per_cent,
            sector: 0,
            damage: Damage::default(),
        };
        for step in self.steps {
            match step {
                Step::SetLen(len) if cut.keeps("disk cut: length") => durable.set_len(len),
                Step::SetLen(_) => {}
                Step::Write { offset, data } => cut.write(durable, offset, &data),
            }
        }
        cut.damage
    }
}

/// A power cut in progress.
struct Cut<'d> {
    draw: &'d Draw,
    case: u64,
    kept_per_cent: u64,
    /// Counts the draws.
    sector: u64,
    damage: Damage,
}

impl Cut<'_> {
    fn keeps(&mut self, concern: &str) -> bool {
        self.sector += 1;
        self.roll(concern) % 100 < self.kept_per_cent
    }

    fn roll(&self, concern: &str) -> u64 {
        let case = key(&[self.case, self.sector]);
        self.draw.number(concern, case, 0..1 << 32)
    }

    fn write(&mut self, durable: &mut Image, offset: u64, data: &[u8]) {
        let mut from = 0;
        while from < data.len() {
            let place = offset + from as u64;
            let rest = SECTOR_BYTES - (place % SECTOR_BYTES as u64) as usize;
            let part = &data[from..data.len().min(from + rest)];
            from += part.len();
            if !self.keeps("disk cut: sector") {
                self.damage.lost += 1;
            } else if self.kept_per_cent < 100
                && self.roll("disk cut: torn") % 100 < TORN_PER_CENT
                && part.len() > 1
            {
                self.damage.torn += 1;
                let at = 1 + (self.roll("disk cut: tear") % (part.len() as u64 - 1)) as usize;
                // Sectors tear at either end.
                match self.roll("disk cut: side") % 2 {
                    0 => put(durable, place, &part[..at]),
                    _ => put(durable, place + at as u64, &part[at..]),
                }
            } else {
                put(durable, place, part);
            }
        }
    }
}

/// Writes what lies before the image's end: the rest was written to a length that has been lost.
fn put(durable: &mut Image, offset: u64, data: &[u8]) {
    let room = durable.len().saturating_sub(offset);
    let fitting = usize::try_from(room).unwrap_or(usize::MAX).min(data.len());
    durable.write(offset, &data[..fitting]);
}
