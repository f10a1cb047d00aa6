//! The files that say who may do what: read whole and checked whole, before anything uses them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::broker::{AccessList, Policy, Strangers};
use crate::config::{ConfigError, IdentityAsUser};
use crate::limits::{AccessBytes, Limits, Listener};
use crate::password::{LineError, Users};

/// What all password files and access lists of a configuration say.
pub(super) struct Rules {
    /// One a listener, in their order.
    pub(super) policies: Vec<Policy>,
    pub(super) bytes: AccessBytes,
    /// What an operator may not have meant, one line each.
    pub(super) notes: Vec<String>,
}

impl Rules {
    /// Reads the files of some listeners.
    ///
    /// # Errors
    /// At the first that can't be read or has a line that can't be used.
    pub(super) fn read(listeners: &[Listener]) -> Result<Self, ConfigError> {
        let mut users = BTreeMap::new();
        let mut lists = BTreeMap::new();
        let mut policies = Vec::new();
        let mut notes = Vec::new();
        for listener in listeners {
            let policy = Policy {
                strangers: strangers(listener),
                users: read_once(&mut users, listener.password_file.as_ref(), Users::parse)?,
                list: read_once(&mut lists, listener.acl_file.as_ref(), AccessList::parse)?,
            };
            notes.extend(note(listener, &policy));
            policies.push(policy);
        }
        let held = users.values().map(|users| users.held_bytes());
        let held = held.chain(lists.values().map(|list| list.held_bytes()));
        let check = users.values().map(|users| users.check_bytes());
        let bytes = AccessBytes {
            held: held.sum::<usize>() as u64,
            check: check.max().unwrap_or(0),
            has_users: !users.is_empty(),
        };
        Ok(Self {
            policies,
            bytes,
            notes,
        })
    }

    /// How many users, for the log.
    pub(super) fn user_count(&self) -> usize {
        let users = self.policies.iter().filter_map(|it| it.users.as_ref());
        users.map(|users| users.len()).sum()
    }
}

/// Looks at everything that the configuration names of users and access lists, and counts what it
/// takes. Gives what the operator may not have meant, one line each. `file` is for the error only.
///
/// # Errors
/// When `run` would not start because of it.
pub fn check_access(limits: &mut Limits, file: &Path) -> Result<Vec<String>, ConfigError> {
    let rules = Rules::read(&limits.listeners)?;
    limits.begin_with_access(rules.bytes, file)?;
    Ok(rules.notes)
}

/// Reads a text file that the operator wrote.
pub(super) fn read_text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| ConfigError {
        file: path.to_owned(),
        line: None,
        key: String::new(),
        found: error.to_string(),
        allowed: "a file that can be read".to_owned(),
    })
}

fn read_once<T>(
    known: &mut BTreeMap<PathBuf, Rc<T>>,
    path: Option<&PathBuf>,
    parse: impl Fn(&str) -> Result<T, LineError>,
) -> Result<Option<Rc<T>>, ConfigError> {
    let Some(path) = path else {
        return Ok(None);
    };
    if let Some(known) = known.get(path) {
        return Ok(Some(known.clone()));
    }
    let parsed = parse(&read_text(path)?).map_err(|error| ConfigError {
        file: path.clone(),
        line: Some(error.line),
        key: String::new(),
        found: error.found,
        allowed: error.allowed.to_owned(),
    })?;
    let parsed = Rc::new(parsed);
    known.insert(path.clone(), parsed.clone());
    Ok(Some(parsed))
}

/// Without a word of the operator, strangers are welcome where nobody has a password.
fn strangers(listener: &Listener) -> Strangers {
    let may_come = listener.allow_anonymous;
    match may_come.unwrap_or_else(|| listener.password_file.is_none()) {
        true => Strangers::Welcome,
        false => Strangers::Refused,
    }
}

fn note(listener: &Listener, policy: &Policy) -> Option<String> {
    let identity = listener.tls.as_ref().map(|tls| tls.identity_as_user);
    let is_provable = policy.users.is_some() || identity == Some(IdentityAsUser::CommonName);
    let names_users = policy.list.as_ref().is_some_and(|list| list.names_users());
    (names_users && !is_provable).then(|| {
        let address = &listener.address;
        format!(
            "listener {address}: its acl_file names users, but without a password_file or \
             tls.identity_as_user they are whoever they say they are"
        )
    })
}
