//! The logs of a settled fleet: nothing lost (3), nothing invented (4), causes first (9), change sets
//! whole (10), one history (12), chains and signatures good (23), records as the log says (24).

use std::collections::BTreeMap;

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{DeviceId, Dot, LogId, RecordKey};
use crdt_schema::op::ChangeSet;
use crdt_schema::resolution::RecordView;
use crdt_schema::schema::{Collection, Schema};
use fieldmesh::engine::batch::{Held, Run, Walk};
use fieldmesh::store::{FeedItem, Progress, Reader};
use fieldmesh::wire::chain::{SEALED, chain_next, chain_start};
use serde_json::{Map, Value as Json};

use super::model::is_related;
use super::replays::{Edited, Replays};
use super::shown::{reader, shown};
use super::{Judged, Oracle};
use crate::device::ORGANISATION;
use crate::hostile::LIAR_PREFIX;
use crate::sometimes::Sometimes;
use crate::verified;
use crate::world::World;

pub(super) fn judge(world: &mut World<'_>) -> Judged {
    let mut replays = Replays::default();
    for number in world.living() {
        let Some(reader) = reader(world, number) else {
            continue;
        };
        let items = reader
            .feed(0, usize::MAX)
            .map_err(|error| (Oracle::NoLostWrite, format!("device {number}: {error}")))?;
        let acknowledged = world.ledger.acknowledged.len() as u64;
        world.counts.checks.note(Oracle::NoLostWrite, acknowledged);
        nothing_lost(world, number, &reader)?;
        judge_one(world, number, &reader, &items, &mut replays)?;
    }
    Ok(())
}

/// What must hold of one device at any time.
pub(super) fn judge_one(
    world: &mut World<'_>,
    number: usize,
    reader: &Reader,
    items: &[FeedItem],
    replays: &mut Replays,
) -> Judged {
    let (entries, checks) = (items.len() as u64, &mut world.counts.checks);
    for oracle in [Oracle::NoInvention, Oracle::OneHistory, Oracle::Order] {
        checks.note(oracle, entries);
    }
    checks.note(Oracle::Audit, 1);
    nothing_invented(world, number, items)?;
    causes_first(number, items)?;
    audit(world, number, reader)?;
    rebuild(world, number, reader, items, replays)
}

fn nothing_lost(world: &World<'_>, number: usize, reader: &Reader) -> Judged {
    let durable = &world.seats[&number].durable;
    for (dot, all) in &world.ledger.acknowledged {
        let names = world.ledger.names(*dot);
        let reached = |name: &Dot| durable.get(&name.log).is_some_and(|seq| *seq >= name.seq);
        let here: Vec<Dot> = names.filter(reached).collect();
        for told in all {
            let is_held = match world.ledger.is_forked(dot) {
                false => !here.is_empty(),
                true => is_among(reader, &here, &told.set),
            };
            if !is_held && !told.is_excused && !world.is_away(told.device) {
                let detail = format!(
                    "device {number} lacks {dot}, which device {} acknowledged: {:?}",
                    told.device, told.set.edits
                );
                return Err((Oracle::NoLostWrite, detail));
            }
        }
    }
    Ok(())
}

/// Whether a change set is at one of these positions, which belong to branches of one log.
fn is_among(reader: &Reader, names: &[Dot], set: &ChangeSet) -> bool {
    let mut held = names.iter().filter_map(|name| reader.entry(*name).ok()?);
    held.any(|(_, held)| held == *set)
}

fn nothing_invented(world: &mut World<'_>, number: usize, items: &[FeedItem]) -> Judged {
    let mut authors: BTreeMap<DeviceId, Vec<usize>> = BTreeMap::new();
    let mut liars = Vec::new();
    for seat in world.seats.values() {
        match seat.is_honest() {
            true => authors.entry(seat.id()).or_default().push(seat.spec.device),
            false => liars.push(seat.id()),
        }
    }
    for item in items {
        let dot = Dot::new(item.header.log, item.seq);
        if liars.contains(&item.header.device) {
            world.reached.note(Sometimes::LiarsEntriesTaken);
            continue;
        }
        // A branch keeps the numbers of the log that it was.
        let whole = Dot::new(item.header.signed_as(), item.seq);
        let names = [dot, whole].into_iter();
        let mut known = names
            .flat_map(|name| world.ledger.contents(name))
            .peekable();
        let is_known = known.peek().is_some();
        if is_known && known.all(|known| known.set != item.set) {
            let detail = format!(
                "device {number} holds {dot} with another content than its author committed"
            );
            return Err((Oracle::OneHistory, detail));
        }
        let devices = authors
            .get(&item.header.device)
            .cloned()
            .unwrap_or_default();
        if !is_known && !world.ledger.is_unread(&devices, &item.set) {
            let detail = format!(
                "device {number} holds {dot}, which nobody asked for: {:?}",
                item.set.edits
            );
            return Err((Oracle::NoInvention, detail));
        }
    }
    Ok(())
}

