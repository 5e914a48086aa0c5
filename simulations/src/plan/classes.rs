//! The classes of faults in a plan, by their numbers in the catalogue, and the plan without one of them.

use super::{DeviceSpec, Plan, Role};
use crate::link::LinkFaults;

impl Plan {
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
