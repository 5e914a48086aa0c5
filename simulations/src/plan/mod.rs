//! Plans: everything that happens in a run, written out: devices, contacts, operations and faults with
//! their times. [`crate::world`] is a pure function of a plan.
//!
//! Seeds rot with every change of the generator; a plan does not, which is why failing runs are kept as
//! plans. What is not written out (torn sectors, burst losses, delays of the store) is drawn by the plan's
//! seed under keys that name the device or contact, so taking one line out of a plan leaves all other
//! draws as they were.
//!
//! Whoever reads a plan from a file has it checked; see [`text`].

pub mod text;

use crdt_schema::hlc::DRIFT_MAX_MS;
use crdt_schema::schema::Schema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::clock::ClockSpec;
use crate::link::{LinkClass, LinkFaults};

/// The version of the plan format that this program reads and writes.
pub const PLAN_FORMAT: u32 = 1;

/// The schema that simulated devices use.
pub const SCHEMA: &str = include_str!("../../schemas/rounds.toml");

/// Parses [`SCHEMA`].
///
/// # Errors
/// What is wrong with it, in words.
pub fn schema() -> Result<Schema, String> {
    Schema::parse(SCHEMA).map_err(|errors| errors.to_string())
}

/// Everything that happens in a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What holds for the whole run.
    pub header: Header,
    /// The devices, by number.
    pub devices: Vec<DeviceSpec>,
    /// When which devices are near each other.
    pub contacts: Vec<Contact>,
    /// What people do.
    pub operations: Vec<Operation>,
    /// What breaks.
    pub faults: Vec<Fault>,
}

/// What holds for the whole run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`PLAN_FORMAT`].
    pub plan: u32,
    /// Keys the draws that the plan does not spell out.
    pub seed: u64,
    /// What it was generated from, for people.
    pub profile: String,
    /// When the faults stop and the fleet must settle, in virtual milliseconds.
    pub horizon_ms: u64,
    /// How long it may take to settle.
    pub settle_ms: u64,
}

/// What a device is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// An honest field device.
    #[default]
    Field,
    /// An honest device that counts as a durable copy.
    Hub,
    /// F29: somebody without the join secret.
    Stranger,
    /// F30: a member that lies.
    Liar,
}

impl Role {
    /// Whether it runs the real engine.
    pub fn is_honest(self) -> bool {
        matches!(self, Self::Field | Self::Hub)
    }
}

/// One device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSpec {
    /// Its number: names it in the rest of the plan, and keys its identity and draws.
    pub device: usize,
    /// What it is.
    #[serde(default)]
    pub role: Role,
    /// How its clock is wrong.
    #[serde(default)]
    pub clock: ClockSpec,
    /// How long a transaction takes, in milliseconds.
    #[serde(default = "commit_ms")]
    pub commit_ms: u64,
    /// How long reading entries for a peer takes, in milliseconds.
    #[serde(default = "fetch_ms")]
    pub fetch_ms: u64,
    /// Most entry bytes that it reads for a peer at once, if less than the engine asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch_bytes: Option<usize>,
    /// Most batches in one of its transactions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<usize>,
    /// It breaks for ever at this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_ms: Option<u64>,
    /// F17: it begins as a copy of that device, key and store, at its `born_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin_of: Option<usize>,
    /// It is first switched on then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub born_ms: u64,
    /// F27: the version of its own schema file; 0 for the oldest there is.
    #[serde(default, skip_serializing_if = "is_oldest")]
    pub schema: u32,
}

fn commit_ms() -> u64 {
    5
}

fn fetch_ms() -> u64 {
    2
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_oldest(version: &u32) -> bool {
    *version == 0
}

/// A time during which two devices can reach each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// When it begins.
    pub at_ms: u64,
    /// When it ends.
    pub end_ms: u64,
    /// One device.
    pub a: usize,
    /// The other.
    pub b: usize,
    /// What carries it.
    pub class: LinkClass,
    /// What is wrong with it.
    #[serde(default)]
    pub faults: LinkFaults,
}

impl Contact {
    /// A contact over one wireless network without faults, from then on for ever.
    pub fn for_ever(at_ms: u64, a: usize, b: usize) -> Self {
        Self {
            at_ms,
            end_ms: u64::MAX,
            a,
            b,
            class: LinkClass::Wifi,
            faults: LinkFaults::default(),
        }
    }
}

/// Something that a person does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// When.
    pub at_ms: u64,
    /// On which device.
    pub device: usize,
    /// What.
    #[serde(flatten)]
    pub act: Act,
}

