//! What the log needs of a folder and its files: the boundary at which tests cut the power.
//!
//! The contract is that of a POSIX file system, no more: a write is durable after
//! [`File::sync_data`] of its file, a creation, renaming or removal after [`Directory::sync`], and
//! before that each may survive a power cut, whole, in part, or not at all, in any order.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// A flat folder of named files.
pub trait Directory: Debug + Send + Sync {
    /// Lists the names of all files in it, in any order.
    ///
    /// # Errors
    /// When the folder can't be read.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// `NotFound` when there is none; otherwise what the system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Makes an empty file, over one of the same name if there is one. Durable after
    /// [`Directory::sync`].
    ///
    /// # Errors
    /// What the system says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Removes a name. Handles to the file go on working. Durable after [`Directory::sync`].
    ///
    /// # Errors
    /// `NotFound` when there is none; otherwise what the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Renames a file, over one of the new name if there is one. Handles go on working. Durable
    /// after [`Directory::sync`].
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Says which file a name leads to now.
    ///
    /// # Errors
    /// `NotFound` when there is none, also when the folder itself is gone; otherwise what the
    /// system says.
    fn identify(&self, name: &str) -> io::Result<FileId>;

    /// Begins a folder `snapshot.new` inside this one, in place of an older one, with links to the
    /// named files in it, which must not be written any more. One that can't be linked is left out:
    /// some file systems have no links, and some kernels let a program that gave up its rights make
    /// none into another folder. Gives the folder for what is missing.
    ///
    /// # Errors
    /// What the system says; nothing is linked then.
    fn snapshot(&self, names: &[String]) -> io::Result<Arc<dyn Directory>>;

    /// Makes the folder that [`Directory::snapshot`] began durable, under the name `snapshot`.
    ///
    /// # Errors
    /// What the system says.
    fn finish_snapshot(&self) -> io::Result<()>;

    /// Removes the folder that [`Directory::snapshot`] began, if it is there.
    ///
    /// # Errors
    /// What the system says.
    fn give_up_snapshot(&self) -> io::Result<()>;

    /// Makes creations, renamings and removals durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync(&self) -> io::Result<()>;

    /// Says where it is, for messages: a path, or a name in tests.
    fn path(&self) -> String;
}

/// Tells files apart, whatever their names: on POSIX, device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    /// The file system.
    pub device: u64,
    /// The file's number in it, given to another file only when nobody has it open.
    pub number: u64,
}

/// An open file; clones of the handle share it. All methods may be called from any thread.
#[expect(
    clippy::len_without_is_empty,
    reason = "a file is asked for its length, never emptiness"
)]
pub trait File: Debug + Send + Sync {
    /// Says how many bytes the file has.
    ///
    /// # Errors
    /// What the system says.
    fn len(&self) -> io::Result<u64>;

    /// Fills `bytes` from position `at` on.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before; otherwise what the system says.
    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` from position `at` on, lengthening the file where needed. Durable
    /// after [`File::sync_data`].
    ///
    /// # Errors
    /// What the system says; some of the bytes may have been written.
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts or lengthens the file; new bytes are zero. Durable after [`File::sync_data`].
    ///
    /// # Errors
    /// What the system says.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Says which file it is, whatever became of its name.
    ///
    /// # Errors
    /// What the system says.
    fn identity(&self) -> io::Result<FileId>;

    /// Makes all writes and lengths durable (`fdatasync`).
    ///
    /// # Errors
    /// What the system says. Writes since the last success must then be taken for lost, even when
    /// a later call succeeds.
    fn sync_data(&self) -> io::Result<()>;
}
