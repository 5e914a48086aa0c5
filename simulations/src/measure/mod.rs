//! What a run means for people who write schemas: what met what, who was asked, what it cost, how far
//! records had spread.
//!
//! A [`Meter`] watches a run and gives a [`Report`]. It counts from when all have gone apart until the last
//! day is over, or until the run ends because something does not hold; the settling of the fleet after that is
//! no part of people's days, but shows how each conflict ends.
//!
//! It does not know how a plan came about.

mod conflicts;
mod report;
mod reviews;
mod spread;

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::ident::Dot;
use fieldmesh::store::Reader;

use crate::link::LinkClass;
use crate::outcome::Outcome;
use crate::plan::{Act, Plan, Role};
use crate::plot::Picture;
use crate::time::DAY_MS;
use crate::trace::{Line, Measured, Observer, Renumbered, Told};
use crate::workload::Prices;

use reviews::Reviews;

pub use crate::spread::Reach;
pub use conflicts::{Conflicts, DeletionCount, Example, FieldCount};
pub use report::{DeviceCost, Report, verdict};
pub use reviews::{ReviewCount, Supervision};
pub use spread::Spread;

/// Counts while a run is played.
#[derive(Debug)]
pub struct Meter {
    /// When counting begins.
    from_ms: u64,
    /// When the last thing was counted, or how long the days lasted once they are over.
    until_ms: u64,
    bytes: BTreeMap<(usize, LinkClass), u64>,
    spread: spread::Watch,
    reviews: Reviews,
    /// What was written before counting began.
    before: BTreeSet<Dot>,
    saved: u64,
    refused: BTreeMap<&'static str, u64>,
    missed: u64,
    conflicts: Conflicts,
    is_over: bool,
    picture: Option<Renumbered<Picture>>,
}

impl Meter {
    /// A meter for a plan that counts from `from_ms` on; `draws` if there is to be a picture.
    pub fn new(plan: &Plan, from_ms: u64, draws: bool) -> Self {
        let answers = plan.operations.iter();
        let answers = answers.filter(|operation| matches!(operation.act, Act::Review { .. }));
        let supervisors = answers.map(|operation| operation.device);
        let honest = plan.devices.iter().filter(|spec| spec.role.is_honest());
        Self {
            from_ms,
            until_ms: from_ms,
            bytes: BTreeMap::new(),
            spread: spread::Watch::new(honest.count()),
            reviews: Reviews::new(supervisors, from_ms..plan.header.horizon_ms),
            before: BTreeSet::new(),
            saved: 0,
            refused: BTreeMap::new(),
            missed: 0,
            conflicts: Conflicts::default(),
            is_over: false,
            picture: draws.then(|| Renumbered::new(plan, Picture::default())),
        }
    }

    /// What was measured.
    pub fn report(&self, plan: &Plan, outcome: &Outcome, prices: &Prices) -> Report {
        let counted_ms = self.until_ms.saturating_sub(self.from_ms);
        let days = counted_ms as f64 / DAY_MS as f64;
        let honest = plan.devices.iter().filter(|spec| spec.role.is_honest());
        let devices = honest.map(|spec| {
            let by_class = LinkClass::ALL.into_iter().filter_map(|class| {
                let bytes = self.bytes.get(&(spec.device, class))?;
                Some((class, *bytes))
            });
            DeviceCost::new(spec.device, spec.role == Role::Hub, by_class, days, prices)
        });
        let settled_ms = outcome.settled_ms.filter(|_| outcome.verdict.is_held());
        Report {
            days,
            devices: devices.collect(),
            currency: prices.currency.clone(),
            conflicts: self.conflicts.clone(),
            supervisors: self.reviews.by_supervisor(),
            reviews: self.reviews.of_all(),
            spread: self.spread.summary(),
            saved: self.saved,
            refused: self.refused.clone(),
            missed: self.missed,
            settled_s: settled_ms.map(|settled_ms| settled_ms as f64 / 1000.0),
            verdict: verdict(&outcome.verdict),
            digest: outcome.digest.clone(),
        }
    }

    /// The picture, if there is to be one.
    pub fn into_picture(self) -> Option<Picture> {
        self.picture.map(Renumbered::into_inner)
    }

    fn on_told(&mut self, told: Told) {
        match told {
            Told::Saved => self.saved += 1,
            Told::Refused(reason) => *self.refused.entry(reason).or_default() += 1,
            Told::Missed => self.missed += 1,
        }
    }

    fn on_settled(&mut self, reader: &Reader) {
        // A store that cannot be read has failed an oracle already.
        self.conflicts = Conflicts::of(reader, &self.before).unwrap_or_default();
    }

    /// Something happens while all are still together.
    fn on_before(&mut self, what: &Measured<'_>) {
        match what {
            Measured::Written { dot, .. } => {
                self.before.insert(*dot);
            }
            Measured::Held {
                t_ms,
                device,
                log,
                seq,
            } => self.spread.on_held(*t_ms, *device, *log, *seq),
            Measured::Reviews { device, open, .. } => {
                let ids = open.iter().map(|(_, review)| review.id.0.as_str());
                self.reviews.on_listed(*device, None, ids);
            }
            Measured::Sent { .. }
            | Measured::Answered { .. }
            | Measured::Told { .. }
            | Measured::Horizon { .. }
            | Measured::Settled { .. } => {}
        }
    }
}

impl Observer for Meter {
    fn trace(&mut self, line: &Line) {
        if let Some(picture) = &mut self.picture {
            picture.trace(line);
        }
    }

    fn wants_measures(&self) -> bool {
        true
    }

    fn measure(&mut self, what: &Measured<'_>) {
        let t_ms = match what {
            Measured::Settled { reader } => return self.on_settled(reader),
            _ if self.is_over => return,
            Measured::Sent { t_ms, .. }
            | Measured::Written { t_ms, .. }
            | Measured::Held { t_ms, .. }
            | Measured::Reviews { t_ms, .. }
            | Measured::Answered { t_ms, .. }
            | Measured::Told { t_ms, .. }
            | Measured::Horizon { t_ms } => *t_ms,
        };
        if t_ms < self.from_ms {
            return self.on_before(what);
        }
        self.until_ms = t_ms;
        match what {
            Measured::Horizon { .. } => self.is_over = true,
            Measured::Sent {
                from,
                to,
                class,
                bytes,
                ..
            } => {
                for end in [from, to] {
                    *self.bytes.entry((*end, *class)).or_default() += bytes;
                }
            }
            Measured::Written { dot, .. } => self.spread.on_written(t_ms, *dot),
            Measured::Held {
                device, log, seq, ..
            } => self.spread.on_held(t_ms, *device, *log, *seq),
            Measured::Reviews { device, open, .. } => {
                let ids = open.iter().map(|(_, review)| review.id.0.as_str());
                self.reviews.on_listed(*device, Some(t_ms), ids);
            }
            Measured::Answered { device, review, .. } => {
                self.reviews.on_answered(*device, t_ms, review)
            }
            Measured::Told { what, .. } => self.on_told(*what),
            Measured::Settled { .. } => {}
        }
    }
}
