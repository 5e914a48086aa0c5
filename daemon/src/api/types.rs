//! Every JSON body of the HTTP API, for the server and for clients alike.
//!
//! Requests refuse members that they do not know; responses may gain members within `/v1`, so clients
//! ignore what they do not know. Times are RFC 3339 in UTC by the author's clock, which may be wrong. The
//! types say nothing of how they are filled in.

use crdt_schema::resolution::Life;
use crdt_schema::schema::FieldError;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value as Json};

mod history;
mod schema;
mod status;

pub use history::{Fate, HistoryEntry, HistoryOp, HistoryPage};
pub use schema::{
    PublishReply, PublishRequest, RetiredField, SchemaDevice, SchemaDevices, SchemaPublication,
    SchemaRefresh, SchemaReply, SchemaStatus, SchemaVersion, UseRequest,
};
pub use status::{
    CollectionCount, CollectionSummary, DamagedLog, Device, FieldSummary, Health, Network,
    NetworkStatus, Peer, PeerList, Refusal, RefusedLog, Repairs, SchemaName, SchemaSummary, Status,
    StoreCopy, StoreStatus,
};

/// The header that names the person who writes: at most 128 bytes, no control characters.
pub const PERSON_HEADER: &str = "fieldmesh-person";
/// The header by which requests with one key are one request: 1 to 128 bytes, no control characters.
pub const IDEMPOTENCY_HEADER: &str = "idempotency-key";
/// Set to `true` on the answer to a retry of a write that had already succeeded.
pub const REPLAYED_HEADER: &str = "idempotency-replayed";
/// The content type of every error.
pub const PROBLEM_TYPE: &str = "application/problem+json";
/// The content type of a stream of records, one JSON object a line.
pub const NDJSON_TYPE: &str = "application/x-ndjson";

/// Where a record's present state is known to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordStatus {
    /// Only on this device.
    Local,
    /// On other devices too, none of which is a hub.
    Shared,
    /// On a hub.
    Synced,
}

impl RecordStatus {
    /// The word in JSON, filters and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Shared => "shared",
            Self::Synced => "synced",
        }
    }
}

/// A record. The answer to every read and write of a single record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its id within the collection.
    pub id: String,
    /// Its collection.
    pub collection: String,
    /// Its space.
    pub space: String,
    /// Its fields in the schema's order; those that nobody has set are left out.
    pub fields: Map<String, Json>,
    /// What the schema of this device cannot show, such as `outcome (since version 3)`. Absent if the
    /// record is whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partial: Vec<String>,
    /// The last values of removed fields, until the end that their migration gives them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub legacy: Map<String, Json>,
    /// Whether it is alive.
    pub life: Life,
    /// Where its present state is known to be held.
    pub status: RecordStatus,
    /// How many other devices hold its present state.
    pub shared: usize,
    /// The ids of its open reviews.
    pub reviews: Vec<String>,
    /// Changes with every change of the record. Send it back in `If-Match` to write only if nobody else
    /// has written since.
    pub etag: String,
    /// When the newest of its changes was written.
    pub updated: String,
    /// The change sets that no other change of the record follows, as `log:seq`.
    pub heads: Vec<String>,
    /// The records that it refers to and that are not here yet, as `collection/id`: it is not complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
    /// What people should know about the write, such as a field that is out of use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<FieldError>,
    /// How each field came to its value, with `?why=true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Vec<FieldWhy>>,
    /// The deletes and restores of the record, newest first, with `?why=true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_life: Option<Vec<LifeWhy>>,
}

/// Who wrote something, where and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The device's key.
    pub device: String,
    /// The device's name.
    pub device_name: String,
    /// The person; empty if the device did not know.
    pub person: String,
    /// When, by the device's clock.
    pub time: String,
    /// The change set, as `log:seq`.
    pub dot: String,
}

/// How one field came to its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldWhy {
    /// The field's name.
    pub field: String,
    /// The merge policy that decided.
    pub policy: String,
    /// The value shown; `null` if nobody has set it.
    pub value: Json,
    /// The write that won; for sums and sets, the latest write.
    pub winner: Option<Candidate>,
    /// The other writes that no write has superseded, best first. For a counter: each device's sum.
    pub others: Vec<Candidate>,
    /// The id of the open review on this field, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<String>,
    /// One sentence that says why.
    pub why: String,
}

/// One write that took part in a merge, or that a reviewer may choose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The value written. In a review of a deletion: `true` for a delete, `false` for an edit.
    pub value: Json,
    /// Who wrote it.
    #[serde(flatten)]
    pub origin: Origin,
    /// The reviewer's note, if this write answered a review.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What was done to a record's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LifeAction {
    /// It was deleted.
    Delete,
    /// It was restored.
    Restore,
}

