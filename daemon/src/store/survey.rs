//! Reads every document of a store file that no daemon uses, such as a copy of one.
//!
//! Asks for no key, writes nothing but what the database needs to be opened after a
//! crash, and knows nothing of views, which are derived under a schema.

use std::path::Path;

use crdt_schema::document::Document;
use crdt_schema::ident::RecordKey;
use crdt_schema::schema::PUBLISHED;
use redb::{ReadableTable, ReadableTableMetadata};

use super::catalogue::{Catalogue, Known};
use super::database::{Handle, Make};
use super::pack::Unpacker;
use super::record::load_document;
use super::trouble::Trouble;
use super::{StoreError, meta, tables};

/// Page cache while a store is surveyed: every page is read once.
const CACHE_BYTES: usize = 16 << 20;

/// The documents of a store file.
#[derive(Debug)]
pub struct Survey {
    handle: Handle,
}

impl Survey {
    /// Opens a store file that exists.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        let path = file.to_owned();
        let make: Make = Box::new(move |builder| builder.open(&path));
        let handle = Handle::open(Some(file.to_owned()), CACHE_BYTES, make)?;
        let found = handle.read(meta::format)?;
        if found > meta::FORMAT {
            return Err(StoreError::NewerFormat {
                path: handle.path().to_owned(),
                found,
                known: meta::FORMAT,
            });
        }
        Ok(Self { handle })
    }

    /// The text of the version of the schema that the device uses; `None` if no daemon has run on the store.
    ///
    /// # Errors
    /// The store's, or that the text is damaged.
    pub fn schema(&self) -> Result<Option<String>, StoreError> {
        self.handle.read(|tx| {
            let Some((_, choice)) = meta::schema_choice(tx)? else {
                return Ok(None);
            };
            let versions = Catalogue::load(tx)?.0;
            let digest = versions.get(&choice.version).and_then(Known::digest);
            digest
                .map(|digest| Catalogue::text(tx, &digest))
                .transpose()
        })
    }

    /// How many records it has, alive or not. Published schemas are none.
    ///
    /// # Errors
    /// The store's.
    pub fn records(&self) -> Result<u64, StoreError> {
        self.handle.read(|tx| {
            let index = tx.open_table(tables::INDEX)?;
            let mut schemas = 0;
            for row in index.iter()? {
                let key = tables::parse_record_key(row?.0.value());
                schemas += u64::from(key.is_some_and(|key| key.collection == PUBLISHED));
            }
            Ok(index.len()? - schemas)
        })
    }

    /// Shows every record's document, but for published schemas, to `visit`, in the order of space, collection
    /// and id; for one that does not read back the reason.
    ///
    /// # Errors
    /// The store's.
    pub fn each(
        &self,
        mut visit: impl FnMut(&RecordKey, Result<Document, String>),
    ) -> Result<(), StoreError> {
        self.handle.read(|tx| {
            let docs = tx.open_table(tables::DOCS)?;
            let mut unpacker = Unpacker::default();
            for row in tx.open_table(tables::INDEX)?.iter()? {
                let (key, number) = row?;
                let Some(key) = tables::parse_record_key(key.value()) else {
                    continue;
                };
                if key.collection == PUBLISHED {
                    continue;
                }
                match load_document(&docs, &mut unpacker, &key, number.value()) {
                    Ok(document) => visit(&key, Ok(document)),
                    Err(Trouble::Damaged(why)) => visit(&key, Err(why)),
                    Err(trouble) => return Err(trouble),
                }
            }
            Ok(())
        })
    }
}
