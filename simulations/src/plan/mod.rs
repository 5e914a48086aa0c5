//! Plans: everything that happens in a run, written out: devices, contacts, operations and faults with
//! their times. [`crate::world`] is a pure function of a plan.
//!
//! Seeds rot with every change of the generator; a plan does not, which is why failing runs are kept as
//! plans. What is not written out (torn sectors, burst losses, delays of the store) is drawn by the plan's
//! seed under keys that are what the line says (device and moment, or both ends and moment), so taking one line out of a plan leaves all other
//! draws as they were.
//!
//! Whoever reads a plan from a file has it checked; see [`text`].

mod act;
mod check;
mod classes;
mod device;
mod fault;
pub mod text;
mod timed;

use crdt_schema::hlc::DRIFT_MAX_MS;
use crdt_schema::schema::Schema;
use serde::{Deserialize, Serialize};

use crate::link::{LinkClass, LinkFaults};

pub use act::{Act, EditSpec, OpSpec, Operation};
pub use device::{DeviceSpec, Role};
pub use fault::{Amid, Fault, FaultKind};

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
        self.devices.iter().all(is_near) && !self.sets_clocks()
    }

    /// Whether a clock is set while its device runs.
    pub fn sets_clocks(&self) -> bool {
        let is_jump = |fault: &Fault| matches!(fault.kind, FaultKind::ClockJump { .. });
        self.faults.iter().any(is_jump)
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
}
