//! What devices show, and that those who hold the same show the same (1).

use std::collections::BTreeMap;

use crdt_schema::ident::{Dot, SpaceName};
use crdt_schema::resolution::{Life, RecordView};
use fieldmesh::store::{ListQuery, Reader};

use super::{Judged, Oracle};
use crate::hostile::LIAR_PREFIX;
use crate::sometimes::Sometimes;
use crate::world::World;

/// Every record of honest people, deleted ones too, by collection and id.
pub(crate) type Shown = BTreeMap<(String, String), RecordView>;

/// Reads what a device shows.
///
/// # Errors
/// The store's reason in words.
pub(crate) fn shown(reader: &Reader) -> Result<Shown, String> {
    let mut shown = Shown::new();
    for collection in reader.schema().collections.keys() {
        let query = ListQuery {
            space: SpaceName::default(),
            collection: collection.clone(),
            after: None,
            limit: usize::MAX,
            deleted: true,
        };
        let page = reader.list(&query, &|_| true);
        for record in page.map_err(|error| error.to_string())?.records {
            if !record.key.id.starts_with(LIAR_PREFIX) {
                shown.insert((collection.clone(), record.key.id), record.view);
            }
        }
    }
    Ok(shown)
}

/// The reader of a device that is on and whose disk is honest.
pub(crate) fn reader(world: &World<'_>, number: usize) -> Option<Reader> {
    let seat = world.seats.get(&number)?;
    let device = seat.device.as_ref().filter(|_| !seat.is_troubled())?;
    Some(device.reader())
}

pub(super) fn pair_agrees(world: &mut World<'_>, a: usize, b: usize) -> Judged {
    let (Some(one), Some(other)) = (reader(world, a), reader(world, b)) else {
        return Ok(());
    };
    let held = world.honest_held(a);
    if held != world.honest_held(b) || !read_alike(&one, &other) {
        return Ok(());
    }
    // Two branches of one length, which have not met yet, are not the same entries.
    let mut forked = held
        .iter()
        .filter(|(log, _)| world.ledger.went_back.contains(log))
        .map(|(log, seq)| Dot::new(*log, *seq));
    if forked.any(|end| one.entry(end) != other.entry(end)) {
        return Ok(());
    }
    world.counts.checks.note(Oracle::Convergence, 1);
    let broken = |why| (Oracle::Convergence, why);
    let one = shown(&one).map_err(broken)?;
    let other = shown(&other).map_err(broken)?;
    agree(a, &one, b, &other)
}

/// Whether two devices read records under the same versions of the schema.
fn read_alike(one: &Reader, other: &Reader) -> bool {
    let versions = |reader: &Reader| {
        let state = reader.schemas();
        (state.active.version, state.newest.version)
    };
    versions(one) == versions(other)
}

pub(super) fn agree(a: usize, one: &Shown, b: usize, other: &Shown) -> Judged {
    for key in one.keys().chain(other.keys()) {
        if one.get(key) != other.get(key) {
            let detail = format!(
                "{}/{}: device {a} shows {:?}, device {b} shows {:?}",
                key.0,
                key.1,
                one.get(key),
                other.get(key)
            );
            return Err((Oracle::Convergence, detail));
        }
    }
    Ok(())
}

/// The counts of a collection are those of its records, liars' ones too.
fn counts_are_true(number: usize, reader: &Reader) -> Judged {
    let broken = |why: String| (Oracle::Rebuild, format!("device {number}: {why}"));
    let counts = reader.counts().map_err(|error| broken(error.to_string()))?;
    for (space, collection, alive, deleted) in counts.records {
        if reader.schema().collection(&collection).is_none() {
            continue;
        }
        let query = ListQuery {
            space,
            collection: collection.clone(),
            after: None,
            limit: usize::MAX,
            deleted: true,
        };
        let page = reader.list(&query, &|_| true);
        let records = page.map_err(|error| broken(error.to_string()))?.records;
        let is_deleted = records.iter().filter(|one| one.view.life == Life::Deleted);
        let found = is_deleted.count() as u64;
        let expected = (records.len() as u64 - found, found);
        if (alive, deleted) != expected {
            let why = format!(
                "{collection}: {alive} alive and {deleted} deleted are counted, {expected:?} are shown"
            );
            return Err(broken(why));
        }
    }
    Ok(())
}

pub(super) fn all_agree(world: &mut World<'_>) -> Judged {
    let living = world.living();
    // One set for each version that is in use.
    let mut firsts: Vec<(usize, Reader, Shown)> = Vec::new();
    for number in living {
        let Some(reader) = reader(world, number) else {
            continue;
        };
        world.counts.checks.note(Oracle::Rebuild, 1);
        world.counts.checks.note(Oracle::Convergence, 1);
        counts_are_true(number, &reader)?;
        let broken = |why| (Oracle::Convergence, why);
        let now = shown(&reader).map_err(broken)?;
        let listed = reader
            .reviews()
            .map_err(|error| broken(error.to_string()))?;
        let listed = listed
            .iter()
            .filter(|(key, _)| !key.id.starts_with(LIAR_PREFIX))
            .count();
        let of_records: usize = now.values().map(|view| view.reviews.len()).sum();
        if listed != of_records {
            let detail =
                format!("device {number} lists {listed} reviews, its records have {of_records}");
            return Err(broken(detail));
        }
        world.counts.reviews = listed as u64;
        if listed > 0 {
            world.reached.note(Sometimes::ReviewOpened);
        }
        let alike = firsts
            .iter()
            .find(|(_, first, _)| read_alike(first, &reader));
        match alike {
            Some((other, _, shown)) => agree(*other, shown, number, &now)?,
            None => firsts.push((number, reader, now)),
        }
    }
    Ok(())
}
