//! A witness outside the store: tells that the store went back in time or came from elsewhere.
//!
//! It names the store, how many transactions it had committed, the store file's inode, and the machine. A
//! restored or copied store disagrees with it, or comes without one; when the whole directory was restored,
//! the file is another one. The witness is written after each commit and not flushed to the
//! disk: after a power cut it may lag behind the store, which is no reason for doubt; it can only be ahead
//! of a store that lost commits.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::store::StoreIdentity;

/// The witness file.
#[derive(Debug)]
pub(super) struct Witness {
    path: PathBuf,
    /// The store file's inode: another file is a copy.
    inode: u64,
    machine: String,
}

impl Witness {
    /// The witness in `dir` of the store file `store`, which exists.
    pub(super) fn of(dir: &Path, store: &Path) -> io::Result<Self> {
        let inode = fs::metadata(store)?.ino();
        Ok(Self {
            path: dir.join("witness"),
            inode,
            machine: machine(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Why the store may not be the one that was last written here; `None` if it is.
    pub(super) fn doubt(&self, store: StoreIdentity) -> Option<&'static str> {
        if store.commits == 0 {
            return None;
        }
        let Ok(text) = fs::read_to_string(&self.path) else {
            return Some("there is no witness beside the store");
        };
        let mut words = text.split_whitespace();
        let (id, commits, inode, machine) =
            (words.next(), words.next(), words.next(), words.next());
        if id != Some(hex::encode(store.store).as_str()) {
            Some("the witness is of another store")
        } else if inode.and_then(|text| text.parse().ok()) != Some(self.inode) {
            Some("the store file is another one than was last written")
        } else if machine != Some(self.machine.as_str()) {
            Some("the store was last written on another machine")
        } else if commits
            .and_then(|text| text.parse::<u64>().ok())
            .is_none_or(|seen| seen > store.commits)
        {
            Some("the store has fewer commits than the witness has seen")
        } else {
            None
        }
    }

    /// Notes what the store now is. One small write in place: the text's length never changes.
    pub(super) fn record(&self, store: StoreIdentity) -> io::Result<()> {
        let text = self.text(store);
        match OpenOptions::new().write(true).open(&self.path) {
            Ok(file) if file.metadata()?.len() == text.len() as u64 => {
                file.write_all_at(text.as_bytes(), 0)
            }
            _ => File::create(&self.path)?.write_all(text.as_bytes()),
        }
    }

    fn text(&self, store: StoreIdentity) -> String {
        let Self { inode, machine, .. } = self;
        format!(
            "{} {:020} {inode:020} {machine}\n",
            hex::encode(store.store),
            store.commits
        )
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
        elsewhere.machine = "0123456789abcdef".to_owned();
        assert!(elsewhere.doubt(identity(1, 12)).is_some());
    }
}
