//! Random waypoint: each device walks straight to a random place, rests, and walks on. Two devices in range
//! of each other have a contact.
//!
//! Positions are whole millimetres and time advances in steps, so that every machine computes the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Contact, Fleet, Found, LinkClass, MobilityError, check_that};
use crate::time::MINUTE_MS;

/// Largest side of the area, in metres: a country.
const AREA_M_MAX: u64 = 2_000_000;

/// Most positions that are compared in a run: some minutes of work.
const POSITIONS_MAX: u64 = 2_000_000_000;

/// People who walk about in a square.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waypoint {
    /// The side of the square, in metres.
    pub area_m: u64,
    /// How far a link reaches, in metres.
    pub range_m: u64,
    /// The slowest walk, in millimetres a second.
    pub speed_min_mm_s: u64,
    /// The fastest walk, in millimetres a second.
    pub speed_max_mm_s: u64,
    /// The longest rest, in minutes.
    pub pause_max_min: u64,
    /// How often positions are compared, in seconds.
    #[serde(default = "step_s")]
    pub step_s: u64,
    /// What carries the contacts.
    pub class: LinkClass,
}

fn step_s() -> u64 {
    30
}

/// A place, in millimetres.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    x: i64,
    y: i64,
}

/// One walk and the rest after it.
#[derive(Clone, Copy, Debug)]
struct Leg {
    from: Place,
    to: Place,
    at_ms: u64,
    walk_ms: u64,
    rest_ms: u64,
}

/// A device on its way.
#[derive(Clone, Copy, Debug)]
struct Walker {
    number: u64,
    legs: u64,
    leg: Leg,
}

impl Waypoint {
    pub(super) fn check(&self) -> Result<(), MobilityError> {
        let place = "waypoint";
        check_that(
            place,
            (1..=AREA_M_MAX).contains(&self.area_m) && self.range_m <= AREA_M_MAX,
            "area_m must be at least 1, area_m and range_m at most 2000000",
        )?;
        check_that(place, self.range_m >= 1, "range_m must be at least 1")?;
        check_that(
            place,
            self.speed_min_mm_s >= 1
                && self.speed_min_mm_s <= self.speed_max_mm_s
                && self.speed_max_mm_s <= 100_000,
            "speeds must be from 1 to 100000 mm a second, the smallest first",
        )?;
        check_that(
            place,
            (1..=86_400).contains(&self.step_s) && self.pause_max_min <= 365 * 24 * 60,
            "step_s must be from 1 to 86400 and pause_max_min at most a year",
        )
    }

    /// Whether the positions of so many devices can be compared until then.
    pub(super) fn check_within(
        &self,
        devices: usize,
        horizon_ms: u64,
    ) -> Result<(), MobilityError> {
        let steps = horizon_ms.div_ceil(self.step_s * 1000);
        let positions = steps.saturating_mul(devices as u64);
        if positions <= POSITIONS_MAX {
            return Ok(());
        }
        let what = format!(
            "{positions} positions are to be compared, more than {POSITIONS_MAX}; choose a longer step_s"
        );
        let place = "waypoint";
        Err(MobilityError::TooLong { place, what })
    }

    pub(super) fn contacts(&self, fleet: &Fleet<'_>, part: u64, found: &mut Found) {
        if self.check().is_err() {
            return;
        }
        let begin = |device| self.begin(fleet, (part << 32) + device as u64);
        let mut walkers: Vec<Walker> = (0..fleet.devices).map(begin).collect();
        // The pairs in range, with the moment since when.
        let mut open: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        let mut now = 0;
        while now < fleet.horizon_ms && !found.is_full() {
            let places: Vec<Place> = walkers
                .iter_mut()
                .map(|walker| self.place(fleet, walker, now))
                .collect();
            let near = self.in_range(&places);
            let mut still = BTreeMap::new();
            for pair in near {
                still.insert(pair, open.remove(&pair).unwrap_or(now));
            }
            self.close(&open, now, found);
            open = still;
            now += self.step_s * 1000;
        }
        self.close(&open, fleet.horizon_ms, found);
    }

