//! Writes out what a workload means: devices, contacts and everything people do, in the order of time.
//!
//! People make records with ids of their own, and edit what is known to their group more often than what
//! is not. An edit names its record, so that another configuration of the same plan has the same edits; where
//! the record has not arrived, the edit does not happen, and is counted as refused.

use crdt_schema::schema::{Collection, Field, FieldType, Schema};

use super::values::Source;
use super::{HOUR_MS, Work, Workload, WorkloadError};
use crate::draw::Draw;
use crate::link::{LinkClass, LinkFaults};
use crate::mobility::{self, Mobility, Trace};
use crate::plan::{
    Act, Contact, DeviceSpec, EditSpec, Header, OpSpec, Operation, PLAN_FORMAT, Plan, Role,
};

const DAY_MS: u64 = 24 * HOUR_MS;
/// How long the fleet may take to settle after the last day.
const SETTLE_MS: u64 = 12 * HOUR_MS;
/// Most operations of a workload.
pub const OPERATIONS_MAX: usize = 500_000;
/// Of a thousand edits, how many are of the group's own records.
const NEAR_PER_MILLE: u64 = 700;
/// Of a thousand fields that a new record need not have, how many are filled in.
const FILLED_PER_MILLE: u64 = 600;
/// How often it is tried to find a record of the group's own.
const TRIES: u64 = 6;
/// Within how long two people edit the same record.
const SAME_DAY_MS: u64 = 3 * HOUR_MS;

/// Writes out the plan of a workload.
///
/// # Errors
/// That it would be too long.
pub fn plan(workload: &Workload, schema: &Schema) -> Result<Plan, WorkloadError> {
    let horizon_ms = *workload.days.get_ref() * DAY_MS;
    let draw = Draw::new(workload.seed);
    let mut fleet = Fleet {
        workload,
        schema,
        draw: &draw,
        known: Vec::new(),
        operations: Vec::new(),
        case: 0,
    };
    fleet.start();
    for day in 0..*workload.days.get_ref() {
        fleet.day(day);
        if fleet.operations.len() > OPERATIONS_MAX {
            let what =
                format!("more than {OPERATIONS_MAX} operations; lower the rates or the days");
            return Err(WorkloadError::unplaced(what));
        }
    }
    let mut operations = fleet.operations;
    operations.sort_by_key(|operation| operation.at_ms);
    operations.retain(|operation| operation.at_ms < horizon_ms);
    Ok(Plan {
        header: Header {
            plan: PLAN_FORMAT,
            seed: workload.seed,
            profile: "workload".to_owned(),
            horizon_ms,
            settle_ms: SETTLE_MS,
        },
        devices: devices(workload),
        contacts: contacts(workload, &draw, horizon_ms),
        operations,
        faults: Vec::new(),
    })
}

fn devices(workload: &Workload) -> Vec<DeviceSpec> {
    let spec = |device| DeviceSpec {
        device,
        role: match workload.group_of(device).hub {
            true => Role::Hub,
            false => Role::Field,
        },
        commit_ms: 5,
        fetch_ms: 2,
        ..DeviceSpec::default()
    };
    (0..workload.devices()).map(spec).collect()
}

/// The ways in which the groups move, by the numbers of their devices.
pub(super) fn mobility(workload: &Workload) -> Mobility {
    let places = &workload.places;
    let members = |name: &toml::Spanned<String>| workload.members(name.get_ref());
    let first = |name: &toml::Spanned<String>| members(name).first().copied().unwrap_or(0);
    let mut of: Vec<Mobility> = Vec::new();
    for shuttle in &places.shuttle {
        of.push(Mobility::Shuttle(mobility::Shuttle {
            clinic: members(&shuttle.clinic),
            villages: shuttle.villages.iter().map(members).collect(),
            every_h: shuttle.every_h,
            way_min: shuttle.way_min,
            stay_min: shuttle.stay_min,
            class: shuttle.by,
        }));
    }
    for depot in &places.depot {
        of.push(Mobility::Depot(mobility::Depot {
            depot: first(&depot.depot),
            from_h: depot.from_h,
            to_h: depot.to_h,
            stay_min: depot.stay_min,
            class: depot.by,
        }));
    }
    for market in &places.market {
        of.push(Mobility::Market(mobility::Market {
            every_days: market.every_days,
            first_day: market.first_day,
            from_h: market.from_h,
            to_h: market.to_h,
            spread_min: market.spread_min,
            class: market.by,
        }));
    }
    for hub in &places.hub {
        of.push(Mobility::Hub(mobility::Hub {
            hub: first(&hub.hub),
            from_h: hub.from_h,
            to_h: hub.to_h,
            online_min: hub.online_min,
            days_per_cent: hub.days_per_cent,
            class: hub.by,
        }));
    }
    of.extend(places.waypoint.iter().cloned().map(Mobility::Waypoint));
    for csv in places.recorded.iter().cloned() {
        of.push(Mobility::Recorded { csv });
    }
    let csv = Trace::of(staying(workload));
    of.push(Mobility::Recorded { csv });
    Mobility::All { of }
}

