//! The tables of the database, and the shape of their keys.
//!
//! Logs and records have internal numbers that only grow, so that rows written together lie
//! together: random keys would cost many times the pages. Values are encoded in [`super::rows`].
//! This module knows nothing of what the rows mean.

use crdt_schema::ident::{RecordKey, SpaceName};
use redb::{MultimapTableDefinition, TableDefinition, WriteTransaction};

use crate::engine::batch::ForkPoint;

use super::trouble::Trouble;

/// Facts about the store as a whole, by name.
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// Log number → how the log begins and how far it is held.
pub(super) const LOGS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("logs");
/// Log id → log number.
pub(super) const LOG_NUMBERS: TableDefinition<'_, [u8; 16], u32> =
    TableDefinition::new("log_numbers");
/// (log number, seq) → canonical bytes of the entry, packed.
pub(super) const ENTRIES: TableDefinition<'_, (u32, u64), &[u8]> = TableDefinition::new("entries");
/// (log number, seq) → the device's signature over the chain value there.
pub(super) const POINTS: TableDefinition<'_, (u32, u64), &[u8; 64]> =
    TableDefinition::new("points");
/// First arrival of a stretch → (log number, first seq, count).
pub(super) const STRETCHES: TableDefinition<'_, u64, (u32, u64, u64)> =
    TableDefinition::new("stretches");
/// (space, first arrival of a stretch of one of its logs): the way to the stretches of one space.
pub(super) const ARRIVED_IN: TableDefinition<'_, (&str, u64), ()> =
    TableDefinition::new("arrived_in");
/// Record key as ordered bytes → record number.
pub(super) const INDEX: TableDefinition<'_, &[u8], u64> = TableDefinition::new("index");
/// Record number → the saved document, packed.
pub(super) const DOCS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("docs");
/// Record number → the record as it is shown, packed.
pub(super) const VIEWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("views");
/// Review id → number of the record it is about.
pub(super) const REVIEWS: TableDefinition<'_, &str, u64> = TableDefinition::new("reviews");
/// Id of an answered review → number of the record it is about.
pub(super) const ANSWERED: TableDefinition<'_, &str, u64> = TableDefinition::new("answered");
/// [`reference_key`] → numbers of the records that refer that way.
pub(super) const REFS: MultimapTableDefinition<'_, &[u8], u64> =
    MultimapTableDefinition::new("refs");
/// Space and collection as ordered bytes → (records alive or contested, records deleted).
pub(super) const TALLIES: TableDefinition<'_, &[u8], (u64, u64)> = TableDefinition::new("tallies");
/// Device → what is known of it as a peer.
pub(super) const PEERS: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("peers");
/// Space → the log that this incarnation writes there.
pub(super) const OWN_LOGS: TableDefinition<'_, &str, [u8; 16]> = TableDefinition::new("own_logs");
/// Digest of an idempotency key → the request and its outcome.
pub(super) const RETRIES: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("retries");
/// (position among all such rows ever written, digest of an idempotency key), to forget the oldest
/// first.
pub(super) const RETRY_ORDER: TableDefinition<'_, (u64, [u8; 32]), ()> =
    TableDefinition::new("retry_order");

/// (schema version, digest of a published text) → (time, log, seq) of its first publication.
pub(super) const SCHEMAS: TableDefinition<'_, (u32, [u8; 32]), Moment> =
    TableDefinition::new("schemas");
type Moment = (u64, [u8; 16], u64);
/// Schema version → digest of the text that this device's own file had.
pub(super) const OWN_SCHEMAS: TableDefinition<'_, u32, [u8; 32]> =
    TableDefinition::new("own_schemas");
/// Digest → a schema's text.
pub(super) const SCHEMA_TEXTS: TableDefinition<'_, [u8; 32], &[u8]> =
    TableDefinition::new("schema_texts");

/// [`fork_key`] → the proof that a log is forked there.
pub(super) const FORKS: TableDefinition<'_, ForkKey, &[u8]> = TableDefinition::new("forks");
type ForkKey = ([u8; 16], u64, [u8; 32]);
/// (forked log, branch of it) → number of the branch.
pub(super) const BRANCHES: TableDefinition<'_, ([u8; 16], [u8; 16]), u32> =
    TableDefinition::new("branches");
/// (log number, seq) → which records the entry's edits are of that its bytes do not name, packed.
pub(super) const IMPLIED: TableDefinition<'_, (u32, u64), &[u8]> = TableDefinition::new("implied");

