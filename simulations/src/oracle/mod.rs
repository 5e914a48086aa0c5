//! The oracles: what must hold of every run, each with a number, a name and a sentence.
//!
//! Some are asked by the world while it goes on, where the thing happens; the others here, after each
//! contact and once the fleet has settled. They read what devices show through the store's public
//! interface and compare it with the ledger, or with [`model`], which shares no code with the merge.
//!
//! Numbers 17 and 18 (revocation, expiry) are kept free for subjects that the simulated devices do not
//! have.

mod asked;
mod branches;
mod cost;
mod death;
mod entries;
mod model;
mod record;
mod replays;
mod rights;
mod shown;
mod status;
mod versions;

pub(crate) use asked::as_asked;
pub(crate) use shown::shown;

use std::collections::BTreeSet;

use crdt_schema::ident::LogId;
use fieldmesh::engine::batch::{Held, Run};
use fieldmesh::engine::effect::CloseReason;

use crate::world::World;

pub(crate) use record::{Record, records, written};

/// What an oracle found, if it did not hold.
pub(crate) type Judged = Result<(), (Oracle, String)>;

/// Something that must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each has its sentence in `sentence`")]
pub enum Oracle {
    Convergence,
    NoLostWrite,
    NoInvention,
    Counter,
    Register,
    Tombstone,
    Review,
    Order,
    Atomic,
    Idempotence,
    OneHistory,
    Session,
    Versions,
    Status,
    Rights,
    Clock,
    Bounded,
    Resume,
    Containment,
    Audit,
    Rebuild,
}

impl Oracle {
    /// All of them. Number 2, delivery, is the liveness phase itself.
    pub const ALL: [Self; 21] = [
        Self::Convergence,
        Self::NoLostWrite,
        Self::NoInvention,
        Self::Counter,
        Self::Register,
        Self::Tombstone,
        Self::Review,
        Self::Order,
        Self::Atomic,
        Self::Idempotence,
        Self::OneHistory,
        Self::Session,
        Self::Versions,
        Self::Status,
        Self::Rights,
        Self::Clock,
        Self::Bounded,
        Self::Resume,
        Self::Containment,
        Self::Audit,
        Self::Rebuild,
    ];

    /// Its number in the catalogue.
    pub fn number(self) -> u8 {
        match self {
            Self::Convergence => 1,
            Self::NoLostWrite => 3,
            Self::NoInvention => 4,
            Self::Counter => 5,
            Self::Register => 6,
            Self::Tombstone => 7,
            Self::Review => 8,
            Self::Order => 9,
            Self::Atomic => 10,
            Self::Idempotence => 11,
            Self::OneHistory => 12,
            Self::Session => 13,
            Self::Versions => 14,
            Self::Status => 15,
            Self::Rights => 16,
            Self::Clock => 19,
            Self::Bounded => 20,
            Self::Resume => 21,
            Self::Containment => 22,
            Self::Audit => 23,
            Self::Rebuild => 24,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Convergence => "convergence",
            Self::NoLostWrite => "no lost write",
            Self::NoInvention => "no invention",
            Self::Counter => "counter exact",
            Self::Register => "register rule",
            Self::Tombstone => "tombstone",
            Self::Review => "review stability",
            Self::Order => "order",
            Self::Atomic => "atomic change sets",
            Self::Idempotence => "idempotence",
            Self::OneHistory => "one history",
            Self::Session => "session guarantees",
            Self::Versions => "schema versions",
            Self::Status => "truthful status",
            Self::Rights => "rights",
            Self::Clock => "clock",
            Self::Bounded => "bounded",
            Self::Resume => "resume",
            Self::Containment => "containment",
            Self::Audit => "audit",
            Self::Rebuild => "rebuild",
        }
    }

    /// What must hold.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Convergence => {
                "devices that hold the same entries show the same records and the same reviews"
            }
            Self::NoLostWrite => {
                "what was acknowledged survives every kill and power cut and is on every device in the end"
            }
            Self::NoInvention => {
                "every entry in any store is one that somebody asked its author for"
            }
            Self::Counter => "a counter is the sum of the distinct additions",
            Self::Register => "of the writes that nobody has superseded the policy's one is shown",
            Self::Tombstone => {
                "what was deleted stays deleted until it is restored, and a raced deletion follows its policy"
            }
            Self::Review => {
                "a review is open while unanswered values differ, and an answered one never opens again"
            }
            Self::Order => {
                "no device has an entry before what it depends on, and an edit follows all that its author saw"
            }
            Self::Atomic => "all or none of a change set's edits are in the records",
            Self::Idempotence => "one idempotency key gives one change set",
            Self::OneHistory => "no honest device gives one position to two contents",
            Self::Session => "a device shows what it has acknowledged and never goes back",
            Self::Versions => {
                "whichever versions were used on the way, records under one version are the same, and entries never change"
            }
            Self::Status => "nobody is said to hold what it does not hold",
            Self::Rights => {
                "an answer that a person's role does not allow changes nothing and is in no log"
            }
            Self::Clock => {
                "no peer moves an author's clock past the bound, and a write is later than all that its device had taken in"
            }
            Self::Bounded => {
                "a settled fleet is silent, an idle meeting is short, bytes and disks grow with what is held, and every run ends"
            }
            Self::Resume => "what the receiver held when a session opened is not sent in it",
            Self::Containment => {
                "whatever hostile devices do, honest ones exchange all honest logs"
            }
            Self::Audit => "every log's chain and signatures verify from its beginning",
            Self::Rebuild => "records rebuilt from the log are the records shown, and counted",
        }
    }
}

