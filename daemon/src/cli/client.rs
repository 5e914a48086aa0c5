//! The way to the daemon: its HTTP API, over the Unix socket in the device's directory or over TCP.
//!
//! Every write carries an idempotency key. How a request is sent is told in [`super::call`].

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crdt_schema::ident::DEFAULT_SPACE;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, Url};

use super::call::Call;
use super::failure::{Exit, Failure};
use super::reply::{chain, io_kind};
use crate::api::types::PERSON_HEADER;
use crate::config::{self, SOCKET_FILE};

/// How long the daemon may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What the global flags say about reaching the daemon.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The device's directory.
    pub(crate) dir: PathBuf,
    /// The API's address, to go there in place of the socket.
    pub(crate) api: Option<String>,
    /// The API's token.
    pub(crate) token: Option<String>,
    /// The space of the records.
    pub(crate) space: Option<String>,
    /// Who is at the keyboard.
    pub(crate) person: Option<String>,
}

/// A daemon's API.
#[derive(Debug)]
pub(crate) struct Client {
    pub(super) http: reqwest::Client,
    base: Url,
    target: Target,
}

impl Client {
    pub(crate) fn new(target: Target) -> Result<Self, Failure> {
        let mut headers = HeaderMap::new();
        if let Some(token) = &target.token {
            let mut value = header("--token", &format!("Bearer {token}"))?;
            value.set_sensitive(true);
            headers.insert("authorization", value);
        }
        if let Some(person) = &target.person {
            headers.insert(PERSON_HEADER, header("--person", person)?);
        }
        let builder = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        let (builder, base) = match &target.api {
            Some(api) => (builder, api_url(api)?),
            None => (
                builder.unix_socket(target.dir.join(SOCKET_FILE)),
                api_url("localhost")?,
            ),
        };
        let http = builder
            .build()
            .map_err(|e| Failure::new(Exit::Failed, chain(&e)))?;
        Ok(Self { http, base, target })
    }

    /// The device's directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.target.dir
    }

    /// The space of the records.
    pub(crate) fn space(&self) -> &str {
        self.target.space.as_deref().unwrap_or(DEFAULT_SPACE)
    }

    /// A read of `/v1/…`.
    pub(crate) fn read(&self, path: &[&str]) -> Result<Call<'_>, Failure> {
        self.call(Method::GET, path, false)
    }

    /// A write to `/v1/…`, with a random idempotency key.
    pub(crate) fn write(&self, method: Method, path: &[&str]) -> Result<Call<'_>, Failure> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|e| Failure::new(Exit::Failed, e))?;
        self.call(method, path, true)?
            .key(&format!("cli-{}", hex::encode(random)))
    }

    fn call(&self, method: Method, path: &[&str], writes: bool) -> Result<Call<'_>, Failure> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1");
            for part in path {
                // URLs give these segments a meaning of their own.
                if matches!(*part, "" | "." | "..") {
                    return Err(Failure::usage(format!(
                        "{part:?} cannot be the name of anything"
                    )));
                }
                segments.push(part);
            }
        }
        let mut call = Call {
            client: self,
            method,
            url,
            headers: HeaderMap::new(),
            body: None,
            writes,
        };
        if let Some(space) = &self.target.space {
            call = call.query("space", space);
        }
        Ok(call)
    }

    /// Why no request reached the daemon.
    pub(super) fn unreachable(&self, error: &reqwest::Error) -> Failure {
        if let Some(api) = &self.target.api {
            return Failure::new(
                Exit::Unreachable,
                format!("no daemon answers at {api}: {}", chain(error)),
            )
            .next("check the address, and that `fieldmesh run` is running there");
        }
        let (dir, socket) = (&self.target.dir, self.target.dir.join(SOCKET_FILE));
        match io_kind(error) {
            Some(io::ErrorKind::PermissionDenied) => Failure::new(
                Exit::NotAllowed,
                format!("{} may not be opened by this user", socket.display()),
            )
            .next("run the command as the user who runs the daemon, or use --api and --token"),
            _ => Failure::new(
                Exit::Unreachable,
                format!("no daemon answers at {}", socket.display()),
            )
            .next(start_advice(dir)),
        }
    }
}

fn start_advice(dir: &Path) -> String {
    let command = if dir.join(config::CONFIG_FILE).exists() {
        "run"
    } else {
        "init"
    };
    format!("fieldmesh {command} --dir {}", dir.display())
}

fn api_url(text: &str) -> Result<Url, Failure> {
    let full = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let bad = |why: &str| {
        Failure::usage(format!(
            "--api {text:?}: {why}; it looks like http://127.0.0.1:7171"
        ))
    };
    let url = Url::parse(&full).map_err(|error| bad(&error.to_string()))?;
    if url.scheme() != "http" {
        return Err(bad("the API is plain HTTP on the loopback address"));
    }
    Ok(url)
}

pub(super) fn header(place: &str, text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| Failure::usage(format!("{place}: control characters are not allowed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(dir: &Path) -> Client {
        Client::new(Target {
            dir: dir.to_owned(),
            api: None,
            token: None,
            space: Some("clinic/kisumu".to_owned()),
            person: Some("Wanjikũ".to_owned()),
        })
        .unwrap()
    }

    #[test]
    fn names_are_escaped_in_paths() {
        let client = client(Path::new("/nowhere"));

        let call = client
            .read(&["collections", "patient", "records", "a?b#c%é"])
            .unwrap();

        assert_eq!(
            call.url.as_str(),
            "http://localhost/v1/collections/patient/records/a%3Fb%23c%25%C3%A9?space=clinic%2Fkisumu"
        );
        assert!(
            client
                .read(&["collections", "patient", "records", ".."])
                .is_err()
        );
    }

    #[tokio::test]
    async fn without_a_daemon_the_failure_says_what_to_run() {
        let dir = tempfile::tempdir().unwrap();

        let failure = client(dir.path())
            .read(&["status"])
            .unwrap()
            .done()
            .await
            .unwrap_err();

        assert_eq!(failure.exit, Exit::Unreachable);
        let next = failure.next.unwrap();
        assert_eq!(
            &*next,
            format!("fieldmesh init --dir {}", dir.path().display())
        );
    }

    #[test]
    fn only_plain_http_addresses_are_taken() {
        assert!(api_url("127.0.0.1:7171").is_ok());
        assert!(api_url("http://[::1]:7171").is_ok());
        assert!(api_url("https://example.org").is_err());
    }
}
