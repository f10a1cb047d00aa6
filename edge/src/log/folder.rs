//! A real folder, locked for one process.
//!
//! It does what [`Directory`] says over `std::fs` and nothing besides; which files there are and
//! in which order they are synced is decided above. [`Folder::look`] opens one to be read: nothing
//! in it is changed, and no gateway starts on it meanwhile.

use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directory::{Directory, File, FileId};
use super::{LogError, segment};

/// A folder of the file system that this process has to itself for as long as the value lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    is_read_only: bool,
    /// The operating system lets go of the lock when this closes, however the process ends.
    _lock: Option<fs::File>,
}

impl Folder {
    /// Opens a folder, making it and its parents where missing, and locks it.
    ///
    /// # Errors
    /// [`LogError::InUse`] when another process has it open; [`LogError::File`] with the path when
    /// it can't be made, read or written.
    pub fn open(path: &Path) -> Result<Arc<dyn Directory>, LogError> {
        let shown = path.display().to_string();
        make(path).map_err(LogError::file("make folder", &shown))?;
        let lock_path = path.join(LOCK);
        let shown = lock_path.display().to_string();
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(LogError::file("open for writing", &shown))?;
        match lock.try_lock() {
            Ok(()) => Ok(Arc::new(Self {
                path: path.to_owned(),
                is_read_only: false,
                _lock: Some(lock),
            })),
            Err(TryLockError::WouldBlock) => Err(LogError::InUse { path: shown }),
            Err(TryLockError::Error(error)) => Err(LogError::file("lock", &shown)(error)),
        }
    }

    /// Opens a folder to be read, and keeps gateways away from it. Several can do so at a time.
    ///
    /// # Errors
    /// [`LogError::InUse`] when a gateway runs on it; [`LogError::File`] with the path when it can't
    /// be read.
    pub fn look(path: &Path) -> Result<Arc<dyn Directory>, LogError> {
        let shown = path.display().to_string();
        fs::read_dir(path).map_err(LogError::file("read folder", &shown))?;
        let lock_path = path.join(LOCK);
        let shown = lock_path.display().to_string();
        let lock = match fs::File::open(&lock_path) {
            Ok(lock) => Some(lock),
            // No gateway was ever here: a copy, or a backup.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(LogError::file("open", &shown)(error)),
        };
        match lock.as_ref().map_or(Ok(()), fs::File::try_lock_shared) {
            Ok(()) => Ok(Arc::new(Self {
                path: path.to_owned(),
                is_read_only: true,
                _lock: lock,
            })),
            Err(TryLockError::WouldBlock) => Err(LogError::InUse { path: shown }),
            Err(TryLockError::Error(error)) => Err(LogError::file("lock", &shown)(error)),
        }
    }
}

/// Adds up the files of all lanes in a folder, whoever has it open.
///
/// # Errors
/// When the folder can't be read.
pub fn lane_bytes(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        if name
            .to_str()
            .is_some_and(|name| segment::parse(name).is_some())
        {
            // One that is being deleted has none.
            bytes += entry.metadata().map_or(0, |metadata| metadata.len());
        }
    }
    Ok(bytes)
}

impl Directory for Folder {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string().ok());
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new()
            .read(true)
            .write(!self.is_read_only)
            .open(self.path.join(name))?;
        Ok(Arc::new(FolderFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.path.join(name))?;
        Ok(Arc::new(FolderFile(file)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn identify(&self, name: &str) -> io::Result<FileId> {
        fs::metadata(self.path.join(name)).map(|found| id(&found))
    }

    fn snapshot(&self, names: &[String]) -> io::Result<Arc<dyn Directory>> {
        let path = self.path.join(SNAPSHOT_BEGUN);
        remove_all(&path)?;
        remove_all(&self.path.join(SNAPSHOT))?;
        fs::create_dir(&path)?;
        for name in names {
            let _ = fs::hard_link(self.path.join(name), path.join(name));
        }
        Ok(Arc::new(Self {
            path,
            is_read_only: false,
            _lock: None,
        }))
    }

    fn finish_snapshot(&self) -> io::Result<()> {
        let begun = self.path.join(SNAPSHOT_BEGUN);
        fs::File::open(&begun)?.sync_all()?;
        fs::rename(&begun, self.path.join(SNAPSHOT))?;
        self.sync()
    }

    fn give_up_snapshot(&self) -> io::Result<()> {
        remove_all(&self.path.join(SNAPSHOT_BEGUN))
    }

    fn sync(&self) -> io::Result<()> {
        fs::File::open(&self.path)?.sync_all()
    }

    fn path(&self) -> String {
        self.path.display().to_string()
    }
}

#[derive(Debug)]
struct FolderFile(fs::File);

impl File for FolderFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(bytes, at)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn identity(&self) -> io::Result<FileId> {
        self.0.metadata().map(|found| id(&found))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Makes a folder and its parents where missing, durably: what is stored in a folder whose own name
/// a power cut takes along is lost all the same. Its own name is made durable in any case.
fn make(path: &Path) -> io::Result<()> {
    if !path.is_dir() {
        if let Some(parent) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
            make(parent)?;
        }
        match fs::create_dir(path) {
            Err(error) if !path.is_dir() => return Err(error),
            _ => {}
        }
    }
    // A parent that may not be read was there before.
    match fs::File::open(path.join("..")) {
        Ok(parent) => parent.sync_all().or(Ok(())),
        Err(_) => Ok(()),
    }
}

/// Removes a folder with what is in it, if it is there.
fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn id(found: &fs::Metadata) -> FileId {
    FileId {
        device: found.dev(),
        number: found.ino(),
    }
}

const LOCK: &str = "lock";
const SNAPSHOT: &str = "snapshot";
const SNAPSHOT_BEGUN: &str = "snapshot.new";