fn causes_first(number: usize, items: &[FeedItem]) -> Judged {
    let mut held = Held::new();
    // The forked logs and branches that each log may have gone on in.
    let mut families: BTreeMap<LogId, Vec<LogId>> = BTreeMap::new();
    for item in items {
        let family = families.entry(item.header.signed_as()).or_default();
        if !family.contains(&item.header.log) {
            family.push(item.header.log);
        }
        let dot = Dot::new(item.header.log, item.seq);
        let before = held.insert(dot.log, dot.seq);
        let before = before.unwrap_or_else(|| item.header.base());
        let missing = item
            .set
            .edits
            .iter()
            .flat_map(|edit| &edit.deps)
            .find(|dep| {
                let family = families.get(&dep.log).into_iter().flatten();
                let mut logs = family.chain([&dep.log]);
                !logs.any(|log| held.get(log).is_some_and(|seq| *seq >= dep.seq))
            });
        if before + 1 != dot.seq || missing.is_some() {
            let detail = format!(
                "device {number} took {dot} after {before} entries of its log and without {missing:?}"
            );
            return Err((Oracle::Order, detail));
        }
    }
    Ok(())
}

/// Reads every log as a peer without any would, and verifies it from its beginning.
fn audit(world: &mut World<'_>, number: usize, reader: &Reader) -> Judged {
    let broken = |why: String| (Oracle::Audit, format!("device {number}: {why}"));
    let fetched = reader
        .fetch(&Walk::default(), &Held::new(), usize::MAX)
        .map_err(|error| broken(error.to_string()))?;
    if let Some(dot) = fetched.damaged.first() {
        return Err(broken(format!("{dot} does not read back")));
    }
    let mut ends: BTreeMap<_, (u64, [u8; 32])> = BTreeMap::new();
    for run in &fetched.runs {
        let start = (run.header.base(), chain_start(&ORGANISATION, &run.header));
        let end = ends.entry(run.header.log).or_insert(start);
        verify(run, end).map_err(|why| broken(format!("log {}: {why}", run.header.log)))?;
        let bytes: usize = run.entries.iter().map(Vec::len).sum();
        world.counts.entry_bytes += bytes as u64;
    }
    let held: Held = ends.iter().map(|(log, (seq, _))| (*log, *seq)).collect();
    if held != world.seats[&number].durable {
        return Err(broken(
            "its logs are not what it reported as durable".to_owned(),
        ));
    }
    Ok(())
}

fn verify(run: &Run, end: &mut (u64, [u8; 32])) -> Result<(), String> {
    if run.from != end.0 + 1 {
        return Err(format!("entry {} follows entry {}", run.from, end.0));
    }
    let chain = run
        .entries
        .iter()
        .fold(end.1, |chain, entry| chain_next(&chain, entry));
    *end = (run.last(), chain);
    let is_signed = verified::check(&ORGANISATION, &run.header, end.0, &end.1, &run.signature);
    // The end of a sealed log is proved by its branches.
    match is_signed || run.signature == SEALED {
        true => Ok(()),
        false => Err(format!("the signature at entry {} is not good", end.0)),
    }
}

