//! The devices of a plan: what each is, and how it differs from an ordinary one.

use crdt_schema::resolution::ReviewSubject;
use crdt_schema::schema::Schema;
use serde::{Deserialize, Serialize};

use crate::clock::ClockSpec;

/// What a device is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// An honest field device.
    #[default]
    Field,
    /// An honest device that counts as a durable copy.
    Hub,
    /// F29: somebody without the join secret.
    Stranger,
    /// F30: a member that lies.
    Liar,
}

impl Role {
    /// Whether it runs the real engine.
    pub fn is_honest(self) -> bool {
        matches!(self, Self::Field | Self::Hub)
    }
}

/// One device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSpec {
    /// Its number: names it in the rest of the plan, and keys its identity and draws.
    pub device: usize,
    /// What it is.
    #[serde(default)]
    pub role: Role,
    /// How its clock is wrong.
    #[serde(default)]
    pub clock: ClockSpec,
    /// How long a transaction takes, in milliseconds.
    #[serde(default = "commit_ms")]
    pub commit_ms: u64,
    /// How long reading entries for a peer takes, in milliseconds.
    #[serde(default = "fetch_ms")]
    pub fetch_ms: u64,
    /// Most entry bytes that it reads for a peer at once, if less than the engine asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch_bytes: Option<usize>,
    /// Most batches in one of its transactions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<usize>,
    /// It breaks for ever at this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_ms: Option<u64>,
    /// F17: it begins as a copy of that device, key and store, at its `born_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin_of: Option<usize>,
    /// It is first switched on then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub born_ms: u64,
    /// F27: the version of its own schema file; 0 for the oldest there is.
    #[serde(default, skip_serializing_if = "is_oldest")]
    pub schema: u32,
    /// The role of its people in the schema; if absent, nobody asks what they may answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duty: Option<String>,
}

impl DeviceSpec {
    /// Whether its people may answer such a review.
    pub fn may_answer(&self, schema: &Schema, collection: &str, subject: &ReviewSubject) -> bool {
        let may = |duty| schema.may_resolve(Some(duty), collection, subject);
        self.duty.as_deref().is_none_or(may)
    }

    /// The role in which they answer such a review: their duty or, where nobody asks, one that may.
    pub fn role_for(
        &self,
        schema: &Schema,
        collection: &str,
        subject: &ReviewSubject,
    ) -> Option<String> {
        let any = || {
            let reviewers = schema.reviewers(collection, subject);
            reviewers.first().map(|role| (*role).to_owned())
        };
        self.duty.clone().or_else(any)
    }
}

fn commit_ms() -> u64 {
    5
}

fn fetch_ms() -> u64 {
    2
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_oldest(version: &u32) -> bool {
    *version == 0
}
