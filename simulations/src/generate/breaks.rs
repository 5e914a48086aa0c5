//! When which device breaks.

use std::num::NonZeroU64;

use super::{Profile, Swarm};
use crate::plan::{Amid, Fault, FaultKind, Plan};
use crate::time::HOUR_MS;

/// The classes of device faults, and how rare each is against the profile's rate.
const CLASSES: [(&str, u64); 9] = [
    ("F11", 1),
    ("F12", 1),
    ("F13", 4),
    ("F14", 2),
    ("F15", 8),
    ("F16", 3),
    ("F18", 6),
    ("F20", 8),
    ("F23", 2),
];

/// Every how often an operating system that saves battery ends a process, and how often in a row.
const DOZE_MS: u64 = 30_000;
const DOZES: u64 = 12;

/// Of a thousand runs, in how many one device is put back with nothing on it that tells: as by an image of the
/// whole machine.
const PUT_BACK_OF_1000: u64 = 120;
/// How old such an image is at least and at most.
const IMAGE_MIN_MS: u64 = 10 * 60_000;
const IMAGE_MAX_MS: u64 = 2 * HOUR_MS;

/// Which transactions kills and power cuts wait for.
const AMID: [Option<Amid>; 4] = [None, None, Some(Amid::Own), Some(Amid::Peers)];
/// Every how many syncs a disk that ignores most of them does one.
const HONEST_EVERY: [Option<NonZeroU64>; 4] = [None, None, NonZeroU64::new(2), NonZeroU64::new(7)];

/// How long before a meeting an entry rots: the device is on again when it begins.
const ROT_BEFORE_MS: u64 = 6_000;

pub(super) fn faults(swarm: &Swarm, devices: usize, profile: &Profile) -> Vec<Fault> {
    let mut faults = Vec::new();
    let horizon_ms = profile.hours * HOUR_MS;
    for (class, rare) in CLASSES {
        if !swarm.has(class) {
            continue;
        }
        let expected = profile.hours * profile.faults_in_100_h * devices as u64 / 100 / rare;
        let count = (expected * swarm.strength(class) / 5).max(1);
        for case in 0..count {
            let draw = &swarm.draw;
            let device = draw.number(&format!("{class} device"), case, 0..devices as u64) as usize;
            let at_ms = draw.number(&format!("{class} at"), case, 1_000..horizon_ms);
            let kinds = kinds(swarm, class, case, at_ms);
            faults.extend(kinds.into_iter().map(|(at_ms, kind)| Fault {
                at_ms,
                device,
                kind,
            }));
        }
    }
    faults.extend(put_back(swarm, devices, horizon_ms));
    faults.sort_by_key(|fault| fault.at_ms);
    faults
}

/// Puts a device back unnoticed: what it writes until it meets somebody who holds more of its log is a fork. In
/// the middle half of the run, so that there is something to go back to and somebody to meet. It may die as it
/// puts that right.
fn put_back(swarm: &Swarm, devices: usize, horizon_ms: u64) -> Vec<Fault> {
    let draw = &swarm.draw;
    if !draw.happens("put back", 0, PUT_BACK_OF_1000) {
        return Vec::new();
    }
    let at_ms = draw.number("put back at", 0, horizon_ms / 4..horizon_ms * 3 / 4);
    let age_ms = draw.number("put back by", 0, IMAGE_MIN_MS..IMAGE_MAX_MS);
    let device = draw.number("put back device", 0, 0..devices as u64) as usize;
    let taken_ms = at_ms.saturating_sub(age_ms);
    let (amid, down_ms) = (
        Some(Amid::Repair),
        draw.number("repair down", 0, 1_000..60_000),
    );
    let kinds = [
        Some(FaultKind::RestoreUnnoticed { taken_ms }),
        draw.happens("repair cut", 0, 500)
            .then_some(FaultKind::PowerCut {
                down_ms,
                again: false,
                amid,
            }),
        draw.happens("repair kill", 0, 500)
            .then_some(FaultKind::Kill { down_ms, amid }),
    ];
    let kinds = kinds.into_iter().flatten();
    kinds
        .map(|kind| Fault {
            at_ms,
            device,
            kind,
        })
        .collect()
}

