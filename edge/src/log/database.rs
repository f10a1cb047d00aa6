//! A redb file that survives its own errors: shared by writer and reader, opened again after a
//! failure, and closed by the writer.
//!
//! An input or output error latches a redb handle: every later call fails. So a failed write drops
//! the handle and opens the file again; the file itself holds its last commit. All commits are made
//! with quick-repair, so that opening never walks the file.
//!
//! redb panics on some damaged pages. That is contained here and becomes damage. A program that
//! ends at every other panic asks [`contains_panics`] in its hook; one that aborts in any case is
//! caught at its next start (see `log/recovery.rs`).

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redb::{
    Builder, Database, DatabaseError, ReadOnlyDatabase, ReadTransaction, ReadableDatabase,
    WriteTransaction,
};

use super::LogError;
use super::backend::{Backend, Unclosed};
use super::directory::{Directory, File};

/// One redb file. Clones share the handle.
#[derive(Clone)]
pub(super) struct SharedDatabase {
    inner: Arc<Inner>,
}

struct Inner {
    directory: Arc<dyn Directory>,
    name: String,
    cache_bytes: usize,
    /// Held for reading while a transaction runs, for writing only to exchange the handle.
    handle: RwLock<Handle>,
}

enum Handle {
    Open(Database),
    ReadOnly(ReadOnlyDatabase),
    /// Failed or closed.
    Gone,
}