/// The contacts of those who do not move: of all at the beginning, and of groups that stay together.
fn staying(workload: &Workload) -> Vec<mobility::Contact> {
    let (apart_ms, end_ms) = (workload.apart_ms(), *workload.days.get_ref() * DAY_MS);
    let contact = |at_ms, end_ms, a, b, class| mobility::Contact {
        at_ms,
        end_ms,
        a,
        b,
        class,
    };
    let mut contacts = Vec::new();
    if apart_ms > 0 {
        let others = 1..workload.devices();
        contacts.extend(others.map(|device| contact(0, apart_ms, 0, device, LinkClass::Wifi)));
    }
    for near in &workload.places.near {
        let members = workload.members(near.group.get_ref());
        for (index, a) in members.iter().enumerate() {
            let others = members[index + 1..].iter();
            contacts.extend(others.map(|b| contact(apart_ms, end_ms, *a, *b, near.by)));
        }
    }
    contacts
}

fn contacts(workload: &Workload, draw: &Draw, horizon_ms: u64) -> Vec<Contact> {
    let met = mobility::contacts(&mobility(workload), workload.devices(), draw, horizon_ms);
    let contact = |met: mobility::Contact| Contact {
        at_ms: met.at_ms,
        end_ms: met.end_ms,
        a: met.a,
        b: met.b,
        class: met.class,
        faults: LinkFaults::default(),
    };
    met.into_iter().map(contact).collect()
}

/// A record that somebody has made.
#[derive(Clone, Debug)]
struct Known {
    collection: usize,
    id: String,
    group: String,
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
    known: Vec<Known>,
    operations: Vec<Operation>,
    /// Keys the next draws.
    case: u64,
}

