//! From a seed and a profile to a plan.
//!
//! Swarm testing: each run switches a random half of the fault classes off and draws the strength of the
//! others, because a run with every fault at once hides what one fault alone would show.

mod breaks;
mod meetings;
mod people;
mod versions;

use crate::clock::ClockSpec;
use crate::draw::Draw;
use crate::plan::{DeviceSpec, Header, PLAN_FORMAT, Plan, Role};
use crate::time::HOUR_MS;

/// How long a fleet may take to settle: two hours.
const SETTLE_MS: u64 = 2 * HOUR_MS;

/// The roles of people, as the schema has them.
const DUTIES: [&str; 3] = ["lead", "nurse", "clerk"];

/// What kind of fleets to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// Fewest and most honest devices.
    pub devices: (u64, u64),
    /// How long a run lasts before it must settle, in hours.
    pub hours: u64,
    /// Edits of a device in ten hours.
    pub edits_in_10_h: u64,
    /// Contacts of a device in ten hours, where people meet in random pairs.
    pub contacts_in_10_h: u64,
    /// How people meet: one is drawn for each run.
    pub ways: &'static [Way],
    /// Faults of a device in a hundred hours, of each class that is on.
    pub faults_in_100_h: u64,
}

/// How the people of a run come to meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Two of them, at random moments.
    Pairs,
    /// Two villages send somebody to the first device's place and back.
    Shuttle,
    /// All at one place at certain hours.
    Market,
    /// Each visits the first device once a week.
    Depot,
    /// Each reaches the first device over mobile data at some time of the day.
    HubHours,
    /// They walk about and meet by chance.
    Walk,
}

/// The profiles there are. The first is used when none is named.
pub const PROFILES: [Profile; 3] = [
    Profile {
        name: "field",
        devices: (3, 7),
        hours: 48,
        edits_in_10_h: 20,
        contacts_in_10_h: 15,
        ways: &[
            Way::Pairs,
            Way::Shuttle,
            Way::Market,
            Way::HubHours,
            Way::Walk,
        ],
        faults_in_100_h: 8,
    },
    Profile {
        name: "quick",
        devices: (3, 4),
        hours: 6,
        edits_in_10_h: 80,
        contacts_in_10_h: 80,
        ways: &[Way::Pairs, Way::Pairs, Way::Shuttle, Way::Market, Way::Walk],
        faults_in_100_h: 60,
    },
    Profile {
        name: "season",
        devices: (3, 6),
        hours: 720,
        edits_in_10_h: 4,
        contacts_in_10_h: 2,
        ways: &[
            Way::Pairs,
            Way::Shuttle,
            Way::Market,
            Way::Depot,
            Way::HubHours,
        ],
        faults_in_100_h: 1,
    },
];

/// The profile of that name.
pub fn profile(name: &str) -> Option<Profile> {
    PROFILES.into_iter().find(|profile| profile.name == name)
}

/// What is on in one run.
#[derive(Clone, Copy, Debug)]
struct Swarm {
    draw: Draw,
}

impl Swarm {
    /// Whether a class of faults is on in this run.
    fn has(&self, class: &str) -> bool {
        self.draw.happens(&format!("class {class}"), 0, 500)
    }

    /// How strong it is, from 1 to 10.
    fn strength(&self, class: &str) -> u64 {
        self.draw.number(&format!("strength {class}"), 0, 1..11)
    }
}

/// The plan of a seed.
pub fn generate(seed: u64, profile: &Profile) -> Plan {
    let draw = Draw::new(seed);
    let swarm = Swarm { draw };
    let honest = draw.number("devices", 0, profile.devices.0..profile.devices.1 + 1);
    let horizon_ms = profile.hours * HOUR_MS;
    let mut plan = Plan {
        header: Header {
            plan: PLAN_FORMAT,
            seed,
            profile: profile.name.to_owned(),
            horizon_ms,
            settle_ms: SETTLE_MS,
        },
        devices: devices(&swarm, honest as usize, horizon_ms),
        contacts: Vec::new(),
        operations: Vec::new(),
        faults: Vec::new(),
    };
    plan.contacts = meetings::contacts(&swarm, &plan, profile);
    plan.operations = people::operations(&swarm.draw, honest as usize, profile);
    plan.faults = breaks::faults(&swarm, honest as usize, profile);
    breaks::aim_rot(&swarm, &mut plan);
    breaks::aim(&swarm, &mut plan);
    if swarm.has("F27") {
        versions::mix(&swarm, &mut plan, honest as usize);
    }
    // What was repeated or moved to just after something else may lie after the end, where nothing happens any more.
    plan.operations
        .retain(|operation| operation.at_ms <= horizon_ms);
    plan.faults.retain(|fault| fault.at_ms <= horizon_ms);
    plan
}

