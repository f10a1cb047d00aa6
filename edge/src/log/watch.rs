//! The folder of an open log, with an eye on every write: it is counted, and where an image is being
//! made of the file, what it writes over is copied before.
//!
//! Promises that nothing of a log is written past the [`Meter`], what is put into a snapshot
//! included, and that no write passes before the [image](super::image) of its file. Never holds up a
//! write to the journal. Decides nothing else: all of it is done by the folder below.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::directory::{Directory, File, FileId};
use super::image::Images;
use super::{Meter, journal};

/// Gives the same folder, watched.
pub(super) fn watch(
    folder: Arc<dyn Directory>,
    meter: Meter,
    images: Images,
) -> Arc<dyn Directory> {
    Arc::new(Watched {
        folder,
        meter,
        images,
    })
}

#[derive(Debug)]
struct Watched {
    folder: Arc<dyn Directory>,
    meter: Meter,
    images: Images,
}

#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn File>,
    meter: Meter,
    /// `None` for the journal, which no image is made of.
    images: Option<Images>,
}

impl Watched {
    fn watch(&self, name: &str, file: Arc<dyn File>) -> Arc<dyn File> {
        let is_journal = name.starts_with(journal::NAME);
        Arc::new(WatchedFile {
            file,
            meter: self.meter.clone(),
            images: (!is_journal).then(|| self.images.clone()),
        })
    }
}

impl Directory for Watched {
    fn names(&self) -> io::Result<Vec<String>> {
        self.folder.names()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.watch(name, self.folder.open(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.watch(name, self.folder.create(name)?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.folder.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.folder.rename(from, to)
    }

    fn identify(&self, name: &str) -> io::Result<FileId> {
        self.folder.identify(name)
    }

    /// Its writes are counted; its files have no images, which are made by writing to them.
    fn snapshot(&self, names: &[String]) -> io::Result<Arc<dyn Directory>> {
        let inner = self.folder.snapshot(names)?;
        Ok(watch(inner, self.meter.clone(), Images::default()))
    }

    fn finish_snapshot(&self) -> io::Result<()> {
        self.folder.finish_snapshot()
    }

    fn give_up_snapshot(&self) -> io::Result<()> {
        self.folder.give_up_snapshot()
    }

    fn sync(&self) -> io::Result<()> {
        self.folder.sync()
    }

    fn path(&self) -> String {
        self.folder.path()
    }
}

impl WatchedFile {
    fn before_change(&self, bytes: Range<u64>) {
        if let Some(images) = &self.images {
            images.before_change(self.file.as_ref(), bytes);
        }
    }
}

impl File for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_at(at, bytes)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let count = bytes.len() as u64;
        self.before_change(at..at + count);
        self.meter.wrote(at, count);
        self.file.write_at(at, bytes)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.before_change(bytes..u64::MAX);
        self.file.set_len(bytes)
    }

    fn identity(&self) -> io::Result<FileId> {
        self.file.identity()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
