//! A folder in memory that forgets what was not synced, for tests.
//!
//! It keeps two states, what a running program sees and what the medium holds, and promises the
//! least that [`super::directory`] allows: at a [`SimulatedFolder::power_cut`] every unsynced
//! write is kept, dropped, or torn at 512 bytes; every unsynced length, creation, renaming and
//! removal is kept or dropped, each by itself, as the seed says. It can run out of space, fail a
//! call, stop all calls from a given one on, be read-only, let syncs wait, and lie about them. It counts
//! what is written, and has room for the folder of a snapshot.

mod disk;

use std::io::{self, ErrorKind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use self::disk::{Change, Dice, Disk, PAGE, bad_medium};
use super::directory::{Directory, File, FileId};

/// The folder; clones share it. Handles opened before a power cut are dead after it.
#[derive(Clone, Debug, Default)]
pub struct SimulatedFolder {
    disk: Arc<Mutex<Disk>>,
    /// Which folder of the disk it is.
    number: u64,
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

/// An operation that can be made to fail, with an input or output error where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `write_at`: half of the bytes are written first.
    Write,
    /// `sync_data`: what was written becomes durable by chance, and by no later sync.
    Sync,
    /// `remove`.
    Remove,
    /// `read_at`: the medium is bad there.
    Read,
    /// `snapshot`: a file can't be linked.
    Link,
    /// `identify`: the folder is not there at that moment, and nothing is found.
    Identify,
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

    /// Makes a file unreadable for good, whatever its name will be; nothing when there is none.
    pub fn spoil(&self, name: &str) {
        let mut disk = self.disk();
        if let Ok(number) = disk.folder(self.number).and_then(|it| it.find(name)) {
            disk.inode(number).is_bad = true;
        }
    }

    /// Changes a byte of a file as a failing medium would; nothing when there is no such byte.
    pub fn flip(&self, name: &str, at: u64) {
        let mut disk = self.disk();
        let Ok(number) = disk.folder(self.number).and_then(|it| it.find(name)) else {
            return;
        };
        let inode = disk.inode(number);
        for contents in [&mut inode.current, &mut inode.durable] {
            if let Some(byte) = contents.get_mut(at as usize) {
                *byte ^= 0xff;
            }
        }
    }

    /// Copies what is in the folder `snapshot` of it, if there is one, as a tool does that writes a
    /// backup.
    ///
    /// # Errors
    /// When a file can't be read.
    pub fn backup(&self) -> io::Result<Option<Self>> {
        let found = self.disk().folder(self.number)?.find(SNAPSHOT);
        let Ok(number) = found else {
            return Ok(None);
        };
        let (from, to) = (self.inner(number), Self::new());
        for name in from.names()? {
            let file = from.open(&name)?;
            let mut bytes = vec![0; file.len()? as usize];
            file.read_at(0, &mut bytes)?;
            let copy = to.create(&name)?;
            copy.write_at(0, &bytes)?;
            copy.sync_data()?;
        }
        to.sync()?;
        Ok(Some(to))
    }

    /// Removes the folder `snapshot`, durably.
    pub fn remove_backup(&self) {
        self.disk().remove_folder(self.number, SNAPSHOT);
    }

    fn inner(&self, number: u64) -> Self {
        Self {
            number,
            ..self.clone()
        }
    }

    /// Removes a folder in it with what is in that, if it is there.
    fn remove_inner(&self, name: &str) -> io::Result<()> {
        self.change_names(|disk| {
            if let Some(number) = disk.folder(self.number)?.current.remove(name) {
                disk.folder(number)?.current.clear();
            }
            Ok(())
        })
    }

    /// Counts a change of the folder, and makes it if the power is still there.
    fn change_names<T>(&self, act: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        self.announce_change();
        let mut disk = self.disk();
        disk.change()?;
        act(&mut disk)
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
        let mut disk = self.disk();
        let names = disk.folder(self.number)?.current.clone();
        let files = names.into_iter();
        let files = files.filter(|(_, number)| disk.inodes.contains_key(number));
        Ok(files.map(|(name, _)| name).collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk();
        let number = disk.folder(self.number)?.find(name)?;
        let era = disk.era;
        drop(disk);
        Ok(self.file(number, era))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let (number, era) = self.change_names(|disk| {
            let number = disk.make_file(name);
            let names = &mut disk.folder(self.number)?.current;
            names.insert(name.to_owned(), number);
            Ok((number, disk.era))
        })?;
        Ok(self.file(number, era))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change_names(|disk| {
            disk.fail(Operation::Remove, name)?;
            let names = &mut disk.folder(self.number)?.current;
            names.remove(name).ok_or(ErrorKind::NotFound)?;
            Ok(())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change_names(|disk| {
            let names = &mut disk.folder(self.number)?.current;
            let number = names.remove(from).ok_or(ErrorKind::NotFound)?;
            names.insert(to.to_owned(), number);
            if let Some(inode) = disk.inodes.get_mut(&number) {
                inode.name = to.to_owned();
            }
            Ok(())
        })
    }

    fn identify(&self, name: &str) -> io::Result<FileId> {
        let mut disk = self.disk();
        disk.fail(Operation::Identify, name)?;
        let number = disk.folder(self.number)?.find(name)?;
        Ok(FileId { device: 0, number })
    }

    fn snapshot(&self, names: &[String]) -> io::Result<Arc<dyn Directory>> {
        for old in [SNAPSHOT, SNAPSHOT_BEGUN] {
            self.remove_inner(old)?;
        }
        let begun = self.change_names(|disk| {
            let number = disk.make_folder();
            let names = &mut disk.folder(self.number)?.current;
            names.insert(SNAPSHOT_BEGUN.to_owned(), number);
            Ok(number)
        })?;
        for name in names {
            self.change_names(|disk| {
                let number = disk.folder(self.number)?.find(name)?;
                if disk.fail(Operation::Link, name).is_ok() {
                    disk.folder(begun)?.current.insert(name.clone(), number);
                }
                Ok(())
            })?;
        }
        Ok(Arc::new(self.inner(begun)))
    }

    fn finish_snapshot(&self) -> io::Result<()> {
        let begun = self.disk().folder(self.number)?.find(SNAPSHOT_BEGUN)?;
        self.inner(begun).sync()?;
        self.rename(SNAPSHOT_BEGUN, SNAPSHOT)?;
        self.sync()
    }

    fn give_up_snapshot(&self) -> io::Result<()> {
        let found = self.disk().folder(self.number)?.find(SNAPSHOT_BEGUN);
        match found {
            Ok(_) => self.remove_inner(SNAPSHOT_BEGUN),
            Err(_) => Ok(()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.change_names(|disk| {
            disk.counts.folder_syncs += 1;
            if !disk.lies {
                disk.folder(self.number)?.sync();
                disk.forget_unlinked();
            }
            Ok(())
        })
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
            if disk.inode(self.number).is_bad {
                return Err(bad_medium());
            }
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
                let mut dice = Dice(disk.counts.changes);
                disk.inode(self.number).fail_to_sync(&mut dice);
                return Err(error);
            }
            if !disk.lies {
                disk.inode(self.number).sync();
            }
            Ok(())
        })
    }
}

const SNAPSHOT: &str = "snapshot";
const SNAPSHOT_BEGUN: &str = "snapshot.new";
