//! When which devices meet: in random pairs, and as people move ([`crate::mobility`]).
//!
//! Whatever the way, some random pairs meet too: nobody keeps to one way of moving, and links must break in
//! every run.

use std::collections::BTreeMap;

use super::{Profile, Swarm, Way};
use crate::link::{LinkClass, LinkFaults};
use crate::mobility::{self, Depot, Hub, Market, Mobility, Shuttle, Waypoint};
use crate::plan::{Contact, Plan};

const DAY_H: u64 = 24;

pub(super) fn contacts(swarm: &Swarm, plan: &Plan, profile: &Profile) -> Vec<Contact> {
    let way = *swarm.draw.pick("way", 0, profile.ways);
    let mut contacts = pairs(swarm, plan, profile, way);
    if let Some(mobility) = mobility(swarm, plan, profile, way) {
        let first = contacts.len() as u64;
        contacts.extend(moving(swarm, plan, &mobility, first));
    }
    if swarm.has("F7") {
        part(swarm, &mut contacts, plan.header.horizon_ms);
    }
    contacts.sort_by_key(|contact| (contact.at_ms, contact.a, contact.b));
    apart(contacts)
}

/// F7: however people meet, two villages keep to themselves, or all but the first device's place do without it. For
/// the first two thirds of the run, or to its end.
fn part(swarm: &Swarm, contacts: &mut Vec<Contact>, horizon_ms: u64) {
    let draw = &swarm.draw;
    let is_alone = draw.happens("first is alone", 0, 300);
    let until_ms = match draw.happens("stays apart", 0, 200) {
        true => u64::MAX,
        false => horizon_ms * 2 / 3,
    };
    let side = |device: usize| {
        if is_alone {
            usize::from(device == 0)
        } else {
            device % 2
        }
    };
    contacts.retain(|contact| side(contact.a) == side(contact.b) || contact.at_ms >= until_ms);
}

/// Drops every contact that begins while its pair is in contact already.
fn apart(mut contacts: Vec<Contact>) -> Vec<Contact> {
    let mut ends: BTreeMap<(usize, usize), u64> = BTreeMap::new();
    contacts.retain(|contact| {
        let pair = (contact.a.min(contact.b), contact.a.max(contact.b));
        let end_ms = ends.entry(pair).or_default();
        let is_apart = contact.at_ms >= *end_ms;
        if is_apart {
            *end_ms = contact.end_ms;
        }
        is_apart
    });
    contacts
}

/// Pairs that meet at random moments for a random while.
fn pairs(swarm: &Swarm, plan: &Plan, profile: &Profile, way: Way) -> Vec<Contact> {
    let draw = &swarm.draw;
    let horizon_ms = plan.header.horizon_ms;
    let numbers: Vec<usize> = plan.devices.iter().map(|spec| spec.device).collect();
    let often = match way {
        Way::Pairs => 20,
        Way::Shuttle | Way::Market | Way::Depot | Way::HubHours | Way::Walk => 80,
    };
    let count = profile.hours * profile.contacts_in_10_h * numbers.len() as u64 / often;
    let mut contacts = Vec::new();
    for case in 0..count.max(2) {
        let a = *draw.pick("meets", case, &numbers);
        let b = *draw.pick("whom", case, &numbers);
        let at_ms = draw.number("meets at", case, 0..horizon_ms);
        if a == b {
            continue;
        }
        let long_ms = draw.number("meets for", case, 1..30) * 60_000;
        let for_ms = *draw.pick("meets how", case, &[4_000, 45_000, long_ms, long_ms]);
        contacts.push(Contact {
            at_ms,
            end_ms: (at_ms + for_ms).min(horizon_ms + 1),
            a,
            b,
            class: *draw.pick("by", case, &LinkClass::ALL),
            faults: link_faults(swarm, case, at_ms, [a, b]),
        });
    }
    contacts
}