/// The key of a fork.
pub(super) fn fork_key(point: &ForkPoint) -> ForkKey {
    (point.log.0, point.after, point.chain)
}

/// Makes every table, so that readers find them.
pub(super) fn create_all(tx: &WriteTransaction) -> Result<(), Trouble> {
    tx.open_table(META)?;
    tx.open_table(LOGS)?;
    tx.open_table(LOG_NUMBERS)?;
    tx.open_table(ENTRIES)?;
    tx.open_table(POINTS)?;
    tx.open_table(STRETCHES)?;
    tx.open_table(ARRIVED_IN)?;
    tx.open_table(INDEX)?;
    tx.open_table(DOCS)?;
    tx.open_table(VIEWS)?;
    tx.open_table(REVIEWS)?;
    tx.open_table(ANSWERED)?;
    tx.open_multimap_table(REFS)?;
    tx.open_table(TALLIES)?;
    tx.open_table(PEERS)?;
    tx.open_table(OWN_LOGS)?;
    tx.open_table(RETRIES)?;
    tx.open_table(RETRY_ORDER)?;
    tx.open_table(SCHEMAS)?;
    tx.open_table(OWN_SCHEMAS)?;
    tx.open_table(SCHEMA_TEXTS)?;
    tx.open_table(FORKS)?;
    tx.open_table(BRANCHES)?;
    tx.open_table(IMPLIED)?;
    Ok(())
}

/// Ends the space and the collection in an index key. Neither may contain it.
const END: u8 = 0;

/// What all index keys of one collection begin with; also its key among the tallies.
pub(super) fn collection_key(space: &SpaceName, collection: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(space.as_str().len() + collection.len() + 2);
    key.extend_from_slice(space.as_str().as_bytes());
    key.push(END);
    key.extend_from_slice(collection.as_bytes());
    key.push(END);
    key
}

/// The index key of a record: ordered as (space, collection, id).
pub(super) fn record_key(key: &RecordKey) -> Vec<u8> {
    let mut bytes = collection_key(&key.space, &key.collection);
    bytes.extend_from_slice(key.id.as_bytes());
    bytes
}

/// What the keys of all references to a record begin with, be it here or not.
pub(super) fn references_to(parent: &RecordKey) -> Vec<u8> {
    let mut bytes = record_key(parent);
    bytes.push(END);
    bytes
}

/// References to `parent` by the field with stored key `field` of records of `collection`. Those of living
/// records stand apart, so that one of them is found at once among any number of deleted ones.
pub(super) fn reference_key(
    parent: &RecordKey,
    collection: &str,
    field: &str,
    is_alive: bool,
) -> Vec<u8> {
    let mut bytes = references_to(parent);
    bytes.extend_from_slice(collection.as_bytes());
    bytes.push(END);
    bytes.extend_from_slice(field.as_bytes());
    bytes.extend_from_slice(&[END, u8::from(is_alive)]);
    bytes
}

/// The collection of the records that refer, from a key that begins with `prefix`.
pub(super) fn referring_collection<'k>(key: &'k [u8], prefix: &[u8]) -> Option<&'k str> {
    let rest = key.strip_prefix(prefix)?;
    let name = rest.split(|&byte| byte == END).next()?;
    std::str::from_utf8(name).ok()
}

/// Reads an index key back; `None` if no [`record_key`] wrote it.
pub(super) fn parse_record_key(bytes: &[u8]) -> Option<RecordKey> {
    let mut parts = bytes.splitn(3, |&byte| byte == END);
    let mut part = || std::str::from_utf8(parts.next()?).ok();
    let (space, collection, id) = (part()?, part()?, part()?);
    Some(RecordKey {
        space: SpaceName::new(space).ok()?,
        collection: collection.to_owned(),
        id: id.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_keys_round_trip_and_order_as_the_records_do() {
        let key = |space: &str, collection: &str, id: &str| RecordKey {
            space: SpaceName::new(space).expect("a space name"),
            collection: collection.to_owned(),
            id: id.to_owned(),
        };
        let keys = [
            key("main", "a", "2"),
            key("main", "a", "é"),
            key("main", "a_b", "1"),
            key("main", "b", "1"),
            key("main-2", "a", "1"),
        ];

        assert!(keys.is_sorted());
        assert!(keys.iter().map(record_key).is_sorted());
        for key in keys {
            assert_eq!(parse_record_key(&record_key(&key)), Some(key));
        }
        assert_eq!(parse_record_key(b"main\0a"), None);
    }
}