/// Most bytes of a meeting of two devices that hold the same.
pub(crate) const IDLE_MEETING_BYTES_MAX: u64 = 512;

/// What must hold of two devices whose contact has ended.
pub(crate) fn after_contact(world: &mut World<'_>, a: usize, b: usize) -> Judged {
    shown::pair_agrees(world, a, b)?;
    status::beliefs_are_true(world, a)?;
    status::beliefs_are_true(world, b)
}

/// What must hold of a device that died in a transaction and has started again.
pub(crate) fn after_death(world: &mut World<'_>, number: usize) -> Judged {
    death::judge(world, number)
}

/// What must hold of a fleet that has settled.
pub(crate) fn judge(world: &mut World<'_>) -> Judged {
    entries::judge(world)?;
    rights::judge(world)?;
    shown::all_agree(world)?;
    model::judge(world)?;
    status::judge(world)?;
    cost::judge(world)
}

/// What must hold of a settled fleet in which several versions of the schema were used.
pub(crate) fn judge_versions(world: &mut World<'_>) -> Judged {
    versions::judge(world)
}

/// Whether a device's records can be read at all.
pub(crate) fn is_shown(world: &World<'_>, number: usize) -> bool {
    shown::reader(world, number).is_some_and(|reader| shown(&reader).is_ok())
}

/// Judges what a sender puts into a frame by what the receiver held when the session opened.
///
/// Of a log with two branches the other branch may be sent.
pub(crate) fn resent(
    runs: &[Run],
    held: &Held,
    forked: &BTreeSet<LogId>,
    ends: [usize; 2],
) -> Judged {
    for run in runs.iter().filter(|run| !forked.contains(&run.header.log)) {
        let known = held.get(&run.header.log).copied().unwrap_or(0);
        if run.from <= known {
            let detail = format!(
                "between devices {} and {}: entries {} to {} of log {} were sent to a device that held {known}",
                ends[0],
                ends[1],
                run.from,
                run.last(),
                run.header.log
            );
            return Err((Oracle::Resume, detail));
        }
    }
    Ok(())
}

/// Judges why an honest device ended a session.
pub(crate) fn farewell(reason: &CloseReason, is_hostile: bool) -> Judged {
    if !is_hostile && reason.is_refusal() {
        let detail = format!("an honest device turned an honest one away: {reason}");
        return Err((Oracle::Containment, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crdt_schema::ident::SpaceName;
    use fieldmesh::engine::batch::LogHeader;

    use super::*;
    use crate::device::device_id;

    #[test]
    fn a_log_that_is_begun_again_is_seen_even_if_it_has_grown() {
        let log = LogId([1; 16]);
        let run = |from, entries: usize| Run {
            header: LogHeader {
                log,
                space: SpaceName::default(),
                device: device_id(1),
                name: String::new(),
                branch_of: None,
            },
            from,
            entries: vec![vec![0]; entries],
            signature: [0; 64],
        };
        let held = Held::from([(log, 5)]);
        let judged = |run: Run| resent(&[run], &held, &BTreeSet::new(), [0, 1]);

        assert_eq!(judged(run(6, 2)), Ok(()));
        for again in [run(1, 6), run(5, 2), run(2, 3)] {
            assert_eq!(
                judged(again).map_err(|(oracle, _)| oracle),
                Err(Oracle::Resume)
            );
        }
    }

    #[test]
    fn every_oracle_has_its_own_number_and_its_sentence() {
        let numbers: BTreeSet<u8> = Oracle::ALL.iter().map(|oracle| oracle.number()).collect();
        assert_eq!(numbers.len(), Oracle::ALL.len());
        for oracle in Oracle::ALL {
            assert!(oracle.sentence().len() > 20 && !oracle.name().is_empty());
        }
    }
}
