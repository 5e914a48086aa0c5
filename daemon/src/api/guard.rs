//! The layers around every route: who may ask, how long an answer may take, and the form of errors.
//!
//! The Unix socket is trusted by its file mode. Over TCP a request needs the device's token, and a loopback
//! `Host`: a page that a browser loaded from elsewhere cannot reach the API by giving its own name this
//! device's address. There are no CORS headers, so browsers keep answers from foreign pages.

use std::net::Ipv4Addr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::{ApiError, Code};
use super::types::{PROBLEM_TYPE, Problem};

/// How long a request may take until its answer begins, reading its body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Paths that tell nothing but that the daemon runs.
const OPEN_PATHS: [&str; 2] = ["/healthz", "/readyz"];

/// The digest of the device's token. Digests are compared, so that time tells nothing of its length either.
#[derive(Clone)]
pub(super) struct Token(blake3::Hash);

impl Token {
    pub(super) fn new(token: &str) -> Self {
        Self(blake3::hash(token.as_bytes()))
    }

    fn allows(&self, headers: &HeaderMap) -> bool {
        let value = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let Some((scheme, token)) = value.and_then(|value| value.split_once(' ')) else {
            return false;
        };
        let digest = blake3::hash(token.trim().as_bytes());
        // Hashes compare in constant time.
        let same = digest == self.0;
        scheme.eq_ignore_ascii_case("bearer") && same
    }
}

/// Lets a request over TCP through, or not.
pub(super) async fn admit(State(token): State<Token>, request: Request, next: Next) -> Response {
    if !is_loopback_host(request.headers(), request.uri()) {
        let detail = "the request's host is not this device";
        return ApiError::new(Code::ForeignHost, detail).into_response();
    }
    let open = OPEN_PATHS.contains(&request.uri().path());
    if !open && !token.allows(request.headers()) {
        let detail = "the request has no token, or a wrong one";
        return ApiError::new(Code::Unauthorized, detail).into_response();
    }
    next.run(request).await
}

fn is_loopback_host(headers: &HeaderMap, uri: &Uri) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    let named = match (first.map(HeaderValue::to_str), second) {
        (Some(Ok(host)), None) => is_loopback(host),
        _ => false,
    };
    named
        && uri
            .authority()
            .is_none_or(|authority| is_loopback(authority.as_str()))
}

/// Whether `host`, with or without a port, is this device whatever a name server says.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    name.eq_ignore_ascii_case("localhost")
        || name == "[::1]"
        || name
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Bounds the time until an answer begins. What a slow client leaves unfinished is dropped.
pub(super) async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("no answer within {} seconds", REQUEST_TIMEOUT.as_secs());
            ApiError::new(Code::Timeout, detail).into_response()
        }
    }
}

/// Writes the body of errors, whoever raised them, and the headers that every answer has.
pub(super) async fn finish(request: Request, next: Next) -> Response {
    let instance = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        let problem = response.extensions_mut().remove::<Box<Problem>>();
        let mut problem = problem.map_or_else(|| foreign(status), |problem| *problem);
        problem.instance = instance;
        response = with_body(response, &problem);
    }
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

fn with_body(response: Response, problem: &Problem) -> Response {
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts
        .headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_TYPE));
    // A struct of texts and numbers always serialises.
    let body = serde_json::to_vec(problem).unwrap_or_default();
    Response::from_parts(parts, Body::from(body))
}

/// The problem behind an error that a library raised.
fn foreign(status: StatusCode) -> Problem {
    let code = match status {
        StatusCode::NOT_FOUND => Code::NoSuchRoute,
        StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
        status if status.is_client_error() => Code::BadRequest,
        _ => Code::Internal,
    };
    let row = code.row();
    let mut problem = ApiError::new(code, row.title).problem();
    problem.status = status.as_u16();
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn only_the_token_itself_opens() {
        let token = Token::new("secret");
        let allows = |value| token.allows(&headers(header::AUTHORIZATION, value));

        assert!(allows("Bearer secret") && allows("bearer secret"));
        for bad in [
            "secret",
            "Basic secret",
            "Bearer",
            "Bearer ",
            "Bearer secret2",
            "Bearer secre",
        ] {
            assert!(!allows(bad), "{bad:?} was let in");
        }
        assert!(!token.allows(&HeaderMap::new()));
    }

    #[test]
    fn names_that_a_name_server_could_answer_for_are_foreign() {
        for good in [
            "localhost",
            "LocalHost:7171",
            "127.0.0.1:80",
            "127.1.2.3",
            "[::1]:7171",
        ] {
            assert!(is_loopback(good), "{good} was refused");
        }
        for bad in [
            "",
            "evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "127.0.0.1.nip.io:80",
        ] {
            assert!(!is_loopback(bad), "{bad} was taken");
        }
    }

    #[test]
    fn a_request_without_a_host_or_with_a_foreign_target_is_foreign() {
        let uri = Uri::from_static("/v1/status");
        let local = headers(header::HOST, "localhost");

        assert!(is_loopback_host(&local, &uri));
        assert!(!is_loopback_host(&HeaderMap::new(), &uri));
        assert!(!is_loopback_host(
            &local,
            &Uri::from_static("http://evil.example/v1/status")
        ));
    }
}
