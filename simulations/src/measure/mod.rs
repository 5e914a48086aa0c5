//! What a run means for people who write schemas: what met what, who was asked, what it cost, how far
//! records had spread.
//!
//! A [`Meter`] watches a run and gives a [`Report`]. It counts from when all have gone apart until the last
//! day is over; the settling of the fleet after that is no part of people's days, but shows how each
//! conflict ends.
//!
//! It does not know how a plan came about.

mod conflicts;
mod report;
mod spread;

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh::store::Reader;

use crate::link::LinkClass;
use crate::outcome::Outcome;
use crate::plan::{Act, Plan, Role};
use crate::plot::Picture;
use crate::time::DAY_MS;
use crate::trace::{Line, Measured, Observer, Renumbered};
use crate::workload::Prices;

pub use conflicts::{Conflicts, DeletionCount, Example, FieldCount};
pub use report::{DeviceCost, Report, ReviewDay, Supervision, verdict};
pub use spread::{Reach, Spread};

/// Counts while a run is played.
#[derive(Debug)]
pub struct Meter {
    /// When counting begins.
    from_ms: u64,
    bytes: BTreeMap<(usize, LinkClass), u64>,
    spread: spread::Watch,
    supervisors: BTreeMap<usize, Vec<ReviewDay>>,
    seen: BTreeMap<usize, BTreeSet<String>>,
    conflicts: Conflicts,
    is_over: bool,
    picture: Option<Renumbered<Picture>>,
}

impl Meter {
    /// A meter for a plan that counts from `from_ms` on; `draws` if there is to be a picture.
    pub fn new(plan: &Plan, from_ms: u64, draws: bool) -> Self {
        let days = plan.header.horizon_ms.div_ceil(DAY_MS) as usize;
        let answers = plan.operations.iter();
        let answers = answers.filter(|operation| matches!(operation.act, Act::Review { .. }));
        let honest = plan.devices.iter().filter(|spec| spec.role.is_honest());
        Self {
            from_ms,
            bytes: BTreeMap::new(),
            spread: spread::Watch::new(honest.count()),
            supervisors: answers
                .map(|operation| (operation.device, vec![ReviewDay::default(); days]))
                .collect(),
            seen: BTreeMap::new(),
            conflicts: Conflicts::default(),
            is_over: false,
            picture: draws.then(|| Renumbered::new(plan, Picture::default())),
        }
    }

    /// What was measured.
    pub fn report(&self, plan: &Plan, outcome: &Outcome, prices: &Prices) -> Report {
        let counted_ms = plan.header.horizon_ms.saturating_sub(self.from_ms);
        let days = counted_ms as f64 / DAY_MS as f64;
        let honest = plan.devices.iter().filter(|spec| spec.role.is_honest());
        let devices = honest.map(|spec| {
            let by_class = LinkClass::ALL.into_iter().filter_map(|class| {
                let bytes = self.bytes.get(&(spec.device, class))?;
                Some((class, *bytes))
            });
            DeviceCost::new(spec.device, spec.role == Role::Hub, by_class, days, prices)
        });
        let supervisors = self.supervisors.iter().map(|(device, days)| Supervision {
            device: *device,
            days: days.clone(),
        });
        Report {
            days,
            devices: devices.collect(),
            currency: prices.currency.clone(),
            conflicts: self.conflicts.clone(),
            supervisors: supervisors.collect(),
            spread: self.spread.summary(),
            saved: outcome.counts.saved,
            refused: outcome.counts.refused.clone(),
            missed: outcome.counts.missed,
            settled_s: outcome.settled_ms.map(|it| it as f64 / 1000.0),
            verdict: verdict(&outcome.verdict),
            digest: outcome.digest.clone(),
        }
    }

    /// The picture, if there is to be one.
    pub fn into_picture(self) -> Option<Picture> {
        self.picture.map(Renumbered::into_inner)
    }

    fn day(&mut self, device: usize, t_ms: u64) -> Option<&mut ReviewDay> {
        let days = self.supervisors.get_mut(&device)?;
        // What is counted at the end of a day belongs to that day.
        let day = (t_ms.saturating_sub(1) / DAY_MS) as usize;
        days.get_mut(day)
    }

    fn on_reviews(&mut self, device: usize, t_ms: u64, ids: Vec<String>) {
        if !self.supervisors.contains_key(&device) {
            return;
        }
        let left = ids.len() as u64;
        let seen = self.seen.entry(device).or_default();
        let opened = ids.into_iter().filter(|id| seen.insert(id.clone())).count() as u64;
        if let Some(day) = self.day(device, t_ms) {
            day.opened += opened;
            day.left = left;
        }
    }

    fn on_settled(&mut self, reader: &Reader) {
        // A store that cannot be read has failed an oracle already.
        self.conflicts = Conflicts::of(reader).unwrap_or_default();
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
        match what {
            Measured::Horizon { .. } => self.is_over = true,
            Measured::Settled { reader } => self.on_settled(reader),
            _ if self.is_over => {}
            Measured::Sent { t_ms, .. } | Measured::Written { t_ms, .. }
                if *t_ms < self.from_ms => {}
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
            Measured::Written { t_ms, dot, .. } => self.spread.on_written(*t_ms, *dot),
            Measured::Held {
                t_ms,
                device,
                log,
                seq,
            } => self.spread.on_held(*t_ms, *device, *log, *seq),
            Measured::Reviews { t_ms, device, open } => {
                let ids = open.iter().map(|(_, review)| review.id.0.clone());
                self.on_reviews(*device, *t_ms, ids.collect());
            }
            Measured::Answered { t_ms, device, .. } => {
                if let Some(day) = self.day(*device, *t_ms) {
                    day.answered += 1;
                    day.left = day.left.saturating_sub(1);
                }
            }
        }
    }
}
