//! What came of this same request, if it has succeeded before.
//!
//! A write that is repeated with its idempotency key is answered by the store as it was the first time. Some
//! cannot be made a second time, since what they name has gone: the review that they closed, or a field of the
//! schema that they were read under. They are refused only once the store has said that they are new.

use crdt_schema::ident::{RecordKey, SpaceName};

use super::Api;
use super::edits::write;
use super::error::{ApiError, Code};
use super::request::Incoming;
use crate::engine::batch::{CommitOutcome, LocalEdit, WriteMode};

/// The outcome of this same request; `refusal` if it has none.
///
/// The store looks at the idempotency key before anything else, so it is asked with an edit that it can only
/// refuse: no record has an empty entity tag.
pub(super) async fn outcome_or(
    api: &Api,
    incoming: &Incoming,
    refusal: ApiError,
) -> Result<CommitOutcome, ApiError> {
    let any = incoming.schema.collections.keys().next();
    let (Some(_), Some(any)) = (incoming.idempotency(), any) else {
        return Err(refusal);
    };
    let edit = LocalEdit {
        collection: any.clone(),
        id: "-".to_owned(),
        mode: WriteMode::Update,
        if_match: Some(String::new()),
        ops: Vec::new(),
    };
    let outcome = write(api, incoming, incoming.space(), vec![edit], None).await;
    outcome.map_err(|error| {
        let error = ApiError::of_command(error);
        match error.code {
            Code::NotFound | Code::Changed | Code::Deleted => refusal,
            _ => error,
        }
    })
}

/// The same, with the record that the request wrote.
pub(super) async fn write_or(
    api: &Api,
    incoming: &Incoming,
    refusal: ApiError,
) -> Result<(RecordKey, CommitOutcome), ApiError> {
    let outcome = outcome_or(api, incoming, refusal.clone()).await?;
    let (dot, Some(record)) = (outcome.dot, outcome.records.first()) else {
        return Err(refusal);
    };
    let header =
        api.read(move |handle| handle.reader().header(dot.log).map_err(ApiError::of_store));
    let space = header
        .await?
        .map_or_else(SpaceName::default, |header| header.space);
    let key = RecordKey {
        space,
        collection: record.collection.clone(),
        id: record.id.clone(),
    };
    Ok((key, outcome))
}
