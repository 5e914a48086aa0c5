//! Facts about the store as a whole: its format, whose it is, its identity and its counters.

use crdt_schema::ident::OrganisationId;
use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use crate::mutation::{Mutation, is_planted};

use super::StoreIdentity;
use super::reading::Choice;
use super::tables::META;
use super::trouble::Trouble;

/// The format that this version writes. Raised when an older version could not read it: 2 holds change sets that
/// do not name all their records.
pub(super) const FORMAT: u32 = 2;

const FORMAT_KEY: &str = "format";
const ORGANISATION: &str = "organisation";
const STORE: &str = "store";
const COMMITS: &str = "commits";
const VOID: &str = "void";
const SCHEMA: &str = "schema";
const SCHEMA_NAME: &str = "schema_name";
const SCHEMA_CHOICE: &str = "schema_choice";
const VIEW_FORMAT: &str = "view_format";

/// Marks an empty database as a store.
pub(super) fn create(
    tx: &WriteTransaction,
    organisation: OrganisationId,
    store: [u8; 16],
) -> Result<(), Trouble> {
    let mut meta = tx.open_table(META)?;
    meta.insert(FORMAT_KEY, FORMAT.to_le_bytes().as_slice())?;
    meta.insert(ORGANISATION, organisation.0.as_slice())?;
    meta.insert(STORE, store.as_slice())?;
    meta.insert(COMMITS, 0_u64.to_le_bytes().as_slice())?;
    Ok(())
}

/// Makes a store of an older format one of this format. It has all that this one has but for a table.
pub(super) fn upgrade(tx: &WriteTransaction) -> Result<(), Trouble> {
    super::tables::create_all(tx)?;
    let mut meta = tx.open_table(META)?;
    meta.insert(FORMAT_KEY, FORMAT.to_le_bytes().as_slice())?;
    Ok(())
}

pub(super) fn format(tx: &ReadTransaction) -> Result<u32, Trouble> {
    Ok(u32::from_le_bytes(read(&tx.open_table(META)?, FORMAT_KEY)?))
}

pub(super) fn organisation(tx: &ReadTransaction) -> Result<OrganisationId, Trouble> {
    Ok(OrganisationId(read(&tx.open_table(META)?, ORGANISATION)?))
}

pub(super) fn identity(tx: &ReadTransaction) -> Result<StoreIdentity, Trouble> {
    let meta = tx.open_table(META)?;
    let commits = u64::from_le_bytes(read(&meta, COMMITS)?);
    Ok(StoreIdentity {
        store: read(&meta, STORE)?,
        commits,
    })
}

/// Counts a transaction.
pub(super) fn count_commit(tx: &WriteTransaction) -> Result<(), Trouble> {
    if is_planted(Mutation::CommitsUncounted) {
        return Ok(());
    }
    let mut meta = tx.open_table(META)?;
    let commits = u64::from_le_bytes(read(&meta, COMMITS)?) + 1;
    meta.insert(COMMITS, commits.to_le_bytes().as_slice())?;
    Ok(())
}

/// How many arrivals mean nothing any more, because their entries were written again elsewhere.
pub(super) fn void(tx: &ReadTransaction) -> Result<u64, Trouble> {
    void_in(&tx.open_table(META)?)
}

/// Counts such arrivals.
pub(super) fn add_void(tx: &WriteTransaction, count: u64) -> Result<(), Trouble> {
    let mut meta = tx.open_table(META)?;
    let count = void_in(&meta)? + count;
    meta.insert(VOID, count.to_le_bytes().as_slice())?;
    Ok(())
}

fn void_in(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<u64, Trouble> {
    match meta.get(VOID)? {
        Some(_) => Ok(u64::from_le_bytes(read(meta, VOID)?)),
        None => Ok(0),
    }
}

/// What all views were derived under, once a refresh has ended.
pub(super) fn schema_digest(tx: &ReadTransaction) -> Result<Option<[u8; 32]>, Trouble> {
    let meta = tx.open_table(META)?;
    let digest = meta.get(SCHEMA)?;
    Ok(digest.and_then(|digest| digest.value().try_into().ok()))
}

/// Lets the views be derived anew at the next start, unless they are before.
pub(super) fn forget_schema_digest(tx: &WriteTransaction) -> Result<(), Trouble> {
    tx.open_table(META)?.remove(SCHEMA)?;
    Ok(())
}

pub(super) fn put_schema_digest(tx: &WriteTransaction, digest: [u8; 32]) -> Result<(), Trouble> {
    tx.open_table(META)?.insert(SCHEMA, digest.as_slice())?;
    Ok(())
}

/// How the views are laid out and derived; `None` in a store without views.
pub(super) fn view_format(tx: &ReadTransaction) -> Result<Option<u32>, Trouble> {
    let meta = tx.open_table(META)?;
    let format = meta.get(VIEW_FORMAT)?;
    Ok(format
        .and_then(|format| format.value().try_into().ok())
        .map(u32::from_le_bytes))
}

pub(super) fn put_view_format(tx: &WriteTransaction, format: u32) -> Result<(), Trouble> {
    tx.open_table(META)?
        .insert(VIEW_FORMAT, format.to_le_bytes().as_slice())?;
    Ok(())
}

/// The name of the schema and the version chosen, unless the store is new.
pub(super) fn schema_choice(tx: &ReadTransaction) -> Result<Option<(String, Choice)>, Trouble> {
    let meta = tx.open_table(META)?;
    let (name, choice) = (meta.get(SCHEMA_NAME)?, meta.get(SCHEMA_CHOICE)?);
    let (Some(name), Some(choice)) = (name, choice) else {
        return Ok(None);
    };
    let damaged = || Trouble::Damaged("its choice of a schema cannot be read".to_owned());
    let name = std::str::from_utf8(name.value()).map_err(|_| damaged())?;
    let [a, b, c, d, pinned] = choice.value().try_into().map_err(|_| damaged())?;
    let choice = Choice {
        version: u32::from_le_bytes([a, b, c, d]),
        pinned: pinned != 0,
    };
    Ok(Some((name.to_owned(), choice)))
}

pub(super) fn put_schema_choice(
    tx: &WriteTransaction,
    name: &str,
    choice: Choice,
) -> Result<(), Trouble> {
    let mut meta = tx.open_table(META)?;
    let [a, b, c, d] = choice.version.to_le_bytes();
    meta.insert(SCHEMA_NAME, name.as_bytes())?;
    meta.insert(
        SCHEMA_CHOICE,
        [a, b, c, d, u8::from(choice.pinned)].as_slice(),
    )?;
    Ok(())
}

fn read<const N: usize>(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &str,
) -> Result<[u8; N], Trouble> {
    let value = meta.get(key)?;
    value
        .and_then(|value| value.value().try_into().ok())
        .ok_or_else(|| Trouble::Damaged(format!("its {key} is missing")))
}
