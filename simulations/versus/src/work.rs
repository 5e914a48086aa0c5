//! The work that every system is given, phase by phase, in one process.
//!
//! After every phase all records of both devices are compared with what they should be, field by field.
//! There is no result without that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::contender::{Contender, System};
use crate::link::Link;
use crate::measure::{Cost, measured, peak_memory};
use crate::records::{Record, Update, is_same, record, updates};
use crate::watch::{self, Progress, Watch};

/// How many records a device is given at a time.
const LOADED_AT_ONCE: usize = 1_000;

/// One meeting, with what the first device did before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The second device has nothing yet.
    First,
    /// Nothing has changed.
    Equal,
    /// One field of one record has changed.
    One,
    /// One field of many records has changed.
    Many,
}

/// All of them, in order.
pub const PHASES: [Phase; 4] = [Phase::First, Phase::Equal, Phase::One, Phase::Many];

/// How a phase ended.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reached {
    /// Both devices hold equal records.
    Done(Cost),
    /// It took longer than [`watch::LIMIT`].
    Over(Progress),
}

/// What a process says of one phase.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The phase.
    pub phase: Phase,
    /// How it ended.
    pub reached: Reached,
    /// The most memory that the process has used until then, in bytes.
    pub memory: u64,
}

impl Report {
    fn print(phase: Phase, reached: Reached) {
        let memory = peak_memory();
        let report = Self {
            phase,
            reached,
            memory,
        };
        let line = serde_json::to_string(&report).expect("reports can be written as JSON");
        println!("{line}");
    }
}

/// Gives one system all the work over one link, and prints a [`Report`] for each phase.
pub fn play(system: System, link: Link, count: usize, many: usize) {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let pair = system.pair(dir.path());
    let mut play = Play {
        pair,
        link,
        count,
        changes: BTreeMap::new(),
    };
    play.first();
    play.meet(Phase::Equal, watched(Phase::Equal));
    play.change(Phase::One, 1, 0);
    play.change(Phase::Many, many, 1);
}

struct Play {
    pair: Box<dyn Contender>,
    link: Link,
    count: usize,
    /// What the updates have changed, by the numbers of the records.
    changes: BTreeMap<usize, Vec<Update>>,
}

impl Play {
    fn first(&mut self) {
        let watch = watched(Phase::First);
        for first in (0..self.count).step_by(LOADED_AT_ONCE) {
            let some = first..(first + LOADED_AT_ONCE).min(self.count);
            let some: Vec<Record> = some.map(record).collect();
            self.pair.load(&some);
            watch::loaded(some.len());
        }
        self.meet(Phase::First, watch);
    }

    fn change(&mut self, phase: Phase, count: usize, round: u64) {
        let watch = watched(phase);
        let updates = updates(self.count, count, round);
        self.pair.update(&updates);
        for update in updates {
            self.changes.entry(update.record).or_default().push(update);
        }
        self.meet(phase, watch);
    }

    fn meet(&mut self, phase: Phase, watch: Watch) {
        let cost = measured(|| self.pair.sync(self.link));
        drop(watch);
        Report::print(phase, Reached::Done(cost));
        self.check();
    }

    /// Compares every record of both devices with what it should be.
    fn check(&mut self) {
        for number in 0..self.count {
            let mut expected = record(number);
            for update in self.changes.get(&number).into_iter().flatten() {
                let value = update.value.clone();
                expected.fields.insert(update.field.to_owned(), value);
            }
            for end in 0..2 {
                let found = self.pair.record(end, &expected.id);
                let is_right = found
                    .as_ref()
                    .is_some_and(|found| is_same(found, &expected.fields));
                assert!(is_right, "device {end} holds {} as {found:?}", expected.id);
            }
        }
    }
}

fn watched(phase: Phase) -> Watch {
    watch::begin(move |progress| Report::print(phase, Reached::Over(progress)))
}
