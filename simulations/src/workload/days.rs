//! Writes out what a workload means: devices, contacts and everything people do, in the order of time.
//!
//! People make records with ids of their own, and edit what is known to their group more often than what
//! is not. An edit names its record, so that another configuration of the same plan has the same edits; where
//! the record has not arrived, the edit does not happen, and is counted as refused.

mod deeds;

use crdt_schema::schema::{Collection, Schema};

use super::places::{contacts, devices};
use super::{Work, Workload, WorkloadError, size};
use crate::draw::Draw;
use crate::plan::{Act, Header, Operation, PLAN_FORMAT, Plan};
use crate::time::{DAY_MS, HOUR_MS};

/// How long the fleet may take to settle after the last day.
const SETTLE_MS: u64 = 12 * HOUR_MS;

/// Writes out the plan of a workload.
///
/// # Errors
/// That it would be too long.
pub fn plan(workload: &Workload, schema: &Schema) -> Result<Plan, WorkloadError> {
    size::check(workload, schema)?;
    let horizon_ms = *workload.days.get_ref() * DAY_MS;
    let draw = Draw::new(workload.seed);
    let contacts = contacts(workload, &draw, horizon_ms)?;
    let jobs: Vec<Job<'_>> = schema
        .collections
        .values()
        .map(|it| Job::new(workload, it))
        .collect();
    let mut fleet = Fleet {
        workload,
        schema,
        draw: &draw,
        groups: (0..workload.devices())
            .map(|it| workload.group_number(it))
            .collect(),
        known: jobs.iter().map(|_| Vec::new()).collect(),
        jobs: &jobs,
        operations: Vec::new(),
        case: 0,
    };
    fleet.start();
    for day in 0..*workload.days.get_ref() {
        fleet.day(day);
    }
    let mut operations = fleet.operations;
    operations.sort_by_key(|operation| operation.at_ms);
    Ok(Plan {
        header: Header {
            plan: PLAN_FORMAT,
            seed: workload.seed,
            profile: "workload".to_owned(),
            horizon_ms,
            settle_ms: SETTLE_MS,
        },
        devices: devices(workload),
        contacts,
        operations,
        faults: Vec::new(),
    })
}

/// What is done in one collection, and on which devices.
struct Job<'a> {
    collection: &'a Collection,
    work: Work,
    users: Vec<usize>,
}

impl<'a> Job<'a> {
    fn new(workload: &Workload, collection: &'a Collection) -> Self {
        let work = workload.work(&collection.name);
        Self {
            collection,
            users: workload.users(&work),
            work,
        }
    }
}

/// A record that somebody has made.
#[derive(Clone, Debug)]
struct Known {
    id: String,
    /// The group of its maker.
    group: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Create,
    Edit,
    Delete,
    Answer,
}

struct Fleet<'a> {
    workload: &'a Workload,
    schema: &'a Schema,
    draw: &'a Draw,
    /// The group of each device.
    groups: Vec<usize>,
    /// By collection, as all that follows.
    jobs: &'a [Job<'a>],
    known: Vec<Vec<Known>>,
    operations: Vec<Operation>,
    /// Keys the next draws.
    case: u64,
}