/// Moves entries that rot to just before a meeting, where they may be missed before the next kill costs the
/// whole store.
pub(super) fn aim_rot(swarm: &Swarm, plan: &mut Plan) {
    let Plan {
        contacts, faults, ..
    } = plan;
    for (case, fault) in (0..).zip(faults) {
        let device = fault.device;
        let met = contacts
            .iter()
            .filter(|met| met.a == device || met.b == device);
        let before: Vec<u64> = met
            .filter_map(|met| met.at_ms.checked_sub(ROT_BEFORE_MS))
            .collect();
        if matches!(fault.kind, FaultKind::RotEntry { .. }) && !before.is_empty() {
            fault.at_ms = *swarm.draw.pick("rot before", case, &before);
        }
    }
    plan.faults.sort_by_key(|fault| fault.at_ms);
}

/// Moves some kills and power cuts to just after a write, where a commit is durable and not reported.
pub(super) fn aim(swarm: &Swarm, plan: &mut Plan) {
    let draw = &swarm.draw;
    let commits: Vec<(usize, u64)> = plan
        .operations
        .iter()
        .filter_map(|operation| {
            let spec = plan.device(operation.device)?;
            Some((operation.device, operation.at_ms + spec.commit_ms + 1))
        })
        .collect();
    for (case, fault) in (0..).zip(&mut plan.faults) {
        let is_end = matches!(
            fault.kind,
            FaultKind::Kill { .. } | FaultKind::PowerCut { .. }
        );
        let at = commits.iter().filter(|(device, _)| *device == fault.device);
        let at: Vec<u64> = at.map(|(_, at_ms)| *at_ms).collect();
        let is_end = is_end && fault.kind.amid().is_none();
        if is_end && !at.is_empty() && draw.happens("aimed", case, 400) {
            fault.at_ms = *draw.pick("aimed at", case, &at);
        }
    }
    plan.faults.sort_by_key(|fault| fault.at_ms);
}

fn kinds(swarm: &Swarm, class: &str, case: u64, at_ms: u64) -> Vec<(u64, FaultKind)> {
    let draw = &swarm.draw;
    let key = |what: &str| format!("{class} {what}");
    let down_ms = match draw.number(&key("down kind"), case, 0..4) {
        0 => 1_000,
        1 => 8 * HOUR_MS,
        _ => draw.number(&key("down"), case, 1_000..600_000),
    };
    let for_ms = draw.number(&key("for"), case, 10_000..2 * HOUR_MS);
    // Half of them wait for a transaction to die in.
    let amid = *draw.pick(&key("amid"), case, &AMID);
    let kind = match class {
        "F11" => FaultKind::Kill { down_ms, amid },
        "F12" => FaultKind::PowerCut {
            down_ms,
            again: draw.happens(&key("again"), case, 300),
            amid,
        },
        "F13" => FaultKind::IgnoredSync {
            for_ms,
            honest_every: *draw.pick(&key("honest every"), case, &HONEST_EVERY),
        },
        "F14" => FaultKind::DiskFull { for_ms },
        "F15" if draw.happens(&key("entry"), case, 500) => FaultKind::RotEntry {
            place: draw.number(&key("place"), case, 0..1_000),
        },
        "F15" if draw.happens(&key("wear"), case, 400) => FaultKind::Wear {
            pages: draw.number(&key("pages"), case, 1..9),
        },
        "F15" => FaultKind::Rot {
            bits: draw.number(&key("bits"), case, 1..9),
        },
        "F16" => FaultKind::Restore {
            taken_ms: draw.number(&key("taken"), case, 0..at_ms),
            witness_kept: draw.happens(&key("witness"), case, 500),
        },
        "F18" => {
            let kill = FaultKind::Kill {
                down_ms: 2_000,
                amid: None,
            };
            let kills = (0..DOZES).map(|n| (at_ms + n * DOZE_MS, kill.clone()));
            return kills.collect();
        }
        "F20" => FaultKind::Wipe {},
        _ => {
            let hours = draw.number(&key("by"), case, 0..72) as i64 - 48;
            FaultKind::ClockJump {
                by_ms: hours * HOUR_MS as i64,
            }
        }
    };
    vec![(at_ms, kind)]
}
