//! A request, read: its query parameters, the headers that writes share, and its body.
//!
//! Everything is checked before anything is done, and what is not understood is refused: a mistyped
//! parameter must not silently widen a list or drop a precondition.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Query, Request};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::IntoResponse;
use crdt_schema::ident::{DEFAULT_SPACE, SpaceName};
use crdt_schema::schema::Schema;
use serde::de::DeserializeOwned;
use uuid::Builder;

use super::Api;
use super::error::{ApiError, Code};
use super::types::{IDEMPOTENCY_HEADER, PERSON_HEADER};
use crate::engine::batch::Idempotency;
use crate::wire::limits::NAME_BYTES_MAX;

/// Longest idempotency key, in bytes.
const KEY_BYTES_MAX: usize = 128;

/// Most query parameters of a request.
const PARAMS_MAX: usize = 64;

/// A request, read but for the meaning of its body.
#[derive(Debug)]
pub(super) struct Incoming {
    /// The parameters that nobody has taken yet.
    pub(super) params: Params,
    /// The space that the request names.
    pub(super) space: Option<SpaceName>,
    /// The schema that was in use when the request came.
    pub(super) schema: Arc<Schema>,
    /// Who asks; empty if unknown.
    pub(super) person: String,
    /// What the record must be for the request to be carried out.
    pub(super) expect: Expect,
    key: Option<String>,
    fingerprint: [u8; 32],
    body: Bytes,
    has_json_type: bool,
}

/// A request's preconditions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Expect {
    /// `If-Match` with an entity tag.
    pub(super) etag: Option<String>,
    /// `If-Match: *`
    pub(super) exists: bool,
    /// `If-None-Match: *`
    pub(super) absent: bool,
    /// `If-None-Match` with entity tags: what the client has.
    pub(super) has: Vec<String>,
}

impl FromRequest<Api> for Incoming {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let schema = api.handle.schema();
        let headers = request.headers();
        let mut params = Params::read(&uri)?;
        let space = params
            .one("space")?
            .map(|name| space_name(&name))
            .transpose()?;
        let person = text_header(headers, PERSON_HEADER, NAME_BYTES_MAX)?.unwrap_or_default();
        let key = text_header(headers, IDEMPOTENCY_HEADER, KEY_BYTES_MAX)?;
        let expect = Expect::read(headers)?;
        let has_json_type = has_json_type(headers);
        // What the request expects of the record is part of it, and so is who sends it.
        let condition = |name| headers.get(name).map(|value| value.as_bytes().to_vec());
        let if_match = condition(header::IF_MATCH).unwrap_or_default();
        let if_none_match = condition(header::IF_NONE_MATCH).unwrap_or_default();
        let body = match method {
            Method::GET | Method::HEAD => Bytes::new(),
            _ => read_body(request, api).await?,
        };
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let fingerprint = fingerprint(&[
            method.as_str().as_bytes(),
            target.as_bytes(),
            &body,
            person.as_bytes(),
            &if_match,
            &if_none_match,
        ]);
        Ok(Self {
            params,
            space,
            schema,
            person,
            expect,
            key,
            fingerprint,
            body,
            has_json_type,
        })
    }
}

async fn read_body(request: Request, api: &Api) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, api)
        .await
        .map_err(|rejection| {
            let detail = rejection.body_text();
            match rejection.into_response().status() {
                StatusCode::PAYLOAD_TOO_LARGE => {
                    let detail = format!("the body is larger than {} bytes", super::BODY_BYTES_MAX);
                    ApiError::new(Code::TooLarge, detail)
                }
                _ => ApiError::new(
                    Code::BadRequest,
                    format!("the body cannot be read: {detail}"),
                ),
            }
        })
}

/// A digest that differs whenever one of the parts does.
fn fingerprint(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher
            .update(&(part.len() as u64).to_le_bytes())
            .update(part);
    }
    *hasher.finalize().as_bytes()
}

impl Incoming {
    /// The space that the request names, or the default.
    pub(super) fn space(&self) -> SpaceName {
        self.space.clone().unwrap_or_default()
    }

