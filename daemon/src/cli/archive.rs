//! A backup file: a manifest, the files of a device's directory, and a checksum over all of it.
//!
//! Layout: the magic line, the manifest's length (4 bytes, little endian), the manifest as JSON, the files one
//! after the other, and the BLAKE3 hash of everything before it. Nothing of an archive is used before all of
//! it has been verified. Names are plain file names, so an archive cannot write outside its directory.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use blake3::Hasher;
use serde::{Deserialize, Serialize};

const MAGIC: &[u8] = b"fieldmesh backup 1\n";

/// Longest manifest.
const MANIFEST_BYTES_MAX: u32 = 1 << 20;

const HASH_BYTES: u64 = 32;

/// How many bytes are moved at once.
const CHUNK_BYTES: usize = 64 << 10;

/// What a backup holds, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// When it was made, by the device's clock.
    pub(crate) created: String,
    /// The organisation.
    pub(crate) organisation: String,
    /// The device's name.
    pub(crate) name: String,
    /// How many change sets the store holds.
    pub(crate) entries: u64,
    /// The files, in their order.
    pub(crate) files: Vec<Member>,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Member {
    /// Its name in the device's directory.
    pub(crate) name: String,
    /// Its length.
    pub(crate) bytes: u64,
}

/// A file that is only its owner's to read, and that did not exist.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Writes an archive to `path`, which must not exist. `sources` are the members' contents, in order.
pub(crate) fn write(path: &Path, manifest: &Manifest, sources: &[File]) -> io::Result<()> {
    let file = create_private(path)?;
    let written = write_to(&file, manifest, sources).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half an archive is none; the error that matters is told.
        let _ = std::fs::remove_file(path);
    }
    written
}

fn write_to(file: &File, manifest: &Manifest, sources: &[File]) -> io::Result<()> {
    let mut out = BufWriter::new(file);
    let mut hasher = Hasher::new();
    let text = serde_json::to_vec(manifest).map_err(io::Error::other)?;
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    if length > MANIFEST_BYTES_MAX {
        return Err(io::Error::other(
            "there are too many files in the directory",
        ));
    }
    for part in [MAGIC, &length.to_le_bytes(), &text] {
        hasher.update(part);
        out.write_all(part)?;
    }
    for (member, source) in manifest.files.iter().zip(sources) {
        let mut source = source.take(member.bytes);
        let copied = pass(&mut source, member.bytes, &mut |bytes| {
            hasher.update(bytes);
            out.write_all(bytes)
        })?;
        if !copied {
            let why = format!("{} became shorter while it was read", member.name);
            return Err(io::Error::other(why));
        }
    }
    out.write_all(hasher.finalize().as_bytes())?;
    out.flush()
}

/// Verifies an archive from its first byte to its last, and returns what it holds.
pub(crate) fn verify(path: &Path) -> io::Result<Manifest> {
    let mut file = BufReader::new(File::open(path)?);
    let length = file.get_ref().metadata()?.len();
    let manifest = read_manifest(&mut file)?;
    let start = file.stream_position()?;
    let content: u64 = manifest
        .files
        .iter()
        .fold(0, |sum, file| sum.saturating_add(file.bytes));
    if start.saturating_add(content).saturating_add(HASH_BYTES) != length {
        return Err(damaged("its length is not what its manifest says"));
    }
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = Hasher::new();
    pass(&mut file, length - HASH_BYTES, &mut |bytes| {
        hasher.update(bytes);
        Ok(())
    })?;
    let mut stored = [0; HASH_BYTES as usize];
    file.read_exact(&mut stored)?;
    if hasher.finalize().as_bytes() != &stored {
        return Err(damaged("its checksum is wrong"));
    }
    Ok(manifest)
}

/// Writes the files of a verified archive into a directory.
pub(crate) fn unpack(path: &Path, dir: &Path) -> io::Result<()> {
    let mut file = BufReader::new(File::open(path)?);
    let manifest = read_manifest(&mut file)?;
    for member in &manifest.files {
        let mut out = create_private(&dir.join(&member.name))?;
        if !pass(&mut file, member.bytes, &mut |bytes| out.write_all(bytes))? {
            return Err(damaged("it is cut short"));
        }
        out.sync_all()?;
    }
    File::open(dir)?.sync_all()
}

