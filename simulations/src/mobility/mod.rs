//! Who meets whom, when and over what: contact plans from the ways in which people move.
//!
//! A [`Mobility`] is a description that plan files can hold. [`contacts`] compiles it into the list of all
//! contacts of a run, once; nothing moves while a run is played, so a run costs by its contacts and not by
//! its hours.
//!
//! Invariants of the list: it is sorted by start and pair; `a < b`; every contact lies in `0..horizon_ms` and
//! is longer than nothing; the contacts of one pair do not overlap, and where two classes are in reach at
//! once, the better one is used. It is a function of the description, the draws and the number of devices.
//!
//! It does not know engines, stores or what is said during a contact.

mod merge;
mod places;
mod trace;
mod waypoint;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::draw::Draw;

pub use crate::link::LinkClass;
pub use places::{Depot, Hub, Market, Shuttle};
pub use trace::{Recording, TraceError};
pub use waypoint::Waypoint;

/// Two devices that can talk for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contact {
    /// When it begins, in virtual milliseconds.
    pub at_ms: u64,
    /// When it ends, exclusive.
    pub end_ms: u64,
    /// The device with the smaller number.
    pub a: usize,
    /// The other one.
    pub b: usize,
    /// What carries it.
    pub class: LinkClass,
}

/// How people, and so devices, move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Mobility {
    /// Villages that send somebody to the clinic and back.
    Shuttle(Shuttle),
    /// A depot that everybody visits once a week.
    Depot(Depot),
    /// A market day that brings everybody together.
    Market(Market),
    /// People who walk from one random place to the next.
    Waypoint(Waypoint),
    /// A hub that is reached over mobile data some time of the day.
    Hub(Hub),
    /// Contacts that were recorded.
    Recorded {
        /// Lines of `at_s,end_s,a,b,class`, with this header.
        csv: Recording,
    },
    /// Several of these at once.
    All {
        /// The parts.
        of: Vec<Self>,
    },
}

/// Why a description makes no sense for a fleet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MobilityError {
    /// It names a device that the fleet does not have.
    #[error("{place}: there is no device {device}, the fleet has {devices}; number them from 0")]
    NoSuchDevice {
        /// The part of the description.
        place: &'static str,
        /// The device it names.
        device: usize,
        /// How many there are.
        devices: usize,
    },
    /// A number is out of bounds.
    #[error("{place}: {what}")]
    OutOfBounds {
        /// The part of the description.
        place: &'static str,
        /// What must hold.
        what: &'static str,
    },
    /// It takes longer to work out than anybody waits.
    #[error("{place}: {what}")]
    TooLong {
        /// The part of the description.
        place: &'static str,
        /// What is too much, and what to do.
        what: String,
    },
    /// There would be too many contacts.
    #[error(
        "more than {contacts_max} contacts; let people meet less often, or take fewer days or devices"
    )]
    TooMany {
        /// How many there may be.
        contacts_max: usize,
    },
}

impl Mobility {
    /// Whether the description makes sense for a fleet of `devices` until `horizon_ms`, and can be worked out.
    ///
    /// # Errors
    /// The first thing that does not, or that takes too long.
    pub fn check_within(&self, devices: usize, horizon_ms: u64) -> Result<(), MobilityError> {
        self.check(devices)?;
        match self {
            Self::Waypoint(waypoint) => waypoint.check_within(devices, horizon_ms),
            Self::All { of } => of
                .iter()
                .try_for_each(|part| part.check_within(devices, horizon_ms)),
            Self::Shuttle(_)
            | Self::Depot(_)
            | Self::Market(_)
            | Self::Hub(_)
            | Self::Recorded { .. } => Ok(()),
        }
    }

    /// Whether the description makes sense for a fleet of `devices`.
    ///
    /// # Errors
    /// The first thing that does not.
    pub fn check(&self, devices: usize) -> Result<(), MobilityError> {
        match self {
            Self::Shuttle(shuttle) => shuttle.check(devices),
            Self::Depot(depot) => depot.check(devices),
            Self::Market(market) => market.check(),
            Self::Waypoint(waypoint) => waypoint.check(),
            Self::Hub(hub) => hub.check(devices),
            Self::Recorded { csv } => {
                let named = csv
                    .contacts()
                    .iter()
                    .flat_map(|contact| [contact.a, contact.b]);
                check_devices("recorded", named, devices)
            }
            Self::All { of } => of.iter().try_for_each(|part| part.check(devices)),
        }
    }
}

