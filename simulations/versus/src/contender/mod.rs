//! What every contender can do.

mod automerge;
mod fieldmesh;
mod iroh;
mod json;
mod samod;

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::link::{Link, Traffic};
use crate::records::{Record, Update};

/// Two devices of one system: device 0 has the news, device 1 lacks it.
pub trait Contender {
    /// Device 0 takes in new records.
    fn load(&mut self, records: &[Record]);
    /// Device 0 changes one field of each of these records.
    fn update(&mut self, updates: &[Update]);
    /// The devices meet over a new connection and talk until neither has anything to say.
    fn sync(&mut self, link: Link) -> Traffic;
    /// A record's fields on a device, if it has the record.
    fn record(&mut self, device: usize, id: &str) -> Option<Map<String, Json>>;
}

/// A system by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// This project: real engines over real stores, durable commits on both sides.
    Fieldmesh,
    /// One Automerge document a record and Automerge's own sync, state kept between meetings; in memory.
    Automerge,
    /// The same, where both devices are told which documents differ.
    AutomergeTold,
    /// samod, the Automerge repository in Rust; in memory.
    Samod,
    /// iroh-docs: one entry a record, its JSON as content; store on disk.
    IrohDocs,
    /// A server that numbers changes and sends whole records as JSON over HTTP; in memory.
    Json,
    /// The same, each answer compressed by zstd at level 3.
    JsonZstd,
}

/// All of them, in the table's order.
pub const ALL: [System; 7] = [
    System::Fieldmesh,
    System::Automerge,
    System::AutomergeTold,
    System::Samod,
    System::IrohDocs,
    System::Json,
    System::JsonZstd,
];

impl System {
    /// Its name on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fieldmesh => "fieldmesh",
            Self::Automerge => "automerge",
            Self::AutomergeTold => "automerge-told",
            Self::Samod => "samod",
            Self::IrohDocs => "iroh-docs",
            Self::Json => "json",
            Self::JsonZstd => "json-zstd",
        }
    }

    /// Two new devices, with their files, if they have any, in a directory.
    pub fn pair(self, dir: &Path) -> Box<dyn Contender> {
        match self {
            Self::Fieldmesh => Box::new(fieldmesh::Pair::new(dir)),
            Self::Automerge => Box::new(automerge::Pair::new(false)),
            Self::AutomergeTold => Box::new(automerge::Pair::new(true)),
            Self::Samod => Box::new(samod::Pair::new()),
            Self::IrohDocs => Box::new(iroh::Pair::new(dir)),
            Self::Json => Box::new(json::Pair::new(None)),
            Self::JsonZstd => Box::new(json::Pair::new(Some(3))),
        }
    }
}
