//! Adopts versions of the schema: at the start, when one is published, and when a person chooses.
//!
//! A switch is one small transaction that writes the choice; the views follow (see [`super::refresh`]). If the
//! program ends between a publication and the switch, the start makes the same decision again.

use std::sync::Arc;

use crdt_schema::schema::{Schema, compare};
use redb::WriteTransaction;

use super::catalogue::{self, Catalogue, digest};
use super::database::{Ending, Handle};
use super::reading::{Choice, Grounds, SchemaReader, SchemaState, VIEW_FORMAT, broken};
use super::{Store, StoreError, StoreOptions, meta, tables};

/// Why a version was not put to use. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UseSchemaError {
    /// Its text is not here, or this program cannot use it.
    #[error("{0}")]
    Unusable(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a start decides on.
struct Start {
    choice: Choice,
    /// Whether somebody put a file beside the store to be used from here on.
    is_chosen: bool,
    /// Whether the device's own file says something new.
    keeps_own: bool,
}

/// Reads what is known of the schema and decides on the version to use. Nothing is written if the device's own
/// file cannot be used.
pub(super) fn open(
    handle: &Handle,
    options: &StoreOptions,
    read: SchemaReader,
) -> Result<(Catalogue, SchemaState), StoreError> {
    let own = &options.schema;
    let mut catalogue = handle.read(Catalogue::load)?;
    let before = handle.read(meta::schema_choice)?;
    let format = handle.read(meta::view_format)?;
    let start = start(handle, own, &catalogue, before.as_ref(), read)?;
    if start.keeps_own {
        catalogue.0.entry(own.version).or_default().own = Some(digest(&own.source));
    }
    let mut choice = start.choice;
    if start.is_chosen {
        let grounds = grounds(options, &catalogue, read);
        choice = handle.read(|tx| {
            let texts = |digest: &_| Catalogue::text(tx, digest);
            grounds.chosen(choice.version, &texts)
        })?;
    }
    let (state, choice) = decide(handle, options, &catalogue, choice, read)?;
    let is_kept = before.is_some_and(|(_, before)| before == choice);
    if is_kept && format == Some(VIEW_FORMAT) && !start.keeps_own {
        return Ok((catalogue, state));
    }
    let result = handle.write(|tx| {
        if format != Some(VIEW_FORMAT) {
            drop_views(tx)?;
        }
        if start.keeps_own {
            catalogue::write_own(tx, own.version, &own.source)?;
        }
        meta::put_schema_choice(tx, &own.name, choice)?;
        Ok(Ending::Commit(()))
    });
    result.map_err(|trouble| handle.explain(trouble))?;
    Ok((catalogue, state))
}

pub(super) fn drop_views(tx: &WriteTransaction) -> Result<(), super::trouble::Trouble> {
    tx.delete_table(tables::VIEWS)?;
    tx.delete_table(tables::REVIEWS)?;
    tx.delete_table(tables::TALLIES)?;
    tx.delete_table(tables::ANSWERED)?;
    tx.delete_multimap_table(tables::REFS)?;
    tables::create_all(tx)?;
    meta::put_view_format(tx, VIEW_FORMAT)
}

fn start(
    handle: &Handle,
    own: &Arc<Schema>,
    catalogue: &Catalogue,
    before: Option<&(String, Choice)>,
    read: SchemaReader,
) -> Result<Start, StoreError> {
    let of_own = Choice {
        version: own.version,
        pinned: false,
    };
    let refused = |why: String| StoreError::OwnSchema {
        path: handle.path().to_owned(),
        version: own.version,
        why,
    };
    let known = catalogue.0.get(&own.version);
    let own_digest = Some(digest(&own.source));
    let Some((name, chosen)) = before else {
        return Ok(Start {
            choice: of_own,
            is_chosen: true,
            keeps_own: true,
        });
    };
    if own.name != *name {
        return Err(refused(format!("the store's records are of schema {name}")));
    }
    if known.is_some_and(|known| known.own == own_digest) {
        let choice = match catalogue.0.contains_key(&chosen.version) {
            true => *chosen,
            false => of_own,
        };
        return Ok(Start {
            choice,
            is_chosen: false,
            keeps_own: false,
        });
    }
    if let Some(first) = known.and_then(|known| known.published.first()) {
        if Some(first.digest) != own_digest {
            let version = own.version;
            tracing::warn!(
                version,
                "the device's own schema file is not the text that was published for its version, which is used"
            );
        }
        return Ok(Start {
            choice: *chosen,
            is_chosen: false,
            keeps_own: false,
        });
    }
    let newest = catalogue.0.keys().next_back().copied().unwrap_or_default();
    if let Some(why) = check_successor(handle, own, catalogue, newest.min(own.version), read)? {
        return Err(refused(why));
    }
    let is_chosen = own.version > newest || (own.version == newest && chosen.version == newest);
    Ok(Start {
        choice: if is_chosen { of_own } else { *chosen },
        is_chosen,
        keeps_own: true,
    })
}

/// Why the device's own file cannot come after the version before it, or in its place; `None` if it can.
/// A file that was edited without a new version is judged as if it had one: nobody has been told of it.
fn check_successor(
    handle: &Handle,
    own: &Arc<Schema>,
    catalogue: &Catalogue,
    version: u32,
    read: SchemaReader,
) -> Result<Option<String>, StoreError> {
    let Some((&version, known)) = catalogue.0.range(..=version).next_back() else {
        return Ok(None);
    };
    let Some(wanted) = known.digest() else {
        return Ok(None);
    };
    let text = handle.read(|tx| Catalogue::text(tx, &wanted))?;
    let Ok(old) = read(&text) else {
        return Ok(None);
    };
    let mut new = Schema::clone(own);
    if new.version == version {
        tracing::warn!(
            version,
            "the schema file was changed without a new version; raise it before others use it"
        );
        new.version += 1;
    }
    Ok(broken(&compare(&old, &new)))
}

fn grounds<'a>(
    options: &'a StoreOptions,
    catalogue: &'a Catalogue,
    read: SchemaReader,
) -> Grounds<'a> {
    Grounds {
        catalogue,
        own: &options.schema,
        follow: options.schema_follow,
        read,
    }
}