impl SharedDatabase {
    /// Makes a file with what `fill` writes into it. It gets its name only when it is complete, so
    /// a file of that name is never half made.
    pub(super) fn create(
        directory: &Arc<dyn Directory>,
        name: &str,
        cache_bytes: usize,
        fill: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<Self, LogError> {
        let temporary = format!("{name}.new");
        let file = directory
            .create(&temporary)
            .map_err(LogError::file("create", &temporary))?;
        let filled = fill_new(file, cache_bytes, fill).map_err(LogError::database(&temporary));
        let made = filled.and_then(|database| {
            directory
                .rename(&temporary, name)
                .and_then(|()| directory.sync())
                .map_err(LogError::file("rename", &temporary))?;
            Ok(Handle::Open(database))
        });
        if made.is_err() {
            // What is there of it must not be what keeps the disk full.
            let _ = directory.remove(&temporary);
        }
        Ok(Self::new(directory, name, cache_bytes, made?))
    }

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// [`LogError::is_damage`] tells a bad file from a failing disk.
    pub(super) fn open(
        directory: &Arc<dyn Directory>,
        name: &str,
        cache_bytes: usize,
    ) -> Result<Self, LogError> {
        let database = open_for_writing(directory.as_ref(), name, cache_bytes)?;
        Ok(Self::new(
            directory,
            name,
            cache_bytes,
            Handle::Open(database),
        ))
    }

    /// Opens a file that nobody writes any more, and writes nothing to it either but where there
    /// is no other way.
    pub(super) fn open_sealed(
        directory: &Arc<dyn Directory>,
        name: &str,
        cache_bytes: usize,
    ) -> Result<Self, LogError> {
        let handle = match open_for_reading(directory.as_ref(), name, cache_bytes) {
            Ok(database) => Handle::ReadOnly(database),
            // Its last commit was cut: let redb repair it.
            Err(LogError::Database { source, .. })
                if matches!(*source, redb::Error::RepairAborted) =>
            {
                Handle::Open(open_for_writing(directory.as_ref(), name, cache_bytes)?)
            }
            Err(error) => return Err(error),
        };
        Ok(Self::new(directory, name, cache_bytes, handle))
    }

    /// Reads a whole file and checks every page, which never panics.
    ///
    /// # Errors
    /// [`LogError::is_damage`] when it is not to be trusted.
    pub(super) fn check(
        directory: &Arc<dyn Directory>,
        name: &str,
        cache_bytes: usize,
    ) -> Result<(), LogError> {
        let database = guarded(directory.as_ref(), name, |file| {
            builder(cache_bytes)
                .set_check_integrity_on_open(true)
                .create_with_backend(Backend(file))
        })?;
        contained(name, || database.close().map_err(LogError::database(name)))
    }

    fn new(directory: &Arc<dyn Directory>, name: &str, cache_bytes: usize, handle: Handle) -> Self {
        Self {
            inner: Arc::new(Inner {
                directory: Arc::clone(directory),
                name: name.to_owned(),
                cache_bytes,
                handle: RwLock::new(handle),
            }),
        }
    }

    /// Commits what `act` does in one transaction. After a failure the handle is dropped and the
    /// file opened again, at once if possible, or else by the next call.
    pub(super) fn write<T>(
        &self,
        act: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, LogError> {
        self.reopen()?;
        let result = match &*self.handle() {
            Handle::Open(database) => {
                contained(self.name(), || write(database, act).map_err(self.error()))
            }
            _ => Err(self.unavailable()),
        };
        if let Err(error) = &result {
            if error.is_damage() {
                self.abandon();
            } else {
                let _ = self.exchange(Handle::Gone);
            }
            // For the readers: what is committed can be read on a full disk as well.
            let _ = self.reopen();
        }
        result
    }

    /// Reads from a snapshot that ends with `act`.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] while the writer has not re-opened a failed file.
    pub(super) fn read<T>(
        &self,
        act: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, LogError> {
        let handle = self.handle();
        contained(self.name(), || {
            let transaction = match &*handle {
                Handle::Open(database) => database.begin_read(),
                Handle::ReadOnly(database) => database.begin_read(),
                Handle::Gone => return Err(self.unavailable()),
            };
            let transaction = transaction.map_err(self.error())?;
            act(&transaction).map_err(self.error())
        })
    }

    /// Closes the file for writing. Readers that share the handle go on reading without waiting,
    /// from a second handle that is there before the first one goes: closing moves nothing that
    /// the last commit holds.
    pub(super) fn seal(&self) -> Result<(), LogError> {
        let inner = &self.inner;
        let sealed = open_for_reading(inner.directory.as_ref(), &inner.name, READ_CACHE_BYTES);
        self.exchange(sealed.map_or(Handle::Gone, Handle::ReadOnly))
    }

    /// Opens a file that is only read once more: a page on a bad medium has latched the handle.
    pub(super) fn renew(&self) {
        let inner = &self.inner;
        if matches!(*self.handle(), Handle::ReadOnly(_))
            && let Ok(fresh) =
                open_for_reading(inner.directory.as_ref(), &inner.name, READ_CACHE_BYTES)
        {
            let _ = self.exchange(Handle::ReadOnly(fresh));
        }
    }

    /// Closes the file for writing and reading.
    pub(super) fn close(&self) -> Result<(), LogError> {
        self.exchange(Handle::Gone)
    }

    /// Gives up a handle of a damaged file. It is never closed: redb writes when it closes, comes by
    /// the damage, panics, and again while it unwinds, which nothing contains. What the handle holds
    /// is lost until the program ends: a cache and a descriptor, once for each damaged file.
    pub(super) fn abandon(&self) {
        let old = std::mem::replace(&mut *self.handle_to_exchange(), Handle::Gone);
        std::mem::forget(old);
    }

    /// Opens the file again if a failure closed it. Where it can't be written, on a file system
    /// that became read-only, it can be read. Every write does; who reads before it writes asks.
    pub(super) fn reopen(&self) -> Result<(), LogError> {
        if matches!(*self.handle(), Handle::Open(_)) {
            return Ok(());
        }
        let inner = &self.inner;
        let directory = inner.directory.as_ref();
        match open_for_writing(directory, &inner.name, inner.cache_bytes) {
            Ok(database) => {
                *self.handle_to_exchange() = Handle::Open(database);
                Ok(())
            }
            Err(error) => {
                if matches!(*self.handle(), Handle::Gone)
                    && let Ok(database) = open_for_reading(directory, &inner.name, READ_CACHE_BYTES)
                {
                    *self.handle_to_exchange() = Handle::ReadOnly(database);
                }
                Err(error)
            }
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.inner.name
    }

    fn exchange(&self, new: Handle) -> Result<(), LogError> {
        let old = std::mem::replace(&mut *self.handle_to_exchange(), new);
        contained(self.name(), || match old {
            Handle::Open(database) => database.close().map_err(self.error()),
            _ => Ok(()),
        })
    }

    fn handle(&self) -> RwLockReadGuard<'_, Handle> {
        let handle = self.inner.handle.read();
        handle.unwrap_or_else(PoisonError::into_inner)
    }

    fn handle_to_exchange(&self) -> RwLockWriteGuard<'_, Handle> {
        let handle = self.inner.handle.write();
        handle.unwrap_or_else(PoisonError::into_inner)
    }

    fn unavailable(&self) -> LogError {
        LogError::Unavailable {
            path: self.inner.name.clone(),
        }
    }

    fn error<E: Into<redb::Error>>(&self) -> impl Fn(E) -> LogError {
        LogError::database(&self.inner.name)
    }
}

impl Drop for Inner {
    /// redb writes what it knows of free pages when a handle goes, and may come by damage then.
    fn drop(&mut self) {
        let handle = self
            .handle
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(handle, Handle::Gone);
        let _ = contained(&self.name, || {
            drop(old);
            Ok(())
        });
    }
}

impl fmt::Debug for SharedDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedDatabase({})", self.inner.name)
    }
}

