//! Movement between places: whoever is at one place at one time can talk there.
//!
//! Each pattern says who stays where and when; the contacts follow from that in one way for all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Contact, Fleet, Found, LinkClass, MobilityError, check_devices, check_that};
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS};

const WEEK_DAYS: u64 = 7;

/// Longest time that a description may name, in hours: ten years.
const HOURS_MAX: u64 = 10 * 366 * 24;

/// Villages that send somebody to the clinic and back. At home all of a village meet; at the clinic the
/// travellers meet the clinic's devices, and each other if they are there at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shuttle {
    /// The devices that are always at the clinic.
    pub clinic: Vec<usize>,
    /// The devices of each village. They travel in turn.
    pub villages: Vec<Vec<usize>>,
    /// Hours from one departure of a village to the next.
    pub every_h: u64,
    /// Minutes on the way, each way.
    pub way_min: u64,
    /// Minutes at the clinic.
    pub stay_min: u64,
    /// What carries the contacts.
    pub class: LinkClass,
}

/// A depot that each device visits once a week, on a day and at an hour of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Depot {
    /// The device that is always there.
    pub depot: usize,
    /// The hour of the day when it opens.
    pub from_h: u64,
    /// The hour of the day when it closes.
    pub to_h: u64,
    /// Minutes that a visit takes.
    pub stay_min: u64,
    /// What carries the contacts.
    pub class: LinkClass,
}

/// A market day that brings all devices together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Market {
    /// Days from one market to the next.
    pub every_days: u64,
    /// The first market day, counted from 0.
    pub first_day: u64,
    /// The hour of the day when it begins.
    pub from_h: u64,
    /// The hour of the day when it ends.
    pub to_h: u64,
    /// Minutes within which people arrive, and within which they leave.
    pub spread_min: u64,
    /// What carries the contacts.
    pub class: LinkClass,
}

/// A hub that each device reaches over mobile data, once a day at a time of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hub {
    /// The hub.
    pub hub: usize,
    /// The hour of the day from which there is coverage.
    pub from_h: u64,
    /// The hour of the day when it ends.
    pub to_h: u64,
    /// Minutes that a device is online.
    pub online_min: u64,
    /// Of a hundred days, how many a device is online at all.
    pub days_per_cent: u64,
    /// What carries the contacts.
    pub class: LinkClass,
}

/// Somebody who is somewhere for a while.
#[derive(Clone, Copy, Debug)]
struct Stay {
    place: usize,
    device: usize,
    at_ms: u64,
    end_ms: u64,
}

impl Shuttle {
    pub(super) fn check(&self, devices: usize) -> Result<(), MobilityError> {
        let named = self.clinic.iter().chain(self.villages.iter().flatten());
        check_devices("shuttle", named.copied(), devices)?;
        check_that(
            "shuttle",
            (1..=HOURS_MAX).contains(&self.every_h),
            "every_h must be at least 1 and at most ten years",
        )?;
        check_that(
            "shuttle",
            self.trip_ms()
                .is_some_and(|trip| trip <= self.every_h * HOUR_MS),
            "a trip (twice way_min and stay_min) must fit into every_h",
        )
    }

    fn trip_ms(&self) -> Option<u64> {
        let minutes = self.way_min.checked_mul(2)?.checked_add(self.stay_min)?;
        minutes.checked_mul(MINUTE_MS)
    }

    pub(super) fn contacts(&self, fleet: &Fleet<'_>, part: u64, found: &mut Found) {
        if self.check(fleet.devices).is_err() {
            return;
        }
        let mut stays = Vec::new();
        for &device in &self.clinic {
            stays.push(Stay {
                place: 0,
                device,
                at_ms: 0,
                end_ms: fleet.horizon_ms,
            });
        }
        for (village, members) in self.villages.iter().enumerate() {
            self.village(
                fleet,
                (part << 32) + village as u64,
                village + 1,
                members,
                &mut stays,
            );
        }
        meet(&stays, self.class, found);
    }

    fn village(
        &self,
        fleet: &Fleet<'_>,
        number: u64,
        place: usize,
        members: &[usize],
        stays: &mut Vec<Stay>,
    ) {
        let (every, way, stay) = (
            self.every_h * HOUR_MS,
            self.way_min * MINUTE_MS,
            self.stay_min * MINUTE_MS,
        );
        let mut home_since: BTreeMap<usize, u64> =
            members.iter().map(|device| (*device, 0)).collect();
        let mut leaves = fleet
            .draw
            .number("shuttle: first departure", number, 0..every);
        for &device in members.iter().cycle() {
            if leaves >= fleet.horizon_ms {
                break;
            }
            let home = home_since.entry(device).or_default();
            stays.push(Stay {
                place,
                device,
                at_ms: *home,
                end_ms: leaves,
            });
            stays.push(Stay {
                place: 0,
                device,
                at_ms: leaves + way,
                end_ms: leaves + way + stay,
            });
            *home = leaves + 2 * way + stay;
            leaves += every;
        }
        for (device, at_ms) in home_since {
            stays.push(Stay {
                place,
                device,
                at_ms,
                end_ms: fleet.horizon_ms,
            });
        }
    }
}

impl Depot {
    pub(super) fn check(&self, devices: usize) -> Result<(), MobilityError> {
        check_devices("depot", [self.depot], devices)?;
        check_hours("depot", self.from_h, self.to_h, self.stay_min)
    }

