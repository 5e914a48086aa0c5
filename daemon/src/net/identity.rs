//! The device key: one Ed25519 seed in a file, and the names that follow from it.
//!
//! Invariants: the file appears whole or not at all, only its owner may read it, and an existing
//! key is never overwritten. The libp2p peer id and the device id are two spellings of one public
//! key.
//! Knows nothing of organisations or certificates.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crdt_schema::ident::DeviceId;
use ed25519_dalek::SigningKey;
use libp2p::PeerId;
use libp2p::identity::Keypair;

/// A peer id of an Ed25519 key is these bytes and then the key: an identity multihash of 36 bytes
/// that holds a protobuf message with key type 1 and 32 bytes of key.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// Why the device key could not be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file could not be read.
    #[error("cannot read the device key {path}; check that this user owns the file")]
    Read {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file could not be written.
    #[error(
        "cannot write the device key {path}; check that its directory exists, is writable and has \
         space"
    )]
    Write {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not a key.
    #[error(
        "the device key {path} is damaged: expected 64 hexadecimal digits; restore it from a copy, \
         or move it away to give this device a new identity"
    )]
    Damaged {
        /// The key file.
        path: PathBuf,
    },
    /// The system has no randomness.
    #[error("cannot draw a device key: the system gave no randomness ({0}); try again later")]
    Randomness(getrandom::Error),
}

/// This device's key pair.
#[derive(Clone)]
pub struct Identity {
    key: SigningKey,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.device().short())
    }
}

impl Identity {
    /// Draws a new key.
    pub fn generate() -> Result<Self, IdentityError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(IdentityError::Randomness)?;
        Ok(Self::from_seed(seed))
    }

    /// The key that grows from a seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self {
            key: SigningKey::from_bytes(&seed),
        }
    }

    /// Reads the key at `path`, or draws one and stores it there for the owner's eyes only.
    pub fn load_or_create(path: &Path) -> Result<Self, IdentityError> {
        match Self::load(path) {
            Err(IdentityError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            }
            loaded => return loaded,
        }
        let identity = Self::generate()?;
        match store(path, identity.key.as_bytes()) {
            Ok(()) => Ok(identity),
            // Somebody else created the key in the meantime: theirs is the device's key.
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => Self::load(path),
            Err(source) => Err(IdentityError::Write {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Reads the key at `path`. If others may read the file, says so and takes that right away.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let read = |source| IdentityError::Read {
            path: path.to_owned(),
            source,
        };
        let bytes = fs::read(path).map_err(read)?;
        tighten(path);

        let damaged = || IdentityError::Damaged {
            path: path.to_owned(),
        };
        let mut seed = [0; 32];
        hex::decode_to_slice(bytes.trim_ascii(), &mut seed).map_err(|_| damaged())?;
        Ok(Self::from_seed(seed))
    }

    /// The key that signs change sets and certificates.
    pub fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    /// The key in libp2p's own type.
    pub fn keypair(&self) -> Keypair {
        Keypair::ed25519_from_bytes(self.key.to_bytes())
            .expect("invariant: every 32 bytes are an Ed25519 seed")
    }

    /// The device's name in records and logs.
    pub fn device(&self) -> DeviceId {
        DeviceId(self.key.verifying_key().to_bytes())
    }

    /// The device's name in libp2p.
    pub fn peer_id(&self) -> PeerId {
        self.keypair().public().to_peer_id()
    }
}

/// The device behind a peer id; `None` if its key is not Ed25519.
pub fn device_of(peer: &PeerId) -> Option<DeviceId> {
    let bytes = peer.to_bytes();
    let key = bytes.strip_prefix(&PEER_ID_PREFIX)?;
    Some(DeviceId(key.try_into().ok()?))
}

/// Writes the key beside `path`, makes it durable, and gives it its name only if that is free.
fn store(path: &Path, seed: &[u8; 32]) -> io::Result<()> {
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let named = write_draft(&draft, seed).and_then(|()| name(&draft, path));
    // The error that counts is the one above; a draft that stays behind does no harm.
    let _ = fs::remove_file(&draft);
    named?;
    match path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        Some(parent) => sync_directory(parent),
        None => sync_directory(Path::new(".")),
    }
}

fn write_draft(draft: &Path, seed: &[u8; 32]) -> io::Result<()> {
    // What a crashed process with the same number left here may have other permissions.
    let _ = fs::remove_file(draft);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(draft)?;
    file.write_all(format!("{}\n", hex::encode(seed)).as_bytes())?;
    file.sync_all()
}

/// Gives the draft its name. A link cannot replace a file; where there are no links, as on memory
/// cards, a look beforehand has to do.
fn name(draft: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(draft, path) {
        Ok(()) => Ok(()),
        Err(_) if path.try_exists()? => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(draft, path),
    }
}

#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn tighten(path: &Path) {
    use std::os::unix::fs::PermissionsExt;

    let Ok(metadata) = fs::metadata(path) else {
        return;
    };
    if metadata.permissions().mode() & 0o077 == 0 {
        return;
    }
    match fs::set_permissions(path, fs::Permissions::from_mode(0o600)) {
        Ok(()) => tracing::warn!(
            path = %path.display(),
            "other users could read the device key; only its owner can from here on"
        ),
        Err(error) => tracing::warn!(
            path = %path.display(), %error,
            "other users can read the device key; run chmod 600 on it"
        ),
    }
}

#[cfg(not(unix))]
fn tighten(_: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_created_once_and_loaded_ever_after() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("device.key");

        let first = Identity::load_or_create(&path).unwrap();
        let second = Identity::load_or_create(&path).unwrap();

        assert_eq!(first.device(), second.device());
        let left: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "a draft stayed behind: {left:?}");
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("device.key");
        let identity = Identity::load_or_create(&path).unwrap();

        let error = store(&path, &[7; 32]).unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(Identity::load(&path).unwrap().device(), identity.device());
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_a_key() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("device.key");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;

        Identity::load_or_create(&path).unwrap();
        assert_eq!(mode(), 0o600);

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        Identity::load(&path).unwrap();
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn a_damaged_key_is_an_error_and_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("device.key");
        for bad in ["", "abc", &"0".repeat(63), &"g".repeat(64), &"0".repeat(65)] {
            fs::write(&path, bad).unwrap();

            let error = Identity::load_or_create(&path).unwrap_err();

            assert!(
                matches!(error, IdentityError::Damaged { .. }),
                "{bad:?}: {error}"
            );
            assert_eq!(fs::read_to_string(&path).unwrap(), bad);
        }
    }

    #[test]
    fn device_and_peer_id_name_the_same_key() {
        let identity = Identity::from_seed([3; 32]);

        assert_eq!(device_of(&identity.peer_id()), Some(identity.device()));
    }

    #[test]
    fn a_peer_id_of_another_kind_of_key_is_no_device() {
        let hashed = PeerId::random();
        assert_eq!(device_of(&hashed), None);
    }
}