/// What a person does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Writes one change set.
    Write {
        /// One part for each record.
        edits: Vec<EditSpec>,
        /// The same key twice is a double tap, or a client that repeats itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// Writes one change set, if the records that it edits are there.
    Update {
        /// One part for each record.
        edits: Vec<EditSpec>,
    },
    /// F27: publishes a version of the schema.
    Publish {
        /// Which.
        version: u32,
    },
    /// F27: uses a version that is known on the device, an older one too.
    UseSchema {
        /// Which.
        version: u32,
    },
    /// F27: puts another schema file beside the store and starts the device again.
    Install {
        /// The file's version.
        version: u32,
    },
    /// Answers the review that stands at this place of the list, if any is open.
    Review {
        /// Its place, modulo the length of the list.
        place: u64,
        /// Which candidate is chosen, modulo their number; a deletion is confirmed by an odd number.
        choice: u64,
    },
    /// Switches the network off or on.
    Network {
        /// Whether it is on from here on.
        online: bool,
    },
}

impl Act {
    /// Whether it changes which versions of the schema are known or used.
    pub fn is_of_versions(&self) -> bool {
        matches!(
            self,
            Self::Publish { .. } | Self::UseSchema { .. } | Self::Install { .. }
        )
    }
}

/// One record's part of a write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditSpec {
    /// Its collection.
    pub collection: String,
    /// Its id.
    pub id: String,
    /// The intents.
    pub ops: Vec<OpSpec>,
}

/// One intent, by field name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OpSpec {
    /// Sets a register.
    Set(String, Json),
    /// Adds to a counter.
    Add(String, i64),
    /// Puts a text into a set.
    Insert(String, String),
    /// Takes a text out of a set.
    Remove(String, String),
    /// Deletes the record, for a reason.
    Delete(String),
    /// Restores it, for a reason.
    Restore(String),
}

/// Something that breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When.
    pub at_ms: u64,
    /// On which device.
    pub device: usize,
    /// What.
    #[serde(flatten)]
    pub kind: FaultKind,
}

/// What breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// F11, F18: the process ends without warning.
    Kill {
        /// How long until it is started again.
        down_ms: u64,
    },
    /// F12: the power fails.
    PowerCut {
        /// How long until it is back.
        down_ms: u64,
        /// Whether it fails again while the store recovers.
        again: bool,
    },
    /// F13: syncs are ignored for a while, and the power fails at the end of it.
    IgnoredSync {
        /// How long.
        for_ms: u64,
    },
    /// F14: the disk is full for a while.
    DiskFull {
        /// How long.
        for_ms: u64,
    },
    /// F15: bits of the store flip while the device is off; then it starts.
    Rot {
        /// How many.
        bits: u64,
    },
    /// F15: a bit of one stored entry flips while the device is off; then it starts.
    RotEntry {
        /// Which of the entries that some others hold and some do not, modulo their number; of all if there
        /// is none.
        place: u64,
    },
    /// F16, F32: the store becomes what it was earlier.
    Restore {
        /// When the backup was taken.
        taken_ms: u64,
        /// Whether the witness beside the store is the present one, and not lost.
        witness_kept: bool,
    },
    /// F16: store and witness together become what they were earlier, in the same place, so that nothing on
    /// the device tells it.
    RestoreUnnoticed {
        /// When the image was taken.
        taken_ms: u64,
    },
    /// F20: the store is lost; the key is not.
    Wipe {},
    /// F23: the wall clock is set.
    ClockJump {
        /// By so much.
        by_ms: i64,
    },
}

impl FaultKind {
    /// Its class in the catalogue of faults.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "F11",
            Self::PowerCut { .. } => "F12",
            Self::IgnoredSync { .. } => "F13",
            Self::DiskFull { .. } => "F14",
            Self::Rot { .. } | Self::RotEntry { .. } => "F15",
            Self::Restore { .. } | Self::RestoreUnnoticed { .. } => "F16",
            Self::Wipe {} => "F20",
            Self::ClockJump { .. } => "F23",
        }
    }

    /// Its name in plans and traces.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::PowerCut { .. } => "power_cut",
            Self::IgnoredSync { .. } => "ignored_sync",
            Self::DiskFull { .. } => "disk_full",
            Self::Rot { .. } => "rot",
            Self::RotEntry { .. } => "rot_entry",
            Self::Restore { .. } => "restore",
            Self::RestoreUnnoticed { .. } => "restore_unnoticed",
            Self::Wipe {} => "wipe",
            Self::ClockJump { .. } => "clock_jump",
        }
    }

    /// Whether acknowledged writes may be gone after it, as long as the device begins new logs.
    pub fn may_lose(&self) -> bool {
        match self {
            Self::IgnoredSync { .. }
            | Self::Rot { .. }
            | Self::RotEntry { .. }
            | Self::Restore { .. }
            | Self::RestoreUnnoticed { .. }
            | Self::Wipe {} => true,
            Self::Kill { .. }
            | Self::PowerCut { .. }
            | Self::DiskFull { .. }
            | Self::ClockJump { .. } => false,
        }
    }
}

