//! redb on a [`File`]: every file of the log goes through one boundary, so that tests can cut the
//! power at any write.

use std::io;
use std::sync::Arc;

use redb::StorageBackend;

use super::directory::File;

/// Hands redb's reads and writes to a file. No byte-range locks: the folder is locked as a whole.
#[derive(Debug)]
pub(super) struct Backend(pub(super) Arc<dyn File>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }
}
