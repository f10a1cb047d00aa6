//! Files as they were at one moment, copied while they are written on.
//!
//! ```text
//!   begin --> a piece, a piece, ... --> all is there
//!               ^ whatever is written over between two pieces is copied before
//! ```
//!
//! The [watched](super::watch) folder lets no write to a file pass before its image, if one is being
//! made, has the bytes that go. So an image is the file of the moment at which it was begun,
//! however long the copying takes and whatever becomes of the file meanwhile, its name included.
//!
//! Promises that a write never fails because of an image: one that can't be gone on with fails
//! itself, with its next piece. A write costs at most one more read and write of the same pages, and
//! only the first one there. In memory an image is a bit for each of its units, 16 KiB at most.
//!
//! Never holds up a commit: there is none of the journal, and no job copies while a group goes straight
//! into segments.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Progress;
use super::directory::{File, FileId};

/// All images that are being made. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Images(Arc<Mutex<Vec<Image>>>);

/// A file that is copied.
#[derive(Debug)]
struct Image {
    of: FileId,
    from: Arc<dyn File>,
    to: Arc<dyn File>,
    /// What the file held at that moment.
    bytes: u64,
    /// What a bit stands for.
    unit_bytes: u64,
    /// The units that are there.
    copied: Vec<u64>,
    /// All units before it are there.
    next: u64,
    unsynced_bytes: u64,
    /// What was to be written over could not be copied before.
    failure: Option<io::Error>,
}

impl Images {
    /// Begins the image of a file in an empty one of a folder that has no images, behind those under
    /// way. Nothing may be written to it at that moment.
    pub(super) fn begin(&self, from: Arc<dyn File>, to: Arc<dyn File>) -> io::Result<()> {
        let image = Image::new(from, to)?;
        self.lock().push(image);
        Ok(())
    }

    /// How many are under way.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Copies about so much more, and lets go of each file that is there, durably. True when all are.
    pub(super) fn copy(&self, bytes: u64, progress: &Progress) -> io::Result<bool> {
        let mut images = self.lock();
        let mut left = bytes;
        while let Some(image) = images.first_mut() {
            left = image.copy(left, progress)?;
            if !image.is_complete() {
                return Ok(false);
            }
            images.remove(0);
        }
        Ok(true)
    }

    /// Forgets all images.
    pub(super) fn give_up(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Image>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that nothing goes of a file that its image lacks.
    pub(super) fn before_change(&self, file: &dyn File, bytes: Range<u64>) {
        let mut images = self.lock();
        if images.is_empty() {
            return;
        }
        match file.identity() {
            Ok(of) => {
                let all = images.iter_mut().filter(|image| image.of == of);
                all.for_each(|image| image.save(bytes.clone()));
            }
            // It may be any of them.
            Err(error) => {
                let kind = error.kind();
                let all = images.iter_mut();
                all.for_each(|image| image.failure = Some(kind.into()));
            }
        }
    }
}

impl Image {
    fn new(from: Arc<dyn File>, to: Arc<dyn File>) -> io::Result<Self> {
        let bytes = from.len()?;
        let unit_bytes = bytes.div_ceil(MOST_UNITS).next_power_of_two();
        let unit_bytes = unit_bytes.max(LEAST_UNIT_BYTES);
        let words = bytes.div_ceil(unit_bytes).div_ceil(u64::from(u64::BITS));
        Ok(Self {
            of: from.identity()?,
            from,
            to,
            bytes,
            unit_bytes,
            copied: vec![0; words as usize],
            next: 0,
            unsynced_bytes: 0,
            failure: None,
        })
    }

    /// Copies what is about to be changed.
    fn save(&mut self, bytes: Range<u64>) {
        let units = bytes.start / self.unit_bytes..bytes.end.div_ceil(self.unit_bytes);
        if self.failure.is_none() {
            self.failure = self.copy_units(units).err();
        }
    }

    /// Copies on from where it was. Gives what is left of `bytes`.
    fn copy(&mut self, bytes: u64, progress: &Progress) -> io::Result<u64> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        let mut left = bytes;
        while left > 0 && self.next < self.units() {
            let step = (STEP_BYTES.min(left) / self.unit_bytes).max(1);
            let next = (self.next + step).min(self.units());
            self.copy_units(self.next..next)?;
            left = left.saturating_sub((next - self.next) * self.unit_bytes);
            self.next = next;
            progress.step();
            let is_last = self.is_complete();
            if is_last || self.unsynced_bytes >= SYNC_BYTES {
                // Not all of it with one sync that takes minutes.
                self.to.sync_data()?;
                self.unsynced_bytes = 0;
            }
        }
        Ok(left)
    }

