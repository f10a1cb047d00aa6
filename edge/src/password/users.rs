//! A password file: who there is, and each one's secret.
//!
//! One user a line, `name:secret`. Empty lines and those that begin with `#` say nothing. Mosquitto
//! passes over what it can't read; here the whole file is refused, with the line to blame, so that
//! nobody is locked out by surprise.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::secret::{Secret, SecretError};

/// The users of a password file, with their secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    secrets: BTreeMap<Box<str>, Arc<Secret>>,
}

/// The line of a password file or an access list that can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// Counted from 1.
    pub line: usize,
    /// What is there; never a secret.
    pub found: String,
    /// What could be there.
    pub allowed: &'static str,
}

/// What an entry of the map takes beside names and salts: key, pointer, secret, part of a node.
const ENTRY_BYTES: usize = 256;

impl Users {
    /// Reads a file's text.
    ///
    /// # Errors
    /// At the first line that is no comment and no user with a secret, or whose user had one.
    pub fn parse(text: &str) -> Result<Self, LineError> {
        let mut secrets = BTreeMap::new();
        for (number, line) in numbered(text) {
            let refused = |found: String, allowed| LineError {
                line: number,
                found,
                allowed,
            };
            let (name, secret) = line
                .split_once(':')
                .ok_or_else(|| refused("a line without a colon".to_owned(), "user:secret"))?;
            let name = name.trim();
            if name.is_empty() {
                return Err(refused("an empty user name".to_owned(), "user:secret"));
            }
            let secret = Secret::parse(secret.trim())
                .map_err(|error| refused(error.to_string(), SecretError::ALLOWED))?;
            if secrets.insert(name.into(), Arc::new(secret)).is_some() {
                let found = format!("user \"{name}\" once more");
                return Err(refused(found, "one line a user"));
            }
        }
        Ok(Self { secrets })
    }

    /// The secret of a user.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Secret>> {
        self.secrets.get(name)
    }

    /// The secret whose check takes longest: checked in place of one that does not exist, so that
    /// time does not tell who exists.
    #[must_use]
    pub fn decoy(&self) -> Option<&Arc<Secret>> {
        self.secrets.values().max_by_key(|secret| secret.work())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.secrets.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// The most that checking one of the secrets takes, in bytes.
    #[must_use]
    pub fn check_bytes(&self) -> u64 {
        let each = self.secrets.values().map(|secret| secret.check_bytes());
        each.max().unwrap_or(0)
    }

    /// About what they take, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let each = self.secrets.iter();
        each.map(|(name, secret)| ENTRY_BYTES + name.len() + secret.held_bytes())
            .sum()
    }
}

/// A password file's text with another secret for a user, or without the user; everything else
/// stays as it is. `None` when there is no such user to leave out.
#[must_use]
pub fn edited(text: &str, name: &str, secret: Option<&Secret>) -> Option<String> {
    let is_users = |line: &str| {
        let found = line.split_once(':').map(|(found, _)| found.trim());
        !line.starts_with('#') && found == Some(name)
    };
    let mut new = secret.map(|secret| format!("{name}:{secret}\n"));
    let is_there = text.lines().any(is_users);
    if !is_there && new.is_none() {
        return None;
    }
    let mut edited = String::with_capacity(text.len() + 256);
    for line in text.lines() {
        if is_users(line) {
            edited.extend(new.take());
        } else {
            edited.push_str(line);
            edited.push('\n');
        }
    }
    edited.extend(new);
    Some(edited)
}

/// The lines that say something, with their numbers.
fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate();
    lines
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.starts_with('#') && !line.trim().is_empty())
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}: found {}, allowed is {}",
            self.line, self.found, self.allowed
        )
    }
}

impl std::error::Error for LineError {}

#[cfg(test)]
mod tests {
    use super::super::secret::{Form, SALT_BYTES};
    use super::*;

    const HASH: &str = "$6$MDEyMzQ1Njc4OWFi$qEXipeLbgxRlwd06QHfY5WITkUZg0jLg9SZbXzq3ifXjfj+v3GbJGr\
         SfC5PAg3UNCS+UFfbhUIZX4bmIAs330w==";

    #[test]
    fn users_are_read_between_comments_and_empty_lines() {
        let text = format!("# users\n\nalice:{HASH}\r\n  \n bob : {HASH} \n#carol:{HASH}");
        let users = Users::parse(&text).unwrap();
        assert_eq!(users.len(), 2);
        assert!(users.find("alice").unwrap().matches(b"secret"));
        assert!(users.find("bob").is_some() && users.find("carol").is_none());
        assert!(users.held_bytes() > 400);
        assert!(Users::parse("").unwrap().is_empty());
        assert!(Users::default().decoy().is_none());
    }

    #[test]
    fn a_bad_line_is_named_without_the_secret() {
        let table = [
            ("alice\n".to_owned(), 1, "a line without a colon"),
            (format!("#\n:{HASH}\n"), 2, "an empty user name"),
            (
                "alice:\n".to_owned(),
                1,
                "a password that is not hashed in a known form",
            ),
            (
                "\nalice:plain\n".to_owned(),
                2,
                "a password that is not hashed in a known form",
            ),
            (
                format!("a:{HASH}\nb:{HASH}\na:{HASH}\n"),
                3,
                "user \"a\" once more",
            ),
        ];
        for (text, line, found) in table {
            let error = Users::parse(&text).unwrap_err();
            assert_eq!((error.line, error.found.as_str()), (line, found));
            assert!(!error.to_string().contains("plain"));
        }
    }

    #[test]
    fn the_costliest_secret_stands_in_for_those_who_do_not_exist() {
        let cheap = format!("alice:{HASH}\n");
        let secret = Secret::derive(Form::Pbkdf2, b"x", [1; SALT_BYTES]);
        let users = Users::parse(&format!("{cheap}bob:{secret}\n")).unwrap();
        assert_eq!(users.decoy(), users.find("bob"));
    }

    #[test]
    fn a_file_is_edited_line_by_line() {
        let secret = Secret::parse(HASH).unwrap();
        let text = "# mine\nalice:x\nbob:y\n";
        assert_eq!(
            edited(text, "alice", Some(&secret)).unwrap(),
            format!("# mine\nalice:{HASH}\nbob:y\n")
        );
        assert_eq!(
            edited("bob:y", "carol", Some(&secret)).unwrap(),
            format!("bob:y\ncarol:{HASH}\n")
        );
        assert_eq!(edited(text, "bob", None).unwrap(), "# mine\nalice:x\n");
        assert_eq!(edited(text, "# mine", None), None);
        assert_eq!(edited("a:x\na:y\n", "a", None).unwrap(), "");
    }
}
