//! Which version of the schema records are read and written under, and how that is decided.
//!
//! Invariants:
//! - Everybody asks the [`Cell`], and nobody keeps the answer longer than one read or one transaction.
//! - The decision is a function of the known texts, of what a person chose here, and of whether this
//!   device follows new versions. What a follower uses where nobody chose says [`super::automatic`].
//! - Records are read with the newest known text in mind, whichever version is in use, so data of a newer
//!   version is read in the shape of the one in use.
//! - The stamp names both texts: views with equal stamps were derived alike.
//!
//! It does not know how views are stored, nor what a migration is.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crdt_schema::schema::{Change, Schema, SchemaErrors, Severity};

use super::catalogue::{Catalogue, Digest, Known, digest};
use super::trouble::Trouble;
use crate::engine::batch::{SchemaInUse, SchemaTag};

/// Raised when the same documents and schema give other views than before.
pub(super) const VIEW_FORMAT: u32 = 3;

/// How many versions with texts that this program cannot use are passed over in search of the newest.
const UNUSABLE_MAX: usize = 16;

/// How many usable versions are looked at, from the newest down, on the way to the version in use. Each
/// is parsed at every publication, so without a bound a member could make that endless.
const NEWER_MAX: usize = 32;

/// What a view row says it was derived under.
pub(super) type Stamp = [u8; 8];

/// The version that is in use here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) version: u32,
    /// Whether a person chose it rather than what would be used by itself: it then stays.
    pub(super) pinned: bool,
}

/// The versions of the schema as this device has them.
#[derive(Clone, Debug)]
pub struct SchemaState {
    /// What records are read and written under: the version in use, able to read newer data.
    pub active: Arc<Schema>,
    /// The newest version whose text this program can use.
    pub newest: Arc<Schema>,
    /// Whether a person chose the version, so that others are not adopted.
    pub pinned: bool,
    /// Whether this device adopts newer versions by itself.
    pub follow: bool,
    /// Why the newest version is not in use, if that is not a person's choice.
    pub held_back: Option<String>,
    /// Every known version.
    pub versions: BTreeMap<u32, Known>,
    /// Why the texts of some versions cannot be used by this program.
    pub unusable: BTreeMap<u32, String>,
    /// Names the texts that views are derived under.
    pub(super) digest: Digest,
}

impl SchemaState {
    /// What is told to peers.
    pub fn tag(&self) -> SchemaTag {
        SchemaTag::of(&self.active)
    }

    /// What the engine needs of the schema in use.
    pub fn in_use(&self) -> SchemaInUse {
        SchemaInUse::of(&self.active)
    }

    /// The versions up to the one in use that others may need and nobody has published.
    pub fn unpublished(&self) -> Vec<u32> {
        let known = self.versions.range(..=self.active.version);
        known
            .filter(|(_, known)| known.published.is_empty())
            .map(|(version, _)| *version)
            .collect()
    }

    pub(super) fn stamp(&self) -> Stamp {
        let mut stamp = [0; 8];
        stamp.copy_from_slice(&self.digest[..8]);
        stamp
    }
}

/// How far the views have been derived anew after a switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refreshing {
    /// How many records have been looked at.
    pub done: u64,
    /// How many records there are.
    pub total: u64,
}

/// The one place that knows which schema is in use.
#[derive(Debug)]
pub(super) struct Cell {
    state: RwLock<Arc<SchemaState>>,
    progress: RwLock<Option<Refreshing>>,
}

impl Cell {
    pub(super) fn new(state: SchemaState) -> Self {
        Self {
            state: RwLock::new(Arc::new(state)),
            progress: RwLock::new(None),
        }
    }

    pub(super) fn state(&self) -> Arc<SchemaState> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set(&self, state: SchemaState) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
    }

    pub(super) fn progress(&self) -> Option<Refreshing> {
        *self.progress.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_progress(&self, progress: Option<Refreshing>) {
        *self
            .progress
            .write()
            .unwrap_or_else(PoisonError::into_inner) = progress;
    }
}

/// Reads a schema's text: [`Schema::parse`], or something with the same answers.
pub type SchemaReader = fn(&str) -> Result<Arc<Schema>, SchemaErrors>;

