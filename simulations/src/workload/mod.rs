//! Workloads: who uses a schema, where they are, and what they do all day, as somebody who writes schemas
//! says it in a TOML file.
//!
//! A [`Workload`] and a schema give a [`Plan`](crate::plan::Plan): a function of both and nothing else. Everything has a
//! default, so a schema alone gives a village: a hub, two clinics and six phones for 14 days. Devices are
//! numbered in the order of the groups in the file.
//!
//! It does not know how a plan is played, nor what is measured.

mod days;
mod places;
mod read;
mod size;
mod values;

use std::collections::BTreeMap;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::link::LinkClass;
use crate::mobility::{Recording, Waypoint};
use crate::time::HOUR_MS;

pub use days::plan;
pub use places::CONTACTS_MAX;
pub use read::{
    DAYS_MAX, DEVICES_MAX, PRICE_MAX, RATE_MAX, START_MAX, TEXT_MAX, WORKLOAD_BYTES_MAX,
    WorkloadError,
};
pub use size::{OPERATIONS_MAX, PLAN_BYTES_MAX};

/// Who does what, where and for how long.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workload {
    /// The text that it was read from, to point at what is wrong.
    #[serde(skip)]
    source: String,
    /// How many days.
    pub days: Spanned<u64>,
    /// Keys all draws.
    pub seed: u64,
    /// For how many hours all are in one place at the beginning, to be trained; then they go apart.
    pub together_h: Spanned<u64>,
    /// The groups of devices.
    pub who: Vec<Group>,
    /// How they meet.
    #[serde(rename = "where")]
    pub places: Places,
    /// What is done in each collection, for those where it differs from [`Work::default`].
    pub collections: BTreeMap<Spanned<String>, Work>,
    /// Who answers reviews.
    pub supervisors: Vec<Supervisor>,
    /// What a megabyte costs.
    pub prices: Prices,
}

/// Devices that are used alike.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name.
    pub name: Spanned<String>,
    /// How many devices.
    #[serde(default = "one")]
    pub count: Spanned<u64>,
    /// Whether they are hubs: always there, counted as durable copies, used by nobody.
    #[serde(default)]
    pub hub: bool,
    /// The hours of the day from and until which people work.
    #[serde(default = "shift")]
    pub shift: Spanned<[u64; 2]>,
}

fn one() -> Spanned<u64> {
    Spanned::new(0..0, 1)
}

fn shift() -> Spanned<[u64; 2]> {
    Spanned::new(0..0, [8, 17])
}

/// How people meet: any number of ways at once.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Places {
    /// Villages that send somebody to a clinic and back.
    pub shuttle: Vec<Spanned<Shuttle>>,
    /// A place that each device visits once a week.
    pub depot: Vec<Spanned<Depot>>,
    /// A day that brings all together.
    pub market: Vec<Spanned<Market>>,
    /// A hub that is reached over mobile data some time of the day.
    pub hub: Vec<Spanned<Online>>,
    /// Groups whose devices are always near each other.
    pub near: Vec<Near>,
    /// People who walk from one random place to the next.
    pub waypoint: Vec<Spanned<Waypoint>>,
    /// Contacts that were recorded: lines of `at_s,end_s,a,b,class`, with this header.
    pub recorded: Option<Spanned<Recording>>,
}

/// See [`crate::mobility::Shuttle`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of the type it names")]
pub struct Shuttle {
    pub clinic: Spanned<String>,
    pub villages: Vec<Spanned<String>>,
    #[serde(default = "day_h")]
    pub every_h: u64,
    #[serde(default = "hour_min")]
    pub way_min: u64,
    #[serde(default = "hour_min")]
    pub stay_min: u64,
    #[serde(default = "wifi")]
    pub by: LinkClass,
}