    /// Copies those units that are not there yet.
    fn copy_units(&mut self, units: Range<u64>) -> io::Result<()> {
        let end = units.end.min(self.units());
        let most = (STEP_BYTES / self.unit_bytes).max(1);
        let mut at = units.start;
        while at < end {
            let missing = (at..end.min(at + most)).take_while(|unit| !self.has(*unit));
            let count = missing.count() as u64;
            if count > 0 {
                let from = at * self.unit_bytes;
                let to = ((at + count) * self.unit_bytes).min(self.bytes);
                let mut bytes = vec![0; (to - from) as usize];
                self.from.read_at(from, &mut bytes)?;
                self.to.write_at(from, &bytes)?;
                self.unsynced_bytes += to - from;
                (at..at + count).for_each(|unit| self.note(unit));
            }
            at += count.max(1);
        }
        Ok(())
    }

    const fn is_complete(&self) -> bool {
        self.next >= self.units()
    }

    const fn units(&self) -> u64 {
        self.bytes.div_ceil(self.unit_bytes)
    }

    fn has(&self, unit: u64) -> bool {
        let (word, bit) = place(unit);
        self.copied[word] & bit != 0
    }

    fn note(&mut self, unit: u64) {
        let (word, bit) = place(unit);
        self.copied[word] |= bit;
    }
}

const fn place(unit: u64) -> (usize, u64) {
    let bits = u64::BITS as u64;
    ((unit / bits) as usize, 1 << (unit % bits))
}

/// What is read and written at a time.
const STEP_BYTES: u64 = 256 << 10;
const SYNC_BYTES: u64 = 4 << 20;
/// What redb writes at least.
const LEAST_UNIT_BYTES: u64 = 4096;
/// A bit each: 16 KiB.
const MOST_UNITS: u64 = 16 << 13;

#[cfg(test)]
mod tests {
    use super::super::Meter;
    use super::super::directory::Directory;
    use super::super::simulated::{Fault, Operation, SimulatedFolder};
    use super::super::watch::watch;
    use super::*;

    fn watched(folder: &SimulatedFolder, images: &Images) -> Arc<dyn Directory> {
        watch(folder.directory(), Meter::default(), images.clone())
    }

    fn bytes_of(file: &dyn File) -> Vec<u8> {
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(0, &mut bytes).unwrap();
        bytes
    }

    /// A file of so many pages, each with its number in it.
    fn file(folder: &dyn Directory, name: &str, pages: u8) -> Arc<dyn File> {
        let file = folder.create(name).unwrap();
        for page in 0..pages {
            let at = u64::from(page) * LEAST_UNIT_BYTES;
            file.write_at(at, &[page; LEAST_UNIT_BYTES as usize])
                .unwrap();
        }
        file
    }

    #[test]
    fn an_image_is_the_file_of_its_beginning_whatever_is_written_between_its_pieces() {
        for luck in 0..50_u64 {
            // A segment that was cut is repaired when it is read.
            let name = ["mail.redb", "normal-00000000000000000000.redb"][luck as usize % 2];
            let (folder, images) = (SimulatedFolder::new(), Images::default());
            let folder = watched(&folder, &images);
            let file = file(folder.as_ref(), name, 200);
            let before = bytes_of(file.as_ref());
            let to = folder.snapshot(&[]).unwrap().create("copy").unwrap();
            images
                .begin(folder.open(name).unwrap(), to.clone())
                .unwrap();
            let (mut dice, progress, mut pieces) = (luck, Progress::default(), 0);
            loop {
                for _ in 0..5 {
                    dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let at = (dice >> 33) % (210 * LEAST_UNIT_BYTES);
                    match dice >> 60 {
                        0 => file.set_len(at).unwrap(),
                        1 => folder.rename(name, "damaged-1").unwrap_or(()),
                        _ => file.write_at(at, &[255; 9000]).unwrap(),
                    }
                }
                pieces += 1;
                if images.copy(300_000, &progress).unwrap() {
                    break;
                }
            }
            images.give_up();
            assert!(pieces >= 3);
            assert!(bytes_of(to.as_ref()) == before, "{luck}");
            file.write_at(0, &[1; 10]).unwrap();
            assert!(bytes_of(to.as_ref()) == before, "{luck}, and stays it");
        }
    }

    #[test]
    fn a_write_goes_on_where_its_image_can_not() {
        let (disk, images) = (SimulatedFolder::new(), Images::default());
        let folder = watched(&disk, &images);
        let file = file(folder.as_ref(), "mail.redb", 3);
        let to = folder.snapshot(&[]).unwrap().create("copy").unwrap();
        images.begin(folder.open("mail.redb").unwrap(), to).unwrap();
        disk.inject(Fault {
            operation: Operation::Write,
            name: "copy".to_owned(),
            times: 1,
        });
        file.write_at(0, &[9; 5000]).unwrap();
        assert_eq!(bytes_of(file.as_ref())[..5000], [9; 5000]);
        assert!(images.copy(u64::MAX, &Progress::default()).is_err());
    }

    #[test]
    fn what_an_image_takes_of_memory_does_not_grow_with_the_file() {
        for bytes in [1, 4096, 1 << 30, 1 << 40, 1_u64 << 50] {
            let unit = bytes.div_ceil(MOST_UNITS).next_power_of_two();
            let unit = unit.max(LEAST_UNIT_BYTES);
            assert!(bytes.div_ceil(unit) <= MOST_UNITS, "{bytes}");
        }
    }
}
