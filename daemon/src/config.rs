//! The daemon's configuration: `config.toml` and the files beside it, checked before anything starts.
//!
//! One precedence: flag, then environment (`FIELDMESH_…`), then file, then default. [`RawConfig`] is the
//! file as it may be written; [`Config`] is what the node needs, complete and valid. Secrets are in files
//! of their own, so that the configuration can be shown and copied.

mod file;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crdt_schema::ident::{OrganisationId, check_key};
use crdt_schema::schema::Schema;
use libp2p::Multiaddr;
use serde::Deserialize;
use toml::Spanned;

use self::file::{File, read};
use crate::wire::limits::NAME_BYTES_MAX;

/// The configuration's file name.
pub const CONFIG_FILE: &str = "config.toml";
/// The schema's file name.
pub const SCHEMA_FILE: &str = "schema.toml";
/// The store's file name.
pub const STORE_FILE: &str = "store.redb";
/// The file of the secret that devices of one organisation share: 64 hexadecimal digits.
pub const SECRET_FILE: &str = "join.secret";
/// The file of the token that HTTP clients over TCP send.
pub const TOKEN_FILE: &str = "api.token";
/// The device's private key.
pub const KEY_FILE: &str = "device.key";
/// What tells the store from its copies: it belongs to one directory and one disk.
pub const WITNESS_FILE: &str = "witness";
/// The API's Unix socket.
pub const SOCKET_FILE: &str = "api.sock";

/// Where the daemon listens for peers unless told otherwise.
pub const LISTEN_DEFAULT: &str = "/ip4/0.0.0.0/tcp/7172";
/// Where the API listens unless told otherwise.
pub const API_TCP_DEFAULT: &str = "127.0.0.1:7171";

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The directory has no configuration.
    #[error("{0} is not initialised: it has no {CONFIG_FILE}; run `fieldmesh init`")]
    NotInitialised(PathBuf),
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file says something it may not. The text shows where.
    #[error("{0}")]
    File(String),
    /// A flag or a variable says something it may not.
    #[error("{place}: {problem}")]
    Setting {
        /// The flag or the variable.
        place: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

/// Settings that came from flags; `None` where none was given.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// Whether this device is a hub.
    pub hub: Option<bool>,
    /// Peers to dial besides those of the file.
    pub peers: Vec<String>,
    /// Addresses to listen on in place of the file's.
    pub listen: Vec<String>,
    /// Whether to look for peers on the local network.
    pub mdns: Option<bool>,
    /// The API's TCP address, or `none`.
    pub api: Option<String>,
    /// Whether traffic costs money.
    pub metered: Option<bool>,
}

/// The file as it may be written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    name: Option<Spanned<String>>,
    organisation: Option<Spanned<String>>,
    listen: Option<Vec<Spanned<String>>>,
    peers: Option<Vec<Spanned<String>>>,
    mdns: Option<bool>,
    hub: Option<bool>,
    api_tcp: Option<Spanned<String>>,
    metered: Option<bool>,
    schema_follow: Option<bool>,
    role: Option<Spanned<String>>,
}

/// Everything the node needs to start.
#[derive(Clone)]
pub struct Config {
    /// Where the device keeps its state.
    pub dir: PathBuf,
    /// The device's name, for people.
    pub name: String,
    /// The organisation.
    pub organisation: OrganisationId,
    /// What devices of the organisation prove to each other.
    pub join_secret: [u8; 32],
    /// The device's own schema file.
    pub schema: Schema,
    /// Whether newer versions of the schema are adopted as soon as they have been published.
    pub schema_follow: bool,
    /// The addresses to listen on.
    pub listen: Vec<Multiaddr>,
    /// Peers to dial for as long as the daemon runs.
    pub peers: Vec<Multiaddr>,
    /// Whether to look for peers on the local network.
    pub mdns: bool,
    /// Whether this device is a hub: always on, and counted as the durable copy.
    pub hub: bool,
    /// The API's TCP address; the Unix socket is always there.
    pub api_tcp: Option<SocketAddr>,
    /// What HTTP clients over TCP must send.
    pub api_token: String,
    /// Whether traffic costs money: fewer pings and announcements, thorough compression.
    pub metered: bool,
    /// The device's role among those of the schema, if it has one.
    pub role: Option<String>,
}

