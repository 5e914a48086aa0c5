//! What the API answers when it cannot do as asked: one table of problems, and how the errors of the store,
//! the node and the schema become rows of it.
//!
//! An [`ApiError`] does not know which request it answers: the outermost layer, [`super::guard::finish`],
//! adds the path and writes the body.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use crdt_schema::schema::FieldError;

use super::types::{Problem, ProblemItem};
use crate::engine::batch::{Rejection, StoreFault};
use crate::node::handle::CommandError;
use crate::store::{StoreError, UseSchemaError};

/// A kind of problem: a row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    BadRequest,
    InvalidJson,
    Unauthorized,
    ForeignHost,
    NoSuchRoute,
    UnknownCollection,
    NotFound,
    ReviewNotFound,
    MethodNotAllowed,
    AlreadyExists,
    Deleted,
    Referenced,
    NotAllowed,
    ReviewGone,
    ReviewResolved,
    CursorGone,
    Changed,
    PreconditionFailed,
    TooLarge,
    UnsupportedMediaType,
    Invalid,
    DuplicateRecord,
    IdempotencyKeyReused,
    Internal,
    StoreFailed,
    Busy,
    Stopping,
    Timeout,
    DiskFull,
    UnknownSchemaVersion,
    SchemaVersionTaken,
    SchemaUnusable,
    SchemaRefused,
    SchemaWarnings,
    SchemaMoved,
}

/// What the table says of a kind of problem.
pub(super) struct Row {
    pub(super) code: &'static str,
    pub(super) status: u16,
    pub(super) retryable: bool,
    pub(super) title: &'static str,
    pub(super) hint: &'static str,
}

const FINAL: bool = false;
const RETRYABLE: bool = true;

impl Code {
    #[cfg(test)]
    pub(super) const ALL: [Self; 35] = [
        Self::BadRequest,
        Self::InvalidJson,
        Self::Unauthorized,
        Self::ForeignHost,
        Self::NoSuchRoute,
        Self::UnknownCollection,
        Self::NotFound,
        Self::ReviewNotFound,
        Self::MethodNotAllowed,
        Self::AlreadyExists,
        Self::Deleted,
        Self::Referenced,
        Self::NotAllowed,
        Self::ReviewGone,
        Self::ReviewResolved,
        Self::CursorGone,
        Self::Changed,
        Self::PreconditionFailed,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Invalid,
        Self::DuplicateRecord,
        Self::IdempotencyKeyReused,
        Self::Internal,
        Self::StoreFailed,
        Self::Busy,
        Self::Stopping,
        Self::Timeout,
        Self::DiskFull,
        Self::UnknownSchemaVersion,
        Self::SchemaVersionTaken,
        Self::SchemaUnusable,
        Self::SchemaRefused,
        Self::SchemaWarnings,
        Self::SchemaMoved,
    ];

