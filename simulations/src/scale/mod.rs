//! The scale fidelity: thousands of devices for weeks, with the real engine and the real frames over a store
//! in memory.
//!
//! The full fidelity ([`crate::world`]) runs the real store on a faulty disk, and judges everything. Here the
//! question is another: how long deliveries take, how many bytes they cost and what they take of memory when
//! there are many devices. What is the same: plans, virtual time, links, clocks, the engine, every frame and
//! its bytes, and the merge. What is left out: disks and their faults, hostile devices, copies of devices,
//! other versions of the schema, references between records, and the oracles. A test plays plans in both and requires
//! equal bytes, frontiers and values, so that what is measured here cannot drift from the truth.
//!
//! Two things make it fast: an entry exists once however many devices hold it ([`pool`]), and it is read, and its
//! signature verified, once ([`crate::verified`]).

mod author;
pub mod command;
mod contact;
mod device;
mod fetch;
pub mod fleet;
mod pool;
pub mod report;
mod settle;
pub mod spread;
mod store;
#[cfg(test)]
mod tests;
mod world;

pub use world::{Counts, ScaleError, ScaleOutcome, run, run_and_settle};

use crate::plan::{Act, FaultKind, Plan, Role};

/// The plan without what this fidelity leaves out: faults of disks, hostile devices, copies of devices, and
/// other versions of the schema.
pub fn plain(plan: &Plan) -> Plan {
    let is_left_out = |plan: &Plan| {
        let mut devices = plan.devices.iter();
        let odd = devices
            .find(|spec| !matches!(spec.role, Role::Field | Role::Hub) || spec.twin_of.is_some());
        odd.map(|spec| spec.device)
    };
    let mut plan = plan.clone();
    while let Some(device) = is_left_out(&plan) {
        plan = plan.without_device(device);
    }
    plan.faults.retain(|fault| is_possible(&fault.kind));
    plan.operations
        .retain(|operation| is_done_here(&operation.act));
    for spec in &mut plan.devices {
        spec.schema = 0;
    }
    plan
}

/// Whether an act is one that this fidelity knows: all devices use the first version of the schema.
fn is_done_here(act: &Act) -> bool {
    match act {
        Act::Write { .. } | Act::Update { .. } | Act::Review { .. } | Act::Network { .. } => true,
        Act::Publish { .. } | Act::UseSchema { .. } | Act::Install { .. } => false,
    }
}

/// Whether a fault is one that this fidelity knows.
fn is_possible(fault: &FaultKind) -> bool {
    match fault {
        // What is left of half a transaction is for disks to say.
        FaultKind::Kill { amid, .. } | FaultKind::PowerCut { amid, .. } => amid.is_none(),
        FaultKind::ClockJump { .. } => true,
        FaultKind::IgnoredSync { .. }
        | FaultKind::DiskFull { .. }
        | FaultKind::Rot { .. }
        | FaultKind::RotEntry { .. }
        | FaultKind::Wear { .. }
        | FaultKind::Restore { .. }
        | FaultKind::RestoreUnnoticed { .. }
        | FaultKind::Wipe {} => false,
    }
}