/// One delete or restore of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifeWhy {
    /// What was done.
    pub action: LifeAction,
    /// Why, in that person's words; may be empty.
    pub reason: String,
    /// Who did it.
    #[serde(flatten)]
    pub origin: Origin,
}

/// `GET /v1/collections/{collection}/records`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordPage {
    /// The records in the byte order of their ids.
    pub items: Vec<Record>,
    /// The `cursor` of the next page; `null` on the last.
    pub next: Option<String>,
}

/// `POST /v1/batch`: edits that are written together or not at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// 1 to 1000 edits, at most one for each record.
    pub edits: Vec<BatchEdit>,
    /// The space of all the records; `?space=` or the default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<String>,
}

/// What an edit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchOp {
    /// Makes a record that must not exist.
    Create,
    /// Makes or replaces a record; register fields that are not named are cleared.
    Put,
    /// Changes the named fields of a record that must exist.
    Patch,
    /// Changes the named fields of a record, or makes it.
    Upsert,
    /// Deletes a record.
    Delete,
    /// Restores a deleted record.
    Restore,
}

/// One edit of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchEdit {
    /// What to do.
    pub op: BatchOp,
    /// The record's collection.
    pub collection: String,
    /// The record's id; only `create` may leave it out, and is then given a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The fields, as in the body of `PATCH`; not for `delete` and `restore`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<Map<String, Json>>,
    /// Why; only for `delete` and `restore`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// If given, the record's entity tag must be this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<String>,
}

/// The answer to a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchResponse {
    /// The change set, as `log:seq`.
    pub dot: String,
    /// Its time.
    pub time: String,
    /// Whether this answers a retry of a batch that had already succeeded.
    pub replayed: bool,
    /// The records, in the order of the edits.
    pub records: Vec<BatchRecord>,
}

/// One record of a written batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRecord {
    /// Its collection.
    pub collection: String,
    /// Its id.
    pub id: String,
    /// Its entity tag after the batch.
    pub etag: String,
    /// Whether the batch created it.
    pub created: bool,
    /// What people should know about the write, such as a field that is out of use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<FieldError>,
}

/// What one change set did to one record: the data of an event `change`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Resume with `since=` this value to get what follows. It moves on with the last record of a change
    /// set, so a change set that was delivered in part is delivered again.
    pub cursor: String,
    /// The record's collection.
    pub collection: String,
    /// The record's id.
    pub id: String,
    /// The record's space.
    pub space: String,
    /// The kinds of intent: `set`, `add`, `insert`, `remove`, `delete`, `restore`, `resolve`,
    /// `accept`.
    pub kinds: Vec<String>,
    /// The names of the fields that were written.
    pub fields: Vec<String>,
    /// Who wrote it.
    #[serde(flatten)]
    pub origin: Origin,
    /// The record as it is now, with `include=record`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
}

/// `GET /v1/changes?feed=normal`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangePage {
    /// The changes, in the order in which they arrived on this device.
    pub items: Vec<Change>,
    /// The `since` of the next page.
    pub cursor: String,
    /// Whether the next page has something already.
    pub more: bool,
}

/// What a review is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReviewKind {
    /// Concurrent, differing values of a field.
    Field,
    /// A counter's sum has left its bounds.
    Bounds,
    /// A field's value breaks the schema.
    Invalid,
    /// A delete met an edit that it had not seen.
    Deletion,
    /// The record fulfils the condition of a rule of the schema.
    Rule,
    /// The record that a field refers to is deleted; or, without a field, the record was deleted while
    /// others that live refer to it.
    Reference,
    /// Clocks that cannot be trusted chose between concurrent values.
    Clock,
    /// What was accepted is so no longer.
    Past,
}

/// A conflict that waits for a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Review {
    /// Its id, the same on every device.
    pub id: String,
    /// The record's space.
    pub space: String,
    /// The record's collection.
    pub collection: String,
    /// The record's id.
    pub record_id: String,
    /// The value of the record's label field, for people; empty if it has none.
    pub label: String,
    /// What it is about.
    pub about: ReviewKind,
    /// The field's name; absent for a deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The rule's name; only for a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Whether this device's role may answer it.
    pub may_resolve: bool,
    /// The answers that stand, the one that counts first; absent while it is open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<ReviewAnswer>,
    /// `critical` reviews are listed before `normal` ones.
    pub priority: String,
    /// What is wrong with the value that is shown; absent if it is only contested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What to choose from. `candidate` of [`ResolveRequest`] counts from 0. For bounds: what each
    /// device has added, of which nothing is chosen.
    pub candidates: Vec<Candidate>,
    /// The index of the candidate that is shown until somebody decides; `null` if something else is.
    pub provisional: Option<usize>,
    /// The field's value that is shown until somebody decides; `null` for none, and for a deletion.
    pub shown: Json,
    /// The whole record; only when a single review is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Box<Record>>,
}