    pub(super) fn contacts(&self, fleet: &Fleet<'_>, part: u64, found: &mut Found) {
        if self.check(fleet.devices).is_err() {
            return;
        }
        let mut stays = vec![Stay {
            place: 0,
            device: self.depot,
            at_ms: 0,
            end_ms: fleet.horizon_ms,
        }];
        for device in (0..fleet.devices).filter(|device| *device != self.depot) {
            let number = (part << 32) + device as u64;
            // People keep to their day; the hour varies.
            let day = fleet.draw.number("depot: day", number, 0..WEEK_DAYS);
            for week in 0..=fleet.horizon_ms / (WEEK_DAYS * DAY_MS) {
                let day_ms = (week * WEEK_DAYS + day) * DAY_MS;
                let visit = (number << 16) + week;
                let window = (self.from_h, self.to_h, self.stay_min);
                let at_ms = day_ms + within(fleet, "depot: visit", visit, window);
                stays.push(Stay {
                    place: 0,
                    device,
                    at_ms,
                    end_ms: at_ms + self.stay_min * MINUTE_MS,
                });
            }
        }
        meet(&stays, self.class, found);
    }
}

impl Market {
    pub(super) fn check(&self) -> Result<(), MobilityError> {
        check_that(
            "market",
            self.every_days >= 1,
            "every_days must be at least 1",
        )?;
        check_that(
            "market",
            self.every_days.max(self.first_day) <= HOURS_MAX / 24,
            "every_days and first_day must be at most ten years",
        )?;
        check_hours(
            "market",
            self.from_h,
            self.to_h,
            self.spread_min.saturating_mul(2),
        )
    }

    pub(super) fn contacts(&self, fleet: &Fleet<'_>, part: u64, found: &mut Found) {
        if self.check().is_err() {
            return;
        }
        let spread = self.spread_min * MINUTE_MS + 1;
        let mut day = self.first_day;
        while day * DAY_MS < fleet.horizon_ms && !found.is_full() {
            let mut stays = Vec::new();
            for device in 0..fleet.devices {
                let number = (part << 48) + (day << 24) + device as u64;
                let late = fleet.draw.number("market: arrival", number, 0..spread);
                let early = fleet.draw.number("market: departure", number, 0..spread);
                stays.push(Stay {
                    place: 0,
                    device,
                    at_ms: day * DAY_MS + self.from_h * HOUR_MS + late,
                    end_ms: day * DAY_MS + self.to_h * HOUR_MS - early,
                });
            }
            meet(&stays, self.class, found);
            day += self.every_days;
        }
    }
}

impl Hub {
    pub(super) fn check(&self, devices: usize) -> Result<(), MobilityError> {
        check_devices("hub", [self.hub], devices)?;
        check_that(
            "hub",
            self.days_per_cent <= 100,
            "days_per_cent must be at most 100",
        )?;
        check_hours("hub", self.from_h, self.to_h, self.online_min)
    }

    pub(super) fn contacts(&self, fleet: &Fleet<'_>, part: u64, found: &mut Found) {
        if self.check(fleet.devices).is_err() {
            return;
        }
        for device in (0..fleet.devices).filter(|device| *device != self.hub) {
            for day in 0..=fleet.horizon_ms / DAY_MS {
                let number = (part << 48) + (day << 24) + device as u64;
                let roll = fleet.draw.number("hub: online", number, 0..100);
                if roll >= self.days_per_cent {
                    continue;
                }
                let window = (self.from_h, self.to_h, self.online_min);
                let at_ms = day * DAY_MS + within(fleet, "hub: from", number, window);
                found.extend([Contact {
                    at_ms,
                    end_ms: at_ms + self.online_min * MINUTE_MS,
                    a: device,
                    b: self.hub,
                    class: self.class,
                }]);
            }
        }
    }
}

/// Whether hours of the day make a window into which so many minutes fit.
fn check_hours(
    place: &'static str,
    from_h: u64,
    to_h: u64,
    minutes: u64,
) -> Result<(), MobilityError> {
    check_that(
        place,
        from_h < to_h && to_h <= 24,
        "from_h must be before to_h, and to_h at most 24",
    )?;
    check_that(
        place,
        minutes <= (to_h - from_h) * 60,
        "the minutes must fit between from_h and to_h",
    )
}

/// When a stay of some minutes begins that lies within hours of the day, from midnight.
fn within(
    fleet: &Fleet<'_>,
    concern: &str,
    number: u64,
    (from_h, to_h, minutes): (u64, u64, u64),
) -> u64 {
    let room = (to_h - from_h) * HOUR_MS - minutes * MINUTE_MS;
    from_h * HOUR_MS + fleet.draw.number(concern, number, 0..room + 1)
}

/// Everybody meets everybody who is at the same place at the same time.
fn meet(stays: &[Stay], class: LinkClass, found: &mut Found) {
    let mut places: BTreeMap<usize, Vec<Stay>> = BTreeMap::new();
    for stay in stays.iter().filter(|stay| stay.at_ms < stay.end_ms) {
        places.entry(stay.place).or_default().push(*stay);
    }
    for mut here in places.into_values() {
        here.sort_unstable_by_key(|stay| (stay.at_ms, stay.device));
        // Those who are there when the next one comes.
        let mut present: Vec<Stay> = Vec::new();
        for stay in here {
            if found.is_full() {
                return;
            }
            present.retain(|other| other.end_ms > stay.at_ms);
            found.extend(present.iter().map(|other| Contact {
                at_ms: stay.at_ms,
                end_ms: stay.end_ms.min(other.end_ms),
                a: other.device,
                b: stay.device,
                class,
            }));
            present.push(stay);
        }
    }
}
