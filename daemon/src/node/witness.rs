//! A witness outside the store: tells that the store went back in time or came from elsewhere.
//!
//! This is the file that a [`WitnessRecord`] is kept in. When the whole directory was restored, the store is
//! in another file than before. The witness is written after each commit and not flushed to the disk: after
//! a power cut it may lag behind the store.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::config::WITNESS_FILE;
use crate::store::{StoreIdentity, StorePlace, WitnessRecord};

/// The witness file.
#[derive(Debug)]
pub(super) struct Witness {
    path: PathBuf,
    /// Where the store is; its file is told by its inode.
    place: StorePlace,
}

impl Witness {
    /// The witness in `dir` of the store file `store`, which exists.
    pub(super) fn of(dir: &Path, store: &Path) -> io::Result<Self> {
        let file = fs::metadata(store)?.ino();
        let machine = machine();
        Ok(Self {
            path: dir.join(WITNESS_FILE),
            place: StorePlace { file, machine },
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Why the store may not be the one that was last written here; `None` if it is.
    pub(super) fn doubt(&self, store: StoreIdentity) -> Option<&'static str> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let seen = WitnessRecord::from_text(&text);
        WitnessRecord::doubt(seen.as_ref(), store, &self.place)
    }

    /// Notes what the store now is. One small write in place: the text's length never changes.
    pub(super) fn record(&self, store: StoreIdentity) -> io::Result<()> {
        let place = self.place.clone();
        let text = WitnessRecord { store, place }.to_text();
        match OpenOptions::new().write(true).open(&self.path) {
            Ok(file) if file.metadata()?.len() == text.len() as u64 => {
                file.write_all_at(text.as_bytes(), 0)
            }
            _ => File::create(&self.path)?.write_all(text.as_bytes()),
        }
    }
}

/// A digest of the operating system's machine id, or `unknown` where there is none.
fn machine() -> String {
    match fs::read("/etc/machine-id") {
        Ok(id) if !id.is_empty() => {
            hex::encode(&blake3::derive_key("fieldmesh machine v1", &id)[..8])
        }
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(store: u8, commits: u64) -> StoreIdentity {
        StoreIdentity {
            store: [store; 16],
            commits,
        }
    }

    #[test]
    fn a_store_that_goes_on_is_trusted_and_one_that_went_back_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("store.redb");
        fs::write(&file, "x").unwrap();
        let witness = Witness::of(dir.path(), &file).unwrap();
        assert_eq!(witness.doubt(identity(1, 0)), None);
        assert!(witness.doubt(identity(1, 3)).is_some());

        witness.record(identity(1, 3)).unwrap();
        witness.record(identity(1, 12)).unwrap();

        assert_eq!(witness.doubt(identity(1, 12)), None);
        assert_eq!(witness.doubt(identity(1, 13)), None);
        assert!(witness.doubt(identity(1, 11)).is_some());
        assert!(witness.doubt(identity(2, 12)).is_some());
    }

    #[test]
    fn a_copied_store_is_not_trusted_even_with_its_witness() {
        let dir = tempfile::tempdir().unwrap();
        let (file, copy) = (dir.path().join("store.redb"), dir.path().join("copy.redb"));
        fs::write(&file, "x").unwrap();
        fs::copy(&file, &copy).unwrap();
        Witness::of(dir.path(), &file)
            .unwrap()
            .record(identity(1, 12))
            .unwrap();

        let copied = Witness::of(dir.path(), &copy).unwrap();
        assert!(copied.doubt(identity(1, 12)).is_some());
        let mut elsewhere = Witness::of(dir.path(), &file).unwrap();
        elsewhere.place.machine = "0123456789abcdef".to_owned();
        assert!(elsewhere.doubt(identity(1, 12)).is_some());
    }
}