fn read_manifest(file: &mut impl Read) -> io::Result<Manifest> {
    let mut magic = [0; MAGIC.len()];
    let mut length = [0; 4];
    if file.read_exact(&mut magic).is_err() || magic != *MAGIC {
        return Err(damaged("it is no backup of this program"));
    }
    file.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > MANIFEST_BYTES_MAX {
        return Err(damaged("its manifest is too long"));
    }
    let mut text = vec![0; length as usize];
    file.read_exact(&mut text)?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|_| damaged("its manifest cannot be read"))?;
    let names: std::collections::BTreeSet<&str> = manifest
        .files
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    if names.len() != manifest.files.len() || !names.iter().all(|name| is_plain(name)) {
        return Err(damaged("its manifest names files that no backup has"));
    }
    Ok(manifest)
}

/// Moves `bytes` bytes in pieces. Returns whether there were so many.
fn pass(
    from: &mut impl Read,
    bytes: u64,
    to: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<bool> {
    let mut left = bytes;
    let mut buffer = vec![0; CHUNK_BYTES];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let count = from.read(&mut buffer[..most])?;
        if count == 0 {
            return Ok(false);
        }
        to(&buffer[..count])?;
        left -= count as u64;
    }
    Ok(true)
}

/// Whether a name is one of a file in the directory itself.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let first = parts.next();
    matches!(first, Some(std::path::Component::Normal(part)) if part == name)
        && parts.next().is_none()
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the backup is damaged: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn archive(dir: &Path, names: &[&str]) -> std::path::PathBuf {
        let sources = names.iter().enumerate().map(|(n, _)| {
            let path = dir.join(format!("source-{n}"));
            fs::write(&path, "content ".repeat(n * 20_000 + 1)).unwrap();
            File::open(path).unwrap()
        });
        let sources: Vec<File> = sources.collect();
        let member = |(name, file): (&&str, &File)| Member {
            name: (*name).to_owned(),
            bytes: file.metadata().unwrap().len(),
        };
        let manifest = Manifest {
            created: "2026-01-01T00:00:00Z".to_owned(),
            organisation: "00".repeat(16),
            name: "tablet".to_owned(),
            entries: 3,
            files: names.iter().zip(&sources).map(member).collect(),
        };
        let path = dir.join("backup");
        write(&path, &manifest, &sources).unwrap();
        path
    }

    #[test]
    fn what_was_packed_is_unpacked_for_the_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = archive(dir.path(), &["store.redb", "device.key"]);
        let out = dir.path().join("out");
        fs::create_dir(&out).unwrap();

        assert_eq!(verify(&path).unwrap().files.len(), 2);
        unpack(&path, &out).unwrap();

        assert_eq!(
            fs::read_to_string(out.join("store.redb")).unwrap(),
            "content "
        );
        assert_eq!(fs::metadata(out.join("device.key")).unwrap().len(), 160_008);
        for file in [path, out.join("device.key")] {
            let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(file).unwrap());
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_damaged_or_shortened_archive_is_refused_and_one_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = archive(dir.path(), &["store.redb", "device.key"]);
        let whole = fs::read(&path).unwrap();
        let bad = dir.path().join("bad");

        for at in [0, 20, 40, 200, whole.len() / 2, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            fs::write(&bad, bytes).unwrap();
            assert!(verify(&bad).is_err(), "byte {at}");
        }
        for length in [0, 10, 22, 60, whole.len() - 1] {
            fs::write(&bad, &whole[..length]).unwrap();
            assert!(verify(&bad).is_err(), "length {length}");
        }
        assert!(create_private(&path).is_err());
    }

    #[test]
    fn an_archive_cannot_write_outside_its_directory() {
        for name in ["../evil", "/etc/evil", "a/b", "..", ".", ""] {
            let dir = tempfile::tempdir().unwrap();
            let path = archive(dir.path(), &[name]);
            assert!(verify(&path).is_err(), "{name:?}");
        }
        let dir = tempfile::tempdir().unwrap();
        assert!(verify(&archive(dir.path(), &["twice", "twice"])).is_err());
    }
}