    /// The table: stable code, HTTP status, whether to retry, title, what to do next.
    #[rustfmt::skip]
    pub(super) fn row(self) -> Row {
        let (code, status, retryable, title, hint) = match self {
            Self::BadRequest => ("bad_request", 400, FINAL,
                "the request cannot be read", "correct or leave out what `detail` names"),
            Self::InvalidJson => ("invalid_json", 400, FINAL,
                "the body is not the expected JSON", "correct the body at the place named"),
            Self::Unauthorized => ("unauthorized", 401, FINAL,
                "a token is needed", "send the header `Authorization: Bearer TOKEN` with the device's API token"),
            Self::ForeignHost => ("foreign_host", 403, FINAL,
                "the API answers on this device only", "use http://127.0.0.1 or http://localhost"),
            Self::NoSuchRoute => ("no_such_route", 404, FINAL,
                "there is nothing at this path", "look up the path in the documentation of the API"),
            Self::UnknownCollection => ("unknown_collection", 404, FINAL,
                "the schema has no such collection", "look up the collections with GET /v1/schema"),
            Self::NotFound => ("not_found", 404, FINAL,
                "the record does not exist", "create it, or check its id and space"),
            Self::ReviewNotFound => ("review_not_found", 404, FINAL,
                "there is no such open review", "list the open ones with GET /v1/reviews"),
            Self::MethodNotAllowed => ("method_not_allowed", 405, FINAL,
                "this path does not take the method", "use a method that the header `Allow` names"),
            Self::AlreadyExists => ("already_exists", 409, FINAL,
                "the record already exists", "change it with PATCH, or create one with another id"),
            Self::Deleted => ("deleted", 409, FINAL,
                "the record is deleted", "restore it first, or what it is deleted with, with POST to its path and `/restore`"),
            Self::Referenced => ("referenced", 409, FINAL,
                "other records refer to the record", "delete those, or let them refer to another, first or in the same batch"),
            Self::NotAllowed => ("not_allowed", 403, FINAL,
                "the device's role may not do this", "do it on a device with one of the roles that `detail` names"),
            Self::ReviewResolved => ("review_resolved", 409, FINAL,
                "the review has been answered", "read the answer with GET; send `\"revisit\": true` to decide anew"),
            Self::ReviewGone => ("review_gone", 409, FINAL,
                "the review is not open any more", "read the record: somebody has decided, or a newer write has replaced the conflict"),
            Self::CursorGone => ("cursor_gone", 410, FINAL,
                "the cursor is not of this store", "start again with `since=0`, or with `since=now` after reading the records"),
            Self::Changed => ("changed", 412, FINAL,
                "the record has changed since it was read", "read it again, and write with its new entity tag"),
            Self::PreconditionFailed => ("precondition_failed", 412, FINAL,
                "the record already exists", "leave out `If-None-Match` to change it"),
            Self::TooLarge => ("too_large", 413, FINAL,
                "the request is too large", "split it into smaller ones"),
            Self::UnsupportedMediaType => ("unsupported_media_type", 415, FINAL,
                "the body must be JSON", "send the header `Content-Type: application/json`"),
            Self::Invalid => ("invalid", 422, FINAL,
                "the data breaks the schema", "correct the fields named in `errors`; nothing was written"),
            Self::DuplicateRecord => ("duplicate_record", 422, FINAL,
                "two edits are of one record", "join them into one edit, or send two batches"),
            Self::IdempotencyKeyReused => ("idempotency_key_reused", 422, FINAL,
                "the idempotency key was used for another request", "use a new key for each new request"),
            Self::Internal => ("internal", 500, FINAL,
                "the daemon has a fault", "look at the daemon's log, and report it"),
            Self::StoreFailed => ("store_failed", 500, RETRYABLE,
                "the store failed", "look at the daemon's log; try again"),
            Self::Busy => ("busy", 503, RETRYABLE,
                "the daemon is busy", "try again in a second"),
            Self::Stopping => ("stopping", 503, RETRYABLE,
                "the daemon is shutting down", "try again when it is up; a write may have happened, so repeat it with the same Idempotency-Key"),
            Self::Timeout => ("timeout", 503, RETRYABLE,
                "the answer took too long", "try again; a write may have happened, so repeat it with the same Idempotency-Key"),
            Self::DiskFull => ("disk_full", 507, RETRYABLE,
                "the disk is full", "free some space on the device's disk and try again; nothing was written"),
            Self::UnknownSchemaVersion => ("unknown_schema_version", 404, FINAL,
                "the version of the schema is not known", "look up the known ones with GET /v1/schema"),
            Self::SchemaVersionTaken => ("schema_version_taken", 409, FINAL,
                "the version has another text", "raise `version` in the schema file and publish that"),
            Self::SchemaUnusable => ("schema_unusable", 409, FINAL,
                "the version of the schema cannot be used here", "upgrade fieldmesh, or use another version"),
            Self::SchemaRefused => ("schema_refused", 422, FINAL,
                "the schema cannot be published", "correct what `errors` names and publish again; nothing was written"),
            Self::SchemaWarnings => ("schema_warnings", 422, FINAL,
                "the schema has warnings", "look at `errors`; if they are meant, publish with `accept_warnings`"),
            Self::SchemaMoved => ("schema_moved", 503, RETRYABLE,
                "another version of the schema came into use", "send the request again; it is then read under that version"),
        };
        Row { code, status, retryable, title, hint }
    }

    fn of_store(error: &StoreError) -> Self {
        match error {
            StoreError::DiskFull(_) => Self::DiskFull,
            StoreError::InUse { .. }
            | StoreError::NewerFormat { .. }
            | StoreError::OtherOrganisation { .. }
            | StoreError::Damaged { .. }
            | StoreError::OwnSchema { .. }
            | StoreError::Failed(_) => Self::StoreFailed,
        }
    }
}

/// Why a request was not carried out.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{detail}")]
pub(super) struct ApiError {
    pub(super) code: Code,
    pub(super) detail: String,
    pub(super) errors: Vec<ProblemItem>,
    pub(super) etag: Option<String>,
}

/// Collection and id of a record.
pub(super) type RecordName = (String, String);

