//! A gateway in a process of its own, and the clients and peers that tests put around it.

mod mosquitto;

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

pub(crate) use self::mosquitto::{Mosquitto, Tool};

/// The longest that a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// What a stop may take: a gateway's own limits for it add up to less than two seconds, and whatever
/// it could wait for by mistake takes ten and more.
const STOP: Duration = Duration::from_secs(4);

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_robustmq-edge"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

/// What a program wrote to standard error.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A running gateway with a folder of its own; killed when it is dropped.
pub(crate) struct Gateway {
    child: Child,
    lines: Arc<Lines>,
    folder: tempfile::TempDir,
    /// What a shell does before it becomes the program.
    before: Option<String>,
    pub(crate) address: SocketAddr,
}

impl Gateway {
    /// Starts a gateway on a free port with `more` in its configuration.
    pub(crate) fn start(more: &str) -> Self {
        Self::start_at("127.0.0.1:0", more)
    }

    /// Starts a gateway on an address of its listener, whose table `more` begins with.
    pub(crate) fn start_at(listener: &str, more: &str) -> Self {
        Self::begin(None, listener, more)
    }

    /// The same, where the system lets a process open only so many files.
    pub(crate) fn start_with_files(more: &str, count: u32) -> Self {
        Self::start_behind(&format!("ulimit -n {count}"), "127.0.0.1:0", more)
    }

    /// Starts a gateway, now and after a kill, in a shell that does something before.
    pub(crate) fn start_behind(before: &str, listener: &str, more: &str) -> Self {
        Self::begin(Some(before), listener, more)
    }

    fn begin(before: Option<&str>, listener: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // The same port after a restart, and nobody else's meanwhile.
        let port = format!(":{}", free_port().port());
        write_config(folder.path(), &listener.replace(":0", &port), more);
        let (child, lines, address) = spawn(program(before), folder.path());
        Self {
            child,
            lines,
            folder,
            before: before.map(str::to_owned),
            address,
        }
    }

    /// Lets it open so many files from now on; gives how many it could.
    pub(crate) fn limit_files(&self, count: u64) -> u64 {
        use rustix::process::{Pid, Resource, Rlimit, prlimit};
        let limit = Rlimit {
            current: Some(count),
            maximum: rustix::process::getrlimit(Resource::Nofile).maximum,
        };
        let former = prlimit(Some(Pid::from_child(&self.child)), Resource::Nofile, limit);
        former.expect("it is ours").current.unwrap_or(u64::MAX)
    }

    /// Ends it without a chance to do anything.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Starts it again on what it left.
    pub(crate) fn restart(&mut self) {
        let program = program(self.before.as_deref());
        (self.child, self.lines, _) = spawn(program, self.folder.path());
    }

    /// Starts it again on what it left and kills it after a while, wherever it is by then; `before`
    /// is done right before that.
    pub(crate) fn kill_while_it_starts(&mut self, after: Duration, before: impl FnOnce()) {
        let mut program = program(self.before.as_deref());
        program
            .args(["run", "--config"])
            .arg(self.config())
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        self.child = program.spawn().expect("the program starts");
        std::thread::park_timeout(after);
        before();
        self.kill();
    }

    /// Sends SIGTERM and waits for the end, which has to come soon; gives the status.
    pub(crate) fn terminate_soon(&mut self) -> ExitStatus {
        let start = now();
        let status = self.terminate();
        let took = now() - start;
        if took >= STOP {
            // Where the machine is that slow or busy, it is so for a gateway that nobody uses too.
            let mut idle = Self::start("");
            let start = now();
            idle.terminate();
            let plain = now() - start;
            assert!(took < 20 * plain, "{took:?}, and {plain:?} without anybody");
        }
        status
    }

    /// Sends SIGTERM and waits for the end; gives the status.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill is there");
        assert!(sent.success());
        self.child.wait().expect("it ends")
    }

    /// Waits until it ends of itself.
    pub(crate) fn expect_end(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("it ends", || {
            status = self.child.try_wait().expect("it is a child");
            status.is_some()
        });
        status.expect("it was waited for")
    }

    /// Sends SIGHUP: it reads its files again.
    pub(crate) fn hang_up(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-HUP", &pid]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// The address of a further listener, by its place in the configuration.
    pub(crate) fn address_of(&self, listener: usize) -> SocketAddr {
        let listening = || self.lines_with("listening on ");
        wait_until("a listener", || listening().len() > listener);
        address_in(&listening()[listener])
    }

    /// Waits for a line on standard error that contains `text`, from the beginning.
    pub(crate) fn expect_line(&self, text: &str) -> String {
        self.lines.expect(text)
    }

    /// All lines so far that contain `text`.
    pub(crate) fn lines_with(&self, text: &str) -> Vec<String> {
        let lines = self.lines.seen();
        lines
            .0
            .iter()
            .filter(|line| line.contains(text))
            .cloned()
            .collect()
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("gateway.toml")
    }

    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What `status` says of one name.
    pub(crate) fn fact(&self, name: &str) -> u64 {
        let mut status = String::new();
        // Right after its start it listens to devices a moment earlier than to operators.
        wait_until("an answer", || {
            let answer = edge::admin::ask(&self.data(), edge::admin::Request::Status);
            answer.map(|text| status = text).is_ok()
        });
        edge::admin::fact(&status, name).unwrap_or_else(|| panic!("no {name} in {status}"))
    }

    /// Waits until a fact is as it should be.
    pub(crate) fn expect_fact(&self, name: &str, is_right: impl Fn(u64) -> bool) {
        wait_until(name, || is_right(self.fact(name)));
    }

    /// Waits until the cloud has all of a lane, for as long as it gets more of it.
    pub(crate) fn expect_drained(&self, lane: &str) {
        let (mut left, mut since) = (u64::MAX, now());
        while left > 0 {
            let backlog = self.fact(&format!("cloud.{lane}.backlog"));
            if backlog < left {
                (left, since) = (backlog, now());
            }
            assert!(now() - since < PATIENCE, "{backlog} of {lane} are left");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// The number of the thread of this name, once no other has it: a thread has its maker's until
    /// it takes its own.
    pub(crate) fn thread(&self, name: &str) -> u32 {
        let mut found = Vec::new();
        wait_until(name, || {
            let all = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("Linux");
            let all = all.filter_map(|thread| Some(thread.ok()?.path()));
            let is_it = |thread: &PathBuf| {
                let comm = std::fs::read_to_string(thread.join("comm"));
                comm.is_ok_and(|comm| comm.trim_end() == name)
            };
            found = all.filter(is_it).collect();
            found.len() == 1
        });
        let number = found[0].file_name().and_then(|number| number.to_str());
        let number = number.and_then(|number| number.parse().ok());
        number.expect("threads have numbers")
    }

    /// Processor time used so far, in ticks of 10 ms.
    pub(crate) fn processor_ticks(&self) -> u64 {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("Linux");
        // The name in parentheses may hold anything; user and system time are 12 and 13 behind it.
        let (_, rest) = stat.rsplit_once(')').expect("a process has a name");
        let fields = rest.split_whitespace().skip(11).take(2);
        fields
            .map(|field| field.parse::<u64>().expect("a number"))
            .sum()
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.status_of("VmRSS:").parse::<u64>().expect("a number") * 1024
    }

    /// What the system says of the process in `/proc/PID/status`.
    pub(crate) fn status_of(&self, name: &str) -> String {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("Linux");
        let line = status.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_whitespace().nth(1));
        value.expect("Linux knows it").to_owned()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let lines = self.lines.seen();
            eprintln!("gateway said:\n{}", lines.0.join("\n"));
        }
    }
}

