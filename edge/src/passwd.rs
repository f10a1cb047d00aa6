//! `robustmq-edge passwd`: one user of a password file is added, changed or deleted.
//!
//! The file is replaced as a whole, so that a gateway that reads it meanwhile, or a power cut,
//! finds the old one or the new one. Comments and other users' lines stay as they are.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom as _, SystemRandom};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::args::Passwd;
use crate::password::{Form, SALT_BYTES, Secret, edited};

/// Why a password file is as it was.
#[derive(Debug)]
#[non_exhaustive]
pub enum PasswdError {
    /// The name can't stand in a password file.
    Name,
    /// Nothing, or more than MQTT can carry.
    Password,
    /// The two entries are not the same.
    Repeat,
    /// There is nobody of that name to delete.
    Unknown,
    /// A file or the terminal can't be read or written.
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no random numbers.
    Random,
}

/// MQTT carries at most so many bytes of a password.
const PASSWORD_BYTES_MAXIMUM: usize = u16::MAX as usize;
/// Longer names are not let in.
const NAME_BYTES_MAXIMUM: usize = 256;
const MODE: u32 = 0o600;

/// Does what the command line says.
///
/// # Errors
/// When the name or password can't be used or the file can't be replaced; it is as it was then.
pub fn run(passwd: &Passwd) -> Result<(), PasswdError> {
    let name = passwd.user.as_str();
    let is_plain = !name.is_empty() && name.len() <= NAME_BYTES_MAXIMUM && name.trim() == name;
    if !is_plain || name.starts_with('#') || name.contains([':', '\n', '\r']) {
        return Err(PasswdError::Name);
    }
    let secret = match passwd.delete {
        true => None,
        false => Some(secret(passwd)?),
    };
    // A link stays a link.
    let path = fs::canonicalize(&passwd.file).unwrap_or_else(|_| passwd.file.clone());
    let failed = |source| PasswdError::File {
        path: path.clone(),
        source,
    };
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !passwd.delete => String::new(),
        read => read.map_err(failed)?,
    };
    let text = edited(&text, name, secret.as_ref()).ok_or(PasswdError::Unknown)?;
    replace(&path, &text).map_err(failed)
}

fn secret(passwd: &Passwd) -> Result<Secret, PasswdError> {
    let password = match &passwd.password {
        Some(password) => password.clone(),
        None => ask().map_err(|source| PasswdError::File {
            path: "standard input".into(),
            source,
        })??,
    };
    if password.is_empty() || password.len() > PASSWORD_BYTES_MAXIMUM {
        return Err(PasswdError::Password);
    }
    let mut salt = [0; SALT_BYTES];
    let filled = SystemRandom::new().fill(&mut salt);
    filled.map_err(|_| PasswdError::Random)?;
    let form = match passwd.scram {
        true => Form::Scram,
        false => Form::Pbkdf2,
    };
    Ok(Secret::derive(form, password.as_bytes(), salt))
}

/// Asks twice, without showing it, where somebody types; else takes one line.
fn ask() -> io::Result<Result<String, PasswdError>> {
    if !io::stdin().is_terminal() {
        return read_line().map(Ok);
    }
    let shown = tcgetattr(io::stdin())?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
    let asked = prompt("Password: ").and_then(|first| Ok((first, prompt("Again: ")?)));
    tcsetattr(io::stdin(), OptionalActions::Flush, &shown)?;
    let (first, again) = asked?;
    Ok((first == again).then_some(first).ok_or(PasswdError::Repeat))
}

fn prompt(words: &str) -> io::Result<String> {
    eprint!("{words}");
    let line = read_line();
    eprintln!();
    line
}

fn read_line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Writes a file beside the old one and puts it in its place, with its mode and owner.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".new-{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = write(&beside, path, text).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What could not be written may not be there either.
        let _ = fs::remove_file(&beside);
    }
    written?;
    File::open(folder)?.sync_all()
}

fn write(beside: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(beside)?;
    if let Ok(old) = fs::metadata(path) {
        let new = file.metadata()?;
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            chown(beside, Some(old.uid()), Some(old.gid()))?;
        }
        file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o777))?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

impl fmt::Display for PasswdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => write!(
                f,
                "a user name has 1 to {NAME_BYTES_MAXIMUM} bytes, no colon, no line break, no \
                 blanks around it, and does not begin with #"
            ),
            Self::Password => write!(f, "a password has 1 to {PASSWORD_BYTES_MAXIMUM} bytes"),
            Self::Repeat => f.write_str("the passwords differ"),
            Self::Unknown => f.write_str("there is no such user"),
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Random => f.write_str("the system gives no random numbers"),
        }
    }
}

impl std::error::Error for PasswdError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::Name | Self::Password | Self::Repeat | Self::Unknown | Self::Random => None,
        }
    }
}
