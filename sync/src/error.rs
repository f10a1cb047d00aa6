//! What can be wrong with what the engine is given to begin with. Nothing that happens later is
//! an error: connections fall, logs fail and clouds refuse, and the engine's answer is what to do.

use core::fmt;

use crate::Epoch;

/// Why an engine can't start.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// The operator's fault.
    Settings(SettingsError),
    /// The disk's fault. Starting without a checkpoint loses nothing and sends everything again.
    Checkpoint(CheckpointError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(_) => f.write_str("settings are not usable"),
            Self::Checkpoint(_) => f.write_str("checkpoint can't be read"),
        }
    }
}

impl core::error::Error for StartError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Settings(error) => Some(error),
            Self::Checkpoint(error) => Some(error),
        }
    }
}

impl From<SettingsError> for StartError {
    fn from(error: SettingsError) -> Self {
        Self::Settings(error)
    }
}

impl From<CheckpointError> for StartError {
    fn from(error: CheckpointError) -> Self {
        Self::Checkpoint(error)
    }
}

/// A setting outside of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// The field of [`crate::Settings`].
    pub name: &'static str,
    /// What it says; durations in milliseconds.
    pub found: u64,
    /// The least it may say.
    pub least: u64,
    /// The most it may say.
    pub most: u64,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            found,
            least,
            most,
        } = self;
        write!(f, "{name} is {found}, allowed are {least} to {most}")
    }
}

impl core::error::Error for SettingsError {}

/// Why stored bytes are not a checkpoint of this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Not CBOR of the known shape.
    Malformed,
    /// Written by another version.
    Version {
        /// The version it names.
        found: u8,
    },
    /// Of another log: its offsets mean nothing here.
    Epoch {
        /// The epoch it names.
        found: Epoch,
        /// The epoch of the log.
        expected: Epoch,
    },
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("value is not a checkpoint"),
            Self::Version { found } => write!(f, "checkpoint version {found} is not the known 1"),
            Self::Epoch { found, expected } => {
                let (found, expected) = (found.0, expected.0);
                write!(
                    f,
                    "checkpoint of epoch {found} in a log of epoch {expected}"
                )
            }
        }
    }
}

impl core::error::Error for CheckpointError {}

/// Why user properties are not a [`crate::Place`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlaceError {
    /// Some of the five are there and this one is not.
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// A value that can't be read or is out of range.
    Malformed {
        /// Its name.
        name: &'static str,
    },
}

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name } => write!(f, "property {name} is missing beside the others"),
            Self::Malformed { name } => write!(f, "property {name} can't be read"),
        }
    }
}

impl core::error::Error for PlaceError {}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use core::error::Error;

    use super::*;

    #[test]
    fn errors_say_what_was_found_and_what_is_allowed() {
        let (found, expected) = (Epoch(1), Epoch(2));
        let epoch = CheckpointError::Epoch { found, expected };
        let settings = SettingsError {
            name: "hold",
            found: 9,
            least: 0,
            most: 8,
        };
        for (error, text) in [
            (
                StartError::from(CheckpointError::Malformed),
                "value is not a checkpoint",
            ),
            (
                StartError::from(CheckpointError::Version { found: 7 }),
                "checkpoint version 7 is not the known 1",
            ),
            (
                StartError::from(epoch),
                "checkpoint of epoch 1 in a log of epoch 2",
            ),
            (StartError::from(settings), "hold is 9, allowed are 0 to 8"),
        ] {
            assert_eq!(error.source().unwrap().to_string(), text);
            assert!(!error.to_string().is_empty());
        }
        let name = "edge-id";
        let missing = PlaceError::Missing { name }.to_string();
        assert_eq!(missing, "property edge-id is missing beside the others");
        let malformed = PlaceError::Malformed { name }.to_string();
        assert_eq!(malformed, "property edge-id can't be read");
    }
}
