//! Where the devices of a workload are: what they are, how their groups move, and whom they meet.

use std::ops::Range;

use toml::Spanned;

use super::{Workload, WorkloadError};
use crate::draw::Draw;
use crate::link::{LinkClass, LinkFaults};
use crate::mobility::{self, Mobility, Recording};
use crate::plan::{Contact, DeviceSpec, Role};
use crate::time::DAY_MS;

pub(super) fn devices(workload: &Workload) -> Vec<DeviceSpec> {
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

/// Most contacts of a workload.
pub const CONTACTS_MAX: usize = 1_000_000;

/// Where a description stands in the workload's text; nowhere for what follows from other keys.
type Place = Range<usize>;

/// The ways in which the groups move, by the numbers of their devices.
pub(super) fn parts(workload: &Workload) -> Vec<(Place, Mobility)> {
    let places = &workload.places;
    let members = |name: &Spanned<String>| workload.members(name.get_ref());
    let first = |name: &Spanned<String>| members(name).first().copied().unwrap_or(0);
    let mut of: Vec<(Place, Mobility)> = Vec::new();
    for (place, shuttle) in placed(&places.shuttle) {
        let shuttle = mobility::Shuttle {
            clinic: members(&shuttle.clinic),
            villages: shuttle.villages.iter().map(members).collect(),
            every_h: shuttle.every_h,
            way_min: shuttle.way_min,
            stay_min: shuttle.stay_min,
            class: shuttle.by,
        };
        of.push((place, Mobility::Shuttle(shuttle)));
    }
    for (place, depot) in placed(&places.depot) {
        let depot = mobility::Depot {
            depot: first(&depot.depot),
            from_h: depot.from_h,
            to_h: depot.to_h,
            stay_min: depot.stay_min,
            class: depot.by,
        };
        of.push((place, Mobility::Depot(depot)));
    }
    for (place, market) in placed(&places.market) {
        let market = mobility::Market {
            every_days: market.every_days,
            first_day: market.first_day,
            from_h: market.from_h,
            to_h: market.to_h,
            spread_min: market.spread_min,
            class: market.by,
        };
        of.push((place, Mobility::Market(market)));
    }
    for (place, hub) in placed(&places.hub) {
        let hub = mobility::Hub {
            hub: first(&hub.hub),
            from_h: hub.from_h,
            to_h: hub.to_h,
            online_min: hub.online_min,
            days_per_cent: hub.days_per_cent,
            class: hub.by,
        };
        of.push((place, Mobility::Hub(hub)));
    }
    let waypoints = placed(&places.waypoint);
    of.extend(waypoints.map(|(place, it)| (place, Mobility::Waypoint(it.clone()))));
    if let Some(recorded) = &places.recorded {
        let csv = recorded.get_ref().clone();
        of.push((recorded.span(), Mobility::Recorded { csv }));
    }
    let csv = Recording::of(staying(workload));
    of.push((0..0, Mobility::Recorded { csv }));
    of
}

fn placed<T>(list: &[Spanned<T>]) -> impl Iterator<Item = (Place, &T)> {
    list.iter().map(|each| (each.span(), each.get_ref()))
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
        let pairs = trained(workload).into_iter();
        contacts.extend(pairs.map(|[a, b]| contact(0, apart_ms, a, b, LinkClass::Wifi)));
    }
    for near in &workload.places.near {
        let members = workload.members(near.group.get_ref());
        for (index, a) in members.iter().enumerate() {
            if contacts.len() > CONTACTS_MAX {
                return contacts;
            }
            let others = members[index + 1..].iter();
            contacts.extend(others.map(|b| contact(apart_ms, end_ms, *a, *b, near.by)));
        }
    }
    contacts
}

/// Who talks to whom while all are together: people's devices in a chain, and each hub with the first of them. So
/// the same reaches everybody if there is no hub.
fn trained(workload: &Workload) -> Vec<[usize; 2]> {
    let is_hub = |device: &usize| workload.group_of(*device).hub;
    let (hubs, people): (Vec<usize>, Vec<usize>) = (0..workload.devices()).partition(is_hub);
    let chain = people.windows(2).map(|pair| [pair[0], pair[1]]);
    let first = people.iter().take(1);
    let with_hubs = first.flat_map(|first| hubs.iter().map(|hub| [*first, *hub]));
    chain.chain(with_hubs).collect()
}

pub(super) fn contacts(
    workload: &Workload,
    draw: &Draw,
    horizon_ms: u64,
) -> Result<Vec<Contact>, WorkloadError> {
    let (places, of): (Vec<Place>, Vec<Mobility>) = parts(workload).into_iter().unzip();
    let devices = workload.devices();
    let met = mobility::contacts_within(&of, devices, draw, horizon_ms, CONTACTS_MAX);
    let met = met.map_err(|(part, error)| {
        let place = places.get(part).cloned().unwrap_or_default();
        workload.wrong(place, format!("[where] {error}"))
    })?;
    let contact = |met: mobility::Contact| Contact {
        at_ms: met.at_ms,
        end_ms: met.end_ms,
        a: met.a,
        b: met.b,
        class: met.class,
        faults: LinkFaults::default(),
    };
    Ok(met.into_iter().map(contact).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_trained_together_whether_there_is_a_hub_or_not() {
        let text = r#"
together_h = 1
who = [{ name = "a", count = 2 }, { name = "hub", hub = true, count = 2 }, { name = "b" }]
where.near = [{ group = "b" }]
"#;
        let schema = crate::plan::schema().unwrap();
        let workload = Workload::read(text, &schema).unwrap();

        assert_eq!(trained(&workload), [[0, 1], [1, 4], [0, 2], [0, 3]]);
    }
}
