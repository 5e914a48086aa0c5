//! A list of the API, page by page.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::call::Call;
use super::failure::Failure;

/// What every page of a list has.
#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

/// The pages of a list that have not been fetched.
#[derive(Debug)]
pub(crate) struct Pages<'c> {
    call: Call<'c>,
    items_max: usize,
    cursor: Option<String>,
    has_ended: bool,
}

impl<'c> Pages<'c> {
    /// The pages that `call` asks for, of which the API gives at most `items_max` items at once.
    pub(crate) fn new(call: Call<'c>, items_max: usize) -> Self {
        Self {
            call,
            items_max,
            cursor: None,
            has_ended: false,
        }
    }

    /// The next page of at most `limit` items; `None` after the last.
    pub(crate) async fn next<T: DeserializeOwned>(
        &mut self,
        limit: usize,
    ) -> Result<Option<Vec<T>>, Failure> {
        if self.has_ended || limit == 0 {
            return Ok(None);
        }
        let mut call = self.call.clone().query("limit", limit.min(self.items_max));
        if let Some(cursor) = &self.cursor {
            call = call.query("cursor", cursor);
        }
        let page: Page<T> = call.fetch().await?;
        // The same cursor twice would never end.
        self.has_ended = page.next.is_none() || page.next == self.cursor;
        self.cursor = page.next;
        Ok(Some(page.items))
    }

    /// Whether there is more than was fetched.
    pub(crate) fn has_more(&self) -> bool {
        !self.has_ended
    }
}
