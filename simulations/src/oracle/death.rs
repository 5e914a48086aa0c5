//! The store of a device that died in a transaction, as it starts again: its logs are whole, nothing in them is
//! invented, causes come first, and what it shows is what its logs say (4, 9, 10, 12, 23, 24).

use super::entries::judge_one;
use super::replays::Replays;
use super::shown::reader;
use super::{Judged, Oracle};
use crate::world::World;

pub(super) fn judge(world: &mut World<'_>, number: usize) -> Judged {
    let Some(reader) = reader(world, number) else {
        return Ok(());
    };
    // Records are shown as they were before another version of the schema until that is done.
    if reader.refreshing().is_some() {
        return Ok(());
    }
    // The bytes of entries are counted in the end.
    let entry_bytes = world.counts.entry_bytes;
    let items = reader
        .feed(0, usize::MAX)
        .map_err(|error| (Oracle::NoLostWrite, format!("device {number}: {error}")))?;
    let judged = judge_one(world, number, &reader, &items, &mut Replays::default());
    world.counts.entry_bytes = entry_bytes;
    judged
}