/// Where people go. All places are where the first device is, which is the hub if there is one.
fn mobility(swarm: &Swarm, plan: &Plan, profile: &Profile, way: Way) -> Option<Mobility> {
    let draw = &swarm.draw;
    let class = *draw.pick(
        "way by",
        0,
        &[LinkClass::Wifi, LinkClass::Wifi, LinkClass::Ble],
    );
    // A day of a short run is as long as the run.
    let day_h = profile.hours.min(DAY_H);
    let is_season = profile.hours > 7 * DAY_H;
    let from_h = draw.number("opens", 0, 0..day_h.saturating_sub(2).max(1));
    let to_h = (from_h + draw.number("open for", 0, 1..4)).min(day_h);
    Some(match way {
        Way::Pairs => return None,
        Way::Shuttle => {
            let others = 1..plan.devices.len();
            let (one, other) = others.partition(|index| index % 2 == 1);
            Mobility::Shuttle(Shuttle {
                clinic: vec![0],
                villages: vec![one, other],
                every_h: if is_season { 72 } else { day_h.div_ceil(4) },
                way_min: draw.number("way takes", 0, 5..30),
                stay_min: draw.number("stays", 0, 5..25),
                class,
            })
        }
        Way::Market => Mobility::Market(Market {
            every_days: if is_season { 7 } else { 1 },
            first_day: 0,
            from_h,
            to_h,
            spread_min: draw.number("comes within", 0, 5..40),
            class,
        }),
        Way::Depot => Mobility::Depot(Depot {
            depot: 0,
            from_h,
            to_h,
            stay_min: draw.number("stays", 0, 10..40),
            class,
        }),
        Way::HubHours => Mobility::Hub(Hub {
            hub: 0,
            from_h,
            to_h: day_h,
            online_min: draw.number("online", 0, 5..40),
            days_per_cent: draw.number("online on", 0, 40..101),
            class: LinkClass::Cell2g,
        }),
        Way::Walk => Mobility::Waypoint(Waypoint {
            area_m: draw.number("area", 0, 600..1500),
            range_m: 80,
            speed_min_mm_s: 500,
            speed_max_mm_s: 1800,
            pause_max_min: 20,
            step_s: 30,
            class,
        }),
    })
}

/// The contacts of people who move; their draws are numbered from `first`.
fn moving(swarm: &Swarm, plan: &Plan, mobility: &Mobility, first: u64) -> Vec<Contact> {
    let numbers: Vec<usize> = plan.devices.iter().map(|spec| spec.device).collect();
    let horizon_ms = plan.header.horizon_ms;
    let found = mobility::contacts(mobility, numbers.len(), &swarm.draw, horizon_ms);
    let contact = |(case, found): (u64, mobility::Contact)| {
        let ends = [numbers[found.a], numbers[found.b]];
        Contact {
            at_ms: found.at_ms,
            end_ms: found.end_ms,
            a: ends[0],
            b: ends[1],
            class: found.class,
            faults: link_faults(swarm, case, found.at_ms, ends),
        }
    };
    (first..).zip(found).map(contact).collect()
}

fn link_faults(swarm: &Swarm, case: u64, at_ms: u64, ends: [usize; 2]) -> LinkFaults {
    let draw = &swarm.draw;
    let on = |class: &str, per_mille: u64| {
        swarm.has(class) && draw.happens(class, case, per_mille * swarm.strength(class))
    };
    LinkFaults {
        burst: on("F1", 60).then(|| swarm.strength("F1") * 5),
        cut_at_bytes: on("F4", 60).then(|| draw.number("cut at", case, 1..6_000)),
        mute: on("F5", 20).then(|| *draw.pick("mute", case, &ends)),
        clogged_until_ms: on("F6", 30).then(|| at_ms + draw.number("clog", case, 1..90) * 1000),
        slower: on("F9", 30).then(|| draw.number("slower", case, 2..200)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{PROFILES, generate};
    use crate::time::HOUR_MS;

    #[test]
    fn every_way_of_every_profile_makes_sense_and_brings_people_together() {
        for profile in &PROFILES {
            for way in profile.ways {
                let mut met = 0;
                for seed in 0..12 {
                    let plan = generate(seed, profile);
                    let draw = crate::draw::Draw::new(seed);
                    let swarm = Swarm { draw };
                    let Some(mobility) = mobility(&swarm, &plan, profile, *way) else {
                        assert_eq!(*way, Way::Pairs);
                        met = pairs(&swarm, &plan, profile, *way).len();
                        continue;
                    };
                    assert_eq!(mobility.check(plan.devices.len()), Ok(()), "{way:?} {seed}");
                    met += moving(&swarm, &plan, &mobility, 0).len();
                }
                assert!(
                    met > 12,
                    "{} {way:?}: {met} contacts in 12 runs",
                    profile.name
                );
            }
        }
    }

    #[test]
    fn contacts_lie_in_the_run_and_name_devices_of_the_plan() {
        for seed in 0..40 {
            let plan = generate(seed, &PROFILES[0]);
            let mut ends = BTreeMap::new();
            for contact in &plan.contacts {
                let pair = (contact.a.min(contact.b), contact.a.max(contact.b));
                let before_ms = ends.insert(pair, contact.end_ms).unwrap_or(0);
                assert!(before_ms <= contact.at_ms, "{pair:?} overlap");
                assert!(contact.at_ms < contact.end_ms && contact.a != contact.b);
                assert!(contact.end_ms <= plan.header.horizon_ms + HOUR_MS);
                assert!(plan.device(contact.a).is_some() && plan.device(contact.b).is_some());
            }
        }
    }
}
