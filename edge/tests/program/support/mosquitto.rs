//! Debian's mosquitto as a cloud, and its clients.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::{free_port, skip, wait_until};

/// Debian's mosquitto as a cloud, where it is installed.
pub(crate) struct Mosquitto {
    child: Option<Child>,
    folder: tempfile::TempDir,
    pub(crate) address: SocketAddr,
}

impl Mosquitto {
    /// Starts one on a free port; `None`, with a word about it, where it is not installed.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with("allow_anonymous true\nmax_queued_messages 0\n")
    }

    /// Starts one with lines of its own.
    pub(crate) fn start_with(lines: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = free_port();
        let text = format!(
            "listener {} 127.0.0.1\n{lines}user root\n\
             persistence true\npersistence_location {}/\n",
            address.port(),
            folder.path().display()
        );
        std::fs::write(folder.path().join("conf"), text).expect("a writable folder");
        let mut mosquitto = Self {
            child: None,
            folder,
            address,
        };
        mosquitto.begin().then_some(mosquitto)
    }

    /// Starts it (again).
    pub(crate) fn begin(&mut self) -> bool {
        let spawned = ["mosquitto", "/usr/sbin/mosquitto"]
            .iter()
            .find_map(|program| {
                Command::new(program)
                    .arg("-c")
                    .arg(self.folder.path().join("conf"))
                    .stderr(Stdio::null())
                    .spawn()
                    .ok()
            });
        let Some(child) = spawned else {
            skip("mosquitto is not installed");
            return false;
        };
        self.child = Some(child);
        let address = self.address;
        wait_until("mosquitto listens", || {
            std::net::TcpStream::connect(address).is_ok()
        });
        true
    }

    /// Ends it politely: it keeps its sessions.
    pub(crate) fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = child.id().to_string();
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .expect("kill is there");
            child.wait().expect("it ends");
        }
    }

    /// Ends it with everything it held.
    pub(crate) fn forget(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
        let _ = std::fs::remove_file(self.folder.path().join("mosquitto.db"));
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.forget();
    }
}

/// One of mosquitto's own clients, with what it prints.
pub(crate) struct Tool {
    child: Child,
}

impl Tool {
    /// Starts `mosquitto_pub` or `mosquitto_sub` against an address.
    pub(crate) fn start(program: &str, address: SocketAddr, arguments: &[&str]) -> Self {
        let port = address.port().to_string();
        let way = ["-h", "127.0.0.1", "-p", &port];
        Self::start_with(program, &[&way, arguments].concat())
    }

    /// Starts one with every argument.
    pub(crate) fn start_with(program: &str, arguments: &[&str]) -> Self {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("mosquitto's clients come with it");
        Self { child }
    }

    /// Gives it lines to publish and waits for its end.
    pub(crate) fn feed(mut self, lines: &str) {
        use std::io::Write as _;
        let mut stdin = self.child.stdin.take().expect("it was asked for");
        stdin.write_all(lines.as_bytes()).expect("it reads");
        drop(stdin);
        assert!(self.child.wait().expect("it ends").success());
    }

    /// Waits for its end; whether it did what it was asked.
    pub(crate) fn succeeds(mut self) -> bool {
        self.child.wait().expect("it ends").success()
    }

    /// The lines that it prints before this one.
    pub(crate) fn lines_until(mut self, last: &str) -> Vec<String> {
        let stdout = self.child.stdout.take().expect("it was asked for");
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let mut is_last = false;
        let lines = lines.inspect(|line| is_last = line == last);
        let taken: Vec<String> = lines.take_while(|line| line != last).collect();
        assert!(is_last, "it ended before {last:?}");
        taken
    }

    /// Waits for its end (`-C` or `-W`) and gives the lines it printed.
    pub(crate) fn lines(mut self) -> Vec<String> {
        let mut text = String::new();
        let mut stdout = self.child.stdout.take().expect("it was asked for");
        stdout.read_to_string(&mut text).expect("text");
        self.child.wait().expect("it ends");
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
