//! SIGHUP: the configuration and every file that it names is read and checked again, and only then
//! taken over, all at once. What is wrong changes nothing and is said.
//!
//! Taken over are users, access lists, who is let in without a name, and certificates, also those for
//! the cloud from where they are. Other keys need a restart, and are named when they differ from what
//! was started with.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use cloud_bridge::Bridge;
use toml::{Table, Value};
use tracing::{error, info, warn};

use super::certificates::{self, Certificates};
use super::error::GatewayError;
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
    certificates: Rc<Certificates>,
}

/// What holds until the first reload.
pub(super) struct Begun {
    /// By listener.
    pub(super) policies: Vec<Policy>,
    pub(super) certificates: Rc<Certificates>,
}

/// What a new configuration says, checked and not yet taken over.
struct Prepared {
    policies: Vec<Policy>,
    certificates: certificates::Prepared,
    for_cloud: Option<cloud_bridge::Certificates>,
    limits: Limits,
    user_count: usize,
    notes: Vec<String>,
    needs_restart: BTreeSet<String>,
}

/// Keys that a reload takes over.
const RELOADED: [&str; 8] = [
    "listener.allow_anonymous",
    "listener.password_file",
    "listener.acl_file",
    "listener.tls.certificate_file",
    "listener.tls.key_file",
    "listener.tls.client_ca_file",
    "listener.tls.crl_file",
    "listener.tls.client_certificate",
];

impl Reload {
    /// Reads who may do what, and the certificates, for the first time, and notes what is needed to
    /// read them again; without a file, there is nothing.
    ///
    /// # Errors
    /// When a file can't be read or used, or what it says does not fit into memory.
    pub(super) fn begin(
        limits: &mut Limits,
        file: Option<&Path>,
    ) -> Result<(Begun, Option<Self>), GatewayError> {
        let rules = Rules::read(&limits.listeners).map_err(GatewayError::Config)?;
        let named = file.unwrap_or_else(|| Path::new("(no file)"));
        limits
            .begin_with_access(rules.bytes, named)
            .map_err(GatewayError::Config)?;
        for note in &rules.notes {
            warn!("{note}");
        }
        let certificates = certificates::Prepared::read(&limits.listeners)?;
        let begun = Begun {
            policies: rules.policies,
            certificates: Rc::new(Certificates::new(certificates)),
        };
        let Some(file) = file else {
            return Ok((begun, None));
        };
        let reload = Self {
            file: file.to_owned(),
            written: read_table(file).map_err(GatewayError::Config)?,
            limits: limits.clone(),
            policies: begun.policies.clone(),
            certificates: begun.certificates.clone(),
        };
        Ok((begun, Some(reload)))
    }

    /// Reads everything again. Gives the policies that hold from now on, beside the certificates, or
    /// says why everything stays as it is.
    pub(super) fn run(&mut self, bridge: Option<&Bridge>) -> Option<Vec<Policy>> {
        let prepared = match self.prepare(bridge) {
            Ok(prepared) => prepared,
            Err(error) => {
                error!("reload refused, nothing changed: {error}");
                return None;
            }
        };
        let for_cloud = usize::from(prepared.for_cloud.is_some());
        info!(
            "reloaded: {} users, {} certificates",
            prepared.user_count,
            prepared.certificates.count() + for_cloud
        );
        for note in &prepared.notes {
            warn!("{note}");
        }
        if !prepared.needs_restart.is_empty() {
            let keys = Vec::from_iter(prepared.needs_restart).join(", ");
            warn!("changed keys that need a restart: {keys}");
        }
        self.certificates.replace(prepared.certificates);
        if let (Some(bridge), Some(certificates)) = (bridge, prepared.for_cloud) {
            bridge.replace_certificates(certificates);
        }
        self.limits = prepared.limits;
        self.policies.clone_from(&prepared.policies);
        Some(prepared.policies)
    }

    /// What is in use now.
    pub(super) const fn limits(&self) -> &Limits {
        &self.limits
    }

