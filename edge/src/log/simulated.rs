//! A folder in memory that forgets what was not synced, for tests.
//!
//! It keeps two states, what a running program sees and what the medium holds, and promises the
//! least that [`super::directory`] allows: at a [`SimulatedFolder::power_cut`] every unsynced
//! write is kept, dropped, or torn at 512 bytes; every unsynced length, creation, renaming and
//! removal is kept or dropped, each by itself, as the seed says. It can run out of space, fail a
//! call, stop all calls from a given one on, be read-only, let syncs wait, and lie about them. It counts what is written.

mod disk;

use std::io::{self, ErrorKind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use self::disk::{Change, Dice, Disk, Inode, PAGE};
use super::directory::{Directory, File, FileId};

/// The folder; clones share it. Handles opened before a power cut are dead after it.
#[derive(Clone, Debug, Default)]
pub struct SimulatedFolder {
    disk: Arc<Mutex<Disk>>,
    /// Whose syncs wait, and what ends their wait.
    gate: Arc<(Mutex<Option<String>>, Condvar)>,
}

/// What was asked of the folder since it was made, or since [`SimulatedFolder::reset_counts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of `write_at`.
    pub writes: u64,
    /// Bytes of those calls.
    pub bytes: u64,
    /// Calls of `read_at`.
    pub reads: u64,
    /// Calls of `sync_data`.
    pub syncs: u64,
    /// Calls of `Directory::sync`.
    pub folder_syncs: u64,
    /// All calls that change something or sync: what [`SimulatedFolder::stop_after`] counts.
    pub changes: u64,
}

/// A failure to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What fails.
    pub operation: Operation,
    /// Only for files whose name begins so.
    pub name: String,
    /// How many times it fails.
    pub times: u32,
}

/// An operation that can be made to fail with an input or output error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `write_at`: half of the bytes are written first.
    Write,
    /// `sync_data`: nothing becomes durable, and a later sync does not make it so.
    Sync,
    /// `remove`.
    Remove,
    /// `read_at`: the medium is bad there.
    Read,
}

impl SimulatedFolder {
    /// Makes an empty folder with endless space.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the folder as the log wants it.
    #[must_use]
    pub fn directory(&self) -> Arc<dyn Directory> {
        Arc::new(self.clone())
    }

    /// Cuts the power and turns it on again: what was not synced survives as `seed` decides.
    pub fn power_cut(&self, seed: u64) {
        self.disk().power_cut(&mut Dice(seed));
    }

    /// Lets `changes` more changing calls through and fails everything after, until the power is
    /// cut: the point at which the power goes.
    pub fn stop_after(&self, changes: u64) {
        self.disk().changes_left = Some(changes);
    }

    /// Limits the space; `None` is endless. What exists stays.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.disk().capacity = bytes;
    }

    /// Says how much space is taken: pages of 4 KiB that were ever written, in linked files.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.disk().used_pages() * PAGE
    }

    /// Makes calls fail.
    pub fn inject(&self, fault: Fault) {
        self.disk().faults.push(fault);
    }

    /// Makes every sync say that all is well and do nothing.
    pub fn lie_about_syncs(&self, lie: bool) {
        self.disk().lies = lie;
    }

    /// Makes the folder refuse every change, as a file system does that was mounted anew after an
    /// error, and take them again.
    pub fn set_read_only(&self, is_read_only: bool) {
        self.disk().is_read_only = is_read_only;
    }

    /// Makes every sync of files whose name begins so wait, as a medium does that is busy with
    /// itself; `None` lets them go on again.
    pub fn hold_syncs(&self, of: Option<&str>) {
        let (gate, change) = &*self.gate;
        *gate.lock().unwrap_or_else(PoisonError::into_inner) = of.map(str::to_owned);
        change.notify_all();
    }

    /// Has `act` called before each change and each sync of a file or of the folder, by the thread
    /// that asks for it: what may happen at that very moment.
    pub fn before_changes(&self, act: Option<fn()>) {
        self.disk().before_changes = act;
    }

    /// Says what was asked of the folder.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.disk().counts
    }

    /// Begins counting anew.
    pub fn reset_counts(&self) {
        self.disk().counts = Counts::default();
    }

    /// Changes a byte of a file as a failing medium would; nothing when there is no such byte.
    pub fn flip(&self, name: &str, at: u64) {
        let mut disk = self.disk();
        let Some(&number) = disk.names.get(name) else {
            return;
        };
        let inode = disk.inode(number);
        for contents in [&mut inode.current, &mut inode.durable] {
            if let Some(byte) = contents.get_mut(at as usize) {
                *byte ^= 0xff;
            }
        }
    }

    fn announce_change(&self) {
        let act = self.disk().before_changes;
        if let Some(act) = act {
            act();
        }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, number: u64, era: u64) -> Arc<dyn File> {
        Arc::new(SimulatedFile {
            folder: self.clone(),
            number,
            era,
        })
    }
}