    /// The body as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        if !self.has_json_type {
            let detail = "the body's content type is not application/json";
            return Err(ApiError::new(Code::UnsupportedMediaType, detail));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            ApiError::new(
                Code::InvalidJson,
                format!("the body cannot be read: {error}"),
            )
        })
    }

    /// The client's promise about retries, if it made one.
    pub(super) fn idempotency(&self) -> Option<Idempotency> {
        let key = self.key.clone()?;
        Some(Idempotency {
            key,
            fingerprint: self.fingerprint,
        })
    }

    /// An id for the `index`th record of the request. With an idempotency key it is the same whenever the
    /// request is made again of this device, and no other request or device makes it.
    pub(super) fn new_id(&self, api: &Api, index: usize) -> String {
        let Some(key) = &self.key else {
            return uuid::Uuid::now_v7().to_string();
        };
        let device = api.handle.facts().device.0;
        let index = (index as u64).to_le_bytes();
        let digest = fingerprint(&[&device, key.as_bytes(), &self.fingerprint, &index]);
        let (head, _) = digest.split_at(16);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(head);
        Builder::from_custom_bytes(bytes).into_uuid().to_string()
    }

    /// Ends the reading: every parameter must have been taken.
    pub(super) fn finish(&self) -> Result<(), ApiError> {
        match self.params.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                let detail = format!("there is no parameter {:?} here", shortened(name));
                Err(ApiError::new(Code::BadRequest, detail))
            }
        }
    }
}

impl Expect {
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut expect = Self::default();
        match tags(headers, header::IF_MATCH)?.as_slice() {
            [] => {}
            [star] if star == "*" => expect.exists = true,
            [tag] => expect.etag = Some(tag.clone()),
            _ => {
                let detail = "If-Match takes one entity tag here";
                return Err(ApiError::new(Code::BadRequest, detail));
            }
        }
        let tags = tags(headers, header::IF_NONE_MATCH)?;
        if tags.iter().any(|tag| tag == "*") {
            expect.absent = true;
        } else {
            expect.has = tags;
        }
        Ok(expect)
    }
}

/// The entity tags of a header, without quotes. Our own hold neither commas nor quotes.
fn tags(headers: &HeaderMap, name: HeaderName) -> Result<Vec<String>, ApiError> {
    let mut tags = Vec::new();
    for value in headers.get_all(&name) {
        let text = value.to_str().map_err(|_| {
            ApiError::new(
                Code::BadRequest,
                format!("{name} is not a list of entity tags"),
            )
        })?;
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        // Weak comparison suffices for a read. No write sends a weak tag that this API gave.
        tags.extend(parts.map(|part| part.trim_start_matches("W/").trim_matches('"').to_owned()));
    }
    Ok(tags)
}

fn text_header(
    headers: &HeaderMap,
    name: &str,
    bytes_max: usize,
) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(value.as_bytes()).ok();
    let good = |text: &&str| {
        !text.is_empty() && text.len() <= bytes_max && !text.chars().any(char::is_control)
    };
    match text.filter(good) {
        Some(text) => Ok(Some(text.to_owned())),
        None => {
            let rule = format!("1 to {bytes_max} bytes of UTF-8 without control characters");
            Err(ApiError::new(
                Code::BadRequest,
                format!("the header {name} must be {rule}"),
            ))
        }
    }
}

fn has_json_type(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = value
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Reads the name of a space.
pub(super) fn space_name(name: &str) -> Result<SpaceName, ApiError> {
    SpaceName::new(name).map_err(|error| {
        let detail = format!("{error}; without one, records are in {DEFAULT_SPACE}");
        ApiError::new(Code::BadRequest, detail)
    })
}

/// Query parameters. Each is taken once; see [`Incoming::finish`].
#[derive(Debug, Default)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    pub(super) fn read(uri: &axum::http::Uri) -> Result<Self, ApiError> {
        let pairs: Query<Vec<(String, String)>> = Query::try_from_uri(uri)
            .map_err(|error| ApiError::new(Code::BadRequest, error.body_text()))?;
        if pairs.0.len() > PARAMS_MAX {
            let detail = format!("more than {PARAMS_MAX} parameters");
            return Err(ApiError::new(Code::BadRequest, detail));
        }
        Ok(Self(pairs.0))
    }

    /// The values of a parameter that may be repeated.
    pub(super) fn all(&mut self, name: &str) -> Vec<String> {
        let (taken, left) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|pair| pair.0 == name);
        self.0 = left;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    /// The value of a parameter.
    pub(super) fn one(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        let mut values = self.all(name);
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(ApiError::new(
                Code::BadRequest,
                format!("{name} is given twice"),
            )),
        }
    }

    /// A parameter that is `true` or `false`; absent is `false`.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, ApiError> {
        self.word(name, &[("false", false), ("true", true), ("", true)])
    }

    /// A parameter with a few words for values; absent is the first.
    pub(super) fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Result<T, ApiError> {
        let value = self.one(name)?;
        let found = match &value {
            None => words.first(),
            Some(value) => words.iter().find(|(word, _)| word == value),
        };
        found.map(|&(_, meaning)| meaning).ok_or_else(|| {
            let known: Vec<&str> = words
                .iter()
                .map(|&(word, _)| word)
                .filter(|w| !w.is_empty())
                .collect();
            let value = shortened(&value.unwrap_or_default());
            let detail = format!("{name}={value:?} is not one of {}", known.join(", "));
            ApiError::new(Code::BadRequest, detail)
        })
    }

    /// The parameter `limit`.
    pub(super) fn limit(&mut self, default: usize, max: usize) -> Result<usize, ApiError> {
        let Some(text) = self.one("limit")? else {
            return Ok(default);
        };
        text.parse()
            .ok()
            .filter(|limit| (1..=max).contains(limit))
            .ok_or_else(|| {
                let detail = format!(
                    "limit={:?} is not a number from 1 to {max}",
                    shortened(&text)
                );
                ApiError::new(Code::BadRequest, detail)
            })
    }
}

