//! Large fleets: how many devices, for how long, who moves how, and what people write.
//!
//! A meeting of people who stay together for days is cut into short ones: radios that save battery talk for a
//! while, rest, and talk again. The longer the rest, the fewer sessions there are at once.

use crate::draw::Draw;
use crate::link::{LinkClass, LinkFaults};
use crate::mobility::{self, Depot, Hub, Mobility, MobilityError, Shuttle, Waypoint};
use crate::plan::{
    Act, Contact, DeviceSpec, EditSpec, Header, OpSpec, Operation, PLAN_FORMAT, Plan, Role,
};
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS};

/// Bounds a plan's memory.
pub const DEVICES_MAX: usize = 20_000;
/// Bounds a plan's memory.
pub const DAYS_MAX: u64 = 3_660;
/// Bounds a plan's memory.
pub const WRITES_MAX: u64 = 20_000_000;
/// Bounds a plan's memory.
pub const CONTACTS_MAX: usize = 20_000_000;
/// Most copies of entries that a fleet may come to hold: about a hundred bytes each.
pub const COPIES_MAX: u64 = 1_000_000_000;

/// How people move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Movement {
    /// Villages send somebody to the clinic every other day.
    Shuttle,
    /// Everybody visits a depot once a week.
    Depot,
    /// People walk from one random place to the next.
    Waypoint,
    /// Everybody reaches a hub over mobile data on most days.
    Hub,
}

/// A large fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargeFleet {
    /// How many devices.
    pub devices: usize,
    /// For how many days.
    pub days: u64,
    /// How people move.
    pub movement: Movement,
    /// What each device writes in ten days.
    pub writes_in_10_days: u64,
    /// How many devices a village has.
    pub village: usize,
    /// How long two radios talk when their people stay together, in minutes.
    pub awake_min: u64,
    /// How long from one such talk to the next, in hours.
    pub every_h: u64,
    /// Keys the draws.
    pub seed: u64,
}

