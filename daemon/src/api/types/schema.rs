//! JSON bodies about the versions of the schema.

use serde::{Deserialize, Serialize};

use super::{ProblemItem, SchemaSummary};

/// `GET /v1/schema`, and the answer to `PUT /v1/schema/active`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SchemaReply {
    /// The version in use.
    #[serde(flatten)]
    pub summary: SchemaSummary,
    /// How it stands among the others.
    #[serde(flatten)]
    pub status: SchemaStatus,
    /// Every known version, the oldest first.
    pub versions: Vec<SchemaVersion>,
}

/// How the version in use stands among the known ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaStatus {
    /// The newest version that this device can use.
    pub newest: u32,
    /// Whether a person chose the version, so that newer ones are not adopted.
    pub pinned: bool,
    /// Whether the device adopts newer versions by itself.
    pub follow: bool,
    /// Why a newer version is not in use, if that is not a person's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<String>,
    /// Set while records are being derived anew; reviews and counts are right when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<SchemaRefresh>,
}

/// How far records have been derived anew after a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaRefresh {
    /// Records looked at.
    pub done: u64,
    /// Records in all.
    pub total: u64,
}

/// A known version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaVersion {
    /// The version.
    pub version: u32,
    /// Names the text that counts.
    pub digest: String,
    /// Whether it is in use here.
    pub active: bool,
    /// Who published it first; absent if nobody has, and the text is that of this device's own file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<SchemaPublication>,
    /// Why it cannot be used here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Other texts that were published later for the same version, and do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<SchemaPublication>,
}

/// A text that was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaPublication {
    /// Names the text.
    pub digest: String,
    /// When it was first published, by that device's clock.
    pub at: String,
    /// The device.
    pub device: String,
    /// Its name.
    pub name: String,
}

/// `POST /v1/schema`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishRequest {
    /// The text of the schema file.
    pub source: String,
    /// Publish in spite of warnings.
    #[serde(default)]
    pub accept_warnings: bool,
}

/// The answer to `POST /v1/schema`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishReply {
    /// The data set's name.
    pub name: String,
    /// The version that was published.
    pub version: u32,
    /// Names the text.
    pub digest: String,
    /// Whether the same text had been published before; nothing was written then.
    pub already: bool,
    /// The version in use here now.
    pub active: u32,
    /// What changes, the worst first.
    pub changes: Vec<ProblemItem>,
}

/// `PUT /v1/schema/active`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UseRequest {
    /// The version to use. An older one than the newest stays in use until another is chosen.
    pub version: u32,
}

/// `GET /v1/schema/devices`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaDevices {
    /// The devices, this one first.
    pub items: Vec<SchemaDevice>,
    /// Fields that older versions had and the newest has not.
    pub retired: Vec<RetiredField>,
}

/// Which versions a device uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaDevice {
    /// The device.
    pub device: String,
    /// Its name; empty until it has been introduced.
    pub name: String,
    /// The version in use there, as it last said; absent if it has not been met since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// The version that its last known data was written under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrote: Option<u32>,
    /// When that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrote_at: Option<String>,
    /// What is wrong with its schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A field that is on its way out, and who has written it lately.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetiredField {
    /// Its collection.
    pub collection: String,
    /// Its name in the last version that had it.
    pub field: String,
    /// That version, if the newest one has not the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_version: Option<u32>,
    /// Its last day, if the newest version names one: `until`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// How many devices wrote it among their newest change sets; of a field with a last day, after that.
    pub devices: u64,
    /// When it was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_written: Option<String>,
}
