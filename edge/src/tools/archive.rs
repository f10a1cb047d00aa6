//! A data folder as one file, a POSIX tar archive, whether a gateway runs on it or not.
//!
//! A running gateway is asked for a snapshot, which it makes in the folder `snapshot` of its own:
//! its segments are linked there, its state and mail are copied beside its other work, and the archive
//! is written by this process in its own time. Of a folder on which none runs everything is taken that a start
//! needs, as it is, damage included.
//!
//! `tar -xf FILE -C EMPTY_FOLDER` restores it: it is a data folder then, for `run` and for the other
//! tools. The cloud is sent again what was acknowledged since.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Outcome, ToolError};
use crate::admin::{self, Request};
use crate::log::{Folder, LogError, is_of_a_log};

/// Writes a backup of a folder to a file that does not exist yet; `-` is standard output.
///
/// # Errors
/// When the folder can't be read or has no log, the file can't be written, or a gateway that runs
/// there has made nothing more of a snapshot for a minute.
pub fn backup(data: &Path, file: &Path) -> Result<Outcome, ToolError> {
    match Folder::look(data) {
        // It is kept locked while it is copied.
        Ok(folder) => {
            archive(data, file)?;
            drop(folder);
        }
        Err(LogError::InUse { .. }) => {
            let snapshot = data.join("snapshot");
            take_snapshot(data, &snapshot)?;
            let done = archive(&snapshot, file);
            // The links keep segments on the disk that retention has removed.
            fs::remove_dir_all(&snapshot).map_err(failed(&snapshot))?;
            done?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Outcome::Fine)
}

fn take_snapshot(data: &Path, snapshot: &Path) -> Result<(), ToolError> {
    match fs::remove_dir_all(snapshot) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed(snapshot)(error));
        }
        _ => {}
    }
    admin::ask(data, Request::Snapshot).map_err(failed(data))?;
    let begun = data.join("snapshot.new");
    let (mut waited, mut seen) = (Duration::ZERO, 0);
    while waited < PATIENCE {
        if snapshot.is_dir() {
            return Ok(());
        }
        let bytes = bytes_in(&begun);
        waited = match bytes == seen {
            true => waited + PAUSE,
            // It takes its time, and comes on.
            false => Duration::ZERO,
        };
        seen = bytes;
        std::thread::park_timeout(PAUSE);
    }
    Err(ToolError::NoSnapshot {
        path: data.display().to_string(),
    })
}

/// What the files of a folder take that comes and goes as it likes: they are not written from their
/// beginnings to their ends.
fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let found = entries.filter_map(|entry| entry.metadata().ok());
    found.map(|found| found.blocks() * 512).sum()
}

/// Writes the files of a log to an archive, which has its name only when it is complete.
fn archive(folder: &Path, file: &Path) -> Result<(), ToolError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let name = entry.map_err(failed(folder))?.file_name();
        names.extend(name.into_string().ok().filter(|name| is_of_a_log(name)));
    }
    names.sort();
    if names.is_empty() {
        return Err(ToolError::NoLog {
            path: folder.display().to_string(),
        });
    }
    if file == Path::new("-") {
        return write(folder, &names, &mut io::stdout().lock());
    }
    if file.exists() {
        return Err(failed(file)(io::ErrorKind::AlreadyExists.into()));
    }
    let mut begun = file.as_os_str().to_owned();
    begun.push(".new");
    let begun = PathBuf::from(begun);
    let mut out = File::create(&begun).map_err(failed(&begun))?;
    write(folder, &names, &mut out)?;
    out.sync_all().map_err(failed(&begun))?;
    fs::rename(&begun, file).map_err(failed(file))
}

fn write(folder: &Path, names: &[String], out: &mut dyn Write) -> Result<(), ToolError> {
    for name in names {
        let path = folder.join(name);
        let mut from = File::open(&path).map_err(failed(&path))?;
        let bytes = from.metadata().map_err(failed(&path))?.len();
        let header = header(name, bytes);
        out.write_all(&header).map_err(super::output)?;
        let copied = io::copy(&mut (&mut from).take(bytes), out).map_err(failed(&path))?;
        if copied < bytes {
            return Err(failed(&path)(io::ErrorKind::UnexpectedEof.into()));
        }
        let rest = bytes.next_multiple_of(BLOCK_BYTES as u64) - bytes;
        let zeros = [0; BLOCK_BYTES];
        out.write_all(&zeros[..rest as usize])
            .map_err(super::output)?;
    }
    // Two blocks of zeros are the end.
    out.write_all(&[0; 2 * BLOCK_BYTES])
        .map_err(super::output)?;
    out.flush().map_err(super::output)
}

/// The `ustar` header of a plain file, for its owner alone.
fn header(name: &str, bytes: u64) -> [u8; BLOCK_BYTES] {
    let mut header = [0; BLOCK_BYTES];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000600");
    header[108..115].copy_from_slice(b"0000000");
    header[116..123].copy_from_slice(b"0000000");
    header[124..135].copy_from_slice(format!("{bytes:011o}").as_bytes());
    header[136..147].copy_from_slice(b"00000000000");
    header[148..156].fill(b' ');
    header[156] = b'0';
    header[257..263].copy_from_slice(b"ustar\0");
    header[263..265].copy_from_slice(b"00");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ToolError {
    let path = path.display().to_string();
    move |source| ToolError::File { path, source }
}

const BLOCK_BYTES: usize = 512;
/// For another piece of the state or the mail to be copied, at most.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_that_of_posix() {
        let header = header("journal", 8 << 20);
        assert_eq!(header[..8], *b"journal\0");
        assert_eq!(header[100..108], *b"0000600\0");
        assert_eq!(header[124..136], *b"00040000000\0");
        assert_eq!(header[148..156], *b"007324\0 ");
        assert_eq!(header[156..157], *b"0");
        assert_eq!(header[257..265], *b"ustar\x0000");
    }
}
