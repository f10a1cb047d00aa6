//! The medium below a [`SimulatedFolder`](super::SimulatedFolder): what a program sees, what would
//! survive, and the chance that decides between them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::{Counts, Fault, Operation};

#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) inodes: BTreeMap<u64, Inode>,
    /// The folder itself, [`ROOT`], and those in it.
    folders: BTreeMap<u64, Names>,
    /// Given to a file or folder last.
    last_number: u64,
    /// Counts power cuts; handles of an earlier era are dead.
    pub(super) era: u64,
    pub(super) capacity: Option<u64>,
    pub(super) changes_left: Option<u64>,
    pub(super) faults: Vec<Fault>,
    pub(super) lies: bool,
    pub(super) before_changes: Option<fn()>,
    pub(super) is_read_only: bool,
    pub(super) counts: Counts,
}

/// What names in a folder lead to: numbers of files, or of folders.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) current: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
}

impl Names {
    pub(super) fn find(&self, name: &str) -> io::Result<u64> {
        let number = self.current.get(name);
        number
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn sync(&mut self) {
        self.durable.clone_from(&self.current);
    }

    fn leads_to(&self, number: u64) -> bool {
        let mut all = self.current.values().chain(self.durable.values());
        all.any(|it| *it == number)
    }

    /// Each name survives as it is, or as it was when the folder was synced.
    fn power_cut(&mut self, dice: &mut Dice) {
        let both = self.current.keys().chain(self.durable.keys());
        let all: BTreeSet<String> = both.cloned().collect();
        let mut names = BTreeMap::new();
        for name in all {
            let side = if dice.one_in(2) {
                &self.current
            } else {
                &self.durable
            };
            if let Some(&number) = side.get(&name) {
                names.insert(name, number);
            }
        }
        self.durable.clone_from(&names);
        self.current = names;
    }
}

impl Disk {
    /// Gives a folder, unless it is gone.
    pub(super) fn folder(&mut self, number: u64) -> io::Result<&mut Names> {
        if number == ROOT {
            return Ok(self.folders.entry(ROOT).or_default());
        }
        let folder = self.folders.get_mut(&number);
        folder.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Makes a file.
    pub(super) fn make_file(&mut self, name: &str) -> u64 {
        self.last_number += 1;
        self.inodes.insert(self.last_number, Inode::new(name));
        self.last_number
    }

    /// Makes an empty folder.
    pub(super) fn make_folder(&mut self) -> u64 {
        self.last_number += 1;
        self.folders.insert(self.last_number, Names::default());
        self.last_number
    }

    /// Removes a folder with what is in it, durably.
    pub(super) fn remove_folder(&mut self, from: u64, name: &str) {
        let Ok(folder) = self.folder(from) else {
            return;
        };
        folder.durable.remove(name);
        if let Some(number) = folder.current.remove(name) {
            self.folders.remove(&number);
        }
    }

    pub(super) fn inode(&mut self, number: u64) -> &mut Inode {
        self.inodes
            .get_mut(&number)
            .expect("handles of a living era point at inodes")
    }

    /// Counts a changing call; fails when the power is about to go.
    pub(super) fn change(&mut self) -> io::Result<()> {
        self.counts.changes += 1;
        if self.is_read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        match &mut self.changes_left {
            Some(0) => Err(io::Error::other("the power is going")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) fn fail(&mut self, operation: Operation, name: &str) -> io::Result<()> {
        let fault = self.faults.iter_mut().find(|fault| {
            fault.times > 0 && fault.operation == operation && name.starts_with(&fault.name)
        });
        match fault {
            Some(fault) => {
                fault.times -= 1;
                Err(match operation {
                    Operation::Read => bad_medium(),
                    Operation::Identify => io::ErrorKind::NotFound.into(),
                    _ => io::Error::other("input/output error"),
                })
            }
            None => Ok(()),
        }
    }

    pub(super) fn used_pages(&self) -> u64 {
        let names = self.folders.values().flat_map(|it| it.current.values());
        let linked: BTreeSet<u64> = names.copied().collect();
        let files = linked.iter().filter_map(|number| self.inodes.get(number));
        files.map(|inode| inode.pages.len() as u64).sum()
    }

    pub(super) fn forget_unlinked(&mut self) {
        // Open handles may still use an unlinked file; its contents can't come back, though.
        for (number, inode) in &mut self.inodes {
            if !self.folders.values().any(|it| it.leads_to(*number)) {
                inode.unsynced.clear();
                inode.durable = Vec::new();
            }
        }
    }

    pub(super) fn power_cut(&mut self, dice: &mut Dice) {
        for names in self.folders.values_mut() {
            names.power_cut(dice);
        }
        let top = self.folders.get(&ROOT);
        let top: BTreeSet<u64> =
            top.map_or_else(BTreeSet::new, |it| it.current.values().copied().collect());
        self.folders
            .retain(|number, _| *number == ROOT || top.contains(number));
        let folders = &self.folders;
        self.inodes
            .retain(|number, _| folders.values().any(|it| it.leads_to(*number)));
        for inode in self.inodes.values_mut() {
            inode.power_cut(dice);
        }
        self.era += 1;
        self.changes_left = None;
        self.faults.clear();
    }
}

#[derive(Debug)]
pub(super) struct Inode {
    /// For faults: the name it was last given.
    pub(super) name: String,
    pub(super) current: Vec<u8>,
    pub(super) durable: Vec<u8>,
    /// Not yet synced, in order.
    pub(super) unsynced: Vec<Change>,
    /// Pages that take space.
    pub(super) pages: BTreeSet<u64>,
    /// Nothing of it can be read.
    pub(super) is_bad: bool,
}

impl Inode {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            current: Vec::new(),
            durable: Vec::new(),
            unsynced: Vec::new(),
            pages: BTreeSet::new(),
            is_bad: false,
        }
    }

    pub(super) fn new_pages(&self, at: u64, bytes: usize) -> u64 {
        let pages = at / PAGE..(at + bytes as u64).div_ceil(PAGE);
        pages.filter(|page| !self.pages.contains(page)).count() as u64
    }

    pub(super) fn apply(&mut self, change: Change) {
        match &change {
            Change::Write(at, bytes) => {
                self.pages
                    .extend(at / PAGE..(at + bytes.len() as u64).div_ceil(PAGE));
            }
            Change::Length(bytes) => {
                self.pages.split_off(&bytes.div_ceil(PAGE));
            }
        }
        change.apply_to(&mut self.current);
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply_to(&mut self.durable);
        }
    }

