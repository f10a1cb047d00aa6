//! A folder that is looked at as if it could be written: what is written stays in memory.
//!
//! It lets a folder be opened exactly as a gateway would open it, with everything that a start
//! repairs, sets aside and replays, and leaves it as it is. Reads come from the folder below, but
//! for pages that were written since. Nobody else may change that folder meanwhile.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::directory::{Directory, File, FileId};

/// The folder below, and what would have become of it.
#[derive(Debug)]
pub struct Overlay {
    below: Arc<dyn Directory>,
    names: Mutex<Names>,
}

#[derive(Debug)]
struct Names {
    files: BTreeMap<String, Arc<OverlayFile>>,
    next_number: u64,
}

/// A file: what is below it up to a length, and pages over that.
#[derive(Debug)]
struct OverlayFile {
    number: u64,
    below: Option<Arc<dyn File>>,
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    bytes: u64,
    /// What of the file below still shows: a cut hides the rest for good.
    below_bytes: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    /// Lays one over a folder. Files are opened at once, to be read only.
    ///
    /// # Errors
    /// When the folder or one of its files can't be read.
    pub fn over(below: Arc<dyn Directory>) -> io::Result<Arc<dyn Directory>> {
        let mut names = Names {
            files: BTreeMap::new(),
            next_number: 0,
        };
        for name in below.names()? {
            let file = below.open(&name)?;
            let bytes = file.len()?;
            names.add(name, Some((file, bytes)));
        }
        Ok(Arc::new(Self {
            below,
            names: Mutex::new(names),
        }))
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    fn add(&mut self, name: String, below: Option<(Arc<dyn File>, u64)>) -> Arc<OverlayFile> {
        let bytes = below.as_ref().map_or(0, |(_, bytes)| *bytes);
        let file = Arc::new(OverlayFile {
            number: self.next_number,
            below: below.map(|(file, _)| file),
            contents: Mutex::new(Contents {
                bytes,
                below_bytes: bytes,
                pages: BTreeMap::new(),
            }),
        });
        self.next_number += 1;
        self.files.insert(name, Arc::clone(&file));
        file
    }

    fn find(&self, name: &str) -> io::Result<&Arc<OverlayFile>> {
        let found = self.files.get(name);
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Directory for Overlay {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.names().files.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = Arc::clone(self.names().find(name)?);
        Ok(file)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.names().add(name.to_owned(), None))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = self.names().files.remove(name);
        removed
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut names = self.names();
        let file = names.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        names.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn identify(&self, name: &str) -> io::Result<FileId> {
        self.names().find(name)?.identity()
    }

    fn snapshot(&self, _: &[String]) -> io::Result<Arc<dyn Directory>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn finish_snapshot(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn give_up_snapshot(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn path(&self) -> String {
        self.below.path()
    }
}

impl OverlayFile {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a page as it was before anything was written over it.
    fn page_below(&self, number: u64, below_bytes: u64) -> io::Result<Vec<u8>> {
        let mut page = vec![0; PAGE_BYTES as usize];
        let at = number * PAGE_BYTES;
        let count = below_bytes.saturating_sub(at).min(PAGE_BYTES);
        if let Some(below) = &self.below
            && count > 0
        {
            below.read_at(at, &mut page[..count as usize])?;
        }
        Ok(page)
    }
}

impl File for OverlayFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.contents().bytes)
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        let contents = self.contents();
        if at + bytes.len() as u64 > contents.bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if contents.pages.is_empty()
            && at + bytes.len() as u64 <= contents.below_bytes
            && let Some(below) = &self.below
        {
            return below.read_at(at, bytes);
        }
        for (number, range, of_page) in pages(at, bytes.len()) {
            match contents.pages.get(&number) {
                Some(page) => bytes[range].copy_from_slice(&page[of_page]),
                None => {
                    let page = self.page_below(number, contents.below_bytes)?;
                    bytes[range].copy_from_slice(&page[of_page]);
                }
            }
        }
        Ok(())
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut contents = self.contents();
        let below_bytes = contents.below_bytes;
        for (number, range, of_page) in pages(at, bytes.len()) {
            let page = match contents.pages.entry(number) {
                Entry::Occupied(page) => page.into_mut(),
                Entry::Vacant(place) => place.insert(self.page_below(number, below_bytes)?),
            };
            page[of_page].copy_from_slice(&bytes[range]);
        }
        contents.bytes = contents.bytes.max(at + bytes.len() as u64);
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut contents = self.contents();
        contents.below_bytes = contents.below_bytes.min(bytes);
        contents.pages.split_off(&bytes.div_ceil(PAGE_BYTES));
        if let Some(last) = contents.pages.get_mut(&(bytes / PAGE_BYTES)) {
            last[(bytes % PAGE_BYTES) as usize..].fill(0);
        }
        contents.bytes = bytes;
        Ok(())
    }

    fn identity(&self) -> io::Result<FileId> {
        Ok(FileId {
            device: 0,
            number: self.number,
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The pages of a range of a file: number, which bytes of the range, which of the page.
fn pages(
    at: u64,
    count: usize,
) -> impl Iterator<Item = (u64, std::ops::Range<usize>, std::ops::Range<usize>)> {
    let end = at + count as u64;
    (at / PAGE_BYTES..end.div_ceil(PAGE_BYTES)).map(move |number| {
        let start = number * PAGE_BYTES;
        let (from, to) = (at.max(start), end.min(start + PAGE_BYTES));
        let of_range = (from - at) as usize..(to - at) as usize;
        (
            number,
            of_range,
            (from - start) as usize..(to - start) as usize,
        )
    })
}

const PAGE_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::super::simulated::SimulatedFolder;
    use super::*;

    #[test]
    fn what_is_written_shows_and_the_folder_below_stays_as_it_is() {
        let folder = SimulatedFolder::new();
        let below = folder.directory().create("f").unwrap();
        below.write_at(0, &[1; 10_000]).unwrap();
        folder.reset_counts();
        let overlay = Overlay::over(folder.directory()).unwrap();
        let file = overlay.open("f").unwrap();
        file.write_at(4090, &[2; 10]).unwrap();
        let mut read = vec![0; 10_000];
        file.read_at(0, &mut read).unwrap();
        let mut expected = vec![1; 10_000];
        expected[4090..4100].fill(2);
        assert_eq!(read, expected);

        // What was cut off comes back as zeros.
        file.set_len(5000).unwrap();
        file.set_len(6000).unwrap();
        let mut read = vec![9; 1000];
        assert!(file.read_at(5500, &mut read).is_err());
        file.read_at(4500, &mut read).unwrap();
        assert_eq!(read, [[1; 500], [0; 500]].concat());

        overlay.rename("f", "g").unwrap();
        assert_eq!(overlay.identify("g").unwrap(), file.identity().unwrap());
        assert!(overlay.open("f").is_err());
        overlay.create("h").unwrap().write_at(3, b"x").unwrap();
        overlay.remove("g").unwrap();
        assert_eq!(overlay.names().unwrap(), ["h"]);
        assert_eq!(folder.names().unwrap(), ["f"]);
        assert_eq!(folder.counts().changes, 0);
    }
}
