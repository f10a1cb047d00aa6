//! SIGHUP: the configuration and every file that it names is read and checked again, and only then
//! taken over, all at once. What is wrong changes nothing and is said.
//!
//! Taken over are users, access lists and who is let in without a name. Other keys need a restart,
//! and are named when they differ from what was started with.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::{Table, Value};
use tracing::{error, info, warn};

use super::rules::{Rules, read_text};
use crate::broker::Policy;
use crate::config::{Config, ConfigError};
use crate::limits::{Limits, Listener};

/// What was started with, and what holds now.
pub(super) struct Reload {
    file: PathBuf,
    /// As written when the gateway started.
    written: Table,
    limits: Limits,
    /// By listener.
    policies: Vec<Policy>,
}

/// What a new configuration says, checked and not yet taken over.
struct Prepared {
    policies: Vec<Policy>,
    limits: Limits,
    user_count: usize,
    notes: Vec<String>,
    needs_restart: BTreeSet<String>,
}

/// Keys of a listener that a reload takes over.
const RELOADED: [&str; 3] = ["allow_anonymous", "password_file", "acl_file"];

impl Reload {
    /// Reads who may do what for the first time, and notes what is needed to read it again; without
    /// a file, there is nothing.
    ///
    /// # Errors
    /// When a file can't be read or used, or what it says does not fit into memory.
    pub(super) fn begin(
        limits: &mut Limits,
        file: Option<&Path>,
    ) -> Result<(Vec<Policy>, Option<Self>), ConfigError> {
        let rules = Rules::read(&limits.listeners)?;
        limits.admit_access(rules.bytes, file.unwrap_or_else(|| Path::new("(no file)")))?;
        for note in &rules.notes {
            warn!("{note}");
        }
        let Some(file) = file else {
            return Ok((rules.policies, None));
        };
        let reload = Self {
            file: file.to_owned(),
            written: read_table(file)?,
            limits: limits.clone(),
            policies: rules.policies.clone(),
        };
        Ok((rules.policies, Some(reload)))
    }

    /// Reads everything again. Gives the policies that hold from now on, or says why the old ones
    /// stay.
    pub(super) fn run(&mut self) -> Option<Vec<Policy>> {
        let prepared = match self.prepare() {
            Ok(prepared) => prepared,
            Err(error) => {
                error!("reload refused, nothing changed: {error}");
                return None;
            }
        };
        info!("reloaded: {} users", prepared.user_count);
        for note in &prepared.notes {
            warn!("{note}");
        }
        if !prepared.needs_restart.is_empty() {
            let keys = Vec::from_iter(prepared.needs_restart).join(", ");
            warn!("changed keys that need a restart: {keys}");
        }
        self.limits = prepared.limits;
        self.policies.clone_from(&prepared.policies);
        Some(prepared.policies)
    }

    fn prepare(&self) -> Result<Prepared, ConfigError> {
        let written = read_table(&self.file)?;
        let config = Config::read(Some(&self.file))?;
        let new = Limits::resolve(&config, &self.file)?;
        let rules = Rules::read(&new.listeners)?;
        let mut limits = self.limits.clone();
        limits.admit_access(rules.bytes, &self.file)?;
        let user_count = rules.user_count();
        let running = self.limits.listeners.iter().zip(&self.policies).enumerate();
        let policies = running.map(|(index, (listener, policy))| {
            let place = place_of(&new.listeners, index, listener, self.policies.len());
            place.map_or_else(|| policy.clone(), |place| rules.policies[place].clone())
        });
        let mut needs_restart = BTreeSet::new();
        differing(&self.written, &written, "", &mut needs_restart);
        Ok(Prepared {
            policies: policies.collect(),
            limits,
            user_count,
            notes: rules.notes,
            needs_restart,
        })
    }
}

/// Where a running listener stands in a new configuration: at its address, which may have moved,
/// or in its place, if its address is what changed.
fn place_of(new: &[Listener], index: usize, running: &Listener, count: usize) -> Option<usize> {
    let is_same = |place: &usize| new[*place].address == running.address;
    let in_place = Some(index).filter(|index| *index < new.len());
    in_place
        .filter(is_same)
        .or_else(|| (0..new.len()).find(is_same))
        .or_else(|| in_place.filter(|_| new.len() == count))
}

fn read_table(file: &Path) -> Result<Table, ConfigError> {
    let text = read_text(file)?;
    text.parse()
        .map_err(|error| ConfigError::from_toml(&error, &text, file))
}

/// Names the keys whose values are not the same, without those that a reload takes over.
fn differing(old: &Table, new: &Table, section: &str, found: &mut BTreeSet<String>) {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let name = match section {
            "" => key.clone(),
            section => format!("{section}.{key}"),
        };
        if section == "listener" && RELOADED.contains(&key.as_str()) {
            continue;
        }
        match (old.get(key), new.get(key)) {
            (Some(old), Some(new)) if old == new => {}
            (Some(Value::Table(old)), Some(Value::Table(new))) => differing(old, new, &name, found),
            (Some(Value::Array(old)), Some(Value::Array(new))) if old.len() == new.len() => {
                for pair in old.iter().zip(new) {
                    match pair {
                        (Value::Table(old), Value::Table(new)) => differing(old, new, &name, found),
                        (old, new) if old == new => {}
                        _ => {
                            found.insert(name.clone());
                        }
                    }
                }
            }
            _ => {
                found.insert(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(old: &str, new: &str) -> Vec<String> {
        let mut found = BTreeSet::new();
        let table = |text: &str| text.parse::<Table>().expect("TOML");
        differing(&table(old), &table(new), "", &mut found);
        found.into_iter().collect()
    }

    #[test]
    fn keys_that_need_a_restart_are_named() {
        let old = "[gateway]\nid = \"a\"\n[[listener]]\naddress = \"x\"\nacl_file = \"1\"\n\
                   [limits]\nconnections = 5\n[lanes]\ncritical = [\"a\"]\n";
        assert!(keys(old, old).is_empty());
        let new = old.replace(
            "acl_file = \"1\"",
            "password_file = \"2\"\nallow_anonymous = true",
        );
        assert!(keys(old, &new).is_empty(), "these are taken over");
        let new = old.replace("= 5", "= 6").replace("\"x\"", "\"y\"");
        assert_eq!(keys(old, &new), ["limits.connections", "listener.address"]);
        let new = old.replace("[\"a\"]", "[\"b\"]\n[log]\nlevel = \"debug\"");
        assert_eq!(keys(old, &new), ["lanes.critical", "log"]);
        let new = format!("{old}[[listener]]\naddress = \"z\"\n");
        assert_eq!(keys(old, &new), ["listener"]);
    }
}
