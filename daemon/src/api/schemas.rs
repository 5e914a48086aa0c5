//! The versions of the schema: what is known, publishing one, and using another.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use crdt_schema::schema::{
    Change, Collection, Field, FieldType, PUBLISHED_VERSION_MAX, Priority, Provisional, Schema,
    Severity, compare,
};

use super::error::{ApiError, Code};
use super::request::{Incoming, shortened};
use super::types::{
    CollectionSummary, FieldSummary, ProblemItem, PublishReply, PublishRequest, SchemaPublication,
    SchemaRefresh, SchemaReply, SchemaStatus, SchemaSummary, SchemaVersion, UseRequest,
};
use super::{Answer, Api};
use crate::engine::batch::SchemaTag;
use crate::engine::fleet::PeerStatus;
use crate::node::handle::Handle;
use crate::store::{Known, Published, SchemaState};

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

/// What a schema says, for clients.
fn summary(schema: &Schema) -> SchemaSummary {
    let collection = |collection: &Collection| CollectionSummary {
        name: collection.name.clone(),
        label: collection.label.clone(),
        delete: collection.delete.name().to_owned(),
        fields: collection.fields.values().map(field_summary).collect(),
    };
    SchemaSummary {
        name: schema.name.clone(),
        version: schema.version,
        source: schema.source.clone(),
        collections: schema.collections.values().map(collection).collect(),
    }
}

fn field_summary(field: &Field) -> FieldSummary {
    let (mut choices, mut element, mut to) = (Vec::new(), None, None);
    match &field.kind {
        FieldType::Choice { of } => choices.clone_from(of),
        FieldType::Ref { to: target } => to = Some(target.clone()),
        FieldType::Set { of } => {
            element = Some(of.name().to_owned());
            if let FieldType::Choice { of } = of.as_ref() {
                choices.clone_from(of);
            }
        }
        FieldType::Text
        | FieldType::Integer
        | FieldType::Number
        | FieldType::Bool
        | FieldType::Date
        | FieldType::DateTime
        | FieldType::Counter
        | FieldType::Json => {}
    }
    FieldSummary {
        name: field.name.clone(),
        kind: field.kind.name().to_owned(),
        choices,
        element,
        to,
        required: field.required,
        default: field.default.as_ref().map(|value| value.to_json()),
        min: field.min,
        max: field.max,
        merge: field.merge.name().to_owned(),
        provisional: (field.provisional != Provisional::default())
            .then(|| field.provisional.name().to_owned()),
        priority: (field.priority != Priority::default()).then(|| field.priority.name().to_owned()),
    }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crdt_schema::ident::DeviceId;
    use serde_json::json;

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

    #[test]
    fn a_schema_is_summed_up_in_its_own_words() {
        let source = "schema = \"t\"\nversion = 3\n[collections.visit]\ndelete = \"edit-wins\"\n\
                      [collections.visit.fields]\n\
                      outcome = { type = \"choice\", of = [\"well\", \"ill\"], default = \"well\" }\n\
                      tags = { type = \"set\", of = [\"a\"] }\n\
                      again = { type = \"ref\", to = \"visit\" }";

        let summary = serde_json::to_value(summary(&Schema::parse(source).unwrap())).unwrap();

        assert_eq!(summary["source"], source);
        let visit = &summary["collections"][0];
        assert_eq!(visit["delete"], "edit-wins");
        assert_eq!(
            visit["fields"],
            json!([
                {"name": "outcome", "type": "choice", "choices": ["well", "ill"], "required": false,
                 "default": "well", "merge": "lww"},
                {"name": "tags", "type": "set", "choices": ["a"], "element": "choice", "required": false,
                 "merge": "set"},
                {"name": "again", "type": "ref", "to": "visit", "required": false, "merge": "lww"},
            ])
        );
    }
}
