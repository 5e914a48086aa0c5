//! Schema versions (14): migrating merged records and merging migrated ones is the same; old versions carry
//! what they do not know unharmed; entries never change.
//!
//! Asked last, of a fleet that has settled: every device is made to use each version in turn, the newest
//! last. Under each, all must show the same, and the model, which knows no lenses, must agree wherever a
//! field reads as it was written: so what a device of the first version has passed on, or edited around, is
//! whole under the last. A converted field is worked out here by hand: the winner among the raw writes of all
//! versions, converted afterwards.

use std::collections::BTreeMap;

use crdt_schema::ident::{Dot, LogId};
use crdt_schema::lens::Function;
use crdt_schema::op::Op;
use crdt_schema::schema::{MergePolicy, Step};
use fieldmesh::engine::batch::{Held, Walk};
use fieldmesh::store::Reader;
use fieldmesh::wire::chain::{chain_next, chain_start};

use super::model;
use super::record::{Record, records, written};
use super::shown::{self, Shown, reader, shown};
use super::{Judged, Oracle};
use crate::device::ORGANISATION;
use crate::world::World;

/// How many views are derived anew in one step: there is nothing else to do.
const VIEWS_PER_STEP: usize = 10_000;
/// Conversions are exact to four decimals.
const EXACT: f64 = 1e-3;

pub(super) fn judge(world: &mut World<'_>) -> Judged {
    entries_are_kept(world)?;
    let living = world.living();
    let versions: Vec<u32> = world.family.iter().map(|schema| schema.version).collect();
    for version in versions {
        let mut first: Option<(usize, Shown)> = None;
        for number in living.iter().copied() {
            let Some(reader) = put_to_use(world, number, version)? else {
                continue;
            };
            world.counts.checks.note(Oracle::Versions, 1);
            let shown = shown(&reader).map_err(|why| broken(number, why))?;
            if let Some((other, before)) = &first {
                shown::agree(*other, before, number, &shown)
                    .map_err(|(_, why)| (Oracle::Versions, format!("version {version}: {why}")))?;
                continue;
            }
            model::judge_device(world, number, &reader)
                .map_err(|(_, why)| (Oracle::Versions, format!("version {version}: {why}")))?;
            conversions_follow(world, number, &reader, &shown)?;
            first = Some((number, shown));
        }
    }
    Ok(())
}

fn broken(number: usize, why: impl std::fmt::Display) -> (Oracle, String) {
    (Oracle::Versions, format!("device {number}: {why}"))
}

/// Has a device use a version that it knows, with every view derived.
fn put_to_use(
    world: &mut World<'_>,
    number: usize,
    version: u32,
) -> Result<Option<Reader>, (Oracle, String)> {
    if reader(world, number).is_none_or(|reader| {
        let state = reader.schemas();
        !state.versions.contains_key(&version)
            || state.newest.version != world.family.newest().version
    }) {
        return Ok(None);
    }
    let seat = world.seats.get_mut(&number);
    let Some(device) = seat.and_then(|seat| seat.device.as_mut()) else {
        return Ok(None);
    };
    device
        .use_schema(version)
        .map_err(|error| broken(number, format!("version {version}: {error}")))?;
    while device
        .refresh(VIEWS_PER_STEP)
        .map_err(|error| broken(number, error))?
    {}
    Ok(Some(device.reader()))
}

/// The entries on every device are those that their authors made durable, byte for byte.
fn entries_are_kept(world: &mut World<'_>) -> Judged {
    let mut chains: BTreeMap<LogId, BTreeMap<u64, [u8; 32]>> = BTreeMap::new();
    // A device that went back unnoticed has made some positions durable twice.
    let is_one = |dot: &Dot| !world.ledger.branches.contains_key(dot);
    for (dot, chain) in world.ledger.chains.iter().filter(|(dot, _)| is_one(dot)) {
        chains.entry(dot.log).or_default().insert(dot.seq, *chain);
    }
    for number in world.living() {
        let Some(reader) = reader(world, number) else {
            continue;
        };
        let fetched = reader.fetch(&Walk::default(), &Held::new(), usize::MAX);
        let fetched = fetched.map_err(|error| broken(number, error))?;
        let mut ends: BTreeMap<LogId, [u8; 32]> = BTreeMap::new();
        for run in &fetched.runs {
            let log = run.header.log;
            let end = ends
                .entry(log)
                .or_insert_with(|| chain_start(&ORGANISATION, &run.header));
            for (seq, entry) in (run.from..).zip(&run.entries) {
                *end = chain_next(end, entry);
                world.counts.checks.note(Oracle::Versions, 1);
                let first = chains.get(&log).and_then(|points| points.get(&seq));
                if first.is_some_and(|first| first != end) {
                    let dot = Dot::new(log, seq);
                    return Err(broken(number, format!("the entry {dot} has changed")));
                }
            }
        }
    }
    Ok(())
}

/// What is shown of a field that a migration converts from degrees Celsius to Fahrenheit follows from the
/// latest of its writes, whichever version each was written under.
fn conversions_follow(
    world: &mut World<'_>,
    number: usize,
    reader: &Reader,
    shown: &Shown,
) -> Judged {
    let records = records(reader).map_err(|error| broken(number, error))?;
    let schema = reader.schema();
    let newest = world.family.newest().clone();
    for (to, step) in newest
        .migrations
        .iter()
        .flat_map(|migration| migration.steps.iter().map(|step| (migration.to, step)))
    {
        let Step::Convert {
            collection,
            field,
            name,
            with,
        } = step
        else {
            continue;
        };
        let is_new = schema.version >= to;
        let shown_name = if is_new { name } else { field };
        let known = schema.collection(collection);
        let known = known.and_then(|known| known.fields.get(shown_name));
        if *with != Function::CToF || known.is_none_or(|known| known.merge != MergePolicy::Lww) {
            continue;
        }
        for ((_, id), view) in shown.iter().filter(|((known, _), _)| known == collection) {
            let Some(record) = records.get(&(collection.clone(), id.clone())) else {
                continue;
            };
            world.counts.checks.note(Oracle::Versions, 1);
            let expected = latest(record, [field, name], to, is_new);
            let found = view.fields.get(shown_name).and_then(|json| json.as_f64());
            let is_right = match (found, expected) {
                (Some(found), Some(expected)) => (found - expected).abs() < EXACT,
                (found, expected) => found == expected,
            };
            if !is_right {
                let why = format!(
                    "{collection}/{id}: version {} shows {shown_name} as {found:?}, and the writes say {expected:?}",
                    schema.version
                );
                return Err(broken(number, why));
            }
        }
    }
    Ok(())
}

/// The latest standing write of either key, in the unit asked for.
fn latest(record: &Record, keys: [&String; 2], to: u32, is_new: bool) -> Option<f64> {
    let standing = record.standing(|op| match op {
        Op::Set { key, .. } | Op::Resolve { key, .. } => keys.contains(&key),
        _ => false,
    });
    let (node, op) = standing.first()?;
    let number = written(op).to_json().as_f64()?;
    Some(match (node.version >= to, is_new) {
        (false, true) => number * 9.0 / 5.0 + 32.0,
        (true, false) => (number - 32.0) * 5.0 / 9.0,
        _ => number,
    })
}
