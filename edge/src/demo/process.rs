//! A second instance of this program, to be started, killed and started again.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;

use crate::admin::{self, Request};

/// A gateway in a process of its own; killed when it is dropped.
pub(super) struct Process {
    child: Child,
    config: PathBuf,
    data: PathBuf,
    address: SocketAddr,
}

impl Process {
    /// Starts an instance on a free port, with `more` added to its configuration.
    pub(super) fn start(folder: &Path, name: &str, more: &str) -> io::Result<Self> {
        let data = folder.join(name);
        let config = folder.join(format!("{name}.toml"));
        let text = |address: &str| {
            let data = data.display();
            format!(
                "[gateway]\nid = \"demo-{name}\"\ndata = '{data}'\n\
                 [[listener]]\naddress = \"{address}\"\n[log]\nlevel = \"info\"\n{more}"
            )
        };
        fs::write(&config, text("127.0.0.1:0"))?;
        let (child, address) = spawn(&config)?;
        // The same port after a restart, as devices expect.
        fs::write(&config, text(&address.to_string()))?;
        Ok(Self {
            child,
            config,
            data,
            address,
        })
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it as a power cut would, without a chance to say or write anything.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Starts it again on what it left.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        (self.child, _) = spawn(&self.config)?;
        Ok(())
    }

    /// Asks where everything stands; empty while it does not run.
    pub(super) fn status(&self) -> String {
        admin::ask(&self.data, Request::Status).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.kill();
    }
}

/// Starts the program and waits until it says where it listens.
fn spawn(config: &Path) -> io::Result<(Child, SocketAddr)> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["run".as_ref(), "--config".as_ref(), config.as_os_str()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let stderr = child.stderr.take().expect("standard error was asked for");
    match listening(stderr) {
        Ok(address) => Ok((child, address)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

fn listening(stderr: ChildStderr) -> io::Result<SocketAddr> {
    let mut said = String::new();
    let mut lines = BufReader::new(stderr).lines();
    while let Some(line) = lines.next().transpose()? {
        if let Some((_, address)) = line.split_once("listening on ") {
            let address = address.trim().parse().map_err(io::Error::other)?;
            // A full pipe would hold the instance up.
            thread::spawn(move || lines.for_each(drop));
            return Ok(address);
        }
        said.push_str(&line);
        said.push('\n');
    }
    Err(io::Error::other(format!(
        "an instance of the gateway did not start: {said}"
    )))
}