    fn prepare(&self, bridge: Option<&Bridge>) -> Result<Prepared, GatewayError> {
        let (written, new, rules) = self.read().map_err(GatewayError::Config)?;
        let mut limits = self.limits.clone();
        limits
            .admit_access(rules.bytes, &self.file)
            .map_err(GatewayError::Config)?;
        let mut policies = self.policies.clone();
        for (index, policy) in policies.iter_mut().enumerate() {
            let running = &mut limits.listeners[index];
            let Some(place) = place_of(&new, index, running, self.policies.len()) else {
                continue;
            };
            policy.clone_from(&rules.policies[place]);
            // Whether there is TLS at all, and what a certificate says, is settled at the start.
            if let (Some(running), Some(new)) = (&mut running.tls, &new[place].tls) {
                let identity_as_user = running.identity_as_user;
                running.clone_from(new);
                running.identity_as_user = identity_as_user;
            }
        }
        let mut needs_restart = BTreeSet::new();
        differing(&self.written, &written, "", &mut needs_restart);
        let for_cloud = bridge.map(Bridge::read_certificates).transpose();
        Ok(Prepared {
            policies,
            for_cloud: for_cloud.map_err(GatewayError::Bridge)?.flatten(),
            certificates: certificates::Prepared::read(&limits.listeners)?,
            limits,
            user_count: rules.user_count(),
            notes: rules.notes,
            needs_restart,
        })
    }

    fn read(&self) -> Result<(Table, Vec<Listener>, Rules), ConfigError> {
        let written = read_table(&self.file)?;
        let config = Config::read(Some(&self.file))?;
        let listeners = Limits::resolve(&config, &self.file)?.listeners;
        let rules = Rules::read(&listeners)?;
        Ok((written, listeners, rules))
    }
}

/// Where a running listener stands in a new configuration: at its address, which may have moved,
/// or in its place, if its address is what changed.
fn place_of(new: &[Listener], index: usize, running: &Listener, count: usize) -> Option<usize> {
    // The name of a place; how fast or for whom it is, may change.
    let name = running.address.to_string();
    let is_same = |place: &usize| new[*place].address.to_string() == name;
    let in_place = Some(index).filter(|index| *index < new.len());
    let elsewhere = || (0..new.len()).find(|place| is_same(place));
    let may_move = !running.address.takes_any_port();
    in_place
        .filter(is_same)
        .or_else(|| may_move.then(elsewhere)?)
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
        if RELOADED.contains(&name.as_str()) {
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
        let old = format!("{old}[[listener]]\naddress = \"z\"\n[listener.tls]\nkey_file = \"k\"\n");
        let new = old.replace("\"k\"", "\"l\"\nidentity_as_user = \"common-name\"");
        assert_eq!(keys(&old, &new), ["listener.tls.identity_as_user"]);
        let new = format!("{old}[[listener]]\naddress = \"z\"\n");
        assert_eq!(keys(&old, &new), ["listener"]);
    }

    #[test]
    fn a_running_listener_is_found_at_its_address_or_in_its_place() {
        let listeners = |addresses: &[&str]| {
            let section = |address: &&str| format!("[[listener]]\naddress = \"{address}\"\n");
            let text: String = addresses.iter().map(section).collect();
            let file = Path::new("edge.toml");
            let config = Config::parse(&text, file).expect("a configuration");
            Limits::resolve(&config, file).expect("good").listeners
        };
        let (a, b, c, any) = ("[::1]:1", "[::1]:2", "[::1]:3", "[::1]:0");
        let table = [
            ([a, b], vec![a, b], [Some(0), Some(1)]),
            ([a, b], vec![b, a], [Some(1), Some(0)]),
            ([a, b], vec![c, b], [Some(0), Some(1)]),
            ([a, b], vec![b], [None, Some(0)]),
            ([any, any], vec![c, any], [Some(0), Some(1)]),
            ([a, b], vec![c, a, b], [Some(1), Some(2)]),
        ];
        for (running, new, expected) in table {
            let (running, new) = (listeners(&running), listeners(&new));
            let found = [0, 1].map(|index| place_of(&new, index, &running[index], 2));
            assert_eq!(found, expected);
        }
    }
}
