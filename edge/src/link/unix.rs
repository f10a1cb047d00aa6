//! Links over a Unix socket, for programs on the same host.
//!
//! The socket's file belongs to the listener: it has the mode asked for before anyone can connect,
//! takes the place of one that a killed gateway left, and goes when the listener goes. A socket
//! that somebody listens on, or a file that is none, is never touched.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use smol::Async;

/// Accepts links on one path.
pub(crate) struct Listener {
    socket: Async<UnixListener>,
    file: SocketFile,
}

/// The file of a socket, removed when it is dropped, if it is still the same.
struct SocketFile {
    path: Rc<Path>,
    /// Device and inode.
    identity: (u64, u64),
}

/// Who has connected: the path, and the process as the kernel knows it.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    path: Rc<Path>,
    process: Option<i32>,
}

/// Links that may wait to be accepted.
const BACKLOG: i32 = 1024;

impl Listener {
    /// Makes the socket, open to whom `mode` lets in.
    ///
    /// # Errors
    /// When somebody listens there, the path is another file, or the folder can't be written.
    pub(crate) fn bind(path: PathBuf, mode: u32) -> io::Result<Self> {
        remove_stale(&path)?;
        let kind = (AddressFamily::UNIX, SocketType::STREAM);
        let socket = rustix::net::socket_with(kind.0, kind.1, SocketFlags::CLOEXEC, None)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path)?)?;
        let file = SocketFile::of(path)?;
        // Nobody can connect before it listens.
        fs::set_permissions(&file.path, fs::Permissions::from_mode(mode))?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(Self {
            socket: Async::new(UnixListener::from(socket))?,
            file,
        })
    }

    /// Waits for the next connection, whose socket does not block.
    ///
    /// # Errors
    /// When the system has no more file descriptors or memory; the listener stays usable.
    pub(crate) async fn accept(&self) -> io::Result<(UnixStream, Peer)> {
        let (stream, _) = self.socket.read_with(UnixListener::accept).await?;
        stream.set_nonblocking(true)?;
        let peer = Peer {
            path: self.file.path.clone(),
            process: sockopt::socket_peercred(&stream)
                .map(|credentials| credentials.pid.as_raw_nonzero().get())
                .ok(),
        };
        Ok((stream, peer))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix:{}", self.path.display())?;
        match self.process {
            Some(process) => write!(f, " process {process}"),
            None => Ok(()),
        }
    }
}

impl SocketFile {
    fn of(path: PathBuf) -> io::Result<Self> {
        let identity = identity(&path)?;
        Ok(Self {
            path: path.into(),
            identity,
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // Whoever starts next removes what could not be removed here.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket that nobody listens on.
fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        let message = "the path is taken by a file that is no socket";
        return Err(io::Error::new(ErrorKind::AlreadyExists, message));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
        Ok(_) => {
            let message = "another program listens there";
            Err(io::Error::new(ErrorKind::AddrInUse, message))
        }
    }
}

/// Device and inode of a socket's file.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    if !found.file_type().is_socket() {
        return Err(ErrorKind::NotFound.into());
    }
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    fn refusal(path: &Path) -> ErrorKind {
        match Listener::bind(path.to_owned(), 0o660) {
            Ok(_) => panic!("refused"),
            Err(error) => error.kind(),
        }
    }

    #[test]
    fn the_file_has_its_mode_and_goes_with_the_listener() {
        let folder = folder();
        let path = folder.path().join("edge.sock");
        for mode in [0o660, 0o600, 0o777] {
            let listener = Listener::bind(path.clone(), mode).expect("a free path");
            let found = fs::metadata(&path).expect("it is there").permissions();
            assert_eq!(found.mode() & 0o777, mode);
            drop(listener);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_socket_left_behind_is_replaced_but_not_one_that_is_listened_on() {
        let folder = folder();
        let path = folder.path().join("edge.sock");
        let left_behind = UnixListener::bind(&path).expect("a free path");
        assert_eq!(refusal(&path), ErrorKind::AddrInUse);
        drop(left_behind);
        assert!(path.exists());
        let listener = Listener::bind(path.clone(), 0o660).expect("nobody listens");
        // A file that has taken the place of ours is not ours to remove.
        fs::remove_file(&path).expect("ours");
        fs::write(&path, "another's").expect("a writable folder");
        drop(listener);
        assert!(path.exists());
        assert_eq!(refusal(&path), ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_peer_is_named_by_path_and_process() {
        let folder = folder();
        let path = folder.path().join("edge.sock");
        let listener = Listener::bind(path.clone(), 0o660).expect("a free path");
        let _client = UnixStream::connect(&path).expect("it listens");
        let accepted = smol::block_on(listener.accept());
        let (_, peer) = accepted.expect("a client waits");
        let expected = format!("unix:{} process {}", path.display(), std::process::id());
        assert_eq!(peer.to_string(), expected);
    }
}