impl ApiError {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            etag: None,
        }
    }

    /// Fields that break the schema. `place` is the pointer to the object that holds them.
    pub(super) fn invalid(detail: impl Into<String>, place: &str, errors: Vec<FieldError>) -> Self {
        let errors = errors.into_iter().map(|error| item(place, error)).collect();
        Self {
            errors,
            ..Self::new(Code::Invalid, detail)
        }
    }

    /// The same, with one thing wrong at `pointer`.
    pub(super) fn at(mut self, pointer: impl Into<String>) -> Self {
        self.errors.push(ProblemItem {
            pointer: pointer.into(),
            code: self.code.row().code.to_owned(),
            message: self.detail.clone(),
        });
        self
    }

    pub(super) fn of_store(error: StoreError) -> Self {
        tracing::warn!(%error, "a read for the API failed");
        Self::new(Code::of_store(&error), error.to_string())
    }

    pub(super) fn of_command(error: CommandError) -> Self {
        Self::of_batch(error, &[])
    }

    /// The same of a batch whose edits are of these records: the error says which edit is meant.
    pub(super) fn of_batch(error: CommandError, batch: &[RecordName]) -> Self {
        let detail = error.to_string();
        match error {
            CommandError::Rejected(rejection) => Self::of_rejection(rejection, batch),
            CommandError::Busy => Self::new(Code::Busy, detail),
            CommandError::Stopping => Self::new(Code::Stopping, detail),
            CommandError::Schema(UseSchemaError::Unusable(_)) => {
                Self::new(Code::SchemaUnusable, detail)
            }
            CommandError::Schema(UseSchemaError::Store(error)) => {
                Self::new(Code::of_store(&error), detail)
            }
        }
    }

    fn of_rejection(rejection: Rejection, batch: &[RecordName]) -> Self {
        let detail = rejection.to_string();
        match rejection {
            Rejection::NotFound { collection, id } => {
                Self::new(Code::NotFound, detail).of_record(batch, &collection, &id)
            }
            Rejection::Exists { collection, id } => {
                Self::new(Code::AlreadyExists, detail).of_record(batch, &collection, &id)
            }
            Rejection::Deleted { collection, id }
            | Rejection::DeletedWith { collection, id, .. } => {
                Self::new(Code::Deleted, detail).of_record(batch, &collection, &id)
            }
            Rejection::Referenced { collection, id, .. } => {
                Self::new(Code::Referenced, detail).of_record(batch, &collection, &id)
            }
            Rejection::Changed {
                collection,
                id,
                etag,
            } => {
                let error = Self {
                    etag: Some(etag),
                    ..Self::new(Code::Changed, detail)
                };
                error.of_record(batch, &collection, &id)
            }
            Rejection::Invalid {
                collection,
                id,
                errors,
            } => {
                let place = place(batch, &collection, &id).map(|n| format!("/edits/{n}/fields"));
                Self::invalid(detail, &place.unwrap_or_default(), errors)
            }
            Rejection::NotAllowed { .. } => Self::new(Code::NotAllowed, detail),
            Rejection::KeyReused { .. } => Self::new(Code::IdempotencyKeyReused, detail),
            Rejection::TooLarge { .. } => Self::new(Code::TooLarge, detail),
            Rejection::SchemaMoved { .. } => Self::new(Code::SchemaMoved, detail),
            Rejection::Store(StoreFault::DiskFull(_)) => Self::new(Code::DiskFull, detail),
            Rejection::Store(StoreFault::Failed(_)) => Self::new(Code::StoreFailed, detail),
        }
    }

    /// The same; in a batch, it says which edit is meant.
    fn of_record(self, batch: &[RecordName], collection: &str, id: &str) -> Self {
        match place(batch, collection, id) {
            Some(index) => self.at(format!("/edits/{index}")),
            None => self,
        }
    }

    /// The body, but for the request's path.
    pub(super) fn problem(&self) -> Problem {
        let row = self.code.row();
        Problem {
            kind: format!("urn:fieldmesh:problem:{}", row.code),
            title: row.title.to_owned(),
            status: row.status,
            detail: self.detail.clone(),
            instance: String::new(),
            code: row.code.to_owned(),
            errors: self.errors.clone(),
            retryable: row.retryable,
            hint: row.hint.to_owned(),
            etag: self.etag.clone(),
        }
    }
}

/// Which edit of a batch is of that record.
fn place(batch: &[RecordName], collection: &str, id: &str) -> Option<usize> {
    let mut records = batch.iter();
    records.position(|record| record.0 == collection && record.1 == id)
}

