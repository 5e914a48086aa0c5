//! Makes a failing plan small: takes away devices, fault classes, operations, contacts and faults, and then
//! time, as long as it still fails in the same way: see [`Verdict::is_like`].
//!
//! After Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (2002). Draws are keyed,
//! so what is left of a plan behaves as it did.

use crate::outcome::Verdict;
use crate::plan::{Act, Operation, Plan};
use crate::time::MINUTE_MS;
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
    play: &'a mut dyn FnMut(&Plan) -> Verdict,
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
    let mut play = |plan: &Plan| World::run(plan, &mut ()).verdict;
    shrink_by(plan, verdict, runs_max, &mut play, progress)
}

/// As [`shrink`], with another judge of plans than a run of the world.
pub fn shrink_by(
    plan: &Plan,
    verdict: &Verdict,
    runs_max: u32,
    play: &mut dyn FnMut(&Plan) -> Verdict,
    progress: &mut dyn FnMut(u32, &Plan),
) -> Shrunk {
    let mut shrinker = Shrinker {
        plan: plan.clone(),
        verdict: verdict.clone(),
        runs: 0,
        runs_max,
        play,
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
        shrinker.drop_edits();
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

/// An operation and what it consists of.
fn parts(operation: &Operation) -> usize {
    match &operation.act {
        Act::Write { edits, .. } | Act::Update { edits } => {
            1 + edits.iter().map(|edit| 1 + edit.ops.len()).sum::<usize>()
        }
        Act::Publish { .. }
        | Act::UseSchema { .. }
        | Act::Install { .. }
        | Act::Review { .. }
        | Act::Network { .. } => 1,
    }
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
        let parts: usize = operations.iter().map(parts).sum();
        devices.len() + contacts.len() + parts + faults.len() + self.plan.classes().len()
    }

    /// Takes `smaller` in place of the plan if it fails in the same way.
    fn try_plan(&mut self, smaller: Plan) -> bool {
        if self.runs >= self.runs_max || smaller == self.plan {
            return false;
        }
        self.runs += 1;
        let verdict = (self.play)(&smaller);
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

    /// Takes records out of writes, and intents out of what is left.
    fn drop_edits(&mut self) {
        for index in 0..self.plan.operations.len() {
            let mut place = (0, 0);
            while let Some((smaller, next)) = self.without_part(index, place) {
                if !self.try_plan(smaller) {
                    place = next;
                }
                if self.runs >= self.runs_max {
                    return;
                }
            }
        }
    }

    /// The plan without one part of a write, and the place after it. An intent that is its edit's only one
    /// goes with the edit, and nothing is taken from a write of one intent.
    fn without_part(
        &self,
        index: usize,
        (edit, op): (usize, usize),
    ) -> Option<(Plan, (usize, usize))> {
        let mut smaller = self.plan.clone();
        let (Act::Write { edits, .. } | Act::Update { edits }) = &mut smaller.operations[index].act
        else {
            return None;
        };
        let ops = edits.get(edit)?.ops.len();
        match (ops, edits.len()) {
            (0 | 1, 1) => return None,
            (0 | 1, _) => drop(edits.remove(edit)),
            (_, _) if op < ops => drop(edits[edit].ops.remove(op)),
            (_, _) => return self.without_part(index, (edit + 1, 0)),
        }
        let next = if op + 1 < ops {
            (edit, op + 1)
        } else {
            (edit + 1, 0)
        };
        Some((smaller, next))
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
        let devices = plan.devices.iter();
        let devices = devices.map(|spec| spec.born_ms.max(spec.gone_ms.unwrap_or(0)));
        let times = starts.chain(acts).chain(faults).chain(devices);
        let last_ms = times.max().unwrap_or(0);
        let mut smaller = plan.clone();
        let horizon_ms = plan.header.horizon_ms;
        smaller.header.horizon_ms = horizon_ms.min(last_ms.saturating_add(MINUTE_MS));
        self.try_plan(smaller);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{generate, profile};
    use crate::likeness::Crash;
    use crate::oracle::Oracle;
    use crate::outcome::Failure;
    use crate::plan::{FaultKind, OpSpec, schema};

    /// Fails when somebody deletes on device 1 what device 2 meets it about, and device 1 was killed.
    fn judge(plan: &Plan) -> Verdict {
        let deletes = plan.operations.iter().any(|operation| {
            let Act::Write { edits, .. } = &operation.act else {
                return false;
            };
            let mut ops = edits.iter().flat_map(|edit| &edit.ops);
            operation.device == 1 && ops.any(|op| matches!(op, OpSpec::Delete(_)))
        });
        let meets = plan
            .contacts
            .iter()
            .any(|contact| [contact.a, contact.b] == [1, 2]);
        let is_kill = |kind: &FaultKind| matches!(kind, FaultKind::Kill { .. });
        let is_killed = plan
            .faults
            .iter()
            .any(|fault| fault.device == 1 && is_kill(&fault.kind));
        match deletes && meets && is_killed {
            true => Verdict::Broken(Failure {
                oracle: Oracle::Tombstone,
                at_ms: 0,
                detail: String::new(),
            }),
            false => Verdict::Held,
        }
    }

    fn judge_lost() -> Verdict {
        Verdict::Broken(Failure {
            oracle: Oracle::NoLostWrite,
            at_ms: 0,
            detail: String::new(),
        })
    }

    fn failing() -> (Plan, Verdict) {
        let quick = profile("quick").unwrap();
        let mut plans = (0..200).map(|seed| generate(seed, &quick));
        let plan = plans.find(|plan| !judge(plan).is_held()).unwrap();
        let verdict = judge(&plan);
        (plan, verdict)
    }

    #[test]
    fn only_what_a_failure_needs_is_left_of_a_plan() {
        let (plan, verdict) = failing();

        let small = shrink_by(&plan, &verdict, 2_000, &mut judge, &mut |_, _| {});

        assert!(
            small.verdict.is_like(&verdict) && small.runs < 2_000,
            "{small:?}"
        );
        let plan = small.plan;
        assert_eq!(
            plan.devices
                .iter()
                .map(|spec| spec.device)
                .collect::<Vec<_>>(),
            [1, 2]
        );
        let counts = (
            plan.contacts.len(),
            plan.operations.len(),
            plan.faults.len(),
        );
        assert_eq!(counts, (1, 1, 1));
        assert_eq!(plan.classes(), ["F11"]);
        assert_eq!(
            parts(&plan.operations[0]),
            3,
            "one intent in one edit of one write"
        );
        let read = Plan::from_text(&plan.to_text(), &schema().unwrap());
        assert_eq!(read, Ok(plan), "it is kept as a file");
    }

    #[test]
    fn no_more_runs_are_spent_than_are_allowed_and_every_step_still_fails() {
        let (plan, verdict) = failing();
        let mut runs = 0;
        let mut play = |plan: &Plan| {
            runs += 1;
            judge(plan)
        };
        let mut steps = Vec::new();

        let small = shrink_by(&plan, &verdict, 25, &mut play, &mut |_, plan| {
            steps.push(judge(plan))
        });

        assert_eq!((small.runs, runs), (25, 25));
        assert!(!steps.is_empty() && steps.iter().all(|step| step.is_like(&verdict)));
        assert!(!judge(&small.plan).is_held());
    }

    #[test]
    fn the_horizon_stays_after_all_that_happens_and_a_moment_at_the_end_of_time_is_no_overflow() {
        let (mut plan, verdict) = failing();
        plan.operations[0].at_ms = u64::MAX;
        plan.devices[0].gone_ms = Some(plan.header.horizon_ms);
        let mut always = |_: &Plan| verdict.clone();

        let small = shrink_by(&plan, &verdict, 1, &mut always, &mut |_, _| {}).plan;
        assert_eq!(small.header.horizon_ms, plan.header.horizon_ms);

        (plan.contacts, plan.operations, plan.faults) = (Vec::new(), Vec::new(), Vec::new());
        plan.header.horizon_ms *= 2;
        let small = shrink_by(&plan, &verdict, 1, &mut always, &mut |_, _| {}).plan;
        assert_eq!(
            small.header.horizon_ms,
            plan.header.horizon_ms / 2 + MINUTE_MS
        );
    }

    #[test]
    fn a_panic_is_not_made_small_into_another() {
        let (plan, _) = failing();
        // Without device 2 it panics too, somewhere else.
        let mut play = |plan: &Plan| {
            let place = match plan.device(2) {
                Some(_) => "engine.rs:9:1",
                None => "harness.rs:4:1",
            };
            Verdict::Crashed(Crash {
                place: Some(place.to_owned()),
                detail: "attempt to add with overflow".to_owned(),
            })
        };
        let verdict = play(&plan);

        let small = shrink_by(&plan, &verdict, 500, &mut play, &mut |_, _| {});

        assert_eq!(small.verdict, verdict);
        assert_eq!(small.plan.devices.len(), 1);
        assert!(small.plan.device(2).is_some());
    }

    #[test]
    fn fields_are_taken_out_of_edits_of_workloads_too() {
        let (mut plan, _) = failing();
        let edits = plan.operations.iter().find_map(|it| match &it.act {
            Act::Write { edits, .. } if parts(it) > 3 => Some(edits.clone()),
            _ => None,
        });
        plan.operations.truncate(1);
        plan.operations[0].act = Act::Update {
            edits: edits.unwrap(),
        };
        let mut play = |plan: &Plan| match plan.operations.is_empty() {
            true => Verdict::Held,
            false => judge_lost(),
        };

        let small = shrink_by(&plan, &judge_lost(), 500, &mut play, &mut |_, _| {});

        assert_eq!(parts(&small.plan.operations[0]), 3);
    }

    #[test]
    fn a_copy_whose_only_company_is_its_original_does_not_keep_a_fleet_from_settling() {
        let lines = [
            r#"{"plan":1,"seed":1,"profile":"by hand","horizon_ms":600000,"settle_ms":600000}"#,
            r#"{"device":{"device":0}}"#,
            r#"{"device":{"device":1,"twin_of":0,"born_ms":1000}}"#,
            r#"{"op":{"at_ms":5000,"device":1,"write":{"edits":[{"collection":"patient","id":"p","ops":[{"set":["name","Awa"]}]}]}}}"#,
        ];
        for is_gone in [false, true] {
            let text = match is_gone {
                true => lines.join("\n").replacen("0}}", "0,\"gone_ms\":2000}}", 1),
                false => lines.join("\n"),
            };
            let plan = Plan::from_text(&text, &schema().unwrap()).unwrap();
            let outcome = World::run(&plan, &mut ());

            assert!(
                outcome.verdict.is_held(),
                "{is_gone}: {:?}",
                outcome.verdict
            );
            assert_eq!(outcome.counts.saved, 1);
        }
    }
}