impl Fleet<'_> {
    fn next_case(&mut self) -> u64 {
        self.case += 1;
        self.case
    }

    fn collection(&self, index: usize) -> Option<(&Collection, Work)> {
        let (name, collection) = self.schema.collections.get_index(index)?;
        Some((collection, self.workload.work(name)))
    }

    /// The devices that people use for a collection.
    fn users(&self, work: &Work) -> Vec<usize> {
        let is_user = |device: &usize| {
            let group = self.workload.group_of(*device);
            let mut by = work.by.iter();
            !group.hub
                && (work.by.is_empty() || by.any(|name| name.get_ref() == group.name.get_ref()))
        };
        (0..self.workload.devices()).filter(is_user).collect()
    }

    /// What there is when all go apart: those that are referred to first.
    fn start(&mut self) {
        let together_ms = self.workload.apart_ms();
        let mut order: Vec<usize> = (0..self.schema.collections.len()).collect();
        let rank = |index: &usize| {
            self.schema
                .collections
                .get_index(*index)
                .map(|(_, it)| it.rank)
        };
        order.sort_by_key(rank);
        let mut moment_ms = 1_000;
        for index in order {
            let Some((_, work)) = self.collection(index) else {
                continue;
            };
            let users = self.users(&work);
            for _ in 0..*work.start.get_ref() {
                let case = self.next_case();
                if !users.is_empty() {
                    let device = *self.draw.pick("starts on", case, &users);
                    self.create(index, &work, device, moment_ms);
                    moment_ms = (moment_ms + 50).min(together_ms / 2 + 1_000);
                }
            }
        }
    }

    fn day(&mut self, day: u64) {
        let mut deeds: Vec<(u64, usize, Deed, usize)> = Vec::new();
        for index in 0..self.schema.collections.len() {
            let Some((_, work)) = self.collection(index) else {
                continue;
            };
            for device in self.users(&work) {
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
        let more = self
            .draw
            .happens("once more", case, (rate.fract() * 1000.0) as u64);
        rate as u64 + u64::from(more)
    }

    fn moment(&mut self, day: u64, device: usize) -> u64 {
        let case = self.next_case();
        let [from_h, to_h] = *self.workload.group_of(device).shift.get_ref();
        let range = from_h * HOUR_MS..to_h * HOUR_MS;
        day * DAY_MS + self.draw.number("moment", case, range)
    }

    fn act(&mut self, at_ms: u64, device: usize, deed: Deed, index: usize) {
        let Some((_, work)) = self.collection(index) else {
            return;
        };
        match deed {
            Deed::Create => self.create(index, &work, device, at_ms),
            Deed::Edit => self.edit(index, &work, device, at_ms),
            Deed::Delete => {
                if let Some(place) = self.pick(index, device) {
                    let id = self.known.swap_remove(place).id;
                    let ops = vec![OpSpec::Delete("no longer needed".to_owned())];
                    self.update(index, id, device, at_ms, ops);
                }
            }
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

    fn create(&mut self, index: usize, work: &Work, device: usize, at_ms: u64) {
        let case = self.next_case();
        let Some((collection, _)) = self.collection(index) else {
            return;
        };
        let fields: Vec<Field> = collection.fields.values().cloned().collect();
        let name = collection.name.clone();
        let mut ops = Vec::new();
        for field in fields {
            let is_filled = self.draw.happens(&field.name, case, FILLED_PER_MILLE);
            if !field.required && !is_filled {
                continue;
            }
            match self.write(work, &field) {
                Some(OpSpec::Remove(..)) => {}
                Some(op) => ops.push(op),
                // There is nothing yet that the record could refer to.
                None if field.required => return,
                None => {}
            }
        }
        let id = format!("{name}-{}", hex::encode(&self.draw.bytes("id", case)[..6]));
        let group = self.workload.group_of(device).name.get_ref().clone();
        self.known.push(Known {
            collection: index,
            id: id.clone(),
            group,
        });
        let edits = vec![EditSpec {
            collection: name,
            id,
            ops,
        }];
        let act = Act::Write { edits, key: None };
        self.operations.push(Operation { at_ms, device, act });
    }

    fn edit(&mut self, index: usize, work: &Work, device: usize, at_ms: u64) {
        let Some(place) = self.pick(index, device) else {
            return;
        };
        let id = self.known[place].id.clone();
        let fields = self.fields(index, work);
        if fields.is_empty() {
            return;
        }
        let ops: Vec<OpSpec> = fields
            .iter()
            .filter_map(|field| self.write(work, field))
            .collect();
        self.update(index, id.clone(), device, at_ms, ops);
        let case = self.next_case();
        let per_mille = *work.same_record_percent.get_ref() * 10;
        let users = self.users(work);
        let other = *self.draw.pick("also", case, &users);
        if self.draw.happens("same record", case, per_mille) && other != device {
            let at_ms = at_ms + self.draw.number("soon after", case, 0..SAME_DAY_MS);
            let ops = fields.iter().filter_map(|field| self.write(work, field));
            let ops = ops.collect();
            self.update(index, id, other, at_ms, ops);
        }
    }

    fn update(&mut self, index: usize, id: String, device: usize, at_ms: u64, ops: Vec<OpSpec>) {
        let Some((collection, _)) = self.schema.collections.get_index(index) else {
            return;
        };
        if ops.is_empty() {
            return;
        }
        let edits = vec![EditSpec {
            collection: collection.clone(),
            id,
            ops,
        }];
        let act = Act::Update { edits };
        self.operations.push(Operation { at_ms, device, act });
    }

    /// The fields that one edit changes.
    fn fields(&mut self, index: usize, work: &Work) -> Vec<Field> {
        let case = self.next_case();
        let Some((collection, _)) = self.collection(index) else {
            return Vec::new();
        };
        let is_edited = |field: &&Field| {
            let mut named = work.fields.iter();
            let is_named = named.any(|name| *name.get_ref() == field.name);
            is_named || (work.fields.is_empty() && !matches!(field.kind, FieldType::Ref { .. }))
        };
        let mut all: Vec<Field> = collection
            .fields
            .values()
            .filter(is_edited)
            .cloned()
            .collect();
        let mut chosen = Vec::new();
        for number in 0..work.fields_per_edit.min(all.len() as u64) {
            let range = 0..all.len() as u64;
            let place = self
                .draw
                .number("field", case.wrapping_mul(64) + number, range);
            chosen.push(all.swap_remove(place as usize));
        }
        chosen
    }

    fn write(&mut self, work: &Work, field: &Field) -> Option<OpSpec> {
        let case = self.next_case();
        let (known, schema, draw) = (&self.known, self.schema, self.draw);
        let target = |to: &str| {
            let index = schema.collections.get_index_of(to)?;
            let range = 0..known.len().max(1) as u64;
            let mut tries =
                (0..TRIES * 8).map(|n| draw.number("target", case * 64 + n, range.clone()));
            let found = tries.find_map(|place| {
                let record = known.get(place as usize)?;
                (record.collection == index).then(|| record.id.clone())
            });
            found.or_else(|| {
                let first = known.iter().find(|record| record.collection == index)?;
                Some(first.id.clone())
            })
        };
        let source = Source { draw, case, work };
        source.op(field, target)
    }

    /// The place of a record, more often one of the device's own group.
    fn pick(&mut self, index: usize, device: usize) -> Option<usize> {
        let case = self.next_case();
        let group = self.workload.group_of(device).name.get_ref();
        let of_it: Vec<usize> = (0..self.known.len())
            .filter(|place| self.known[*place].collection == index)
            .collect();
        if of_it.is_empty() {
            return None;
        }
        if self.draw.happens("near", case, NEAR_PER_MILLE) {
            for number in 0..TRIES {
                let place = *self
                    .draw
                    .pick("near which", case.wrapping_mul(8) + number, &of_it);
                if self.known[place].group == *group {
                    return Some(place);
                }
            }
        }
        Some(*self.draw.pick("which", case, &of_it))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
