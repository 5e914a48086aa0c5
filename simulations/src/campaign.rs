//! Many seeds, on several threads. Each run is on one thread and shares nothing with the others.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use crate::checks::Checks;
use crate::generate::{Profile, generate};
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::report;
use crate::sometimes::Reached;
use crate::time::HOUR_MS;
use crate::world::World;

/// Which seeds to run.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// The first seed.
    pub start: u64,
    /// How many.
    pub count: u64,
    /// What fleets.
    pub profile: Profile,
    /// How many at once.
    pub jobs: usize,
    /// Every how many seeds one is run twice and compared; 0 for none.
    pub twice_every: u64,
}

/// One run of a campaign.
#[derive(Debug)]
pub struct Played {
    /// Its plan.
    pub plan: Plan,
    /// What came of it.
    pub outcome: Outcome,
    /// Where a second run of the same plan differed, if there was one and it did.
    pub differs: Option<String>,
}

/// What a campaign amounted to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many runs were played.
    pub runs: u64,
    /// How many of them did not hold.
    pub failed: u64,
    /// How many were not the same twice.
    pub differing: u64,
    /// What they reached together.
    pub reached: Reached,
    /// Device-hours of all runs.
    pub device_hours: f64,
    /// Checks of oracles.
    pub checks: Checks,
}

impl Campaign {
    /// Plays all seeds and hands each run to `each` as it ends; stops early when `each` says so.
    pub fn play(&self, mut each: impl FnMut(&Played) -> bool) -> Summary {
        let next = AtomicU64::new(0);
        let stop = AtomicBool::new(false);
        let mut summary = Summary::default();
        let (sender, receiver) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                let sender = sender.clone();
                scope.spawn(|| self.work(&next, &stop, sender));
            }
            drop(sender);
            for played in &receiver {
                summary.add(&played);
                if !each(&played) {
                    stop.store(true, Ordering::Relaxed);
                }
            }
        });
        summary
    }

    fn work(&self, next: &AtomicU64, stop: &AtomicBool, sender: mpsc::Sender<Played>) {
        while !stop.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= self.count || sender.send(self.one(index)).is_err() {
                return;
            }
        }
    }

    fn one(&self, index: u64) -> Played {
        let plan = generate(self.start.wrapping_add(index), &self.profile);
        let outcome = World::run(&plan, &mut ());
        let is_twice = self.twice_every > 0 && index.is_multiple_of(self.twice_every);
        let differs = is_twice.then(|| World::run(&plan, &mut ()));
        let differs = differs.and_then(|again| difference(&outcome, &again));
        Played {
            plan,
            outcome,
            differs,
        }
    }
}

impl Summary {
    fn add(&mut self, played: &Played) {
        self.runs += 1;
        self.failed += u64::from(!played.outcome.verdict.is_held());
        self.differing += u64::from(played.differs.is_some());
        self.reached.add(&played.outcome.reached);
        self.device_hours += played.outcome.counts.device_ms as f64 / HOUR_MS as f64;
        self.checks.add(&played.outcome.counts.checks);
    }
}

/// Where two runs of one plan part, in words; `None` if they are the same in everything.
pub fn difference(one: &Outcome, other: &Outcome) -> Option<String> {
    if one == other {
        return None;
    }
    if one.digest == other.digest {
        return Some(format!(
            "two runs of one plan had the same events and {}",
            parted(one, other)
        ));
    }
    let same = one.blocks.iter().zip(&other.blocks);
    let same = same.take_while(|(one, other)| one == other).count();
    Some(format!(
        "two runs of one plan part within the thousand events after event {}",
        same * 1000
    ))
}

/// What differs in runs of the same events, or of runs that ended before their events could be told.
fn parted(one: &Outcome, other: &Outcome) -> String {
    if one.verdict != other.verdict {
        let (one, other) = (report::found(&one.verdict), report::found(&other.verdict));
        return format!("found first: {one}; and then: {other}");
    }
    if one.holdings != other.holdings {
        return "ended with devices that hold or show something else".to_owned();
    }
    if one.counts != other.counts {
        return format!("counted first {:?} and then {:?}", one.counts, other.counts);
    }
    "reached other states, or settled at another time".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::likeness::Crash;
    use crate::outcome::{Counts, Verdict};

    fn outcome() -> Outcome {
        Outcome {
            verdict: Verdict::Held,
            counts: Counts::default(),
            reached: Reached::default(),
            settled_ms: Some(7),
            holdings: "ab".to_owned(),
            digest: String::new(),
            blocks: Vec::new(),
        }
    }

    fn crashed(place: &str) -> Outcome {
        Outcome {
            verdict: Verdict::Crashed(Crash {
                place: Some(place.to_owned()),
                detail: "index out of bounds".to_owned(),
            }),
            ..outcome()
        }
    }

    #[test]
    fn two_runs_of_the_same_events_differ_in_whatever_else_they_tell() {
        assert_eq!(difference(&outcome(), &outcome()), None);
        let counts = Counts {
            saved: 3,
            ..Counts::default()
        };
        let held = "cd".to_owned();
        for (other, words) in [
            (crashed("a.rs:1:1"), "found first: nothing"),
            (
                Outcome {
                    holdings: held,
                    ..outcome()
                },
                "hold or show",
            ),
            (
                Outcome {
                    counts,
                    ..outcome()
                },
                "saved: 3",
            ),
            (
                Outcome {
                    settled_ms: Some(8),
                    ..outcome()
                },
                "another time",
            ),
        ] {
            let why = difference(&outcome(), &other).unwrap_or_default();
            assert!(why.contains(words), "{words}: {why}");
        }
    }

    #[test]
    fn two_panics_at_two_places_differ() {
        let one = crashed("a.rs:1:1");

        assert_eq!(difference(&one, &crashed("a.rs:1:1")), None);
        let why = difference(&one, &crashed("b.rs:1:1")).unwrap_or_default();
        assert!(
            why.contains("a.rs:1:1") && why.contains("b.rs:1:1"),
            "{why}"
        );
    }
}
