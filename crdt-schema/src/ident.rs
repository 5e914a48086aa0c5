//! Names of things: logs, positions in them, devices, organisations, spaces and records.
//!
//! All are plain data with a total order, so maps keyed by them iterate alike on every device.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a name could not be read from text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentError {
    /// The text is not the expected number of hexadecimal digits.
    #[error("expected {expected} hexadecimal digits, found {found:?}")]
    Hex {
        /// How many digits the name has.
        expected: usize,
        /// What was given.
        found: String,
    },
    /// The text has a character that the name may not have, or is too long.
    #[error("{found:?} is not a valid {what}: {rule}")]
    Name {
        /// Which kind of name.
        what: &'static str,
        /// What was given.
        found: String,
        /// The rule it breaks.
        rule: &'static str,
    },
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(pub [u8; $bytes]);

        impl Ord for $name {
            /// As bytes, in words of the same order: the first one mostly decides, and none needs a call.
            #[inline]
            fn cmp(&self, other: &Self) -> Ordering {
                let (ours, theirs) = (self.0.as_chunks::<8>().0, other.0.as_chunks::<8>().0);
                for (ours, theirs) in ours.iter().zip(theirs) {
                    let order = u64::from_be_bytes(*ours).cmp(&u64::from_be_bytes(*theirs));
                    if order.is_ne() {
                        return order;
                    }
                }
                Ordering::Equal
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), &hex::encode(&self.0[..4]))
            }
        }

        impl FromStr for $name {
            type Err = IdentError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let mut bytes = [0; $bytes];
                hex::decode_to_slice(text, &mut bytes)
                    .map_err(|_| IdentError::Hex { expected: 2 * $bytes, found: text.to_owned() })?;
                Ok(Self(bytes))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdentError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
    };
}

hex_id!(
    /// A log: one store incarnation's append-only sequence in one space. Also the Automerge actor id
    /// of every change that the log's entries make. Eight of its 16 bytes are random, so a restored or
    /// copied store cannot write into the log of its former self; the others are of a digest of these
    /// and of who begins the log, so it is nobody else's. A branch of a forked log is named by a hash
    /// of the first chain value that is its own.
    LogId, 16
);
hex_id!(
    /// A device: its Ed25519 public key.
    DeviceId, 32
);
hex_id!(
    /// An organisation: 16 random bytes drawn when it is founded.
    OrganisationId, 16
);

impl DeviceId {
    /// The first eight hexadecimal digits, for people to tell devices apart.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..4])
    }
}

/// A position in a log: the entry `seq` (dense, from 1) of `log`. Names one change set for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    /// The log.
    pub log: LogId,
    /// The position in it, from 1.
    pub seq: u64,
}

impl Dot {
    /// The dot (`log`, `seq`).
    pub fn new(log: LogId, seq: u64) -> Self {
        Self { log, seq }
    }
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.log, self.seq)
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", hex::encode(&self.log.0[..4]), self.seq)
    }
}

/// The space that records live in when nobody names another.
pub const DEFAULT_SPACE: &str = "main";

/// A space: the unit of replication, such as `main` or `clinic/kisumu`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SpaceName(Arc<str>);

impl SpaceName {
    /// Longest space name, in bytes.
    pub const BYTES_MAX: usize = 64;

    /// Reads a space name: lower-case letters, digits, `-`, `_` and `/`, at most 64 bytes.
    pub fn new(text: &str) -> Result<Self, IdentError> {
        let good =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '/');
        if text.is_empty() || text.len() > Self::BYTES_MAX || !text.chars().all(good) {
            return Err(IdentError::Name {
                what: "space name",
                found: text.chars().take(80).collect(),
                rule: "1 to 64 lower-case letters, digits, '-', '_' or '/'",
            });
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for SpaceName {
    fn default() -> Self {
        Self(DEFAULT_SPACE.into())
    }
}

impl fmt::Display for SpaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<SpaceName> for String {
    fn from(name: SpaceName) -> Self {
        name.as_str().to_owned()
    }
}

impl TryFrom<String> for SpaceName {
    type Error = IdentError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

/// Longest record id, in bytes.
pub const RECORD_ID_BYTES_MAX: usize = 128;

/// Longest collection name or field key, in bytes.
pub const KEY_BYTES_MAX: usize = 64;

/// Checks a record id: 1 to 128 bytes of printable text without white space or '/', so that it can
/// stand in a URL path and in a CSV cell.
pub fn check_record_id(text: &str) -> Result<(), IdentError> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '/';
    if text.is_empty() || text.len() > RECORD_ID_BYTES_MAX || text.contains(bad) {
        return Err(IdentError::Name {
            what: "record id",
            found: text.chars().take(80).collect(),
            rule: "1 to 128 bytes without white space, control characters or '/'",
        });
    }
    Ok(())
}

/// Checks a collection name or a field key: a lower-case letter, then lower-case letters, digits or
/// `_`, at most 64 bytes.
pub fn check_key(text: &str) -> Result<(), IdentError> {
    let mut chars = text.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_lowercase());
    let rest = chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !first || !rest || text.len() > KEY_BYTES_MAX {
        return Err(IdentError::Name {
            what: "name",
            found: text.chars().take(80).collect(),
            rule: "a lower-case letter, then lower-case letters, digits or '_', at most 64 bytes",
        });
    }
    Ok(())
}

/// A record: an id within a collection within a space.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct RecordKey {
    /// The space that replicates it.
    pub space: SpaceName,
    /// The collection that types it.
    pub collection: String,
    /// Its id within the collection.
    pub id: String,
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.collection, self.id)?;
        if self.space.as_str() != DEFAULT_SPACE {
            write!(f, " in {}", self.space)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_through_text() {
        let log = LogId([0xab; 16]);
        assert_eq!(log.to_string().parse::<LogId>(), Ok(log));
        assert!("abc".parse::<LogId>().is_err());
        assert!("zz".repeat(16).parse::<LogId>().is_err());
    }

    #[test]
    fn space_and_record_names_are_checked() {
        assert!(SpaceName::new("clinic/kisumu").is_ok());
        for bad in ["", "Clinic", "a b", &"x".repeat(65)] {
            assert!(SpaceName::new(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(check_record_id("KE-178040").is_ok());
        for bad in ["", "a b", "a/b", "a\u{7}", &"x".repeat(129)] {
            assert!(check_record_id(bad).is_err(), "{bad:?} was accepted");
        }
        for bad in ["", "Name", "1st", "a-b", "é"] {
            assert!(check_key(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
