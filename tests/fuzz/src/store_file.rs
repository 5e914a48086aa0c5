//! A store whose file has been damaged: it opens or says why not, and whatever it gives reads as data or as an
//! error. It never panics, and a record that reads has been read through its checksum.

use std::sync::LazyLock;

use arbitrary::{Result, Unstructured};
use crdt_schema::ident::SpaceName;
use fieldmesh::engine::batch::{Held, Walk};
use fieldmesh::store::{ListQuery, Progress, Reader, Store, StoreError};
use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use crate::seeds;

/// Most places that are damaged.
const WOUNDS_MAX: usize = 24;

static FILE: LazyLock<Vec<u8>> = LazyLock::new(seeds::golden_store);

struct Silent;

impl Progress for Silent {
    fn at(&mut self, _: &'static str, _: u64, _: u64) {}
}

/// Each four bytes of the input say where a byte is and what it is changed by; the first byte of all cuts the file.
pub(crate) fn damaged(input: &[u8]) {
    let mut file = FILE.clone();
    let mut drawn = Unstructured::new(input);
    // The end of the input ends the damage.
    let _ = wound(&mut drawn, &mut file);
    let backend = InMemoryBackend::new();
    let filled = backend
        .set_len(file.len() as u64)
        .and_then(|()| backend.write(0, &file));
    filled.expect("memory can be written");
    if let Ok(store) = Store::open(backend, seeds::options(1)) {
        let reader = store.reader();
        drop(read_everything(&store, &reader));
    }
}

fn wound(drawn: &mut Unstructured<'_>, file: &mut Vec<u8>) -> Result<()> {
    if drawn.ratio(1, 32)? {
        file.truncate(drawn.choose_index(file.len())?);
    }
    for _ in 0..WOUNDS_MAX {
        if file.is_empty() || drawn.is_empty() {
            break;
        }
        let at = drawn.choose_index(file.len())?;
        file[at] ^= drawn.arbitrary::<u8>()?;
    }
    Ok(())
}

fn read_everything(store: &Store, reader: &Reader) -> std::result::Result<(), StoreError> {
    reader.check(&mut Silent)?;
    store.opening()?;
    reader.feed(0, 1000)?;
    reader.fetch(&Walk::default(), &Held::new(), usize::MAX)?;
    reader.reviews()?;
    for collection in ["patient", "place", "visit"] {
        let query = ListQuery {
            space: SpaceName::default(),
            collection: collection.to_owned(),
            after: None,
            limit: 100,
            deleted: true,
        };
        reader.list(&query, &|_| true)?;
    }
    Ok(())
}