/// Why a large fleet makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LargeFleetError {
    /// A number is out of bounds.
    #[error("{0}")]
    OutOfBounds(&'static str),
    /// It would be too large.
    #[error("{0}; choose fewer --devices, --days or --writes")]
    TooLarge(String),
    /// The movement does not fit the fleet.
    #[error(transparent)]
    Movement(#[from] MobilityError),
}

impl LargeFleet {
    /// The fleet as a plan.
    ///
    /// # Errors
    /// Why it makes no sense.
    pub fn plan(&self) -> Result<Plan, LargeFleetError> {
        self.check()?;
        let draw = Draw::new(self.seed);
        let movement = self.mobility();
        let horizon_ms = self.days * DAY_MS;
        let of = [movement];
        let met = mobility::contacts_within(&of, self.devices, &draw, horizon_ms, CONTACTS_MAX);
        let met = met.map_err(|(_, error)| error)?;
        let talks = || met.iter().flat_map(|met| self.talks(met));
        if talks().nth(CONTACTS_MAX).is_some() {
            let what = format!("there would be more than {CONTACTS_MAX} contacts");
            return Err(LargeFleetError::TooLarge(what));
        }
        let mut contacts: Vec<Contact> = talks().collect();
        contacts.sort_by_key(|contact| (contact.at_ms, contact.a, contact.b));
        let spec = |device| DeviceSpec {
            device,
            role: if device == 0 { Role::Hub } else { Role::Field },
            commit_ms: 5,
            fetch_ms: 2,
            ..DeviceSpec::default()
        };
        Ok(Plan {
            header: Header {
                plan: PLAN_FORMAT,
                seed: self.seed,
                profile: format!("{:?}", self.movement).to_lowercase(),
                horizon_ms,
                settle_ms: 2 * HOUR_MS,
            },
            devices: (0..self.devices).map(spec).collect(),
            contacts,
            operations: self.operations(&draw, horizon_ms),
            faults: Vec::new(),
        })
    }

    fn check(&self) -> Result<(), LargeFleetError> {
        let holds = [
            (
                (2..=DEVICES_MAX).contains(&self.devices),
                "a fleet has 2 to 20000 devices: choose another --devices",
            ),
            (
                (1..=DAYS_MAX).contains(&self.days),
                "a season has 1 to 3660 days: choose another --days",
            ),
            (
                self.village >= 1,
                "a village has a device: choose another --village",
            ),
            (
                (1..=DAYS_MAX * 24 * 60).contains(&self.awake_min),
                "radios talk for 1 to 5270400 minutes, ten years: choose another --awake-min",
            ),
            (
                (1..=DAYS_MAX * 24).contains(&self.every_h),
                "radios talk every 1 to 87840 hours, ten years: choose another --every-h",
            ),
            (
                self.writes_in_10_days <= 10_000,
                "--writes must be at most 10000 in ten days",
            ),
        ];
        match holds.iter().find(|(holds, _)| !holds) {
            Some((_, why)) => Err(LargeFleetError::OutOfBounds(why)),
            None => self.check_size(),
        }
    }

    /// Whether what is written, and what becomes of it, has room.
    fn check_size(&self) -> Result<(), LargeFleetError> {
        let writes = self.writes();
        if writes > WRITES_MAX {
            let what = format!("{writes} writes are more than {WRITES_MAX}");
            return Err(LargeFleetError::TooLarge(what));
        }
        let copies = writes * self.devices as u64;
        if copies > COPIES_MAX {
            let what = format!(
                "{writes} writes on all devices are {copies} copies, more than {COPIES_MAX}"
            );
            return Err(LargeFleetError::TooLarge(what));
        }
        Ok(())
    }

    /// How many writes there are on all devices.
    fn writes(&self) -> u64 {
        self.writes_in_10_days * self.days * self.devices as u64 / 10
    }

    fn mobility(&self) -> Mobility {
        let class = LinkClass::Wifi;
        match self.movement {
            Movement::Shuttle => {
                let clinic = 4.min(self.devices - 1);
                let others: Vec<usize> = (clinic..self.devices).collect();
                Mobility::Shuttle(Shuttle {
                    clinic: (0..clinic).collect(),
                    villages: others.chunks(self.village).map(<[usize]>::to_vec).collect(),
                    every_h: 48,
                    way_min: 120,
                    stay_min: 45,
                    class,
                })
            }
            Movement::Depot => Mobility::Depot(Depot {
                depot: 0,
                from_h: 7,
                to_h: 17,
                stay_min: 20,
                class,
            }),
            Movement::Waypoint => Mobility::Waypoint(Waypoint {
                // About four square kilometres for each device.
                area_m: 2_000 * (self.devices as u64).isqrt(),
                range_m: 100,
                speed_min_mm_s: 500,
                speed_max_mm_s: 4_000,
                pause_max_min: 120,
                step_s: 60,
                class,
            }),
            Movement::Hub => Mobility::Hub(Hub {
                hub: 0,
                from_h: 6,
                to_h: 20,
                online_min: 10,
                days_per_cent: 70,
                class: LinkClass::Cell2g,
            }),
        }
    }

    /// The talks of two who are together for a while.
    fn talks(&self, met: &mobility::Contact) -> impl Iterator<Item = Contact> + use<> {
        let mobility::Contact {
            at_ms,
            end_ms,
            a,
            b,
            class,
        } = *met;
        let awake_ms = self.awake_min * MINUTE_MS;
        let step = (self.every_h * HOUR_MS).max(awake_ms + 1) as usize;
        (at_ms..end_ms).step_by(step).map(move |at_ms| Contact {
            at_ms,
            end_ms: (at_ms + awake_ms).min(end_ms),
            a,
            b,
            class,
            faults: LinkFaults::default(),
        })
    }

    fn operations(&self, draw: &Draw, horizon_ms: u64) -> Vec<Operation> {
        let count = self.writes();
        let devices = self.devices as u64;
        let mut operations: Vec<Operation> = (0..count)
            .map(|case| {
                let device = draw.number("season: who", case, 0..devices);
                let edit = match draw.happens("season: patient", case, 300) {
                    true => patient(draw, case, draw.number("season: which", case, 0..devices)),
                    false => visit(draw, case),
                };
                Operation {
                    at_ms: draw.number("season: when", case, 0..horizon_ms),
                    device: device as usize,
                    act: Act::Write {
                        edits: vec![edit],
                        key: None,
                    },
                }
            })
            .collect();
        operations.sort_by_key(|operation| operation.at_ms);
        operations
    }
}

/// A visit: a record of its own.
fn visit(draw: &Draw, case: u64) -> EditSpec {
    let temp = 34.0 + draw.number("season: temp", case, 0..110) as f64 / 10.0;
    EditSpec {
        collection: "visit".to_owned(),
        id: format!("v-{case}"),
        ops: vec![
            OpSpec::Set("notes".to_owned(), format!("seen, case {case}").into()),
            OpSpec::Set("temp_c".to_owned(), temp.into()),
        ],
    }
}

/// A change of a patient whom others change too.
fn patient(draw: &Draw, case: u64, number: u64) -> EditSpec {
    let weight = 3.0 + draw.number("season: weight", case, 0..900) as f64 / 10.0;
    EditSpec {
        collection: "patient".to_owned(),
        id: format!("p-{number}"),
        ops: vec![
            OpSpec::Set("name".to_owned(), format!("Patient {number}").into()),
            OpSpec::Set("weight".to_owned(), weight.into()),
            OpSpec::Add("visits".to_owned(), 1),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE_FLEET: LargeFleet = LargeFleet {
        devices: 12,
        days: 4,
        movement: Movement::Shuttle,
        writes_in_10_days: 10,
        village: 4,
        awake_min: 30,
        every_h: 24,
        seed: 1,
    };

    #[test]
    fn people_who_stay_together_talk_now_and_then() {
        let together = mobility::Contact {
            at_ms: 5,
            end_ms: 5 + 50 * HOUR_MS,
            a: 1,
            b: 2,
            class: LinkClass::Wifi,
        };
        let talks: Vec<Contact> = LARGE_FLEET.talks(&together).collect();

        let times: Vec<_> = talks.iter().map(|talk| (talk.at_ms, talk.end_ms)).collect();
        let day = |n: u64| 5 + n * DAY_MS;
        let talk = |at: u64| (at, at + 30 * MINUTE_MS);
        assert_eq!(times, [talk(day(0)), talk(day(1)), talk(day(2))]);
    }

    #[test]
    fn a_large_fleet_is_a_plan_that_reads_back() {
        let plan = LARGE_FLEET.plan().unwrap();
        let schema = crate::plan::schema().unwrap();

        assert_eq!(plan.operations.len(), 48);
        assert_eq!(
            Plan::from_text(&plan.to_text(), &schema).as_ref(),
            Ok(&plan)
        );
    }

    #[test]
    fn a_season_that_has_no_room_names_the_argument_that_is_too_large() {
        let of = |season: LargeFleet| season.plan().err().map(|error| error.to_string());
        let (large, long) = (20_000, 3_660);
        for (season, words) in [
            (
                LargeFleet {
                    devices: 1,
                    ..LARGE_FLEET
                },
                "--devices",
            ),
            (
                LargeFleet {
                    awake_min: 400_000_000_000_000,
                    ..LARGE_FLEET
                },
                "--awake-min",
            ),
            (
                LargeFleet {
                    awake_min: 0,
                    ..LARGE_FLEET
                },
                "--awake-min",
            ),
            (
                LargeFleet {
                    every_h: 100_000,
                    ..LARGE_FLEET
                },
                "--every-h",
            ),
            // 10,000 in ten days on 20,000 devices for ten years.
            (
                LargeFleet {
                    devices: large,
                    days: long,
                    writes_in_10_days: 10_000,
                    ..LARGE_FLEET
                },
                "73200000000 writes are more than 20000000",
            ),
            // One a day for 30 days on 20,000 devices, each copied to all.
            (
                LargeFleet {
                    devices: large,
                    days: 30,
                    ..LARGE_FLEET
                },
                "12000000000 copies, more than 1000000000",
            ),
            (
                LargeFleet {
                    movement: Movement::Waypoint,
                    devices: large,
                    days: long,
                    writes_in_10_days: 0,
                    ..LARGE_FLEET
                },
                "positions are to be compared",
            ),
        ] {
            let told = of(season).unwrap_or_default();
            assert!(told.contains(words), "{words}: {told}");
        }
    }
}