fn decide(
    handle: &Handle,
    options: &StoreOptions,
    catalogue: &Catalogue,
    choice: Choice,
    read: SchemaReader,
) -> Result<(SchemaState, Choice), StoreError> {
    let grounds = grounds(options, catalogue, read);
    handle.read(|tx| grounds.decide(choice, &|digest| Catalogue::text(tx, digest)))
}

impl Store {
    /// Uses another known version from here on; the views follow. It stays in use until another is chosen, unless
    /// it is the one that would be used by itself: that gives way to those that are published.
    ///
    /// # Errors
    /// Why nothing has changed.
    pub fn use_schema(&mut self, version: u32) -> Result<(), UseSchemaError> {
        let grounds = grounds(&self.options, &self.catalogue, self.read_schema);
        let choice = self.handle.read(|tx| {
            let texts = |digest: &_| Catalogue::text(tx, digest);
            match grounds.parse(version, &texts)? {
                Ok(_) => Ok(Ok(grounds.chosen(version, &texts)?)),
                Err(why) => Ok(Err(why)),
            }
        })?;
        Ok(self.switch(choice.map_err(UseSchemaError::Unusable)?)?)
    }

    /// Takes note of what a transaction published, and adopts it if that is to be.
    pub(super) fn on_published(&mut self) {
        let result = self.handle.read(Catalogue::load).and_then(|catalogue| {
            self.catalogue = catalogue;
            let state = self.cell.state();
            self.switch(Choice {
                version: state.active.version,
                pinned: state.pinned,
            })
        });
        if let Err(error) = result {
            tracing::error!(%error, "a published schema is taken note of at the next start");
        }
    }

    fn switch(&mut self, choice: Choice) -> Result<(), StoreError> {
        let before = self.cell.state();
        let (state, choice) = decide(
            &self.handle,
            &self.options,
            &self.catalogue,
            choice,
            self.read_schema,
        )?;
        if choice.version != before.active.version || choice.pinned != before.pinned {
            let name = &state.active.name;
            let result = self.handle.write(|tx| {
                meta::put_schema_choice(tx, name, choice)?;
                Ok(Ending::Commit(()))
            });
            result.map_err(|trouble| self.handle.explain(trouble))?;
        }
        if let Some(why) = &state.held_back {
            tracing::warn!(why, "a newer schema is not in use");
        }
        if choice.version != before.active.version {
            let (from, to) = (before.active.version, choice.version);
            tracing::info!(from, to, "another version of the schema is in use");
        }
        let is_same = state.digest == before.digest;
        self.cell.set(state);
        if is_same {
            return Ok(());
        }
        self.begin_refresh()
    }
}
