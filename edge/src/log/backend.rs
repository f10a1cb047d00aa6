//! redb on a [`File`]: every file of the log goes through one boundary, so that tests can cut the
//! power at any write.

use std::io;
use std::sync::Arc;

use redb::StorageBackend;

use super::directory::File;

/// Hands redb's reads and writes to a file. No byte-range locks: the folder is locked as a whole.
#[derive(Debug)]
pub(super) struct Backend(pub(super) Arc<dyn File>);

/// Shows redb a file that was not closed, or not yet, as if it had been: for reading only.
///
/// redb opens an unclosed file for writing alone, although one whose last commit was made with
/// quick-repair needs no repair: whatever a closed one says, it says as well. So the one bit that
/// tells them apart is hidden. It sees the commit that was the last when it was opened.
#[derive(Debug)]
pub(super) struct Unclosed(pub(super) Arc<dyn File>);

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

impl StorageBackend for Unclosed {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)?;
        let place = FLAGS_AT.checked_sub(offset).map(|place| place as usize);
        if let Some(flags) = place.and_then(|place| out.get_mut(place)) {
            *flags &= !NOT_CLOSED;
        }
        Ok(())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Where redb's file format has its flags: behind the magic number. No checksum covers them.
const FLAGS_AT: u64 = 9;
/// The flag `recovery_required`.
const NOT_CLOSED: u8 = 2;
