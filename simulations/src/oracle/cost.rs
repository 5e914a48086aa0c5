//! What a run may cost (20): bytes between honest devices, and room on their disks, by what they hold.

use super::{Judged, Oracle};
use crate::plan::FaultKind;
use crate::world::World;

/// Most bytes of a connection besides entries: two openings, acknowledgements, marks and news.
const CONNECTION_BYTES_MAX: u64 = 8 << 10;
/// How often an entry may travel for each device that holds it in the end: pushes cross, and what arrives
/// while a connection is cut is sent again.
const TRAVELS_MAX: u64 = 4;
/// Room that a store takes before it has entries: its tables, and the region that the database grows by.
const DISK_BYTES_BASE: u64 = 6 << 20;
/// Most room that an entry takes, by its bytes: log, document, view, indexes and what waits to be reused.
const DISK_TIMES_MAX: u64 = 200;

pub(super) fn judge(world: &mut World<'_>) -> Judged {
    world.counts.checks.note(Oracle::Bounded, 1);
    // A device that lost its store is given everything again.
    let losses = world.plan.faults.iter().filter(|fault| match fault.kind {
        FaultKind::Wipe {}
        | FaultKind::Restore { .. }
        | FaultKind::Rot { .. }
        | FaultKind::RotEntry { .. }
        | FaultKind::Wear { .. } => true,
        FaultKind::IgnoredSync { .. } | FaultKind::RestoreUnnoticed { .. } => true,
        FaultKind::Kill { .. }
        | FaultKind::PowerCut { .. }
        | FaultKind::DiskFull { .. }
        | FaultKind::ClockJump { .. } => false,
    });
    let copies = TRAVELS_MAX + losses.count() as u64;
    let counts = &world.counts;
    let bytes_max = counts.connections * CONNECTION_BYTES_MAX + counts.entry_bytes * copies;
    if counts.bytes > bytes_max {
        let detail = format!(
            "{} bytes were sent over {} connections for {} bytes of entries, more than {bytes_max}",
            counts.bytes, counts.connections, counts.entry_bytes
        );
        return Err((Oracle::Bounded, detail));
    }
    let living = world.living();
    let entry_bytes = world.counts.entry_bytes / living.len().max(1) as u64;
    for number in living {
        world.counts.checks.note(Oracle::Bounded, 1);
        let disk_bytes = world.seats[&number].disk.allocated_bytes();
        world.counts.disk_bytes = world.counts.disk_bytes.max(disk_bytes);
        let disk_bytes_max = DISK_BYTES_BASE + entry_bytes * DISK_TIMES_MAX;
        if disk_bytes > disk_bytes_max {
            let detail = format!(
                "device {number} holds about {entry_bytes} bytes of entries in {disk_bytes} bytes, more than {disk_bytes_max}"
            );
            return Err((Oracle::Bounded, detail));
        }
    }
    Ok(())
}