impl fmt::Debug for Config {
    /// Leaves out the secrets, so that a configuration may be logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("dir", &self.dir)
            .field("name", &self.name)
            .field("organisation", &self.organisation)
            .field("schema", &(&self.schema.name, self.schema.version))
            .field("listen", &self.listen)
            .field("peers", &self.peers)
            .field("mdns", &self.mdns)
            .field("hub", &self.hub)
            .field("api_tcp", &self.api_tcp)
            .field("metered", &self.metered)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Reads the configuration of `dir` under flags and environment. `env` looks a variable up.
    pub fn load(
        dir: &Path,
        flags: Flags,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let path = dir.join(CONFIG_FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ConfigError::NotInitialised(dir.to_owned()));
            }
            Err(source) => return Err(ConfigError::Read { path, source }),
        };
        let file = File {
            path: &path,
            text: &text,
        };
        let raw: RawConfig = toml::from_str(&text)
            .map_err(|error| file.error(error.span().unwrap_or(0..0), error.message()))?;

        let flag_peers = from_flags("--peer", &flags.peers)?.unwrap_or_default();
        let file_peers = file
            .list("FIELDMESH_PEERS", raw.peers, &env)?
            .unwrap_or_default();
        let listen = match from_flags("--listen", &flags.listen)? {
            Some(listen) => listen,
            None => match file.list("FIELDMESH_LISTEN", raw.listen, &env)? {
                Some(listen) => listen,
                None => vec![read(LISTEN_DEFAULT).map_err(|p| setting("default", p))?],
            },
        };
        let missing = |key| file.error(0..0, &format!("`{key}` is missing; run `fieldmesh init`"));
        Ok(Self {
            name: file
                .value("FIELDMESH_NAME", raw.name, &env, name)?
                .ok_or_else(|| missing("name"))?,
            organisation: file
                .value("FIELDMESH_ORGANISATION", raw.organisation, &env, read)?
                .ok_or_else(|| missing("organisation"))?,
            join_secret: read_secret(&dir.join(SECRET_FILE))?,
            schema: read_schema(&dir.join(SCHEMA_FILE))?,
            schema_follow: switch(None, "FIELDMESH_SCHEMA_FOLLOW", raw.schema_follow, &env)?
                .unwrap_or(true),
            listen,
            peers: flag_peers.into_iter().chain(file_peers).collect(),
            mdns: switch(flags.mdns, "FIELDMESH_MDNS", raw.mdns, &env)?.unwrap_or(true),
            hub: switch(flags.hub, "FIELDMESH_HUB", raw.hub, &env)?.unwrap_or(false),
            api_tcp: match flags.api {
                Some(text) => api_address(&text).map_err(|p| setting("--api", p))?,
                None => match file.value("FIELDMESH_API_TCP", raw.api_tcp, &env, api_address)? {
                    Some(address) => address,
                    None => api_address(API_TCP_DEFAULT).map_err(|p| setting("default", p))?,
                },
            },
            api_token: read_line(&dir.join(TOKEN_FILE))?,
            metered: switch(flags.metered, "FIELDMESH_METERED", raw.metered, &env)?
                .unwrap_or(false),
            role: file.value("FIELDMESH_ROLE", raw.role, &env, role)?,
            dir: dir.to_owned(),
        })
    }
}

fn setting(place: &str, problem: String) -> ConfigError {
    ConfigError::Setting {
        place: place.to_owned(),
        problem,
    }
}

fn from_flags(flag: &str, texts: &[String]) -> Result<Option<Vec<Multiaddr>>, ConfigError> {
    if texts.is_empty() {
        return Ok(None);
    }
    let list: Result<_, _> = texts.iter().map(|text| read(text)).collect();
    list.map(Some).map_err(|problem| setting(flag, problem))
}

fn switch(
    flag: Option<bool>,
    variable: &str,
    raw: Option<bool>,
    env: &impl Fn(&str) -> Option<String>,
) -> Result<Option<bool>, ConfigError> {
    if flag.is_some() {
        return Ok(flag);
    }
    match env(variable).as_deref() {
        None => Ok(raw),
        Some("true" | "1" | "yes") => Ok(Some(true)),
        Some("false" | "0" | "no") => Ok(Some(false)),
        Some(text) => Err(setting(
            variable,
            format!("{text:?} is neither true nor false"),
        )),
    }
}

/// Checks a device's name.
pub(crate) fn name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.len() > NAME_BYTES_MAX || text.contains(char::is_control) {
        return Err(format!(
            "a device's name is 1 to {NAME_BYTES_MAX} bytes without control characters"
        ));
    }
    Ok(text.to_owned())
}

/// Checks a role's name.
pub(crate) fn role(text: &str) -> Result<String, String> {
    let problem = |error| format!("{error}; a role is one of the schema's, such as supervisor");
    check_key(text).map(|()| text.to_owned()).map_err(problem)
}

/// The API's TCP address. Only loopback is allowed: the API speaks plain HTTP.
fn api_address(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "none" {
        return Ok(None);
    }
    let address: SocketAddr = text
        .parse()
        .map_err(|_| format!("{text:?} is neither an address like {API_TCP_DEFAULT} nor none"))?;
    if !address.ip().is_loopback() {
        return Err(format!(
            "{address} is not a loopback address, and the API is plain HTTP; use {API_TCP_DEFAULT} and a tunnel"
        ));
    }
    Ok(Some(address))
}

/// Reads a secret of 64 hexadecimal digits. The error never shows the text.
pub(crate) fn secret(text: &str) -> Result<[u8; 32], String> {
    let mut secret = [0; 32];
    hex::decode_to_slice(text.trim(), &mut secret)
        .map_err(|_| "a join secret is 64 hexadecimal digits".to_owned())?;
    Ok(secret)
}

fn read_secret(path: &Path) -> Result<[u8; 32], ConfigError> {
    let text = read_line(path)?;
    secret(&text).map_err(|problem| setting(&path.display().to_string(), problem))
}

fn read_line(path: &Path) -> Result<String, ConfigError> {
    let text = read_file(path)?;
    let line = text.trim();
    if line.is_empty() {
        return Err(setting(
            &path.display().to_string(),
            "the file is empty".to_owned(),
        ));
    }
    Ok(line.to_owned())
}

fn read_schema(path: &Path) -> Result<Schema, ConfigError> {
    let text = read_file(path)?;
    Schema::parse(&text)
        .map_err(|errors| ConfigError::File(errors.named(path.display().to_string()).to_string()))
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