/// See [`crate::mobility::Depot`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of the type it names")]
pub struct Depot {
    pub depot: Spanned<String>,
    #[serde(default = "opens_h")]
    pub from_h: u64,
    #[serde(default = "closes_h")]
    pub to_h: u64,
    #[serde(default = "hour_min")]
    pub stay_min: u64,
    #[serde(default = "wifi")]
    pub by: LinkClass,
}

/// See [`crate::mobility::Market`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of the type it names")]
pub struct Market {
    #[serde(default = "week_days")]
    pub every_days: u64,
    #[serde(default)]
    pub first_day: u64,
    #[serde(default = "opens_h")]
    pub from_h: u64,
    #[serde(default = "closes_h")]
    pub to_h: u64,
    #[serde(default = "hour_min")]
    pub spread_min: u64,
    #[serde(default = "wifi")]
    pub by: LinkClass,
}

/// See [`crate::mobility::Hub`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of the type it names")]
pub struct Online {
    pub hub: Spanned<String>,
    #[serde(default = "opens_h")]
    pub from_h: u64,
    #[serde(default = "closes_h")]
    pub to_h: u64,
    #[serde(default = "half_hour_min")]
    pub online_min: u64,
    #[serde(default = "most_days")]
    pub days_per_cent: u64,
    #[serde(default = "cell2g")]
    pub by: LinkClass,
}

/// A group whose devices are always near each other.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Near {
    /// The group.
    pub group: Spanned<String>,
    /// What carries the contacts.
    #[serde(default = "wifi")]
    pub by: LinkClass,
}

fn day_h() -> u64 {
    24
}

fn hour_min() -> u64 {
    60
}

fn half_hour_min() -> u64 {
    30
}

fn opens_h() -> u64 {
    8
}

fn closes_h() -> u64 {
    18
}

fn week_days() -> u64 {
    7
}

fn most_days() -> u64 {
    80
}

fn wifi() -> LinkClass {
    LinkClass::Wifi
}

fn cell2g() -> LinkClass {
    LinkClass::Cell2g
}

/// What people do in one collection. Rates are for one device and one day.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Work {
    /// How many records there are when all go apart.
    pub start: Spanned<u64>,
    /// How many records are made.
    pub creates: Spanned<f64>,
    /// How many are edited.
    pub edits: Spanned<f64>,
    /// How many are deleted.
    pub deletes: Spanned<f64>,
    /// The fields that edits change; all if there are none.
    pub fields: Vec<Spanned<String>>,
    /// How many fields one edit changes.
    pub fields_per_edit: Spanned<u64>,
    /// Of a hundred edits, how many bring another one by somebody else: of the same fields of the same record,
    /// within three hours and on the same day. Those come on top of `edits`.
    pub same_record_percent: Spanned<u64>,
    /// The shortest and the longest texts, in characters.
    pub text: Spanned<[u64; 2]>,
    /// The least and the greatest that is added to a counter.
    pub add: Spanned<[i64; 2]>,
    /// The groups that do this; all but hubs if there are none.
    pub by: Vec<Spanned<String>>,
}

fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

impl Default for Work {
    fn default() -> Self {
        Self {
            start: unplaced(20),
            creates: unplaced(0.5),
            edits: unplaced(3.0),
            deletes: unplaced(0.02),
            fields: Vec::new(),
            fields_per_edit: unplaced(1),
            same_record_percent: unplaced(10),
            text: unplaced([8, 60]),
            add: unplaced([-2, 5]),
            by: Vec::new(),
        }
    }
}

/// Somebody on each device of a group who answers reviews.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Supervisor {
    /// The group.
    pub group: Spanned<String>,
    /// How many a day, on each device.
    pub per_day: Spanned<u64>,
}

/// What a megabyte costs that a device sends or receives, by what carries it. Hubs pay too.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are the classes of links")]
pub struct Prices {
    pub currency: String,
    #[serde(deserialize_with = "price")]
    pub ble: f64,
    #[serde(deserialize_with = "price")]
    pub wifi: f64,
    #[serde(deserialize_with = "price")]
    pub cell2g: f64,
    #[serde(deserialize_with = "price")]
    pub satellite: f64,
}

