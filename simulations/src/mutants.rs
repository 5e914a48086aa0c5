//! Do the oracles see anything? Plants each bug of [`fieldmesh::mutation`] in turn and plays the kept plans
//! and seeds until one of them fails. A plan that fails without any bug says nothing of one, so each is first played
//! without.
//!
//! A bug that no seed shows is a hole in the generator or in the oracles, unless [`OUT_OF_REACH`] says why no
//! simulated fleet can show it; then a test by hand does (`fieldmesh::mutation::caught_tests`).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use fieldmesh::mutation::{Mutation, plant, was_reached};

use crate::generate::{generate, profile};
use crate::outcome::{Outcome, Verdict};
use crate::plan::Plan;
use crate::world::World;

/// Bugs that no simulated fleet shows, and why.
pub const OUT_OF_REACH: &[(Mutation, &str)] = &[
    (
        Mutation::OwnRollbackOverlooked,
        "the store writes on from where it went back to, and the fork that follows is settled without a loss",
    ),
    (
        Mutation::PushSkipped,
        "its code is hardly ever reached, and the next session sends what was skipped",
    ),
    (
        Mutation::CascadeIgnored,
        "the records of the bundled schema do not refer to each other; a workload under another one shows it",
    ),
    (
        Mutation::RefusalDropsRest,
        "liars put no good log of others into a frame after a bad one, and honest peers send it again",
    ),
];

/// Seeds that every bug is given besides the kept plans, so that the table says how often it is seen and not only
/// whether.
const SEEDS_LEAST: u64 = 7;
/// A run of a fleet with a bug that has more events than this has no end: a hundred times an ordinary one.
pub const EVENTS_MAX: u64 = 2_000_000;

/// What became of one bug.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The bug.
    pub mutation: Mutation,
    /// How many plans were played with it.
    pub runs: u64,
    /// In how many of them its place was come to.
    pub reached: u64,
    /// How many plans were left out, since they fail without it.
    pub left_out: u64,
    /// In how many runs what did not hold, by the name of the oracle.
    pub caught: BTreeMap<&'static str, u64>,
    /// The first plan that failed.
    pub first: Option<(Plan, Verdict)>,
}

impl Tried {
    /// In how many runs it was seen.
    pub fn count(&self) -> u64 {
        self.caught.values().sum()
    }

    /// Why nobody expects it to be seen, if so.
    pub fn excuse(&self) -> Option<&'static str> {
        let known = OUT_OF_REACH
            .iter()
            .find(|(known, _)| *known == self.mutation);
        known.map(|(_, why)| *why)
    }

    /// Whether it should have been seen and was not.
    pub fn survived(&self) -> bool {
        self.caught.is_empty() && self.excuse().is_none()
    }
}

/// What fails in a run that ends so, for the table.
fn seen_by(verdict: &Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Held => None,
        Verdict::Broken(failure) => Some(failure.oracle.name()),
        Verdict::Unsettled(_) => Some("delivery"),
        Verdict::Crashed(why) if why.detail.starts_with("more than") => Some("every run ends"),
        Verdict::Crashed(_) => Some("no panic"),
    }
}

/// The plans that bugs are tried with: the kept ones, and then fleets of `seeds_max` seeds from 1.
#[derive(Debug)]
struct Bench<'k> {
    kept: &'k [Plan],
    seeds_max: u64,
    /// Whether each plan that was played without a bug held, by its place.
    held: Mutex<BTreeMap<usize, bool>>,
}

impl<'k> Bench<'k> {
    fn new(kept: &'k [Plan], seeds_max: u64) -> Self {
        let held = Mutex::default();
        Self {
            kept,
            seeds_max,
            held,
        }
    }

    fn plans(&self) -> impl Iterator<Item = Plan> {
        let fleet = |seed| Some(generate(seed, &profile("quick")?));
        let fleets = (1..=self.seeds_max).filter_map(fleet);
        self.kept.iter().cloned().chain(fleets)
    }

