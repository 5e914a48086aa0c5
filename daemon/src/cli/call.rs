//! One request to the daemon, from its parts to its reply.
//!
//! Every write carries an idempotency key, so a write whose answer was lost is asked again without being
//! done twice. A reply that is read whole is bounded; streams are not, their readers bound what they
//! keep.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Method, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::client::{Client, header};
use super::failure::{Exit, Failure};
use super::reply::{Body, Lost, REPLY_BYTES_MAX, chain, collect, problem};
use crate::api::types::IDEMPOTENCY_HEADER;

/// How long a reply may take. Longer than the daemon's own limit, so that its answer is seen.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);
/// Pauses before a write whose answer was lost, or that met a busy daemon, is asked again.
const RETRY_PAUSES: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
];

/// A request that is being put together.
#[derive(Clone, Debug)]
pub(crate) struct Call<'c> {
    pub(super) client: &'c Client,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Json>,
    pub(super) writes: bool,
}

impl Call<'_> {
    pub(crate) fn query(mut self, name: &str, value: impl ToString) -> Self {
        self.url
            .query_pairs_mut()
            .append_pair(name, &value.to_string());
        self
    }

    pub(crate) fn body(mut self, body: &impl Serialize) -> Result<Self, Failure> {
        let body = serde_json::to_value(body).map_err(|e| Failure::new(Exit::Failed, e))?;
        self.body = Some(body);
        Ok(self)
    }

    /// Names the request, so that it takes effect once however often it is sent.
    pub(crate) fn key(self, key: &str) -> Result<Self, Failure> {
        self.header(IDEMPOTENCY_HEADER, key)
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Result<Self, Failure> {
        self.headers
            .insert(HeaderName::from_static(name), header(name, value)?);
        Ok(self)
    }

    /// Sends the request and reads the whole reply.
    pub(crate) async fn fetch<T: DeserializeOwned>(self) -> Result<T, Failure> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let unknown = format!("the daemon's reply cannot be read: {error}");
            Failure::new(Exit::Failed, unknown).next("use a fieldmesh of the daemon's version")
        })
    }

    /// Sends the request; the reply's body, if it has one, is of no interest.
    pub(crate) async fn done(self) -> Result<(), Failure> {
        self.bytes().await.map(|_| ())
    }

    async fn bytes(self) -> Result<Vec<u8>, Failure> {
        let mut pauses = RETRY_PAUSES.iter();
        loop {
            let failure = match self.attempt().await {
                Ok(bytes) => return Ok(bytes),
                Err(Lost::Final(failure)) => return Err(failure),
                Err(Lost::Retryable(failure)) => failure,
            };
            let Some(pause) = pauses.next() else {
                return Err(failure);
            };
            tokio::time::sleep(*pause).await;
        }
    }

    async fn attempt(&self) -> Result<Vec<u8>, Lost> {
        let response = self.request().timeout(REPLY_TIMEOUT).send().await;
        let response = response.map_err(|error| self.lost(&error))?;
        let status = response.status();
        let bytes = collect(response).await.map_err(|error| match error {
            Body::TooLarge => Lost::Final(Failure::new(
                Exit::Failed,
                format!("the daemon's reply is larger than {REPLY_BYTES_MAX} bytes"),
            )),
            Body::Broken(error) => self.lost(&error),
        })?;
        if status.is_success() {
            return Ok(bytes);
        }
        let (problem, retryable) = problem(status, &bytes, self.writes);
        Err(if retryable {
            Lost::Retryable(problem)
        } else {
            Lost::Final(problem)
        })
    }

    /// Sends the request and hands over the reply while it arrives.
    pub(crate) async fn stream(&self) -> Result<reqwest::Response, Failure> {
        let response = self
            .request()
            .send()
            .await
            .map_err(|error| match self.lost(&error) {
                Lost::Final(failure) | Lost::Retryable(failure) => failure,
            })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = collect(response).await.unwrap_or_default();
        Err(problem(status, &bytes, self.writes).0)
    }

    fn request(&self) -> reqwest::RequestBuilder {
        let mut request = self
            .client
            .http
            .request(self.method.clone(), self.url.clone());
        request = request.headers(self.headers.clone());
        match &self.body {
            Some(body) => request.json(body),
            None => request,
        }
    }

    /// No reply: nothing reached the daemon, or its answer did not reach us.
    fn lost(&self, error: &reqwest::Error) -> Lost {
        if error.is_connect() {
            let failure = self.client.unreachable(error);
            let unchanged = failure.unchanged.is_none() && self.writes;
            return Lost::Final(if unchanged {
                failure.unchanged("nothing was written")
            } else {
                failure
            });
        }
        let failure = Failure::new(
            Exit::Unreachable,
            format!("the daemon's answer was lost: {}", chain(error)),
        );
        Lost::Retryable(if self.writes {
            failure
                .unchanged("it is not known whether the write took effect")
                .next("fieldmesh status, then look at the record before writing again")
        } else {
            failure.next("fieldmesh status")
        })
    }
}
