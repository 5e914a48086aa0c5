//! Makes a failing plan small: takes away devices, fault classes, operations, contacts and faults, and then
//! time, as long as the same oracle still fails.
//!
//! After Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (2002). Draws are keyed,
//! so what is left of a plan behaves as it did.

use crate::outcome::Verdict;
use crate::plan::Plan;
use crate::world::World;

/// A plan that was made small.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// It.
    pub plan: Plan,
    /// How it fails.
    pub verdict: Verdict,
    /// How many runs that took.
    pub runs: u32,
}

struct Shrinker<'a> {
    plan: Plan,
    verdict: Verdict,
    runs: u32,
    runs_max: u32,
    progress: &'a mut dyn FnMut(u32, &Plan),
}

/// Makes `plan`, which fails as `verdict` says, as small as `runs_max` runs allow. `progress` is told of
/// every smaller plan.
pub fn shrink(
    plan: &Plan,
    verdict: &Verdict,
    runs_max: u32,
    progress: &mut dyn FnMut(u32, &Plan),
) -> Shrunk {
    let mut shrinker = Shrinker {
        plan: plan.clone(),
        verdict: verdict.clone(),
        runs: 0,
        runs_max,
        progress,
    };
    shrinker.cut_horizon();
    loop {
        let before = shrinker.size();
        shrinker.drop_devices();
        shrinker.drop_classes();
        shrinker.drop_from(
            |plan| plan.operations.len(),
            |plan, keep| keep_only(&mut plan.operations, keep),
        );
        shrinker.drop_from(
            |plan| plan.contacts.len(),
            |plan, keep| keep_only(&mut plan.contacts, keep),
        );
        shrinker.drop_from(
            |plan| plan.faults.len(),
            |plan, keep| keep_only(&mut plan.faults, keep),
        );
        shrinker.calm_devices();
        shrinker.cut_horizon();
        if shrinker.size() == before || shrinker.runs >= shrinker.runs_max {
            break;
        }
    }
    Shrunk {
        plan: shrinker.plan,
        verdict: shrinker.verdict,
        runs: shrinker.runs,
    }
}

fn keep_only<T>(list: &mut Vec<T>, keep: &[bool]) {
    let mut keep = keep.iter();
    list.retain(|_| keep.next().copied().unwrap_or(true));
}

impl Shrinker<'_> {
    fn size(&self) -> usize {
        let Plan {
            devices,
            contacts,
            operations,
            faults,
            ..
        } = &self.plan;
        devices.len() + contacts.len() + operations.len() + faults.len() + self.plan.classes().len()
    }

    /// Takes `smaller` in place of the plan if it fails in the same way.
    fn try_plan(&mut self, smaller: Plan) -> bool {
        if self.runs >= self.runs_max || smaller == self.plan {
            return false;
        }
        self.runs += 1;
        let verdict = World::run(&smaller, &mut ()).verdict;
        if !verdict.is_like(&self.verdict) {
            return false;
        }
        (self.plan, self.verdict) = (smaller, verdict);
        (self.progress)(self.runs, &self.plan);
        true
    }

    fn drop_devices(&mut self) {
        let numbers: Vec<usize> = self.plan.devices.iter().map(|spec| spec.device).collect();
        for number in numbers.into_iter().rev() {
            if self.plan.devices.len() > 1 {
                self.try_plan(self.plan.without_device(number));
            }
        }
    }

    fn drop_classes(&mut self) {
        for class in self.plan.classes() {
            self.try_plan(self.plan.without_class(class));
        }
    }

    /// Drops as many of a list's items as it can, in ever smaller pieces.
    fn drop_from(
        &mut self,
        count: impl Fn(&Plan) -> usize,
        keep_only: impl Fn(&mut Plan, &[bool]),
    ) {
        let mut piece = count(&self.plan).div_ceil(2).max(1);
        loop {
            let mut start = 0;
            while start < count(&self.plan) {
                let end = (start + piece).min(count(&self.plan));
                let all = 0..count(&self.plan);
                let keep: Vec<bool> = all.map(|index| !(start..end).contains(&index)).collect();
                let mut smaller = self.plan.clone();
                keep_only(&mut smaller, &keep);
                if !self.try_plan(smaller) {
                    start = end;
                }
                if self.runs >= self.runs_max {
                    return;
                }
            }
            if piece == 1 {
                return;
            }
            piece = piece.div_ceil(2);
        }
    }

    /// Makes devices ordinary.
    fn calm_devices(&mut self) {
        for index in 0..self.plan.devices.len() {
            let mut smaller = self.plan.clone();
            let spec = &mut smaller.devices[index];
            (spec.fetch_bytes, spec.group) = (None, None);
            (spec.commit_ms, spec.fetch_ms) = (5, 2);
            self.try_plan(smaller);
        }
    }

    /// Ends the run soon after the last thing that happens in it.
    fn cut_horizon(&mut self) {
        let plan = &self.plan;
        let starts = plan.contacts.iter().map(|contact| contact.at_ms);
        let acts = plan.operations.iter().map(|operation| operation.at_ms);
        let faults = plan.faults.iter().map(|fault| fault.at_ms);
        let last_ms = starts.chain(acts).chain(faults).max().unwrap_or(0);
        let mut smaller = plan.clone();
        smaller.header.horizon_ms = plan.header.horizon_ms.min(last_ms + 60_000);
        self.try_plan(smaller);
    }
}
