//! The gateway as a service: what its manager hears, and what it gives up at its start.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::support::{Gateway, PATIENCE, skip};

const CLOUD: &str = "[cloud]\nendpoints = [\"mqtt://127.0.0.1:1\"]\nuplink = [\"#\"]\n";
/// A gateway says once a second that it lives.
const SILENCE: Duration = Duration::from_millis(2500);

/// The service manager's end. It always reads, as a manager does: the system has room for some ten
/// notices, and a gateway does not wait for it.
pub(super) struct Manager {
    socket: Arc<UnixDatagram>,
    notices: Receiver<String>,
    folder: tempfile::TempDir,
}

impl Manager {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        let socket = Arc::new(socket);
        let (reading, (sender, notices)) = (socket.clone(), channel());
        thread::spawn(move || {
            let mut buffer = [0; 256];
            // Nothing at all is the end.
            while let Ok(length @ 1..) = reading.recv(&mut buffer) {
                let notice = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if sender.send(notice).is_err() {
                    return;
                }
            }
        });
        Self {
            socket,
            notices,
            folder,
        }
    }

    /// Starts a gateway under this manager, now and after a kill.
    pub(super) fn start(&self, more: &str) -> Gateway {
        let socket = self.folder.path().join("notify").display().to_string();
        let environment = format!("export NOTIFY_SOCKET='{socket}' WATCHDOG_USEC=60000000");
        Gateway::start_behind(&environment, "127.0.0.1:0", more)
    }

    /// The next notice.
    pub(super) fn notice(&self) -> String {
        self.next(PATIENCE).expect("a notice in time")
    }

    /// Waits until a gateway is ready.
    pub(super) fn expect_ready(&self) {
        while !self.notice().starts_with("READY=1") {}
    }

    /// Waits until no more notices come.
    pub(super) fn expect_silence(&self) {
        let mut came = 0;
        while let Some(notice) = self.next(SILENCE) {
            assert_eq!(notice, "WATCHDOG=1");
            came += 1;
            assert!(came < 60, "it goes on as if nothing were the matter");
        }
    }

    fn next(&self, patience: Duration) -> Option<String> {
        self.notices.recv_timeout(patience).ok()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// A thread that stands still until this is dropped.
struct Frozen(Child);

impl Frozen {
    /// Stops one thread as a debugger does; `None`, with a word about it, where that can't be done.
    fn thread(number: u32) -> Option<Self> {
        const FREEZE: &str = "
import ctypes, os, sys
SEIZE, INTERRUPT, ALL_THREADS = 0x4206, 0x4207, 0x40000000
thread = int(sys.argv[1])
ptrace = ctypes.CDLL(None).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
if ptrace(SEIZE, thread, None, None) or ptrace(INTERRUPT, thread, None, None):
    sys.exit(1)
os.waitpid(thread, ALL_THREADS)
print('frozen', flush=True)
sys.stdin.read()
";
        let mut python = Command::new("python3");
        python.args(["-c", FREEZE, &number.to_string()]);
        python.stdin(Stdio::piped()).stdout(Stdio::piped());
        let Ok(mut child) = python.spawn() else {
            skip("python3 is not installed");
            return None;
        };
        let mut said = String::new();
        let stdout = child.stdout.take().expect("it was asked for");
        let read = BufReader::new(stdout).read_line(&mut said);
        let frozen = Self(child);
        if read.is_err() || said.is_empty() {
            skip("threads can't be stopped by a debugger");
            return None;
        }
        Some(frozen)
    }
}

impl Drop for Frozen {
    /// The system lets go of what a debugger held when that ends.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_manager_hears_of_readiness_life_and_the_end() {
    let manager = Manager::new();
    let mut gateway = manager.start(CLOUD);
    manager.expect_ready();
    for _ in 0..2 {
        assert_eq!(manager.notice(), "WATCHDOG=1");
    }
    gateway.terminate();
    let mut rest = std::iter::repeat_with(|| manager.notice());
    let last = rest.find(|notice| notice != "WATCHDOG=1");
    assert_eq!(last.as_deref(), Some("STOPPING=1"));
}

/// Each of them, whatever the others do; a service manager restarts the gateway then.
#[test]
fn the_watchdog_starves_when_the_core_the_writer_or_the_bridge_stands_still() {
    let manager = Manager::new();
    let gateway = manager.start(CLOUD);
    manager.expect_ready();
    for name in ["robustmq-edge", "log-writer", "bridge"] {
        assert_eq!(manager.notice(), "WATCHDOG=1");
        let Some(frozen) = Frozen::thread(gateway.thread(name)) else {
            return;
        };
        manager.expect_silence();
        drop(frozen);
        assert_eq!(manager.notice(), "WATCHDOG=1", "{name} goes on");
    }
}

#[test]
fn privileges_are_given_up_at_the_start() {
    /// The bits of binding low ports and of using files of other users.
    const KEPT: u64 = 1 << 10 | 1 << 1;
    let gateway = Gateway::start("");
    gateway.expect_line("self-protection: no new privileges, capabilities dropped");
    assert_eq!(gateway.status_of("NoNewPrivs:"), "1");
    let held = u64::from_str_radix(&gateway.status_of("CapPrm:"), 16).expect("a number");
    assert_eq!(held & !KEPT, 0, "{held:x}");
}

/// One client that sent QoS 0 as fast as it could kept everything but the links from its turn for as
/// long as it went on: the service manager's watchdog, the keep alive of others, and SIGTERM.
#[test]
fn a_client_that_never_pauses_delays_neither_signs_of_life_nor_the_end() {
    let manager = Manager::new();
    let mut gateway = manager.start("");
    manager.expect_ready();
    let mut busy = TcpStream::connect(gateway.address).expect("a connection");
    // CONNECT of MQTT 3.1.1 as "busy", without a keep alive.
    let connect = b"\x10\x10\0\x04MQTT\x04\x02\0\0\0\x04busy";
    busy.write_all(connect).expect("it listens");
    busy.read_exact(&mut [0; 4]).expect("CONNACK");
    let talking = thread::spawn(move || {
        // PUBLISH of two bytes at QoS 0, which nobody has subscribed to.
        let words = b"\x30\x05\0\x01a12".repeat(9_000);
        while busy.write_all(&words).is_ok() {}
    });
    for _ in 0..4 {
        assert_eq!(manager.notice(), "WATCHDOG=1");
    }
    assert!(gateway.terminate_soon().success());
    talking.join().expect("its link has ended");
}