fn devices(swarm: &Swarm, honest: usize, horizon_ms: u64) -> Vec<DeviceSpec> {
    let draw = &swarm.draw;
    let has_hub = draw.happens("hub", 0, 700);
    let has_duties = draw.happens("duties", 0, 500);
    let spec = |device: usize| {
        let case = device as u64;
        let is_hub = device == 0 && has_hub;
        DeviceSpec {
            device,
            role: if is_hub { Role::Hub } else { Role::Field },
            clock: clock(swarm, case),
            commit_ms: *draw.pick("commit takes", case, &[1, 5, 40, 400]),
            fetch_ms: *draw.pick("fetch takes", case, &[0, 2, 10, 120]),
            fetch_bytes: draw.happens("small reads", case, 250).then_some(1),
            group: draw.happens("small groups", case, 250).then_some(1),
            gone_ms: (is_hub && draw.happens("hub gone", 0, 200)).then_some(horizon_ms / 2),
            twin_of: None,
            born_ms: 0,
            schema: 0,
            duty: has_duties.then(|| (*draw.pick("duty", case, &DUTIES)).to_owned()),
        }
    };
    let mut devices: Vec<DeviceSpec> = (0..honest).map(spec).collect();
    if swarm.has("F17") && draw.happens("twin", 0, 400) && honest > 3 {
        let mut twin = spec(honest - 1);
        (twin.device, twin.twin_of) = (50, Some(honest - 1));
        twin.born_ms = draw.number("twin born", 0, horizon_ms / 4..horizon_ms * 3 / 4);
        devices.push(twin);
    }
    for (class, role, device) in [("F29", Role::Stranger, 60), ("F30", Role::Liar, 70)] {
        if swarm.has(class) {
            devices.push(DeviceSpec {
                device,
                role,
                ..spec(1)
            });
        }
    }
    devices
}

fn clock(swarm: &Swarm, case: u64) -> ClockSpec {
    let draw = &swarm.draw;
    let year_ms = 366 * 24 * HOUR_MS as i64;
    let mut clock = ClockSpec::default();
    if swarm.has("F21") && draw.happens("offset", case, 500) {
        let minutes = draw.number("offset", case, 0..120) as i64 - 60;
        clock.offset_ms = match draw.number("offset kind", case, 0..4) {
            0 => -10 * year_ms,
            1 => 10 * year_ms,
            _ => minutes * 60_000,
        };
        clock.never_set = draw.happens("never set", case, 200);
    }
    if swarm.has("F22") {
        clock.drift_ppm = draw.number("drift", case, 0..401) as i64 - 200;
    }
    clock
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::Family;

    #[test]
    fn every_generated_plan_reads_back_from_its_file() {
        let family = Family::bundled().unwrap();
        for profile in &PROFILES {
            for seed in 0..60 {
                let plan = generate(seed, profile);
                let read = Plan::from_text(&plan.to_text(), &family);
                let is_same = read.as_ref() == Ok(&plan);
                assert!(is_same, "{} {seed}: {:?}", profile.name, read.err());
            }
        }
    }

    #[test]
    fn each_class_of_faults_is_on_in_some_runs_and_off_in_others() {
        let plans: Vec<Plan> = (0..60).map(|seed| generate(seed, &PROFILES[0])).collect();
        for class in [
            "F1", "F4", "F5", "F6", "F9", "F11", "F12", "F13", "F14", "F15", "F16", "F17", "F20",
            "F21", "F22", "F23", "F27", "F29", "F30",
        ] {
            let count = plans
                .iter()
                .filter(|plan| plan.classes().contains(&class))
                .count();
            assert!(
                (1..58).contains(&count),
                "{class} is in {count} of 60 plans"
            );
        }
    }
}
