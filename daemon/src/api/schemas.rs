//! The versions of the schema: what is known, publishing one, using another, and which device is on which.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use crdt_schema::flags::{self, Date};
use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::DeviceId;
use crdt_schema::schema::{Change, PUBLISHED_VERSION_MAX, Schema, Severity, compare};

use super::error::{ApiError, Code};
use super::request::{Incoming, shortened};
use super::status::summary;
use super::types::{
    ProblemItem, PublishReply, PublishRequest, RetiredField, SchemaDevice, SchemaDevices,
    SchemaPublication, SchemaRefresh, SchemaReply, SchemaStatus, SchemaVersion, UseRequest,
};
use super::{Answer, Api};
use crate::engine::batch::SchemaTag;
use crate::engine::fleet::PeerStatus;
use crate::node::handle::Handle;
use crate::store::{Known, Published, SchemaState};

/// How many versions before the newest are searched for fields that it has not.
const RETIRED_VERSIONS_MAX: usize = 8;

/// `GET /v1/schema`
pub(super) async fn show(State(api): State<Api>, incoming: Incoming) -> Answer<SchemaReply> {
    incoming.finish()?;
    api.read(reply).await.map(Json)
}

fn reply(handle: &Handle) -> Result<SchemaReply, ApiError> {
    let state = handle.reader().schemas();
    let version = |(&version, known): (&u32, &Known)| {
        let mut published = known.published.iter().map(|text| publication(handle, text));
        Ok(SchemaVersion {
            version,
            digest: known.digest().map(short).unwrap_or_default(),
            active: version == state.active.version,
            published: published.next().transpose()?,
            problem: state.unusable.get(&version).cloned(),
            refused: published.collect::<Result<_, ApiError>>()?,
        })
    };
    Ok(SchemaReply {
        summary: summary(&state.active),
        status: status(handle, &state),
        versions: state
            .versions
            .iter()
            .map(version)
            .collect::<Result<_, ApiError>>()?,
    })
}

/// How the version in use stands among the known ones.
pub(super) fn status(handle: &Handle, state: &SchemaState) -> SchemaStatus {
    let refresh = handle.reader().refreshing();
    SchemaStatus {
        newest: state.newest.version,
        pinned: state.pinned,
        follow: state.follow,
        held_back: state.held_back.clone(),
        refresh: refresh.map(|progress| SchemaRefresh {
            done: progress.done,
            total: progress.total,
        }),
    }
}

fn publication(handle: &Handle, text: &Published) -> Result<SchemaPublication, ApiError> {
    let header = handle.reader().header(text.dot.log);
    let header = header.map_err(ApiError::of_store)?;
    Ok(SchemaPublication {
        digest: short(text.digest),
        at: text.hlc.to_string(),
        device: header
            .as_ref()
            .map(|h| h.device.to_string())
            .unwrap_or_default(),
        name: header.map(|header| header.name).unwrap_or_default(),
    })
}

/// The beginning of a digest, which is what people are shown of it.
fn short(digest: [u8; 32]) -> String {
    hex::encode(&digest[..8])
}

/// `GET /v1/schema/{version}`: the text.
pub(super) async fn text(
    State(api): State<Api>,
    Path(version): Path<String>,
    incoming: Incoming,
) -> Result<Response, ApiError> {
    incoming.finish()?;
    let version: u32 = version.parse().map_err(|_| {
        let detail = format!("{:?} is not a version of the schema", shortened(&version));
        ApiError::new(Code::UnknownSchemaVersion, detail)
    })?;
    let text = api.read(move |handle| {
        let text = handle.reader().schema_text(version);
        text.map_err(ApiError::of_store)?
            .ok_or_else(|| unknown(version))
    });
    let kind = [(header::CONTENT_TYPE, "application/toml")];
    Ok((kind, text.await?).into_response())
}

fn unknown(version: u32) -> ApiError {
    let detail = format!("version {version} of the schema is not known to this device");
    ApiError::new(Code::UnknownSchemaVersion, detail)
}

/// `PUT /v1/schema/active`
pub(super) async fn choose(State(api): State<Api>, incoming: Incoming) -> Answer<SchemaReply> {
    incoming.finish()?;
    let UseRequest { version } = incoming.json()?;
    let state = api.handle.reader().schemas();
    if !state.versions.contains_key(&version) {
        return Err(unknown(version).at("/version"));
    }
    let done = api.handle.use_schema(version).await;
    done.map_err(ApiError::of_command)?;
    api.read(reply).await.map(Json)
}

/// `POST /v1/schema`
pub(super) async fn publish(State(api): State<Api>, incoming: Incoming) -> Answer<PublishReply> {
    incoming.finish()?;
    let role = api.handle.facts().role.as_deref();
    if !api.handle.schema().may_publish(role) {
        let detail =
            "the device's role may not publish a schema: only one with `schema = true` may";
        return Err(ApiError::new(Code::NotAllowed, detail));
    }
    let request: PublishRequest = incoming.json()?;
    let new = Schema::parse(&request.source).map_err(|errors| {
        ApiError::new(Code::SchemaRefused, errors.to_string().trim_end()).at("/source")
    })?;
    let state = api.handle.reader().schemas();
    let digest = *blake3::hash(new.source.as_bytes()).as_bytes();
    let known = state.versions.get(&new.version);
    let first = known.and_then(|known| known.published.first());
    let already = first.is_some_and(|first| first.digest == digest);
    let is_own = known.is_some_and(|known| known.published.is_empty() && known.own == Some(digest));
    let mut changes = Vec::new();
    if !already && !is_own {
        changes = check(&state, &new, request.accept_warnings)?;
    }
    if !already {
        publish_base(&api, &state, new.version, &incoming.person).await?;
        let written = api.handle.publish(&new, incoming.person.clone()).await;
        written.map_err(ApiError::of_command)?;
    }
    Ok(Json(PublishReply {
        name: new.name,
        version: new.version,
        digest: short(digest),
        already,
        active: api.handle.schema().version,
        changes: changes.iter().map(item).collect(),
    }))
}