#[derive(Default)]
struct Lines {
    seen: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

impl Lines {
    /// What was said so far, also after a test gave up in the middle of a look.
    fn seen(&self) -> std::sync::MutexGuard<'_, (Vec<String>, bool)> {
        self.seen
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn expect(&self, text: &str) -> String {
        let deadline = now() + PATIENCE;
        let mut seen = self.seen();
        loop {
            if let Some(line) = seen.0.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            assert!(
                !seen.1 && now() < deadline,
                "no line with {text:?} in\n{}",
                seen.0.join("\n")
            );
            let wait = Duration::from_millis(100);
            seen = self
                .changed
                .wait_timeout(seen, wait)
                .expect("no panic holds it")
                .0;
        }
    }
}

fn write_config(folder: &Path, address: &str, more: &str) {
    let data = folder.join("data");
    let text = format!(
        "[gateway]\nid = \"test\"\ndata = '{}'\n[[listener]]\naddress = \"{address}\"\n{more}",
        data.display()
    );
    std::fs::write(folder.join("gateway.toml"), text).expect("a writable folder");
}

/// The program, or another build of it in `GATEWAY`, for long runs; in a shell that does something
/// before.
fn program(before: Option<&str>) -> Command {
    let built = env!("CARGO_BIN_EXE_robustmq-edge");
    let path = std::env::var_os("GATEWAY").unwrap_or_else(|| built.into());
    let Some(before) = before else {
        return Command::new(path);
    };
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{before}; exec \"$0\" \"$@\"")]);
    shell.arg(path);
    shell
}

fn spawn(mut program: Command, folder: &Path) -> (Child, Arc<Lines>, SocketAddr) {
    let mut child = program
        .args(["run", "--config"])
        .arg(folder.join("gateway.toml"))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let stderr = BufReader::new(child.stderr.take().expect("it was asked for"));
    let lines = Arc::new(Lines::default());
    let shared = lines.clone();
    std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            shared.seen().0.push(line);
            shared.changed.notify_all();
        }
        shared.seen().1 = true;
        shared.changed.notify_all();
    });
    let line = lines.expect("listening on ");
    let address = address_in(&line);
    (child, lines, address)
}

fn address_in(line: &str) -> SocketAddr {
    let (_, address) = line.split_once("listening on ").expect("an address");
    let address = address.split([',', ' ']).next();
    address
        .and_then(|text| text.parse().ok())
        .expect("an address")
}

/// Says that a test can't run here for lack of another program; fails it where `REQUIRE_PEERS` is
/// set, as in CI.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("REQUIRE_PEERS").is_none(), "{why}");
    eprintln!("skipped: {why}");
}

/// A port of loopback that nobody listens on, and that nobody is given by the system meanwhile: it is
/// below those, where there is room below them, and no other test of this process has it.
pub(crate) fn free_port() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let range = range.unwrap_or_default();
    let lowest = range.split_whitespace().next();
    let lowest: u16 = lowest.and_then(|it| it.parse().ok()).unwrap_or_default();
    let count = lowest.saturating_sub(FIRST_PORT);
    // Other processes begin elsewhere.
    let begin = std::process::id().wrapping_mul(64);
    for _ in 0..count {
        let next = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let place = begin.wrapping_add(next) % u32::from(count);
        let port = FIRST_PORT + u16::try_from(place).expect("below the count");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("it is bound")
}

/// Lower ones are those of services.
const FIRST_PORT: u16 = 10_000;

/// Asks again and again until it is true.
pub(crate) fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = now() + PATIENCE;
    while !is_true() {
        assert!(now() < deadline, "not in time: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Reads the test's own clock.
#[expect(
    clippy::disallowed_methods,
    reason = "tests of real processes run in real time"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