fn price<'de, D: Deserializer<'de>>(value: D) -> Result<f64, D::Error> {
    let price = f64::deserialize(value)?;
    match (0.0..=PRICE_MAX).contains(&price) {
        true => Ok(price),
        false => Err(D::Error::custom(format!(
            "a price is a number from 0 to {PRICE_MAX}, for a megabyte"
        ))),
    }
}

impl Default for Prices {
    fn default() -> Self {
        Self {
            currency: "USD".to_owned(),
            ble: 0.0,
            wifi: 0.0,
            cell2g: 0.05,
            satellite: 8.0,
        }
    }
}

impl Prices {
    /// Of a megabyte over `class`.
    pub fn of(&self, class: LinkClass) -> f64 {
        match class {
            LinkClass::Ble => self.ble,
            LinkClass::Wifi => self.wifi,
            LinkClass::Cell2g => self.cell2g,
            LinkClass::Satellite => self.satellite,
        }
    }
}

/// The village of a workload that says nothing.
const VILLAGE: &str = r#"
who = [
  { name = "hub", hub = true },
  { name = "clinic", count = 2 },
  { name = "north", count = 3 },
  { name = "south", count = 3 },
]
supervisors = [{ group = "clinic", per_day = 6 }]
[where]
near = [{ group = "clinic" }]
shuttle = [{ clinic = "clinic", villages = ["north", "south"] }]
hub = [{ hub = "hub" }]
"#;

impl Default for Workload {
    fn default() -> Self {
        Self {
            source: String::new(),
            days: unplaced(14),
            seed: 1,
            together_h: unplaced(2),
            who: Vec::new(),
            places: Places::default(),
            collections: BTreeMap::new(),
            supervisors: Vec::new(),
            prices: Prices::default(),
        }
    }
}

impl Workload {
    /// A hub, two clinics and six phones in two villages, for 14 days.
    ///
    /// # Errors
    /// None that a test would let pass: its text is part of the program.
    pub fn village() -> Result<Self, WorkloadError> {
        read::text(VILLAGE)
    }

    /// When all go apart, in milliseconds: what people do begins then, and so do measures.
    pub fn apart_ms(&self) -> u64 {
        *self.together_h.get_ref() * HOUR_MS
    }

    /// How many devices there are.
    pub fn devices(&self) -> usize {
        let counts = self.who.iter().map(|group| *group.count.get_ref() as usize);
        counts.sum()
    }

    /// The devices of a group.
    pub fn members(&self, name: &str) -> Vec<usize> {
        let all = 0..self.devices();
        all.filter(|device| self.group_of(*device).name.get_ref() == name)
            .collect()
    }

    /// The group of a device; the last for numbers that there are not.
    pub fn group_of(&self, device: usize) -> &Group {
        &self.who[self.group_number(device)]
    }

    /// The place of a device's group in the list.
    fn group_number(&self, device: usize) -> usize {
        let mut end = 0;
        let is_in = |group: &Group| {
            end += *group.count.get_ref() as usize;
            device < end
        };
        let last = self.who.len().saturating_sub(1);
        self.who.iter().position(is_in).unwrap_or(last)
    }

    /// The devices on which people work in a collection.
    pub fn users(&self, work: &Work) -> Vec<usize> {
        let (mut users, mut first) = (Vec::new(), 0);
        for group in &self.who {
            let end = first + *group.count.get_ref() as usize;
            let mut by = work.by.iter();
            let is_named = by.any(|name| name.get_ref() == group.name.get_ref());
            if !group.hub && (work.by.is_empty() || is_named) {
                users.extend(first..end);
            }
            first = end;
        }
        users
    }

    /// What is done in a collection.
    pub fn work(&self, collection: &str) -> Work {
        let mut all = self.collections.iter();
        let found = all.find(|(name, _)| name.get_ref() == collection);
        found.map(|(_, work)| work.clone()).unwrap_or_default()
    }
}
