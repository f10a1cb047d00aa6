//! What is wrong with a configuration: file, line, key, what was found, what is allowed.

use std::fmt;
use std::path::{Path, PathBuf};

use super::document::Fault;

/// A configuration that can't be used. The program ends with exit code 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file it was read from.
    pub file: PathBuf,
    /// The line, counted from 1, where one is to blame.
    pub line: Option<usize>,
    /// The key, with the section before it.
    pub key: String,
    /// What is there.
    pub found: String,
    /// What could be there.
    pub allowed: String,
}

impl ConfigError {
    pub(crate) fn from_toml(error: &toml::de::Error, text: &str, path: &Path) -> Self {
        Self::from_fault(&Fault::from_parser(error), text, path)
    }

    pub(super) fn from_fault(fault: &Fault, text: &str, path: &Path) -> Self {
        let message = fault.message.lines().next().unwrap_or_default();
        let (found, allowed) = message
            .split_once(", expected ")
            .unwrap_or_else(|| (message, or_else(message)));
        let place = fault.at.map(|at| Place::of(text, at));
        Self {
            file: path.to_owned(),
            line: place.as_ref().map(|place| place.line),
            key: place.map_or_else(String::new, |place| place.key),
            found: found.to_owned(),
            allowed: allowed.to_owned(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": found {}, allowed is {}", self.found, self.allowed)
    }
}

impl std::error::Error for ConfigError {}

/// What could be there, where the parser does not say.
fn or_else(message: &str) -> &'static str {
    if message.starts_with("missing field") {
        "a section that has it"
    } else {
        "TOML"
    }
}

/// Where in the file a value stands.
struct Place {
    line: usize,
    key: String,
}

impl Place {
    fn of(text: &str, at: usize) -> Self {
        let before = &text[..at.min(text.len())];
        let line = before.matches('\n').count() + 1;
        let section = before
            .lines()
            .rev()
            .skip(usize::from(!before.ends_with('\n') && !before.is_empty()))
            .find(|line| line.trim_start().starts_with('['))
            .map_or("", |line| {
                line.trim().trim_start_matches('[').trim_end_matches(']')
            });
        let own = text.lines().nth(line - 1).unwrap_or_default();
        let name = own.split('=').next().unwrap_or_default().trim();
        let key = match (section, name) {
            (_, header) if header.starts_with('[') => header.trim_matches(['[', ']']).to_owned(),
            ("", name) => name.to_owned(),
            (section, name) => format!("{section}.{name}"),
        };
        Self { line, key }
    }
}
