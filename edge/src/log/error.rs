//! What can go wrong between the log and its disk.

use std::fmt;
use std::io;

/// Why the log could not do what it was asked. A failed call has changed nothing that was
/// acknowledged.
#[derive(Debug)]
#[non_exhaustive]
pub enum LogError {
    /// Another process has the folder open.
    InUse {
        /// The lock file.
        path: String,
    },
    /// An operation on a file of the folder failed.
    File {
        /// What was being done, as an infinitive: `open`, `write`, `sync`.
        action: &'static str,
        /// The file, or the folder itself.
        path: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// redb failed on a file of the folder.
    Database {
        /// The file.
        path: String,
        /// What redb said.
        source: Box<redb::Error>,
    },
    /// A batch is larger than the whole journal; it can never be stored.
    TooLarge {
        /// Bytes of the batch as a frame.
        found: u64,
        /// Bytes that the journal has for frames.
        allowed: u64,
    },
    /// A state key is longer than a frame can say.
    KeyTooLong {
        /// Bytes of the key; at most 65,535 are allowed.
        found: usize,
    },
    /// The journal is full and could not be emptied, because the disk is full or failing. It goes
    /// on by itself when a [`Job`](super::Job) succeeds again.
    Full {
        /// Bytes of the batch as a frame.
        found: u64,
        /// Bytes that are free in the journal.
        free: u64,
    },
    /// A file can't be read at the moment: an error closed it, and the writer has not been able to
    /// open it again.
    Unavailable {
        /// The file.
        path: String,
    },
    /// `state.redb` is damaged, and nothing of it can be read on: what was in it is in no file any
    /// more. Nothing acknowledged is lost by that but what only it held, and nothing is emptied into
    /// it again before a start makes it anew.
    Unusable {
        /// The file.
        path: String,
        /// What stands in the way.
        what: String,
    },
    /// A segment was removed by retention, and the [`Event::Trimmed`](super::Event::Trimmed) that
    /// says so is on its way to the reader.
    Removed {
        /// The segment's file.
        path: String,
    },
    /// The folder was deleted, moved or replaced while the log was open: what is written now would
    /// be gone with the next start. It goes on by itself when the folder is back.
    Displaced {
        /// The file that is not where it was.
        path: String,
    },
    /// A file is of another version of this program. It is left as it is, and nothing is opened.
    Format {
        /// The file.
        path: String,
        /// The format it names.
        found: u32,
        /// The only format that is known.
        allowed: u32,
    },
    /// A stored structure does not say what it must.
    Corrupt {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { path } => {
                write!(
                    f,
                    "{path} is locked by another process; one gateway a folder is allowed"
                )
            }
            Self::File {
                action,
                path,
                source,
            } => write!(f, "can't {action} {path}: {source}"),
            Self::Database { path, source } => write!(f, "redb failed on {path}: {source}"),
            Self::TooLarge { found, allowed } => {
                write!(f, "batch of {found} bytes exceeds the journal's {allowed}")
            }
            Self::KeyTooLong { found } => {
                write!(f, "state key of {found} bytes exceeds the limit of 65535")
            }
            Self::Full { found, free } => write!(
                f,
                "batch of {found} bytes does not fit the journal's free {free}, and the journal \
                 could not be emptied"
            ),
            Self::Unavailable { path } => write!(f, "{path} is closed since an error"),
            Self::Unusable { path, what } => write!(
                f,
                "{path} is damaged and nothing of it can be read, only a start makes it anew: {what}"
            ),
            Self::Removed { path } => write!(f, "retention has just removed {path}"),
            Self::Displaced { path } => write!(
                f,
                "{path} is not the file that was opened: the data folder was deleted, moved or \
                 replaced"
            ),
            Self::Format {
                path,
                found,
                allowed,
            } => write!(
                f,
                "{path} has format {found}, this program knows format {allowed}"
            ),
            Self::Corrupt { path, what } => write!(f, "{path} is damaged: {what}"),
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::Database { source, .. } => Some(source.as_ref()),
            _ => None,
        }
    }
}

impl LogError {
    /// Names the action and the file of an input or output error.
    pub(super) fn file(action: &'static str, path: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// Names the file of a redb error.
    pub(super) fn database<E: Into<redb::Error>>(path: &str) -> impl Fn(E) -> Self {
        move |source| Self::Database {
            path: path.to_owned(),
            source: Box::new(source.into()),
        }
    }

    /// Whether a read failed because the medium is bad there (`EIO`), which a later one will not
    /// change.
    pub(super) fn is_bad_medium(error: &io::Error) -> bool {
        error.raw_os_error() == Some(EIO)
    }

    /// Whether what was to be read is damaged or on a bad medium.
    pub(super) fn is_unreadable(&self) -> bool {
        self.is_damage()
            || match self {
                Self::File { source, .. } => Self::is_bad_medium(source),
                // A handle that an earlier unreadable page has latched tells no more than that.
                Self::Database { source, .. } => match &**source {
                    redb::Error::Io(error) => Self::is_bad_medium(error),
                    redb::Error::PreviousIo => true,
                    _ => false,
                },
                _ => false,
            }
    }

    /// Whether a file stays unreadable where it is, until it is made anew.
    pub(super) fn is_lasting(&self) -> bool {
        let is_latched = matches!(self, Self::Database { source, .. }
            if matches!(**source, redb::Error::PreviousIo));
        self.is_unreadable() && !is_latched
    }

    /// Whether a file is bad, as opposed to a disk that fails or is full: asking again is no use.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Corrupt { .. } | Self::Unusable { .. } => true,
            Self::Database { source, .. } => match &**source {
                redb::Error::Io(error) => matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ),
                redb::Error::PreviousIo | redb::Error::DatabaseClosed => false,
                _ => true,
            },
            _ => false,
        }
    }

    /// Whether the disk has no room.
    pub(super) fn is_full(&self) -> bool {
        let is_full = |error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        };
        match self {
            Self::File { source, .. } => is_full(source),
            Self::Database { source, .. } => {
                matches!(&**source, redb::Error::Io(error) if is_full(error))
            }
            _ => false,
        }
    }

    /// Says what is wrong with a file.
    pub(super) fn corrupt(path: &str, what: impl Into<String>) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            what: what.into(),
        }
    }
}

/// The number of "input/output error" on Linux, for which the standard library has no name.
const EIO: i32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_fullness_and_failure_are_told_apart() {
        let io = |kind: io::ErrorKind| LogError::database("f")(redb::Error::Io(kind.into()));
        let corrupt = LogError::database("f")(redb::Error::Corrupted("root".into()));
        for (error, is_damage, is_full) in [
            (corrupt, true, false),
            (LogError::corrupt("f", "short"), true, false),
            (io(io::ErrorKind::UnexpectedEof), true, false),
            (io(io::ErrorKind::StorageFull), false, true),
            (io(io::ErrorKind::Other), false, false),
            (
                LogError::database("f")(redb::Error::PreviousIo),
                false,
                false,
            ),
            (
                LogError::file("write", "f")(io::ErrorKind::QuotaExceeded.into()),
                false,
                true,
            ),
        ] {
            assert_eq!(
                (error.is_damage(), error.is_full()),
                (is_damage, is_full),
                "{error}"
            );
        }
    }
}
