//! The versions of the schema that this device has texts of: published ones, and its own files'.
//!
//! Invariants:
//! - A publication is a change set. Of the texts that were published for one version, the one that was first
//!   published (by time, then by dot) counts on every device, in whatever order they arrived; the others are
//!   kept to be shown as refused.
//! - A text of this device's own counts only where nothing has been published.
//! - Texts are kept by their digest, each once, however many devices publish it.
//!
//! It does not know which version is in use, nor whether a text is a good schema.

use std::collections::BTreeMap;

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{Dot, LogId};
use crdt_schema::op::Op;
use crdt_schema::schema::{PUBLISHED, Publication};
use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use super::tables::{OWN_SCHEMAS, SCHEMA_TEXTS, SCHEMAS};
use super::trouble::Trouble;

/// Most different texts of one version that are kept: those first published.
const TEXTS_PER_VERSION_MAX: usize = 16;

/// A text's digest, which also names it.
pub(super) type Digest = [u8; 32];

/// One text of a version, when it was first published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Published {
    /// When.
    pub hlc: Timestamp,
    /// By which change set.
    pub dot: Dot,
    /// The text's digest.
    pub digest: Digest,
}

/// A publication that a transaction has met.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) publication: Publication,
    pub(super) hlc: Timestamp,
    pub(super) dot: Dot,
}

impl Found {
    /// The publication in an edit, if it is one.
    pub(super) fn read(
        collection: &str,
        id: &str,
        ops: &[Op],
        dot: Dot,
        hlc: Timestamp,
    ) -> Option<Self> {
        if collection != PUBLISHED {
            return None;
        }
        let publication = Publication::read(id, ops);
        if publication.is_none() {
            tracing::warn!(%dot, id, "a published schema cannot be read and is left aside");
        }
        Some(Self {
            publication: publication?,
            hlc,
            dot,
        })
    }
}

/// What is known of one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Its published texts, the first published first. That one counts; the others are refused.
    pub published: Vec<Published>,
    /// The text that this device's own file had.
    pub own: Option<Digest>,
}

impl Known {
    /// The text that counts.
    pub fn digest(&self) -> Option<Digest> {
        self.published
            .first()
            .map(|first| first.digest)
            .or(self.own)
    }
}

/// The versions that are known, of one schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Catalogue(pub(super) BTreeMap<u32, Known>);

pub(super) fn digest(source: &str) -> Digest {
    *blake3::hash(source.as_bytes()).as_bytes()
}

impl Catalogue {
    pub(super) fn load(tx: &ReadTransaction) -> Result<Self, Trouble> {
        let mut versions: BTreeMap<u32, Known> = BTreeMap::new();
        for row in tx.open_table(SCHEMAS)?.iter()? {
            let (key, value) = row?;
            let ((version, digest), (hlc, log, seq)) = (key.value(), value.value());
            versions
                .entry(version)
                .or_default()
                .published
                .push(Published {
                    hlc: Timestamp(hlc),
                    dot: Dot::new(LogId(log), seq),
                    digest,
                });
        }
        for row in tx.open_table(OWN_SCHEMAS)?.iter()? {
            let (version, digest) = row?;
            versions.entry(version.value()).or_default().own = Some(digest.value());
        }
        for known in versions.values_mut() {
            known.published.sort_unstable();
        }
        Ok(Self(versions))
    }

    /// The text with that digest.
    pub(super) fn text(tx: &ReadTransaction, digest: &Digest) -> Result<String, Trouble> {
        let texts = tx.open_table(SCHEMA_TEXTS)?;
        let damaged = || {
            let name = hex::encode(&digest[..8]);
            Trouble::Damaged(format!("the schema text {name} does not read back"))
        };
        let row = texts.get(digest)?.ok_or_else(damaged)?;
        if *blake3::hash(row.value()).as_bytes() != *digest {
            return Err(damaged());
        }
        String::from_utf8(row.value().to_vec()).map_err(|_| damaged())
    }
}

/// Writes the publications of schema `name` that a transaction met. Returns whether there was one.
pub(super) fn write_found(
    tx: &WriteTransaction,
    name: &str,
    found: &[Found],
) -> Result<bool, Trouble> {
    let mut wrote = false;
    for found in found {
        if found.publication.name != name {
            let (theirs, dot) = (&found.publication.name, found.dot);
            tracing::warn!(%dot, theirs, ours = name, "a schema of another name was published");
            continue;
        }
        wrote |= write_one(tx, found)?;
    }
    Ok(wrote)
}

fn write_one(tx: &WriteTransaction, found: &Found) -> Result<bool, Trouble> {
    let Found {
        publication,
        hlc,
        dot,
    } = found;
    let digest = digest(&publication.source);
    let mut rows = tx.open_table(SCHEMAS)?;
    let mut published = Vec::new();
    let of_version = (publication.version, [0; 32])..=(publication.version, [u8::MAX; 32]);
    for row in rows.range(of_version)? {
        let (key, value) = row?;
        let (hlc, log, seq) = value.value();
        published.push(Published {
            hlc: Timestamp(hlc),
            dot: Dot::new(LogId(log), seq),
            digest: key.value().1,
        });
    }
    let new = Published {
        hlc: *hlc,
        dot: *dot,
        digest,
    };
    match published.iter_mut().find(|old| old.digest == digest) {
        Some(old) if *old <= new => return Ok(false),
        Some(old) => *old = new,
        None => published.push(new),
    }
    published.sort_unstable();
    for late in published.drain(TEXTS_PER_VERSION_MAX.min(published.len())..) {
        rows.remove((publication.version, late.digest))?;
    }
    if published.contains(&new) {
        let place = (new.hlc.0, new.dot.log.0, new.dot.seq);
        rows.insert((publication.version, digest), place)?;
        write_text(tx, &publication.source)?;
    }
    Ok(true)
}

/// Keeps the text of this device's own file.
pub(super) fn write_own(tx: &WriteTransaction, version: u32, source: &str) -> Result<(), Trouble> {
    tx.open_table(OWN_SCHEMAS)?
        .insert(version, digest(source))?;
    write_text(tx, source)
}

fn write_text(tx: &WriteTransaction, source: &str) -> Result<(), Trouble> {
    tx.open_table(SCHEMA_TEXTS)?
        .insert(digest(source), source.as_bytes())?;
    Ok(())
}
