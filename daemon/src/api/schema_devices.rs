//! Which device is on which version of the schema, and who still writes what was retired.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use crdt_schema::flags::{self, Date};
use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::DeviceId;
use crdt_schema::schema::Schema;

use super::error::ApiError;
use super::request::Incoming;
use super::schemas::note;
use super::types::{RetiredField, SchemaDevice, SchemaDevices};
use super::{Answer, Api};
use crate::node::handle::Handle;
use crate::store::SchemaState;

/// How many versions before the newest are searched for fields that it has not.
const RETIRED_VERSIONS_MAX: usize = 8;

/// `GET /v1/schema/devices`
pub(super) async fn devices(State(api): State<Api>, incoming: Incoming) -> Answer<SchemaDevices> {
    incoming.finish()?;
    api.read(read_devices).await.map(Json)
}

fn read_devices(handle: &Handle) -> Result<SchemaDevices, ApiError> {
    let state = handle.reader().schemas();
    let retired = retired(handle, &state)?;
    let asked: BTreeSet<(String, String)> = retired.keys().cloned().collect();
    let writes = handle.reader().writes(&asked).map_err(ApiError::of_store)?;

    let mut devices: BTreeMap<DeviceId, SchemaDevice> = BTreeMap::new();
    let mut newest: BTreeMap<DeviceId, Timestamp> = BTreeMap::new();
    for end in writes.ends {
        let last = newest.entry(end.header.device).or_default();
        if end.hlc >= *last {
            *last = end.hlc;
            let device = devices.entry(end.header.device).or_default();
            device.name = end.header.name;
            device.wrote = Some(end.schema_version);
            device.wrote_at = Some(end.hlc.to_string());
        }
    }
    let ours = state.tag();
    for (id, peer) in &handle.fleet().peers {
        let device = devices.entry(*id).or_default();
        if !peer.name.is_empty() {
            device.name.clone_from(&peer.name);
        }
        device.uses = peer.schema.as_ref().map(|schema| schema.version);
        device.note = note(&ours, peer);
    }
    let mut this = devices.remove(&handle.facts().device).unwrap_or_default();
    this.device = handle.facts().device.to_string();
    this.name.clone_from(&handle.facts().name);
    this.uses = Some(ours.version);
    let others = devices.into_iter().map(|(id, device)| SchemaDevice {
        device: id.to_string(),
        ..device
    });
    let field = |(place, (name, end)): ((String, String), (String, End))| {
        let writers = writes.writers.get(&place).into_iter().flatten();
        let late: Vec<&Timestamp> = writers
            .map(|(_, last)| last)
            .filter(|last| end.is_before(**last))
            .collect();
        RetiredField {
            collection: place.0,
            field: name,
            until_version: end.version(),
            until: end.day(),
            devices: late.len() as u64,
            last_written: late.into_iter().max().map(ToString::to_string),
        }
    };
    Ok(SchemaDevices {
        items: std::iter::once(this).chain(others).collect(),
        retired: retired.into_iter().map(field).collect(),
    })
}

/// When people were to stop writing a field.
#[derive(Clone, Copy, Debug)]
enum End {
    /// After this version.
    Version(u32),
    /// After this day.
    Day(Date),
}

impl End {
    /// Whether a write of that time came too late.
    fn is_before(self, write: Timestamp) -> bool {
        match self {
            Self::Version(_) => true,
            Self::Day(until) => flags::day(write).is_some_and(|day| day > until),
        }
    }

    fn version(self) -> Option<u32> {
        match self {
            Self::Version(version) => Some(version),
            Self::Day(_) => None,
        }
    }

    fn day(self) -> Option<String> {
        match self {
            Self::Version(_) => None,
            Self::Day(until) => Some(until.to_string()),
        }
    }
}

/// (collection, stored key) → its name in the last version that had it, and its end.
type Retired = BTreeMap<(String, String), (String, End)>;

/// The fields that the newest version has not, or says the last day of.
fn retired(handle: &Handle, state: &SchemaState) -> Result<Retired, ApiError> {
    let mut retired = ending(&state.newest);
    let older = state.versions.range(..state.newest.version).rev();
    for (&version, _) in older.take(RETIRED_VERSIONS_MAX) {
        let text = handle.reader().schema_text(version);
        let text = text.map_err(ApiError::of_store)?;
        let Some(Ok(schema)) = text.map(|text| Schema::parse(&text)) else {
            continue;
        };
        for collection in schema.collections.values() {
            let stays = state.newest.collection(&collection.name);
            for field in collection.fields.values() {
                if stays.is_none_or(|stays| stays.field_by_key(&field.key).is_none()) {
                    let place = (collection.name.clone(), field.key.clone());
                    let last = (field.name.clone(), End::Version(version));
                    retired.entry(place).or_insert(last);
                }
            }
        }
    }
    Ok(retired)
}

fn ending(newest: &Schema) -> Retired {
    let mut ending = Retired::new();
    for collection in newest.collections.values() {
        for field in collection.fields.values() {
            if let Some(until) = field.flags.until {
                let place = (collection.name.clone(), field.key.clone());
                ending.insert(place, (field.name.clone(), End::Day(until)));
            }
        }
    }
    ending
}