/// All contacts of a fleet of `devices` until `horizon_ms`. A description that does not pass
/// [`Mobility::check`] gives no contacts where it makes no sense.
pub fn contacts(mobility: &Mobility, devices: usize, draw: &Draw, horizon_ms: u64) -> Vec<Contact> {
    let fleet = Fleet {
        devices,
        draw,
        horizon_ms,
    };
    let mut found = Found::within(usize::MAX - 1);
    gather(mobility, &fleet, &mut 0, &mut found);
    found.merged(&fleet)
}

/// All contacts of several descriptions at once, if there are no more than `contacts_max` before those that
/// overlap are joined.
///
/// # Errors
/// The first description that asks for too much, by its place, and why.
pub fn contacts_within(
    of: &[Mobility],
    devices: usize,
    draw: &Draw,
    horizon_ms: u64,
    contacts_max: usize,
) -> Result<Vec<Contact>, (usize, MobilityError)> {
    let fleet = Fleet {
        devices,
        draw,
        horizon_ms,
    };
    let mut found = Found::within(contacts_max);
    // As if they were the parts of one description.
    let mut part = 1;
    for (index, mobility) in of.iter().enumerate() {
        mobility
            .check_within(devices, horizon_ms)
            .map_err(|error| (index, error))?;
        gather(mobility, &fleet, &mut part, &mut found);
        if found.is_full() {
            return Err((index, MobilityError::TooMany { contacts_max }));
        }
    }
    Ok(found.merged(&fleet))
}

/// Contacts that are gathered, no more of them than fit.
#[derive(Debug)]
struct Found {
    contacts: Vec<Contact>,
    contacts_max: usize,
}

impl Found {
    fn within(contacts_max: usize) -> Self {
        Self {
            contacts: Vec::new(),
            contacts_max,
        }
    }

    /// Whether there are more than fit: then nothing is added, and it makes no sense to look for more.
    fn is_full(&self) -> bool {
        self.contacts.len() > self.contacts_max
    }

    fn extend(&mut self, contacts: impl IntoIterator<Item = Contact>) {
        let room = (self.contacts_max + 1).saturating_sub(self.contacts.len());
        self.contacts.extend(contacts.into_iter().take(room));
    }

    fn merged(mut self, fleet: &Fleet<'_>) -> Vec<Contact> {
        let is_in = |contact: &Contact| contact.a.max(contact.b) < fleet.devices;
        self.contacts.retain(is_in);
        merge::merged(self.contacts, fleet.horizon_ms)
    }
}

/// What every generator needs to know.
#[derive(Clone, Copy, Debug)]
struct Fleet<'d> {
    devices: usize,
    draw: &'d Draw,
    horizon_ms: u64,
}

/// `part` counts the descriptions, so that two equal parts of one draw differently.
fn gather(mobility: &Mobility, fleet: &Fleet<'_>, part: &mut u64, found: &mut Found) {
    *part += 1;
    match mobility {
        Mobility::Shuttle(shuttle) => shuttle.contacts(fleet, *part, found),
        Mobility::Depot(depot) => depot.contacts(fleet, *part, found),
        Mobility::Market(market) => market.contacts(fleet, *part, found),
        Mobility::Waypoint(waypoint) => waypoint.contacts(fleet, *part, found),
        Mobility::Hub(hub) => hub.contacts(fleet, *part, found),
        Mobility::Recorded { csv } => found.extend(csv.contacts().iter().copied()),
        Mobility::All { of } => of.iter().for_each(|each| gather(each, fleet, part, found)),
    }
}

fn check_devices(
    place: &'static str,
    named: impl IntoIterator<Item = usize>,
    devices: usize,
) -> Result<(), MobilityError> {
    match named.into_iter().find(|device| *device >= devices) {
        Some(device) => Err(MobilityError::NoSuchDevice {
            place,
            device,
            devices,
        }),
        None => Ok(()),
    }
}

fn check_that(place: &'static str, holds: bool, what: &'static str) -> Result<(), MobilityError> {
    match holds {
        true => Ok(()),
        false => Err(MobilityError::OutOfBounds { place, what }),
    }
}