    fn close(&self, open: &BTreeMap<(usize, usize), u64>, end_ms: u64, found: &mut Found) {
        found.extend(open.iter().map(|((a, b), at_ms)| Contact {
            at_ms: *at_ms,
            end_ms,
            a: *a,
            b: *b,
            class: self.class,
        }));
    }

    fn begin(&self, fleet: &Fleet<'_>, number: u64) -> Walker {
        let from = self.any_place(fleet, number, 0);
        let leg = self.leg(fleet, number, 1, from, 0);
        Walker {
            number,
            legs: 1,
            leg,
        }
    }

    fn any_place(&self, fleet: &Fleet<'_>, number: u64, leg: u64) -> Place {
        let side = self.area_m * 1000;
        let number = (number << 20) + leg;
        Place {
            x: fleet.draw.number("waypoint: x", number, 0..side) as i64,
            y: fleet.draw.number("waypoint: y", number, 0..side) as i64,
        }
    }

    fn leg(&self, fleet: &Fleet<'_>, number: u64, leg: u64, from: Place, at_ms: u64) -> Leg {
        let to = self.any_place(fleet, number, leg);
        let key = (number << 20) + leg;
        let speeds = self.speed_min_mm_s..self.speed_max_mm_s + 1;
        let speed = fleet.draw.number("waypoint: speed", key, speeds);
        let rests = 0..self.pause_max_min * MINUTE_MS + 1;
        let length = square_mm(from, to).isqrt();
        let walk_ms = length * 1000 / speed;
        // Whoever arrives before the next look rests until then, so there are no more legs than looks.
        let rest_min_ms = (self.step_s * 1000).saturating_sub(walk_ms);
        Leg {
            from,
            to,
            at_ms,
            // A walk takes time even if it leads nowhere: places on the way are shares of it.
            walk_ms: walk_ms.max(1),
            rest_ms: fleet
                .draw
                .number("waypoint: rest", key, rests)
                .max(rest_min_ms),
        }
    }

    /// Where a walker is. Time must not go back.
    fn place(&self, fleet: &Fleet<'_>, walker: &mut Walker, now: u64) -> Place {
        while now >= walker.leg.at_ms + walker.leg.walk_ms + walker.leg.rest_ms {
            let Leg {
                to,
                at_ms,
                walk_ms,
                rest_ms,
                ..
            } = walker.leg;
            walker.legs += 1;
            let begins = at_ms + walk_ms + rest_ms;
            walker.leg = self.leg(fleet, walker.number, walker.legs, to, begins);
        }
        let Leg {
            from, to, walk_ms, ..
        } = walker.leg;
        let gone = (now - walker.leg.at_ms).min(walk_ms) as i64;
        let along = |from: i64, to: i64| from + (to - from) * gone / walk_ms as i64;
        Place {
            x: along(from.x, to.x),
            y: along(from.y, to.y),
        }
    }

    /// The pairs in range. Only neighbouring cells as wide as the range are compared.
    fn in_range(&self, places: &[Place]) -> Vec<(usize, usize)> {
        let range = self.range_m as i64 * 1000;
        let cell = |place: &Place| (place.x / range, place.y / range);
        let mut cells: BTreeMap<(i64, i64), Vec<usize>> = BTreeMap::new();
        let mut pairs = Vec::new();
        for (device, place) in places.iter().enumerate() {
            let (column, row) = cell(place);
            for near in (-1..=1).flat_map(|x| (-1..=1).map(move |y| (column + x, row + y))) {
                let others = cells.get(&near).into_iter().flatten();
                let in_range = |other: &&usize| {
                    square_mm(places[**other], *place) <= (range * range).unsigned_abs()
                };
                pairs.extend(others.filter(in_range).map(|other| (*other, device)));
            }
            cells.entry((column, row)).or_default().push(device);
        }
        pairs
    }
}

/// The square of a distance, in square millimetres.
fn square_mm(a: Place, b: Place) -> u64 {
    let (x, y) = ((a.x - b.x).unsigned_abs(), (a.y - b.y).unsigned_abs());
    x * x + y * y
}