    /// Whether the plan at a place holds without a bug.
    fn holds(&self, place: usize, plan: &Plan) -> bool {
        // A thread that panicked has left whole answers.
        let held = || self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = held().get(&place).copied() {
            return known;
        }
        plant(None);
        let outcome = World::run_within(plan, EVENTS_MAX, &mut ());
        let is_held = outcome.verdict.is_held();
        held().insert(place, is_held);
        is_held
    }
}

/// Plays a plan with a bug in it. Says whether its place was come to.
pub fn play_with(mutation: Mutation, plan: &Plan) -> (Outcome, bool) {
    plant(Some(mutation));
    let outcome = World::run_within(plan, EVENTS_MAX, &mut ());
    let is_reached = was_reached();
    plant(None);
    (outcome, is_reached)
}

/// Plays the plans of the bench with one bug, until it was seen and often enough.
fn attempt(mutation: Mutation, bench: &Bench<'_>) -> Tried {
    let mut tried = Tried {
        mutation,
        runs: 0,
        reached: 0,
        left_out: 0,
        caught: BTreeMap::new(),
        first: None,
    };
    let runs_least = bench.kept.len() as u64 + SEEDS_LEAST;
    for (place, plan) in bench.plans().enumerate() {
        if tried.runs >= runs_least && !tried.caught.is_empty() {
            break;
        }
        if !bench.holds(place, &plan) {
            tried.left_out += 1;
            continue;
        }
        let (outcome, is_reached) = play_with(mutation, &plan);
        tried.runs += 1;
        tried.reached += u64::from(is_reached);
        if let Some(oracle) = seen_by(&outcome.verdict) {
            *tried.caught.entry(oracle).or_default() += 1;
            tried.first.get_or_insert((plan, outcome.verdict));
        }
    }
    tried
}

/// Plants every bug of `mutations` in turn, on `jobs` threads, and tells `each` of those that are done. Plans of `kept`
/// come before the seeds: what they need comes together in no generated plan. The answers are in the order of the
/// list.
pub fn campaign(
    mutations: &[Mutation],
    kept: &[Plan],
    seeds_max: u64,
    jobs: usize,
    each: &(dyn Fn(&Tried) + Sync),
) -> Vec<Tried> {
    let bench = Bench::new(kept, seeds_max);
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(mutation) = mutations.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let tried = attempt(*mutation, &bench);
                    each(&tried);
                    // A thread that panicked has left whole entries: they are inserted at once.
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.insert(*mutation, tried);
                }
            });
        }
    });
    let done = done
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let found = mutations.iter().filter_map(|mutation| done.get(mutation));
    found.cloned().collect()
}

