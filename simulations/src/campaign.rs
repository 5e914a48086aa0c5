//! Many seeds, on several threads. Each run is on one thread and shares nothing with the others.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use crate::checks::Checks;
use crate::generate::{Profile, generate};
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::sometimes::Reached;
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
    /// How many gave two digests.
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
        self.device_hours += played.outcome.counts.device_ms as f64 / 3_600_000.0;
        self.checks.add(&played.outcome.counts.checks);
    }
}

/// Where two runs of one plan part, in words; `None` if they do not.
pub fn difference(one: &Outcome, other: &Outcome) -> Option<String> {
    if one.digest == other.digest {
        return None;
    }
    let same = one.blocks.iter().zip(&other.blocks);
    let same = same.take_while(|(one, other)| one == other).count();
    Some(format!(
        "two runs of one plan part within the thousand events after event {}",
        same * 1000
    ))
}