impl Directory for SimulatedFolder {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.disk().names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let disk = self.disk();
        let number = *disk.names.get(name).ok_or(ErrorKind::NotFound)?;
        let era = disk.era;
        drop(disk);
        Ok(self.file(number, era))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.announce_change();
        let mut disk = self.disk();
        disk.change()?;
        let number = disk.next_number;
        disk.next_number += 1;
        disk.inodes.insert(number, Inode::new(name));
        disk.names.insert(name.to_owned(), number);
        let era = disk.era;
        drop(disk);
        Ok(self.file(number, era))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.announce_change();
        let mut disk = self.disk();
        disk.change()?;
        disk.fail(Operation::Remove, name)?;
        disk.names.remove(name).ok_or(ErrorKind::NotFound)?;
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.announce_change();
        let mut disk = self.disk();
        disk.change()?;
        let number = disk.names.remove(from).ok_or(ErrorKind::NotFound)?;
        disk.names.insert(to.to_owned(), number);
        disk.inode(number).name = to.to_owned();
        Ok(())
    }

    fn identify(&self, name: &str) -> io::Result<FileId> {
        let number = *self.disk().names.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(FileId { device: 0, number })
    }

    fn snapshot(&self, _: &[String]) -> io::Result<Arc<dyn Directory>> {
        Err(ErrorKind::Unsupported.into())
    }

    fn finish_snapshot(&self) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> io::Result<()> {
        self.announce_change();
        let mut disk = self.disk();
        disk.change()?;
        disk.counts.folder_syncs += 1;
        if !disk.lies {
            disk.durable_names = disk.names.clone();
            disk.forget_unlinked();
        }
        Ok(())
    }

    fn path(&self) -> String {
        "simulated".to_owned()
    }
}

#[derive(Debug)]
struct SimulatedFile {
    folder: SimulatedFolder,
    number: u64,
    era: u64,
}

impl SimulatedFile {
    fn with<T>(&self, act: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.folder.disk();
        if disk.era != self.era {
            return Err(io::Error::other(
                "the power was cut since the file was opened",
            ));
        }
        act(&mut disk)
    }
}

impl File for SimulatedFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|disk| Ok(disk.inode(self.number).current.len() as u64))
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.with(|disk| {
            disk.counts.reads += 1;
            let name = disk.inode(self.number).name.clone();
            disk.fail(Operation::Read, &name)?;
            let current = &disk.inode(self.number).current;
            let found = current.get(at as usize..at as usize + bytes.len());
            bytes.copy_from_slice(found.ok_or(ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.folder.announce_change();
        self.with(|disk| {
            disk.change()?;
            disk.counts.writes += 1;
            disk.counts.bytes += bytes.len() as u64;
            let name = disk.inode(self.number).name.clone();
            let failure = disk.fail(Operation::Write, &name);
            let kept = if failure.is_err() {
                bytes.len() / 2
            } else {
                bytes.len()
            };
            let free = disk
                .capacity
                .map(|all| (all / PAGE).saturating_sub(disk.used_pages()));
            let inode = disk.inode(self.number);
            if free.is_some_and(|free| inode.new_pages(at, kept) > free) {
                return Err(ErrorKind::StorageFull.into());
            }
            inode.apply(Change::Write(at, bytes[..kept].to_vec()));
            failure
        })
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.folder.announce_change();
        self.with(|disk| {
            disk.change()?;
            disk.inode(self.number).apply(Change::Length(bytes));
            Ok(())
        })
    }

    fn identity(&self) -> io::Result<FileId> {
        Ok(FileId {
            device: 0,
            number: self.number,
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.folder.announce_change();
        let name = self.with(|disk| Ok(disk.inode(self.number).name.clone()))?;
        let (gate, change) = &*self.folder.gate;
        let held = gate.lock().unwrap_or_else(PoisonError::into_inner);
        let is_held = |of: &mut Option<String>| of.as_ref().is_some_and(|of| name.starts_with(of));
        drop(change.wait_while(held, is_held));
        self.with(|disk| {
            disk.change()?;
            disk.counts.syncs += 1;
            let name = disk.inode(self.number).name.clone();
            if let Err(error) = disk.fail(Operation::Sync, &name) {
                // The system marks the pages clean all the same: they may have reached the medium
                // by chance, and no later sync will see to it.
                let mut dice = Dice(disk.counts.changes);
                disk.inode(self.number).abandon(&mut dice);
                return Err(error);
            }
            if !disk.lies {
                disk.inode(self.number).sync();
            }
            Ok(())
        })
    }
}
