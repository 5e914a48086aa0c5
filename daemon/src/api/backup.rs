//! A consistent copy of the store, for `fieldmesh backup`.
//!
//! The copy is made beside the store, where there is a file system that the daemon may write to; whoever asked
//! takes it from there and removes it.

use axum::Json;
use axum::extract::State;

use super::error::{ApiError, Code};
use super::request::Incoming;
use super::types::StoreCopy;
use super::{Answer, Api};
use crate::node::handle::COPY_PREFIX;

/// `POST /v1/backup`
pub(super) async fn copy(State(api): State<Api>, incoming: Incoming) -> Answer<StoreCopy> {
    incoming.finish()?;
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|error| ApiError::new(Code::Internal, error.to_string()))?;
    let file = format!("{COPY_PREFIX}{}.redb", hex::encode(random));
    let copied = api.read(move |handle| {
        let path = handle.facts().dir.join(&file);
        let copied = handle.reader().copy_to(&path).map_err(ApiError::of_store)?;
        Ok(StoreCopy {
            file,
            entries: copied.entries,
            commits: copied.identity.commits,
        })
    });
    Ok(Json(copied.await?))
}
