//! The golden sets: what builds of each format wrote, which every later build must read to the same meaning.
//!
//! `golden/format-1/` holds a store, its change sets, the frames that would carry them, and what people were shown
//! of it; the other folders hold the same history as later formats wrote it. A set is written once for each format
//! and never changed afterwards. When a format number is raised, [`history`] is made to use what is new and a set
//! for the new number is written beside the old ones:
//!
//! ```text
//! FIELDMESH_WRITE_GOLDEN=1 cargo test -p fieldmesh --test blackbox golden
//! ```
//!
//! A build that fails here cannot read the stores of its users: mend the build, not the set.

mod history;
mod shown;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;

use crdt_schema::ident::LogId;
use fieldmesh::engine::batch::{Held, Walk};
use fieldmesh::store::{Checkup, Progress, Store};
use fieldmesh::wire::changeset::{decode_change_set, encode_change_set};
use fieldmesh::wire::message::{FrameDecoder, FrameEncoder, Message};

/// Set to write the set anew instead of reading it.
const WRITE: &str = "FIELDMESH_WRITE_GOLDEN";
/// The formats of which there is a set. A new one is written by this build.
const FORMATS: [u8; 2] = [1, FORMAT_NEWEST];
const FORMAT_NEWEST: u8 = 2;
/// Small, and the same on every machine.
const LEVEL: i32 = 19;
/// Most that the store unpacks to.
const STORE_BYTES_MAX: usize = 16 << 20;

struct Silent;

impl Progress for Silent {
    fn at(&mut self, _: &'static str, _: u64, _: u64) {}
}

fn dir(format: u8) -> PathBuf {
    let sets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    sets.join(format!("format-{format}"))
}

fn read(format: u8, name: &str) -> Vec<u8> {
    let read = fs::read(dir(format).join(name));
    read.unwrap_or_else(|error| panic!("format {format}: {name}: {error}"))
}

/// The lines of a file, each as the bytes that it writes in hexadecimal.
fn lines(format: u8, name: &str) -> Vec<Vec<u8>> {
    let text = String::from_utf8(read(format, name)).expect("UTF-8");
    let decode = |line: &str| hex::decode(line).expect("hexadecimal digits");
    text.lines().map(decode).collect()
}

/// Opens a copy of the golden store, with the views that follow its schema.
fn opened(format: u8, folder: &Path) -> Store {
    let path = folder.join(format!("store-{format}.redb"));
    let bytes = zstd::bulk::decompress(&read(format, "store.redb.zst"), STORE_BYTES_MAX);
    fs::write(&path, bytes.expect("the packed store")).expect("a copy");
    let mut store = Store::open_file(&path, history::options(1)).expect("a golden store");
    while store.refresh(64).expect("a refresh") {}
    store
}

/// Writes the newest set anew if that is asked for, and gives an opened copy of a store.
fn golden(format: u8, folder: &Path) -> Store {
    static WRITTEN: Once = Once::new();
    if std::env::var_os(WRITE).is_some() {
        WRITTEN.call_once(|| write(folder));
    }
    opened(format, folder)
}

fn write(folder: &Path) {
    let path = folder.join("made.redb");
    drop(history::make(&path));
    let packed = zstd::bulk::compress(&fs::read(&path).expect("the store"), LEVEL);
    fs::remove_file(&path).expect("the store was made here");
    let dir = dir(FORMAT_NEWEST);
    fs::create_dir_all(&dir).expect("a place to write");
    fs::write(dir.join("store.redb.zst"), packed.expect("memory")).expect("a place to write");
    let store = opened(FORMAT_NEWEST, folder);
    let put = |name: &str, text: String| fs::write(dir.join(name), text).expect("a place to write");
    let hex_lines = |lines: Vec<Vec<u8>>| {
        let lines = lines.iter().map(|line| hex::encode(line) + "\n");
        lines.collect::<String>()
    };
    put("shown.json", shown::text(&store));
    put("change-sets.txt", hex_lines(change_sets(&store)));
    let mut encoder = FrameEncoder::new();
    let frames = history::conversation(&store);
    put(
        "frames.txt",
        hex_lines(
            frames
                .iter()
                .map(|message| encoder.encode(message))
                .collect(),
        ),
    );
}

/// The bytes of every change set in the store, in order of arrival.
fn change_sets(store: &Store) -> Vec<Vec<u8>> {
    let feed = store.reader().feed(0, usize::MAX).expect("a feed");
    feed.iter()
        .map(|item| encode_change_set(&item.set))
        .collect()
}

#[test]
fn the_golden_stores_open_are_whole_and_show_what_they_showed() {
    let folder = tempfile::tempdir().expect("a folder");
    for format in FORMATS {
        let mut store = golden(format, folder.path());

        let checkup = store.reader().check(&mut Silent).expect("a check");
        assert_eq!(
            (checkup.problems, checkup.told),
            (0, Checkup::default().told)
        );
        assert!(checkup.entries > 20 && checkup.records > 10);
        let expected = String::from_utf8(read(format, "shown.json")).expect("UTF-8");
        assert_eq!(shown::text(&store), expected, "format {format}");

        store.rebuild(&mut Silent).expect("a rebuild");
        assert_eq!(shown::text(&store), expected, "from the logs alone");
    }
}

#[test]
fn the_golden_stores_take_writes_and_know_their_retries() {
    let folder = tempfile::tempdir().expect("a folder");
    for format in FORMATS {
        let mut store = golden(format, folder.path());

        let before = store.reader().arrival().expect("a read");
        let retried = history::retry(&mut store);
        assert!(retried.expect("the outcome is remembered").replayed);
        assert_eq!(store.reader().arrival().expect("a read"), before);
        history::write_one_more(&mut store).expect("a write");
        assert_eq!(
            store.reader().check(&mut Silent).expect("a check").problems,
            0
        );
        let one_more = change_sets(&store).pop();
        assert_eq!(one_more.expect("the write")[0], FORMAT_NEWEST);
    }
}

#[test]
fn the_golden_change_sets_are_read_and_have_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    for format in FORMATS {
        let store = golden(format, folder.path());

        let golden = lines(format, "change-sets.txt");
        for bytes in &golden {
            let set = decode_change_set(bytes).expect("a change set");
            assert_eq!(&encode_change_set(&set), bytes);
        }
        assert_eq!(change_sets(&store), golden);
        let newest = golden.iter().map(|bytes| bytes[0]).max();
        assert_eq!(newest, Some(format), "each set uses what was new in it");
    }
}

#[test]
fn the_golden_frames_are_read_to_what_was_said() {
    let folder = tempfile::tempdir().expect("a folder");
    for format in FORMATS {
        let store = golden(format, folder.path());

        let mut decoder = FrameDecoder::new();
        let mut read = |frame: &Vec<u8>| decoder.decode(frame).expect("a golden frame");
        let said: Vec<Message> = lines(format, "frames.txt").iter().map(&mut read).collect();
        assert_eq!(said, history::conversation(&store));
        let sent = said.iter().filter_map(|message| match message {
            Message::Data(runs) => Some(runs),
            _ => None,
        });
        let fetched = store
            .reader()
            .fetch(&Walk::default(), &Held::new(), usize::MAX)
            .expect("a fetch");
        assert_eq!(sent.flatten().cloned().collect::<Vec<_>>(), fetched.runs);
        assert!(
            fetched
                .runs
                .iter()
                .all(|run| run.header.log != LogId([0; 16]))
        );
    }
}