/// What a client sent, for a message.
pub(super) fn shortened(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn params(query: &'static str) -> Params {
        Params::read(&format!("/x?{query}").parse().unwrap()).unwrap()
    }

    fn headers(pairs: &[(&'static str, &'static [u8])]) -> HeaderMap {
        let pair = |&(name, value): &(&'static str, &'static [u8])| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_bytes(value).unwrap(),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn parameters_are_taken_once_and_typed() {
        let mut params = params("filter=a%3Aeq%3A1&limit=7&filter=b&deleted=true&x=1&x=2");

        assert_eq!(params.all("filter"), ["a:eq:1", "b"]);
        assert_eq!(params.limit(100, 1000).unwrap(), 7);
        assert_eq!(params.limit(100, 1000).unwrap(), 100);
        assert!(params.flag("deleted").unwrap());
        assert!(params.one("x").is_err());
        assert!(params.0.is_empty());
    }

    #[test]
    fn values_that_are_not_understood_are_refused() {
        for query in ["limit=0", "limit=1001", "limit=-1", "limit=x", "limit="] {
            assert!(params(query).limit(100, 1000).is_err(), "{query}");
        }
        assert!(params("deleted=maybe").flag("deleted").is_err());
        let error = params("format=xml")
            .word("format", &[("json", 0), ("ndjson", 1)])
            .unwrap_err();
        assert_eq!(error.detail, "format=\"xml\" is not one of json, ndjson");
    }

    #[test]
    fn persons_may_have_any_letters_but_no_control_characters() {
        let person = |value| text_header(&headers(&[(PERSON_HEADER, value)]), PERSON_HEADER, 8);

        assert_eq!(
            person("Wanjikũ".as_bytes()).unwrap().as_deref(),
            Some("Wanjikũ")
        );
        assert!(person(b"a\tb").is_err());
        assert!(person(b"").is_err());
        assert!(person(b"123456789").is_err());
        assert!(person(b"\xff").is_err());
    }

    #[test]
    fn preconditions_take_tags_with_and_without_quotes() {
        let read = |pairs: &[_]| Expect::read(&headers(pairs));

        assert_eq!(
            read(&[("if-match", b"\"ab\"")]).unwrap().etag.as_deref(),
            Some("ab")
        );
        assert_eq!(
            read(&[("if-match", b"ab")]).unwrap().etag.as_deref(),
            Some("ab")
        );
        assert!(read(&[("if-match", b"*")]).unwrap().exists);
        assert!(read(&[("if-none-match", b"*")]).unwrap().absent);
        assert_eq!(
            read(&[("if-none-match", b"W/\"a\", \"b\"")]).unwrap().has,
            ["a", "b"]
        );
        assert!(read(&[("if-match", b"\"a\", \"b\"")]).is_err());
    }

    #[test]
    fn any_json_type_is_json() {
        let json = |value| has_json_type(&headers(&[("content-type", value)]));

        assert!(json(b"application/json; charset=utf-8"));
        assert!(json(b"application/merge-patch+json"));
        assert!(!json(b"text/plain"));
        assert!(!json(b"application/x-www-form-urlencoded"));
        assert!(!has_json_type(&HeaderMap::new()));
    }

    #[test]
    fn a_fingerprint_knows_where_its_parts_end() {
        assert_ne!(fingerprint(&[b"ab", b"c"]), fingerprint(&[b"a", b"bc"]));
        assert_eq!(fingerprint(&[b"ab", b"c"]), fingerprint(&[b"ab", b"c"]));
    }
}