impl Fleet<'_> {
    fn next_case(&mut self) -> u64 {
        self.case += 1;
        self.case
    }

    /// What there is when all go apart: those that are referred to first.
    fn start(&mut self) {
        let together_ms = self.workload.apart_ms();
        let jobs = self.jobs;
        let mut order: Vec<usize> = (0..jobs.len()).collect();
        order.sort_by_key(|index| jobs[*index].collection.rank);
        let mut moment_ms = 1_000;
        for index in order {
            let Job { work, users, .. } = &jobs[index];
            for _ in 0..*work.start.get_ref() {
                let case = self.next_case();
                if !users.is_empty() {
                    let device = *self.draw.pick("starts on", case, users);
                    self.create(index, device, moment_ms);
                    moment_ms = (moment_ms + 50).min(together_ms / 2 + 1_000);
                }
            }
        }
    }

    fn day(&mut self, day: u64) {
        let mut deeds: Vec<(u64, usize, Deed, usize)> = Vec::new();
        let jobs = self.jobs;
        for (index, Job { work, users, .. }) in jobs.iter().enumerate() {
            for &device in users {
                for (deed, rate) in [
                    (Deed::Create, &work.creates),
                    (Deed::Edit, &work.edits),
                    (Deed::Delete, &work.deletes),
                ] {
                    for _ in 0..self.count(*rate.get_ref()) {
                        deeds.push((self.moment(day, device), device, deed, index));
                    }
                }
            }
        }
        for supervisor in &self.workload.supervisors {
            for device in self.workload.members(supervisor.group.get_ref()) {
                for _ in 0..*supervisor.per_day.get_ref() {
                    deeds.push((self.moment(day, device), device, Deed::Answer, 0));
                }
            }
        }
        deeds.sort_unstable();
        let together_ms = self.workload.apart_ms();
        for (at_ms, device, deed, index) in deeds {
            if at_ms >= together_ms {
                self.act(at_ms, device, deed, index);
            }
        }
    }

    /// As often as the rate says, in the mean.
    fn count(&mut self, rate: f64) -> u64 {
        let case = self.next_case();
        // In millionths: rare deeds happen too.
        let more = (rate.fract() * 1e6).round() as u64;
        let is_more = self.draw.number("once more", case, 0..1_000_000) < more;
        rate as u64 + u64::from(is_more)
    }

    fn moment(&mut self, day: u64, device: usize) -> u64 {
        let case = self.next_case();
        let group = &self.workload.who[self.groups[device]];
        let [from_h, to_h] = *group.shift.get_ref();
        let range = from_h * HOUR_MS..to_h * HOUR_MS;
        day * DAY_MS + self.draw.number("moment", case, range)
    }

    fn act(&mut self, at_ms: u64, device: usize, deed: Deed, index: usize) {
        match deed {
            Deed::Create => self.create(index, device, at_ms),
            Deed::Edit => self.edit(index, device, at_ms),
            Deed::Delete => self.delete(index, device, at_ms),
            Deed::Answer => {
                let case = self.next_case();
                let act = Act::Review {
                    place: self.draw.number("place", case, 0..64),
                    choice: self.draw.number("choice", case, 0..4),
                };
                self.operations.push(Operation { at_ms, device, act });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::LinkClass;
    use crate::plan::schema;

    #[test]
    fn the_village_has_a_plan_that_reads_back_and_is_the_same_each_time() {
        let schema = schema().unwrap();
        let workload = Workload::village().unwrap();

        let written = plan(&workload, &schema).unwrap();

        assert_eq!(written.devices.len(), 9);
        assert_eq!(written, plan(&workload, &schema).unwrap());
        let read = Plan::from_text(&written.to_text(), &schema);
        assert_eq!(read.as_ref(), Ok(&written));
        let count = |is_one: fn(&Act) -> bool| {
            let acts = written.operations.iter().filter(|it| is_one(&it.act));
            acts.count()
        };
        assert!(count(|act| matches!(act, Act::Update { .. })) > 500);
        assert!(count(|act| matches!(act, Act::Review { .. })) > 100);
        let mut contacts = written.contacts.iter();
        assert!(contacts.any(|contact| contact.class == LinkClass::Cell2g));
    }

    #[test]
    fn hubs_do_nothing_and_groups_do_what_they_are_named_for() {
        let schema = schema().unwrap();
        let text = "[collections.visit]\nby = [\"north\"]\n";
        let workload = Workload::read(text, &schema).unwrap();
        for operation in &plan(&workload, &schema).unwrap().operations {
            assert_ne!(operation.device, 0);
            let (Act::Write { edits, .. } | Act::Update { edits }) = &operation.act else {
                continue;
            };
            if edits[0].collection == "visit" {
                assert!((3..6).contains(&operation.device), "{operation:?}");
            }
        }
    }

    #[test]
    fn whoever_edits_the_same_record_is_somebody_else_on_the_same_day() {
        let text = r#"
days = 1
who = [{ name = "a", count = 2, shift = [23, 24] }]
where.near = [{ group = "a" }]
[collections.patient]
creates = 0
deletes = 0
edits = 20
same_record_percent = 100
[collections.visit]
start = 0
creates = 0
[collections.stock]
start = 0
creates = 0
"#;
        let schema = schema().unwrap();
        let workload = Workload::read(text, &schema).unwrap();
        let plan = plan(&workload, &schema).unwrap();

        let mut by_record: std::collections::BTreeMap<&str, [usize; 2]> = Default::default();
        for operation in &plan.operations {
            if let Act::Update { edits } = &operation.act {
                by_record.entry(&edits[0].id).or_default()[operation.device] += 1;
            }
        }
        // Each of two edits 20 times, and the other edits the same record as often.
        let sums = by_record
            .values()
            .fold([0, 0], |sum, it| [sum[0] + it[0], sum[1] + it[1]]);
        assert_eq!(sums, [40, 40]);
        let last_ms = plan.operations.iter().map(|it| it.at_ms).max();
        assert!(last_ms < Some(DAY_MS));
    }

    #[test]
    fn what_is_done_once_in_years_happens_somewhere_in_a_large_fleet() {
        let text = r#"
days = 100
who = [{ name = "a", count = 100 }, { name = "b", hub = true }]
where.hub = [{ hub = "b" }]
[collections]
patient = { start = 0, creates = 0.0009, edits = 0, deletes = 0 }
visit = { start = 0, creates = 0 }
stock = { start = 0, creates = 0 }
"#;
        let schema = schema().unwrap();
        let workload = Workload::read(text, &schema).unwrap();

        // 10,000 days of a device, nine of them with a new patient in the mean.
        let count = plan(&workload, &schema).unwrap().operations.len();

        assert!((2..=20).contains(&count), "{count}");
    }
}
