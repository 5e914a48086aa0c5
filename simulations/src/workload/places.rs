//! Where the devices of a workload are: what they are, how their groups move, and whom they meet.

use super::{DAY_MS, Workload};
use crate::draw::Draw;
use crate::link::{LinkClass, LinkFaults};
use crate::mobility::{self, Mobility, Recording};
use crate::plan::{Contact, DeviceSpec, Role};

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
    let csv = Recording::of(staying(workload));
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

pub(super) fn contacts(workload: &Workload, draw: &Draw, horizon_ms: u64) -> Vec<Contact> {
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