fn write<T>(
    database: &Database,
    act: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
) -> Result<T, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    let done = act(&transaction)?;
    transaction.commit()?;
    Ok(done)
}

fn fill_new(
    file: Arc<dyn File>,
    cache_bytes: usize,
    fill: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
) -> Result<Database, redb::Error> {
    let database = builder(cache_bytes).create_with_backend(Backend(file))?;
    write(&database, fill)?;
    Ok(database)
}

fn open_for_writing(
    directory: &dyn Directory,
    name: &str,
    cache_bytes: usize,
) -> Result<Database, LogError> {
    guarded(directory, name, |file| {
        builder(cache_bytes).create_with_backend(Backend(file))
    })
}

fn open_for_reading(
    directory: &dyn Directory,
    name: &str,
    cache_bytes: usize,
) -> Result<ReadOnlyDatabase, LogError> {
    guarded(directory, name, |file| {
        builder(cache_bytes).open_read_only_with_backend(Unclosed(file))
    })
}

/// Opens a file that may be anything.
fn guarded<T>(
    directory: &dyn Directory,
    name: &str,
    open: impl FnOnce(Arc<dyn File>) -> Result<T, DatabaseError>,
) -> Result<T, LogError> {
    let file = directory.open(name).map_err(LogError::file("open", name))?;
    let bytes = file.len().map_err(LogError::file("measure", name))?;
    if bytes == 0 {
        // redb would make a new store of it.
        return Err(LogError::corrupt(name, "it is empty"));
    }
    contained(name, || open(file).map_err(LogError::database(name)))
}

fn contained<T>(name: &str, act: impl FnOnce() -> Result<T, LogError>) -> Result<T, LogError> {
    let before = CONTAINS_PANICS.replace(true);
    let result = catch_unwind(AssertUnwindSafe(act));
    CONTAINS_PANICS.set(before);
    result.unwrap_or_else(|_| Err(LogError::corrupt(name, "redb panicked on it")))
}

/// Whether a panic of this thread would be contained now and become damage of a file: for a panic
/// hook that ends the program at every other one.
#[must_use]
pub fn contains_panics() -> bool {
    CONTAINS_PANICS.get()
}

thread_local! {
    static CONTAINS_PANICS: Cell<bool> = const { Cell::new(false) };
}

fn builder(cache_bytes: usize) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(cache_bytes);
    builder
}

/// Page cache of a file that is only read: the log keeps decoded blocks itself, and the system
/// caches pages.
pub(super) const READ_CACHE_BYTES: usize = 256 << 10;