/// Publishes the versions before `version` that others may lack.
async fn publish_base(
    api: &Api,
    state: &SchemaState,
    version: u32,
    person: &str,
) -> Result<(), ApiError> {
    for base in state.unpublished() {
        if base >= version {
            break;
        }
        let text = api.read(move |handle| {
            let text = handle.reader().schema_text(base);
            text.map_err(ApiError::of_store)
        });
        let Some(Ok(schema)) = text.await?.map(|text| Schema::parse(&text)) else {
            continue;
        };
        let written = api.handle.publish(&schema, person.to_owned()).await;
        written.map_err(ApiError::of_command)?;
    }
    Ok(())
}

/// What changes from the newest known version to `new`, or why `new` cannot be published.
fn check(
    state: &SchemaState,
    new: &Schema,
    accept_warnings: bool,
) -> Result<Vec<Change>, ApiError> {
    if state.versions.contains_key(&new.version) {
        let version = new.version;
        let detail = format!("version {version} is known with another text; raise `version`");
        return Err(ApiError::new(Code::SchemaVersionTaken, detail).at("/source"));
    }
    if new.version > PUBLISHED_VERSION_MAX {
        let detail = format!("versions above {PUBLISHED_VERSION_MAX} cannot be published");
        return Err(ApiError::new(Code::SchemaRefused, detail).at("/source"));
    }
    let changes = compare(&state.newest, new);
    let worst = |severity| changes.iter().any(|change| change.severity == severity);
    let (code, detail) = if worst(Severity::Error) {
        (
            Code::SchemaRefused,
            "the new version would lose or misread data",
        )
    } else if worst(Severity::Warning) && !accept_warnings {
        (
            Code::SchemaWarnings,
            "the new version has changes that people should know of",
        )
    } else {
        return Ok(changes);
    };
    let mut error = ApiError::new(code, detail);
    error.errors = changes.iter().map(item).collect();
    Err(error)
}

fn item(change: &Change) -> ProblemItem {
    let places = [&change.collection, &change.field];
    let pointer = places
        .into_iter()
        .flatten()
        .map(|place| format!("/{place}"));
    let message = match change.older.as_str() {
        "" => change.data.clone(),
        older => format!("{}; on older devices: {older}", change.data),
    };
    ProblemItem {
        pointer: pointer.collect(),
        code: change.severity.name().to_owned(),
        message,
    }
}

/// What is wrong between this device's schema and a peer's, in words.
pub(super) fn note(ours: &SchemaTag, peer: &PeerStatus) -> Option<String> {
    let theirs = peer.schema.as_ref()?;
    if theirs.name != ours.name {
        let (theirs, ours) = (&theirs.name, &ours.name);
        return Some(format!(
            "it uses the schema {theirs}, not {ours}: give both devices the same schema file"
        ));
    }
    let differs = theirs.version == ours.version && theirs.digest != ours.digest;
    differs.then(|| {
        let version = ours.version;
        format!(
            "it uses another text of version {version}: publish one of them as the next version"
        )
    })
}

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn tag(name: &str, version: u32, digest: u8) -> SchemaTag {
        SchemaTag {
            name: name.to_owned(),
            version,
            digest: [digest; 8],
        }
    }

    fn peer(schema: Option<SchemaTag>) -> PeerStatus {
        PeerStatus {
            device: DeviceId([1; 32]),
            name: "tablet".to_owned(),
            hub: false,
            connected: true,
            last_seen_ms: 0,
            held: Default::default(),
            behind: 0,
            ahead: 0,
            refused_logs: BTreeMap::new(),
            schema,
            clock_suspect: false,
        }
    }

    #[test]
    fn only_another_schema_or_another_text_of_the_version_is_noted() {
        let ours = tag("clinic", 2, 1);
        let noted = |schema| note(&ours, &peer(schema));

        assert_eq!(noted(None), None);
        assert_eq!(noted(Some(tag("clinic", 2, 1))), None);
        assert_eq!(noted(Some(tag("clinic", 3, 9))), None);
        assert!(noted(Some(tag("clinic", 2, 9))).is_some_and(|note| note.contains("version 2")));
        assert!(noted(Some(tag("farm", 2, 1))).is_some_and(|note| note.contains("farm")));
    }

    #[test]
    fn a_change_says_where_it_is_and_what_older_devices_see() {
        let change = Change {
            severity: Severity::Warning,
            collection: Some("visit".to_owned()),
            field: Some("temp_c".to_owned()),
            data: "bounds are tighter".to_owned(),
            older: "nothing".to_owned(),
        };

        let shown = item(&change);

        assert_eq!(
            (shown.pointer.as_str(), shown.code.as_str()),
            ("/visit/temp_c", "warning")
        );
        assert_eq!(
            shown.message,
            "bounds are tighter; on older devices: nothing"
        );
    }
}