/// Rebuilds every record from the entries alone.
fn rebuild(
    world: &mut World<'_>,
    number: usize,
    reader: &Reader,
    items: &[FeedItem],
    replays: &mut Replays,
) -> Judged {
    if items.iter().any(|item| item.header.branch_of.is_some()) {
        // Entries may name others by what their logs were before they forked, which the store must read.
        world.counts.checks.note(Oracle::Rebuild, 1);
        return check(number, reader);
    }
    let schema = reader.schema();
    let edits = edits_by_record(items, &schema);
    let shown = shown(reader).map_err(|why| (Oracle::Rebuild, why))?;
    let checks = &mut world.counts.checks;
    checks.note(Oracle::Rebuild, edits.len() as u64);
    checks.note(Oracle::Atomic, edits.len() as u64);
    for (key, edits) in &edits {
        let Some(collection) = schema.collection(&key.0) else {
            continue;
        };
        let view = replays
            .view(collection, &key.1, edits)
            .map_err(|why| (Oracle::Rebuild, format!("device {number}: {why}")))?;
        let place = format!("device {number}: {}/{}", key.0, key.1);
        let Some(found) = shown.get(key) else {
            let detail = format!("{place} is not shown, and edits of it are held");
            return Err((Oracle::Atomic, detail));
        };
        if found.heads != view.heads {
            let detail = format!(
                "{place} shows the edits up to {:?}, its log has {:?}",
                found.heads, view.heads
            );
            return Err((Oracle::Atomic, detail));
        }
        let is_as_the_log_says = match is_related(&schema, &key.0) {
            true => unrelated(found, collection) == unrelated(view, collection),
            false => found == view,
        };
        if !is_as_the_log_says {
            let detail = format!("{place}: {found:?} is shown, {view:?} follows from the log");
            return Err((Oracle::Rebuild, detail));
        }
    }
    if let Some((key, _)) = shown.iter().find(|(key, _)| !edits.contains_key(*key)) {
        let detail = format!(
            "device {number} shows {}/{}, of which it has no entry",
            key.0, key.1
        );
        return Err((Oracle::NoInvention, detail));
    }
    documents_contain(number, reader, items)
}

/// The edits of each record of honest people, in the order in which they came.
fn edits_by_record(items: &[FeedItem], schema: &Schema) -> BTreeMap<(String, String), Vec<Edited>> {
    let mut edits: BTreeMap<_, Vec<Edited>> = BTreeMap::new();
    for item in items {
        for edit in &item.set.edits {
            let key = (edit.collection.clone(), edit.id.clone());
            if key.1.starts_with(LIAR_PREFIX) || schema.collection(&key.0).is_none() {
                continue;
            }
            edits.entry(key).or_default().push(Edited {
                dot: Dot::new(item.header.log, item.seq),
                hlc: item.set.hlc,
                version: item.set.schema_version,
                edit: edit.clone(),
            });
        }
    }
    edits
}

/// The store's own comparison of everything that it derives with its logs.
fn check(number: usize, reader: &Reader) -> Judged {
    struct Quiet;
    impl Progress for Quiet {
        fn at(&mut self, _: &'static str, _: u64, _: u64) {}
    }
    let broken = |why: String| (Oracle::Rebuild, format!("device {number}: {why}"));
    let checkup = reader.check(&mut Quiet);
    let checkup = checkup.map_err(|error| broken(error.to_string()))?;
    match checkup.problems {
        0 => Ok(()),
        _ => Err(broken(format!("{checkup:?}"))),
    }
}

/// What a record's own document decides: not its references, nor what those of others mean for its life,
/// of which one document knows nothing. That all devices agree on the rest is for (1).
fn unrelated(
    view: &RecordView,
    collection: &Collection,
) -> (Map<String, Json>, Vec<Dot>, Timestamp) {
    let mut fields = view.fields.clone();
    for field in collection.references() {
        fields.remove(&field.name);
    }
    (fields, view.heads.clone(), view.updated)
}

/// The stored documents hold every edit of the last change sets that touch several records.
fn documents_contain(number: usize, reader: &Reader, items: &[FeedItem]) -> Judged {
    let batches = items.iter().filter(|item| item.set.edits.len() > 1);
    let mut parts: BTreeMap<RecordKey, Vec<Dot>> = BTreeMap::new();
    for item in batches {
        let dot = Dot::new(item.header.log, item.seq);
        for edit in &item.set.edits {
            let key = RecordKey {
                space: item.header.space.clone(),
                collection: edit.collection.clone(),
                id: edit.id.clone(),
            };
            parts.entry(key).or_default().push(dot);
        }
    }
    for (key, dots) in parts {
        let document = reader.document(&key).ok().flatten();
        let lacks = |dot: &&Dot| document.as_ref().is_none_or(|it| !it.contains(**dot));
        if let Some(dot) = dots.iter().find(lacks) {
            let detail = format!("device {number} holds {dot} and {key} lacks its part");
            return Err((Oracle::Atomic, detail));
        }
    }
    Ok(())
}