/// A person's answer to a review.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReviewAnswer {
    /// Whether what there was may stay as it is.
    pub accepted: bool,
    /// The value decided on; `null` if it was accepted, or cleared.
    pub value: Json,
    /// Why, in the reviewer's words.
    pub note: String,
    /// Who decided.
    #[serde(flatten)]
    pub origin: Origin,
}

/// `GET /v1/reviews`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReviewPage {
    /// The open reviews: those of critical fields first, then in the order of their ids.
    pub items: Vec<Review>,
    /// The `cursor` of the next page; `null` on the last.
    pub next: Option<String>,
    /// How many there are in all, under the same filter.
    pub total: usize,
}

/// `POST /v1/reviews/{id}/resolve`: exactly one of `candidate`, `value`, `keep` and `accept`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolveRequest {
    /// The index of the candidate to choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<usize>,
    /// Another value; `null` clears the field. For bounds: the right sum. Not for deletions.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub value: Option<Json>,
    /// Whether to keep the record. Only for deletions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<bool>,
    /// `true` to let stand what the review is about. Not for fields and deletions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<bool>,
    /// Why, in the reviewer's words.
    #[serde(default)]
    pub note: String,
    /// Whether to decide anew what has been answered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revisit: bool,
}

/// Tells a member that is `null` from one that is absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

/// An error, as RFC 9457 has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A URI that names the kind of problem: `urn:fieldmesh:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// This problem, for people.
    pub detail: String,
    /// The path of the request.
    #[serde(default)]
    pub instance: String,
    /// A stable name for programs.
    pub code: String,
    /// Each thing wrong with the request's body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ProblemItem>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// What to do next.
    pub hint: String,
    /// The record's entity tag, if the request named another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

/// One thing wrong with a request's body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemItem {
    /// Where, as a JSON pointer into the body.
    pub pointer: String,
    /// A stable name for programs.
    pub code: String,
    /// What is wrong and what would be right, for people.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn origin() -> Origin {
        Origin {
            device: "ab".into(),
            device_name: "tablet-3".into(),
            person: "Achieng".into(),
            time: "2026-11-21T07:00:00Z".into(),
            dot: "00:1".into(),
        }
    }

    #[test]
    fn a_record_with_its_reasons_round_trips() {
        let candidate = Candidate {
            value: json!("B"),
            origin: origin(),
            note: None,
        };
        let record = Record {
            id: "p1".into(),
            collection: "patient".into(),
            space: "main".into(),
            fields: json!({"name": "A"})
                .as_object()
                .cloned()
                .unwrap_or_default(),
            partial: vec!["outcome (since version 3)".into()],
            legacy: Map::new(),
            life: Life::Contested,
            status: RecordStatus::Shared,
            shared: 2,
            reviews: vec!["r1".into()],
            etag: "e".into(),
            updated: "2026-11-21T07:00:00Z".into(),
            heads: vec!["00:1".into()],
            waiting: vec!["place/p1".into()],
            warnings: Vec::new(),
            why: Some(vec![FieldWhy {
                field: "name".into(),
                policy: "review".into(),
                value: json!("A"),
                winner: Some(candidate.clone()),
                others: vec![candidate],
                review: Some("r1".into()),
                why: "later".into(),
            }]),
            why_life: Some(vec![LifeWhy {
                action: LifeAction::Delete,
                reason: "twice".into(),
                origin: origin(),
            }]),
        };

        let text = serde_json::to_string(&record).unwrap();

        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
        assert!(
            text.contains(r#""life":"contested","status":"shared""#),
            "{text}"
        );
    }

    #[test]
    fn an_origin_lies_flat_in_what_it_belongs_to() {
        let change = Change {
            cursor: "7".into(),
            collection: "visit".into(),
            id: "v".into(),
            space: "main".into(),
            kinds: vec!["set".into()],
            fields: vec!["temp_c".into()],
            origin: origin(),
            record: None,
        };

        let json = serde_json::to_value(&change).unwrap();

        assert_eq!(json["device_name"], "tablet-3");
        assert!(json.get("record").is_none());
        assert_eq!(serde_json::from_value::<Change>(json).unwrap(), change);
    }

    #[test]
    fn a_null_answer_to_a_review_is_not_a_missing_one() {
        let cleared: ResolveRequest = serde_json::from_value(json!({"value": null})).unwrap();
        let absent: ResolveRequest = serde_json::from_value(json!({"keep": true})).unwrap();

        assert_eq!(cleared.value, Some(Json::Null));
        assert_eq!(absent.value, None);
    }

    #[test]
    fn requests_refuse_members_they_do_not_know() {
        let edit = json!({"op": "create", "collection": "patient", "field": {}});

        assert!(serde_json::from_value::<BatchEdit>(edit).is_err());
        assert!(serde_json::from_value::<Network>(json!({"online": true, "x": 1})).is_err());
    }
}