/// The table for people, in Markdown.
pub fn table(all: &[Tried]) -> String {
    let mut text = String::from("| bug | caught by | in plans | of |\n|---|---|---:|---:|\n");
    for tried in all {
        let mut by: Vec<_> = tried.caught.iter().collect();
        by.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), **name));
        let by: Vec<String> = by
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        let by = match (by.is_empty(), tried.excuse()) {
            (false, _) => by.join(", "),
            (true, Some(why)) => format!("out of reach: {why}"),
            (true, None) => format!("**nobody**; its place was reached in {}", tried.reached),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {by} | {} | {} |",
            tried.mutation.name(),
            tried.count(),
            tried.runs
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::Family;
    use crate::plan::schema;
    use crate::regressions;
    use crate::shrink::shrink_by;
    use crate::workload::{self, Workload};

    #[test]
    fn a_planted_bug_is_caught_and_its_plan_is_made_small_and_fails_again_from_its_file() {
        let tried = attempt(Mutation::AdditionTwice, &Bench::new(&[], 20));
        let (plan, verdict) = tried.first.expect("somebody catches it");
        let mut play = |plan: &Plan| play_with(Mutation::AdditionTwice, plan).0.verdict;

        let small = shrink_by(&plan, &verdict, 300, &mut play, &mut |_, _| {});
        let text = small.plan.to_text();
        let read = Plan::from_text(&text, &schema().unwrap()).unwrap();

        assert!(play(&read).is_like(&verdict), "{text}");
        assert!(World::run(&read, &mut ()).verdict.is_held(), "{text}");
        assert!(
            read.operations.len() <= 4 && read.devices.len() <= 3,
            "{text}"
        );
    }

    #[test]
    fn a_bug_is_caught_by_a_kept_plan_where_there_are_no_seeds() {
        let kept = regressions::named("two-branches-of-one-length").unwrap();
        let tried = attempt(Mutation::ForkUnseen, &Bench::new(&[kept], 0));
        assert_eq!((tried.runs, tried.count()), (1, 1));
    }

    #[test]
    fn a_second_change_set_of_a_key_is_seen_though_nobody_was_told_of_the_first() {
        let kept = regressions::named("a-retry-after-an-answer-that-was-lost").unwrap();
        let tried = attempt(Mutation::IdempotencyForgotten, &Bench::new(&[kept], 0));
        assert_eq!(tried.caught, BTreeMap::from([("idempotence", 1)]));
    }

    #[test]
    fn a_plan_that_fails_without_a_bug_catches_none() {
        let mut hopeless = generate(1, &profile("quick").unwrap());
        hopeless.header.settle_ms = 0;
        let kept = [hopeless];
        let bench = Bench::new(&kept, 0);

        for mutation in [Mutation::AckTooMuch, Mutation::PushSkipped] {
            let tried = attempt(mutation, &bench);
            assert_eq!((tried.runs, tried.left_out, tried.count()), (0, 1, 0));
        }
    }

    /// What an oracle says is what it can tell apart from its opposite.
    #[test]
    fn each_oracle_sees_a_bug_of_its_own() {
        let kept = regressions::named("an-answer-and-a-value-that-it-had-not-seen").unwrap();
        let kept = [kept];
        let bench = Bench::new(&kept, 60);
        for (mutation, name) in [
            (Mutation::EditDropped, "no invention"),
            (Mutation::AdditionInflated, "no invention"),
            (Mutation::EqualSumsOnce, "counter exact"),
            (Mutation::RankBackwards, "register rule"),
            (Mutation::RacedDeleteUndone, "tombstone"),
            (Mutation::AnswerHidesOthers, "review stability"),
            (Mutation::OffsetForgotten, "schema versions"),
            (Mutation::LogRestarted, "resume"),
            (Mutation::MarkRepeated, "bounded"),
        ] {
            let is_seen = |(place, plan): (usize, Plan)| {
                let verdict = play_with(mutation, &plan).0.verdict;
                seen_by(&verdict) == Some(name) && bench.holds(place, &plan)
            };
            let mut plans = bench.plans().enumerate();
            assert!(plans.any(is_seen), "{}", mutation.name());
        }
    }

    /// Few records that refer to each other, and many deletions.
    const RELIEF: &str = r#"
days = 1
together_h = 1
who = [{ name = "a", count = 2 }]
where.market = [{ every_days = 1, from_h = 18, to_h = 20 }]
collections.camp = { start = 2 }
collections.household = { start = 6, deletes = 2 }
collections.person = { start = 12 }
"#;

    #[test]
    fn a_record_that_outlives_the_one_that_it_goes_with_is_seen() {
        let family = Family::parse(&[include_str!("../schemas/relief.toml")]).unwrap();
        let workload = Workload::read(RELIEF, family.first()).unwrap();
        let plan = workload::plan(&workload, family.first()).unwrap();
        let play = |mutation| {
            plant(mutation);
            let verdict = World::run_under(&plan, &family, &mut ()).verdict;
            plant(None);
            seen_by(&verdict)
        };

        assert_eq!(play(None), None);
        assert_eq!(play(Some(Mutation::CascadeIgnored)), Some("tombstone"));
    }

    #[test]
    fn excuses_are_for_bugs_that_exist_and_each_has_one() {
        for (mutation, why) in OUT_OF_REACH {
            assert!(why.len() > 20, "{}", mutation.name());
            let same = OUT_OF_REACH.iter().filter(|(other, _)| other == mutation);
            assert_eq!(same.count(), 1, "{}", mutation.name());
        }
    }
}