    pub(super) fn power_cut(&mut self, dice: &mut Dice) {
        self.abandon(dice);
        self.current.clone_from(&self.durable);
    }

    /// Leaves to chance what was written: the system marks the pages clean all the same, and no
    /// later sync will see to them. A length is the file system's own, and waits in its journal.
    pub(super) fn fail_to_sync(&mut self, dice: &mut Dice) {
        let is_length = |change: &Change| matches!(change, Change::Length(_));
        let unsynced = std::mem::take(&mut self.unsynced).into_iter();
        let (lengths, writes): (Vec<_>, Vec<_>) = unsynced.partition(is_length);
        self.unsynced = writes;
        self.abandon(dice);
        self.unsynced = lengths;
    }

    /// Leaves to chance what becomes of everything unsynced.
    pub(super) fn abandon(&mut self, dice: &mut Dice) {
        for change in std::mem::take(&mut self.unsynced) {
            match (dice.below(4), change) {
                (0, _) => {}
                (1, Change::Write(at, bytes)) => self.tear(at, &bytes, dice),
                (_, change) => change.apply_to(&mut self.durable),
            }
        }
    }

    /// Keeps some of the sectors of a write.
    pub(super) fn tear(&mut self, at: u64, bytes: &[u8], dice: &mut Dice) {
        let mut from = 0;
        while from < bytes.len() {
            let sector_end = ((at as usize + from) / SECTOR + 1) * SECTOR - at as usize;
            let to = sector_end.min(bytes.len());
            if dice.one_in(2) {
                Change::Write(at + from as u64, bytes[from..to].to_vec())
                    .apply_to(&mut self.durable);
            }
            from = to;
        }
    }
}

#[derive(Debug)]
pub(super) enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

impl Change {
    pub(super) fn apply_to(&self, contents: &mut Vec<u8>) {
        match self {
            Self::Write(at, bytes) => {
                let end = *at as usize + bytes.len();
                if contents.len() < end {
                    contents.resize(end, 0);
                }
                contents[*at as usize..end].copy_from_slice(bytes);
            }
            Self::Length(bytes) => contents.resize(*bytes as usize, 0),
        }
    }
}

/// A seeded generator (splitmix64), the same on every machine.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// What reading a medium gives that is bad there.
pub(super) fn bad_medium() -> io::Error {
    io::Error::from_raw_os_error(EIO)
}

/// The number of the folder in which all others are.
pub(super) const ROOT: u64 = 0;
pub(super) const PAGE: u64 = 4096;
pub(super) const SECTOR: usize = 512;
/// Linux's number for a medium that can't be read.
const EIO: i32 = 5;