fn item(place: &str, error: FieldError) -> ProblemItem {
    // An error of the record as a whole has no pointer of its own; what is wrong is the edit then.
    let pointer = match error.pointer.as_str() {
        "" => place.strip_suffix("/fields").unwrap_or(place).to_owned(),
        field => format!("{place}{field}"),
    };
    ProblemItem {
        pointer,
        code: error.code,
        message: error.message,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let status =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        let headers = response.headers_mut();
        if self.code == Code::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(self.code, Code::Busy | Code::Stopping | Code::Timeout) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(Box::new(problem));
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn field_error(pointer: &str) -> FieldError {
        FieldError {
            pointer: pointer.into(),
            code: "above_max".into(),
            message: "at most 45".into(),
        }
    }

    #[test]
    fn every_problem_has_its_own_code_an_error_status_and_a_remedy() {
        let mut seen = BTreeSet::new();
        for code in Code::ALL {
            let row = code.row();
            assert!(seen.insert(row.code), "{} stands twice", row.code);
            assert!(
                row.code.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
                "{}",
                row.code
            );
            assert!((400..600).contains(&row.status), "{}", row.code);
            assert!(
                !row.title.is_empty() && !row.hint.is_empty(),
                "{}",
                row.code
            );
            assert!(!row.retryable || row.status >= 500, "{}", row.code);
        }
    }

    #[test]
    fn rejections_have_the_status_that_clients_rely_on() {
        let (collection, id) = (String::from("visit"), String::from("v1"));
        let table = [
            (
                Rejection::NotFound {
                    collection: collection.clone(),
                    id: id.clone(),
                },
                404,
                "not_found",
            ),
            (
                Rejection::Exists {
                    collection: collection.clone(),
                    id: id.clone(),
                },
                409,
                "already_exists",
            ),
            (
                Rejection::Deleted {
                    collection: collection.clone(),
                    id: id.clone(),
                },
                409,
                "deleted",
            ),
            (
                Rejection::Changed {
                    collection,
                    id,
                    etag: "e".into(),
                },
                412,
                "changed",
            ),
            (
                Rejection::KeyReused { key: "k".into() },
                422,
                "idempotency_key_reused",
            ),
            (
                Rejection::TooLarge {
                    bytes: 2,
                    bytes_max: 1,
                },
                413,
                "too_large",
            ),
            (
                Rejection::Store(StoreFault::DiskFull("x".into())),
                507,
                "disk_full",
            ),
            (
                Rejection::Store(StoreFault::Failed("x".into())),
                500,
                "store_failed",
            ),
        ];
        for (rejection, status, code) in table {
            let problem = ApiError::of_rejection(rejection, &[]).problem();
            assert_eq!((problem.status, problem.code.as_str()), (status, code));
        }
        let busy = ApiError::of_command(CommandError::Busy).problem();
        assert_eq!(
            (busy.status, busy.code.as_str(), busy.retryable),
            (503, "busy", true)
        );
    }

    #[test]
    fn a_version_of_the_schema_that_is_not_put_to_use_says_why() {
        let table = [
            (
                UseSchemaError::Unusable("x".into()),
                (409, "schema_unusable"),
            ),
            (StoreError::DiskFull("x".into()).into(), (507, "disk_full")),
            (StoreError::Failed("x".into()).into(), (500, "store_failed")),
        ];
        for (error, expected) in table {
            let error = ApiError::of_command(CommandError::Schema(error));
            let problem = error.problem();
            assert_eq!((problem.status, problem.code.as_str()), expected);
        }
    }

    #[test]
    fn pointers_lead_to_the_field_in_the_body_that_was_sent() {
        let rejection = |pointer| Rejection::Invalid {
            collection: "visit".into(),
            id: "v2".into(),
            errors: vec![field_error(pointer)],
        };
        let record = |id: &str| ("visit".to_owned(), id.to_owned());
        let batch = [record("v1"), record("v2")];
        let pointer = |rejection, batch: &[RecordName]| {
            ApiError::of_rejection(rejection, batch).errors[0]
                .pointer
                .clone()
        };

        assert_eq!(
            pointer(rejection("/temp_c"), &batch),
            "/edits/1/fields/temp_c"
        );
        assert_eq!(pointer(rejection(""), &batch), "/edits/1");
        assert_eq!(pointer(rejection("/temp_c"), &[]), "/temp_c");
        let missing = Rejection::NotFound {
            collection: "visit".into(),
            id: "v2".into(),
        };
        assert_eq!(pointer(missing, &batch), "/edits/1");
    }

    #[test]
    fn a_changed_record_is_answered_with_its_entity_tag() {
        let (collection, id, etag) = ("visit".into(), "v1".into(), "abc".into());
        let error = ApiError::of_rejection(
            Rejection::Changed {
                collection,
                id,
                etag,
            },
            &[],
        );

        assert_eq!(error.problem().etag.as_deref(), Some("abc"));
    }
}
