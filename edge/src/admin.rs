//! The operator's way in: a Unix socket `control` in the data folder, one line in, text out.
//!
//! `status` tells where every lane and connection stands; `replay LANE OFFSET` sends records up
//! again; `snapshot` has a consistent copy of the log put into the folder `snapshot`. The socket
//! belongs to the user that runs the gateway; nobody else may open it.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use smol::Async;
use smol::future::FutureExt as _;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use sync::{Lane, Offset};

/// The longest request, in bytes; a longer one is cut off and refused as unknown.
const REQUEST_BYTES: usize = 256;
/// How long an operator may take to send a request or take its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What an operator can ask of a running gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Where everything stands, one fact a line.
    Status,
    /// Send a lane up again from an offset on, or from the oldest held record.
    Replay {
        /// Which lane.
        lane: Lane,
        /// The first offset.
        from: Offset,
    },
    /// Put a copy of the log into the folder `snapshot` of the data folder, soon.
    Snapshot,
}

impl Request {
    /// Reads a request line; `None` for anything else.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let request = match words.next()? {
            "status" => Self::Status,
            "snapshot" => Self::Snapshot,
            "replay" => {
                let name = words.next()?;
                let lane = Lane::ALL.into_iter().find(|lane| lane.name() == name)?;
                Self::Replay {
                    lane,
                    from: Offset(words.next()?.parse().ok()?),
                }
            }
            _ => return None,
        };
        words.next().is_none().then_some(request)
    }

    /// Writes the line that [`Request::parse`] reads.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Self::Status => "status\n".to_owned(),
            Self::Snapshot => "snapshot\n".to_owned(),
            Self::Replay { lane, from } => format!("replay {lane} {from}\n"),
        }
    }
}

/// Listens in `data`. A socket that a killed gateway left behind is replaced: the caller holds the
/// folder's lock.
///
/// # Errors
/// When the folder can't be written, or its path is too long for a socket (108 bytes).
pub fn listen(data: &Path) -> io::Result<Async<UnixListener>> {
    let path = socket_path(data);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = Async::<UnixListener>::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers one operator, who has two seconds for each half.
///
/// # Errors
/// When the operator went away or took too long.
pub async fn answer(
    mut stream: Async<UnixStream>,
    reply: impl FnOnce(Option<Request>) -> String,
) -> io::Result<()> {
    let mut line = Vec::new();
    let read = async {
        let mut byte = [0];
        while line.len() < REQUEST_BYTES && stream.read(&mut byte).await? == 1 && byte != *b"\n" {
            line.extend_from_slice(&byte);
        }
        Ok(())
    };
    read.or(timeout()).await?;
    let text = reply(std::str::from_utf8(&line).ok().and_then(Request::parse));
    stream.write_all(text.as_bytes()).or(timeout()).await
}

async fn timeout() -> io::Result<()> {
    smol::Timer::after(PATIENCE).await;
    Err(io::ErrorKind::TimedOut.into())
}

/// Asks the gateway that runs in `data` and returns its answer. Blocks for some seconds at most.
///
/// # Errors
/// When no gateway runs there, or it does not answer.
pub fn ask(data: &Path, request: Request) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket_path(data))?;
    stream.set_read_timeout(Some(2 * PATIENCE))?;
    stream.write_all(request.line().as_bytes())?;
    let mut text = String::new();
    io::BufReader::new(stream)
        .take(1 << 16)
        .read_to_string(&mut text)?;
    Ok(text)
}

fn socket_path(data: &Path) -> PathBuf {
    data.join("control")
}

/// Finds the number behind `name` in an answer to [`Request::Status`].
#[must_use]
pub fn fact(status: &str, name: &str) -> Option<u64> {
    status
        .as_bytes()
        .lines()
        .map_while(Result::ok)
        .find_map(|line| {
            line.strip_prefix(name)?
                .strip_prefix(' ')?
                .trim()
                .parse()
                .ok()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_they_are_written() {
        for request in [
            Request::Status,
            Request::Snapshot,
            Request::Replay {
                lane: Lane::Urgent,
                from: Offset(7),
            },
        ] {
            assert_eq!(Request::parse(&request.line()), Some(request));
        }
        for line in [
            "",
            "status now",
            "replay",
            "replay normal",
            "replay lane 3",
            "replay normal -1",
        ] {
            assert_eq!(Request::parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_fact_is_found_by_its_whole_name() {
        let status = "normal.head 12\nnormal.head_bytes 5\n";
        assert_eq!(fact(status, "normal.head"), Some(12));
        assert_eq!(fact(status, "normal.hea"), None);
    }
}
