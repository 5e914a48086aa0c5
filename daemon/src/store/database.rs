//! The database handle: opened, closed and opened again under the feet of readers and the writer.
//!
//! Invariants:
//! - After a failed write the database accepts no more work, so it is closed and opened anew; when
//!   that fails too (a full disk), the next read or write tries again. Nothing needs a restart.
//! - A panic inside the database, as damaged pages may cause, ends as an error.
//! - The lock is held only to begin a transaction. A read in progress while the database is closed
//!   fails.
//!
//! It does not know tables or rows.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use redb::{Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, WriteTransaction};

use super::StoreError;
use super::trouble::Trouble;

/// Opens the database; called again after a failure.
pub(super) type Make = Box<dyn Fn(&Builder) -> Result<Database, DatabaseError> + Send + Sync>;

/// What a write transaction's body decides about it.
pub(super) enum Ending<T> {
    /// Make the changes durable.
    Commit(T),
    /// Forget the changes, if there are any.
    Abort(T),
}

pub(super) struct Handle {
    /// Names the store in messages.
    path: String,
    /// The file, if it is one.
    file: Option<PathBuf>,
    cache_bytes: usize,
    make: Make,
    database: RwLock<Option<Database>>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Handle {
    pub(super) fn open(
        file: Option<PathBuf>,
        cache_bytes: usize,
        make: Make,
    ) -> Result<Self, StoreError> {
        let path = file
            .as_ref()
            .map_or_else(|| "the store".to_owned(), |file| file.display().to_string());
        let handle = Self {
            path,
            file,
            cache_bytes,
            make,
            database: RwLock::new(None),
        };
        handle
            .open_if_closed()
            .map_err(|trouble| handle.explain(trouble))?;
        Ok(handle)
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn explain(&self, trouble: Trouble) -> StoreError {
        trouble.explain(&self.path)
    }

    /// Size of the file, or 0 if the store is not in one.
    pub(super) fn file_bytes(&self) -> u64 {
        self.file
            .as_ref()
            .and_then(|file| file.metadata().ok())
            .map_or(0, |meta| meta.len())
    }

    /// Runs `body` on a snapshot of the last committed state.
    pub(super) fn read<T>(
        &self,
        body: impl FnOnce(&ReadTransaction) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        guarded(|| {
            let tx = self.begin_read()?;
            body(&tx)
        })
        .map_err(|trouble| self.explain(trouble))
    }

    fn begin_read(&self) -> Result<ReadTransaction, Trouble> {
        self.with_database(|database| Ok(database.begin_read()?))
    }

    /// Runs `body` in a write transaction that is durable once this returns, or has not happened.
    /// The caller sees to it that only one thread writes.
    pub(super) fn write<T>(
        &self,
        body: impl FnOnce(&WriteTransaction) -> Result<Ending<T>, Trouble>,
    ) -> Result<T, Trouble> {
        let result = guarded(|| {
            // Transactions of this database are durable at once unless they say otherwise.
            let tx = self.begin_write()?;
            match body(&tx)? {
                Ending::Commit(value) => {
                    tx.commit()?;
                    Ok(value)
                }
                Ending::Abort(value) => {
                    tx.abort()?;
                    Ok(value)
                }
            }
        });
        if result.as_ref().is_err_and(Trouble::needs_reopening)
            && let Err(trouble) = self.reopen()
        {
            let error = self.explain(trouble);
            tracing::error!(%error, "the store is closed until it is next used");
        }
        result
    }

    fn begin_write(&self) -> Result<WriteTransaction, Trouble> {
        self.with_database(|database| Ok(database.begin_write()?))
    }

    fn with_database<T>(
        &self,
        body: impl FnOnce(&Database) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let is_open = self
            .database
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some();
        if !is_open {
            self.open_if_closed()?;
        }
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        match &*database {
            Some(database) => body(database),
            None => Err(Trouble::Closed("a write failed meanwhile".to_owned())),
        }
    }

    /// For the writer only, and not inside a transaction.
    fn reopen(&self) -> Result<(), Trouble> {
        // The old handle holds the file's lock, so it must go before the new one comes.
        self.close();
        self.open_if_closed()
    }

    /// Lets the database go. It writes when it closes, and on a damaged file that may panic.
    fn close(&self) {
        let database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let closed = guarded(|| {
            drop(database);
            Ok(())
        });
        if let Err(trouble) = closed {
            let error = self.explain(trouble);
            tracing::error!(%error, "the store was not closed in order");
        }
    }

    fn open_if_closed(&self) -> Result<(), Trouble> {
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if database.is_none() {
            let mut builder = Builder::new();
            builder.set_cache_size(self.cache_bytes);
            *database = Some(guarded(|| Ok((self.make)(&builder)?))?);
        }
        Ok(())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

/// Runs `body`; a panic in it is an error.
fn guarded<T>(body: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    // Whatever a panic leaves half done belongs to a transaction that is dropped, or to the
    // database, which is opened anew.
    catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|panic| Err(Trouble::Panicked(panic_words(&*panic))))
}

fn panic_words(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    words
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}
