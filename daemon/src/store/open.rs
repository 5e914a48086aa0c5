//! Opens a store: makes a new one, or checks that an old one is ours, readable and whole.

use std::sync::Arc;

use crdt_schema::ident::{DeviceId, LogId, OrganisationId};
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction};

use crate::mutation::{Mutation, is_planted};

use crate::wire::branch::decode_fork;

use super::database::{Ending, Handle};
use super::log::Stretch;
use super::rows::{LogRow, decode_peer};
use super::trouble::Trouble;
use super::{Opening, StoreError, StoreOptions, meta, tables};

/// Makes the database a store that this program can use, or says why it is none.
pub(super) fn prepare(handle: &Handle, options: &StoreOptions) -> Result<(), StoreError> {
    let is_empty = handle.read(|tx| Ok(tx.list_tables()?.next().is_none()))?;
    if is_empty {
        handle
            .write(|tx| {
                tables::create_all(tx)?;
                meta::create(tx, options.organisation, options.new_store_id)?;
                Ok(Ending::Commit(()))
            })
            .map_err(|trouble| handle.explain(trouble))?;
    }
    // The format is read alone: a newer one may lack everything else.
    let found = handle.read(meta::format)?;
    if found > meta::FORMAT {
        let (path, known) = (handle.path().to_owned(), meta::FORMAT);
        return Err(StoreError::NewerFormat { path, found, known });
    }
    check_organisation(handle, options.organisation)?;
    if found < meta::FORMAT {
        let upgrade = |tx: &WriteTransaction| Ok(Ending::Commit(meta::upgrade(tx)?));
        let upgraded = handle.write(upgrade);
        upgraded.map_err(|trouble| handle.explain(trouble))?;
    }
    handle.read(check_ends)?;
    if is_planted(Mutation::IdempotencyForgotten) {
        let forget = |tx: &WriteTransaction| {
            tx.open_table(tables::RETRIES)?.retain(|_, _| false)?;
            tx.open_table(tables::RETRY_ORDER)?.retain(|_, _| false)?;
            Ok(Ending::Commit(()))
        };
        handle
            .write(forget)
            .map_err(|trouble| handle.explain(trouble))?;
    }
    Ok(())
}

fn check_organisation(handle: &Handle, expected: OrganisationId) -> Result<(), StoreError> {
    let found = handle.read(meta::organisation)?;
    if found == expected {
        return Ok(());
    }
    Err(StoreError::OtherOrganisation {
        path: handle.path().to_owned(),
        found,
        expected,
    })
}

/// Whether every log ends where its row says, at a signed point, and all entries have arrived; and the list of
/// records, because a disk that lies loses single pages.
fn check_ends(tx: &ReadTransaction) -> Result<(), Trouble> {
    let entries = tx.open_table(tables::ENTRIES)?;
    let points = tx.open_table(tables::POINTS)?;
    let mut count = 0;
    for row in tx.open_table(tables::LOGS)?.iter()? {
        let (number, row) = row?;
        let (number, row) = (number.value(), read_log(row.value())?);
        let whole = entries.get((number, row.seq))?.is_some()
            && entries.get((number, row.seq + 1))?.is_none()
            && points.get((number, row.seq))?.is_some();
        if !whole {
            let (log, seq) = (row.header.log, row.seq);
            return Err(Trouble::Damaged(format!(
                "log {log} does not end at entry {seq}"
            )));
        }
        count += row.seq - row.header.base();
    }
    let arrival = last_arrival(tx)?;
    if arrival != count + meta::void(tx)? {
        let detail = format!("{arrival} entries have arrived and the logs hold {count}");
        return Err(Trouble::Damaged(detail));
    }
    check_index(tx)
}

/// Whether the list of records is one where it begins and ends.
fn check_index(tx: &ReadTransaction) -> Result<(), Trouble> {
    let index = tx.open_table(tables::INDEX)?;
    let ends = [index.first()?, index.last()?];
    let is_key = |(key, _): &(redb::AccessGuard<'_, &[u8]>, _)| {
        tables::parse_record_key(key.value()).is_some()
    };
    let good = ends.iter().flatten().filter(|end| is_key(end)).count();
    match good == if index.is_empty()? { 0 } else { 2 } {
        true => Ok(()),
        false => Err(Trouble::Damaged("the list of records is lost".to_owned())),
    }
}

pub(super) fn last_arrival(tx: &ReadTransaction) -> Result<u64, Trouble> {
    let stretches = tx.open_table(tables::STRETCHES)?;
    Ok(stretches.last()?.map_or(0, |(first, row)| {
        Stretch::of_row(first.value(), row.value()).last()
    }))
}

fn read_log(row: &[u8]) -> Result<LogRow, Trouble> {
    LogRow::decode(row).map_err(|error| Trouble::Damaged(format!("a log's row: {error}")))
}

/// What the engine needs to start.
pub(super) fn opening(tx: &ReadTransaction, device: DeviceId) -> Result<Opening, Trouble> {
    let mut opening = Opening {
        arrival: last_arrival(tx)?,
        ..Opening::default()
    };
    let own = tx.open_table(tables::OWN_LOGS)?;
    let own: Vec<LogId> = own
        .iter()?
        .map(|row| row.map(|(_, log)| LogId(log.value())))
        .collect::<Result<_, _>>()?;
    for row in tx.open_table(tables::LOGS)?.iter()? {
        let row = read_log(row?.1.value())?;
        if row.header.device == device {
            opening.last_hlc = opening.last_hlc.max(row.hlc);
        }
        if own.contains(&row.header.log) {
            opening.own_logs.push(row.header.clone());
        }
        opening.frontier.push(row.frontier());
    }
    for row in tx.open_table(tables::FORKS)?.iter()? {
        let proof = decode_fork(row?.1.value());
        let damaged = |error| Trouble::Damaged(format!("the proof of a fork: {error}"));
        opening.forks.push(Arc::new(proof.map_err(damaged)?));
    }
    for row in tx.open_table(tables::PEERS)?.iter()? {
        let (device, row) = row?;
        let device = DeviceId(device.value());
        match decode_peer(device, row.value()) {
            Ok(peer) => opening.peers.push(peer),
            // What a peer holds is learnt again when it is next met.
            Err(error) => tracing::error!(%device, %error, "a peer was forgotten"),
        }
    }
    Ok(opening)
}
