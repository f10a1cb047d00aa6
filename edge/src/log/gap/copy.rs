//! `gaps`: the second home of the gaps, so that none is lost with a damaged `state.redb`.
//!
//! It is written anew, under its name only when it is whole, after every commit of the state that
//! changed gaps or what is announced of them, so it is never younger than the state, but for a
//! state that went back to an older commit. It is CBOR, a map with text keys, followed by its
//! CRC32C, four bytes, little-endian.
//!
//! | key | what |
//! | --- | --- |
//! | `v` | format, 1 |
//! | `change` | how often gaps were changed; the state says the same of itself |
//! | `announced` | all gaps with lower numbers were announced |
//! | `rows` | pairs of a number and a gap, as in the state |
//!
//! Where there is no room for it, it is removed: nothing is better than an old one.

use std::io::ErrorKind;

use serde::{Deserialize, Serialize};

use super::super::LogError;
use super::super::directory::Directory;
use super::Gap;

/// The name of the file.
pub(in super::super) const NAME: &str = "gaps";

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Copy {
    v: u8,
    pub(in super::super) change: u64,
    pub(in super::super) announced: u64,
    pub(in super::super) rows: Vec<(u64, Gap)>,
}

impl Copy {
    pub(in super::super) const fn new(change: u64, announced: u64, rows: Vec<(u64, Gap)>) -> Self {
        Self {
            v: FORMAT,
            change,
            announced,
            rows,
        }
    }

    pub(in super::super) fn gaps(&self) -> impl Iterator<Item = Gap> {
        self.rows.iter().map(|(_, gap)| gap.clone())
    }

    /// Reads the file; `None` when it is missing, damaged, on a bad medium, or another version's.
    ///
    /// # Errors
    /// When the disk fails.
    pub(in super::super) fn read(directory: &dyn Directory) -> Result<Option<Self>, LogError> {
        match Self::try_read(directory) {
            Err(error) if error.is_unreadable() => Ok(None),
            read => read,
        }
    }

    fn try_read(directory: &dyn Directory) -> Result<Option<Self>, LogError> {
        let file = match directory.open(NAME) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.map_err(LogError::file("open", NAME))?,
        };
        let found = file.len().map_err(LogError::file("measure", NAME))?;
        if found > MOST_BYTES {
            return Ok(None);
        }
        let mut bytes = vec![0; found as usize];
        file.read_at(0, &mut bytes)
            .map_err(LogError::file("read", NAME))?;
        Ok(Self::decode(&bytes))
    }

    /// Writes the file in the place of the one before. One that can't be written is removed.
    ///
    /// # Errors
    /// When it can't be removed either.
    pub(in super::super) fn write(&self, directory: &dyn Directory) -> Result<(), LogError> {
        if self.try_write(directory).is_ok() {
            return Ok(());
        }
        for name in [TEMPORARY, NAME] {
            match directory.remove(name) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(LogError::file("remove", name)(error));
                }
                _ => {}
            }
        }
        directory.sync().map_err(LogError::file("sync", NAME))
    }

    /// Writes the file in the place of the one before, which stays where there is no room for both.
    ///
    /// # Errors
    /// When it can't be written.
    pub(in super::super) fn try_write(&self, directory: &dyn Directory) -> std::io::Result<()> {
        let file = directory.create(TEMPORARY)?;
        file.write_at(0, &self.encode())?;
        file.sync_data()?;
        directory.rename(TEMPORARY, NAME)?;
        directory.sync()
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        ciborium::into_writer(self, &mut bytes).expect("a vector takes every byte");
        let crc = crc32c::crc32c(&bytes);
        bytes.extend(crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (map, crc) = bytes.split_last_chunk()?;
        if crc32c::crc32c(map) != u32::from_le_bytes(*crc) {
            return None;
        }
        let copy: Self = ciborium::from_reader(map).ok()?;
        (copy.v == FORMAT).then_some(copy)
    }
}

/// Whether there is no such file, also where it was removed because the disk was full.
pub(in super::super) fn is_missing(directory: &dyn Directory) -> bool {
    let found = directory.identify(NAME);
    found.is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

const FORMAT: u8 = 1;
const TEMPORARY: &str = "gaps.new";
/// Much more than the largest ledger takes.
const MOST_BYTES: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::super::super::simulated::SimulatedFolder;
    use super::*;
    use sync::Lane;

    fn copy() -> Copy {
        Copy::new(3, 7, vec![(8, Gap::of_mail(Lane::Normal, b"", 2))])
    }

    #[test]
    fn bytes_of_the_file_never_change() {
        let golden = b"\xa4av\x01fchange\x03iannounced\x07drows\x81\x82\x08\xa8dlanefnormal\
            efirst\x1b\x57\xb1\xee\xbe\x31\xe3\x0d\xd0";
        let bytes = copy().encode();
        assert_eq!(&bytes[..21], &golden[..21]);
        assert_eq!(Copy::decode(&bytes), Some(copy()));
    }

    #[test]
    fn a_file_with_a_flipped_bit_or_cut_short_is_none() {
        let bytes = copy().encode();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(Copy::decode(&damaged), None, "byte {at}");
            assert_eq!(Copy::decode(&bytes[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn what_has_no_room_is_removed_and_not_left_old() {
        let folder = SimulatedFolder::new();
        let directory = folder.directory();
        copy().write(directory.as_ref()).unwrap();
        folder.set_capacity(Some(folder.used_bytes()));
        let more = Copy::new(4, 7, vec![copy().rows[0].clone(); 100]);
        more.write(directory.as_ref()).unwrap();
        assert!(is_missing(directory.as_ref()));
        assert_eq!(Copy::read(directory.as_ref()).unwrap(), None);
        folder.set_capacity(None);
        more.write(directory.as_ref()).unwrap();
        assert_eq!(Copy::read(directory.as_ref()).unwrap(), Some(more));
    }
}