/// The answer of [`Schema::parse`].
pub(super) fn read_schema(text: &str) -> Result<Arc<Schema>, SchemaErrors> {
    Schema::parse(text).map(Arc::new)
}

/// Gives the text with a digest.
pub(super) type Texts<'a> = &'a dyn Fn(&Digest) -> Result<String, Trouble>;

/// What a decision is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grounds<'a> {
    pub(super) catalogue: &'a Catalogue,
    /// The device's own file.
    pub(super) own: &'a Arc<Schema>,
    pub(super) follow: bool,
    pub(super) read: SchemaReader,
}

impl Grounds<'_> {
    /// The schema of a version, or in words why there is none.
    pub(super) fn parse(
        self,
        version: u32,
        texts: Texts<'_>,
    ) -> Result<Result<Arc<Schema>, String>, Trouble> {
        let known = self.catalogue.0.get(&version);
        let Some(wanted) = known.and_then(Known::digest) else {
            return Ok(Err(format!("version {version} is not known here")));
        };
        if wanted == digest(&self.own.source) {
            return Ok(Ok(Arc::clone(self.own)));
        }
        let parsed = (self.read)(&texts(&wanted)?);
        Ok(parsed.map_err(|errors| {
            let first = errors.to_string();
            let first = first.lines().next().unwrap_or_default();
            format!("this fieldmesh cannot use the text of version {version}: {first}")
        }))
    }

    /// The state that follows from `choice`, and the choice that it amounts to.
    pub(super) fn decide(
        self,
        mut choice: Choice,
        texts: Texts<'_>,
    ) -> Result<(SchemaState, Choice), Trouble> {
        let automatic = match self.follow && !choice.pinned {
            true => self.automatic(texts)?,
            false => None,
        };
        let (active, held_back) = match automatic {
            Some(automatic) => (automatic.schema, automatic.held_back),
            None => {
                let schema = self.parse(choice.version, texts)?.unwrap_or_else(|why| {
                    tracing::error!(why, "the device's own schema file is used");
                    Arc::clone(self.own)
                });
                (schema, None)
            }
        };
        choice.version = active.version;
        let mut unusable = BTreeMap::new();
        let mut newer: Vec<Arc<Schema>> = Vec::new();
        for &version in self.catalogue.0.keys().rev() {
            let is_searched = unusable.len() == UNUSABLE_MAX || newer.len() == NEWER_MAX;
            if version <= active.version || is_searched {
                break;
            }
            match self.parse(version, texts)? {
                Ok(schema) => newer.push(schema),
                Err(why) => drop(unusable.insert(version, why)),
            }
        }
        let newest = newer.first().map_or(&active, |newest| newest);
        let newest = Arc::clone(newest);
        let held_back = held_back.or_else(|| unusable.values().next_back().cloned());
        let digest = stamp_digest(&active, &newest);
        let (active, held_back) = match Schema::clone(&active).reading(&newest) {
            Ok(lensed) => (Arc::new(lensed), held_back),
            Err(why) => {
                let words = format!("version {} cannot be read back: {why}", newest.version);
                (active, held_back.or(Some(words)))
            }
        };
        let state = SchemaState {
            active,
            newest,
            pinned: choice.pinned,
            follow: self.follow,
            held_back,
            versions: self.catalogue.0.clone(),
            unusable,
            digest,
        };
        Ok((state, choice))
    }
}

/// What breaks, in words, if something does.
pub(super) fn broken(changes: &[Change]) -> Option<String> {
    let errors = changes
        .iter()
        .filter(|change| change.severity == Severity::Error);
    let words: Vec<String> = errors
        .map(|change| match (&change.collection, &change.field) {
            (Some(collection), Some(field)) => format!("{collection}.{field}: {}", change.data),
            (Some(collection), None) => format!("{collection}: {}", change.data),
            _ => change.data.clone(),
        })
        .collect();
    (!words.is_empty()).then(|| words.join("; "))
}

fn stamp_digest(active: &Schema, newest: &Schema) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&VIEW_FORMAT.to_le_bytes());
    hasher.update(&digest(&active.source));
    hasher.update(&digest(&newest.source));
    *hasher.finalize().as_bytes()
}