impl Plan {
    /// The device of that number.
    pub fn device(&self, number: usize) -> Option<&DeviceSpec> {
        self.devices.iter().find(|device| device.device == number)
    }

    /// Whether no honest clock is ever far from another: then each follows all others.
    pub fn has_sane_clocks(&self) -> bool {
        let is_near = |spec: &DeviceSpec| {
            spec.clock.offset_ms.unsigned_abs() < DRIFT_MAX_MS / 4 && !spec.clock.never_set
        };
        let is_jump = |fault: &Fault| matches!(fault.kind, FaultKind::ClockJump { .. });
        self.devices.iter().all(is_near) && !self.faults.iter().any(is_jump)
    }

    /// The classes of the faults that happen in it, ascending.
    pub fn classes(&self) -> Vec<&'static str> {
        let mut classes: Vec<_> = self.faults.iter().map(|fault| fault.kind.class()).collect();
        for contact in &self.contacts {
            classes.extend(link_classes(&contact.faults));
        }
        for device in &self.devices {
            classes.extend(device_classes(device));
        }
        if self.mixes_versions() {
            classes.push("F27");
        }
        classes.sort_unstable();
        classes.dedup();
        classes
    }

    /// Whether more than the oldest version of the schema is used in it.
    pub fn mixes_versions(&self) -> bool {
        let by_file = self.devices.iter().any(|device| device.schema != 0);
        by_file
            || self
                .operations
                .iter()
                .any(|operation| operation.act.is_of_versions())
    }

    /// The plan without a device and all that happens on it or to it.
    pub fn without_device(&self, number: usize) -> Self {
        let mut plan = self.clone();
        let is_left = |spec: &DeviceSpec| spec.device != number && spec.twin_of != Some(number);
        plan.devices.retain(is_left);
        let left: Vec<usize> = plan.devices.iter().map(|spec| spec.device).collect();
        let has = |device: usize| left.contains(&device);
        plan.contacts
            .retain(|contact| has(contact.a) && has(contact.b));
        plan.operations.retain(|operation| has(operation.device));
        plan.faults.retain(|fault| has(fault.device));
        plan
    }

    /// The plan without the faults of one class.
    pub fn without_class(&self, class: &str) -> Self {
        let mut plan = self.clone();
        plan.faults.retain(|fault| fault.kind.class() != class);
        for contact in &mut plan.contacts {
            let faults = &mut contact.faults;
            match class {
                "F1" => faults.burst = None,
                "F4" => faults.cut_at_bytes = None,
                "F5" => faults.mute = None,
                "F6" => faults.clogged_until_ms = None,
                "F9" => faults.slower = None,
                _ => {}
            }
        }
        if class == "F27" {
            plan.operations
                .retain(|operation| !operation.act.is_of_versions());
        }
        for device in &mut plan.devices {
            match class {
                "F27" => device.schema = 0,
                "F21" => (device.clock.offset_ms, device.clock.never_set) = (0, false),
                "F22" => device.clock.drift_ppm = 0,
                "gone" => device.gone_ms = None,
                _ => {}
            }
        }
        plan
    }
}

fn link_classes(faults: &LinkFaults) -> impl Iterator<Item = &'static str> {
    [
        faults.burst.map(|_| "F1"),
        faults.cut_at_bytes.map(|_| "F4"),
        faults.mute.map(|_| "F5"),
        faults.clogged_until_ms.map(|_| "F6"),
        faults.slower.map(|_| "F9"),
    ]
    .into_iter()
    .flatten()
}

fn device_classes(device: &DeviceSpec) -> impl Iterator<Item = &'static str> {
    let clock = &device.clock;
    [
        device.twin_of.map(|_| "F17"),
        (clock.offset_ms != 0 || clock.never_set).then_some("F21"),
        (clock.drift_ppm != 0).then_some("F22"),
        (device.role == Role::Stranger).then_some("F29"),
        (device.role == Role::Liar).then_some("F30"),
        device.gone_ms.map(|_| "gone"),
    ]
    .into_iter()
    .flatten()
}
