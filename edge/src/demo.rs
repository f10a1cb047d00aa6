//! `robustmq-edge demo`: ten sensors, a gateway, a stand-in cloud, a cut link and a SIGKILL, and
//! a ledger at the end. Needs nothing but this program and a folder for temporary files.

mod client;
mod ledger;
mod process;
mod proxy;
mod sensor;

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use self::client::Client;
use self::ledger::Balance;
use self::process::Process;
use self::proxy::Proxy;
use self::sensor::{Books, lock};
use crate::admin;

const SENSORS: u32 = 10;
/// How long nothing of the rest may arrive after everything is healed.
const DRAIN: Duration = Duration::from_secs(15);
const STEP: Duration = Duration::from_millis(200);

/// Why the demo is not a success.
#[derive(Debug)]
#[non_exhaustive]
pub enum DemoError {
    /// It could not be carried out.
    Io(io::Error),
    /// The ledger does not balance.
    Ledger {
        /// Acknowledged and not arrived.
        missing: u64,
        /// Arrived after a later one of the same sensor.
        out_of_order: u64,
    },
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(source) => source.fmt(f),
            Self::Ledger {
                missing,
                out_of_order,
            } => {
                write!(
                    f,
                    "missing {missing}, out of order {out_of_order}; both must be 0"
                )
            }
        }
    }
}

impl std::error::Error for DemoError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(source) => Some(source),
            Self::Ledger { .. } => None,
        }
    }
}

impl From<io::Error> for DemoError {
    fn from(source: io::Error) -> Self {
        Self::Io(source)
    }
}

/// Shows the whole story in some twenty seconds.
///
/// # Errors
/// When anything acknowledged is missing or out of order, or an instance does not start.
pub fn run() -> Result<(), DemoError> {
    let folder = Folder::make()?;
    let cloud = Process::start(&folder.0, "cloud", "")?;
    let link = Proxy::start(cloud.address())?;
    let upward = format!(
        "[cloud]\nendpoints = [\"mqtt://{}\"]\nuplink = [\"plant/#\"]\n[sync]\nbackoff_max_seconds = 1\n",
        link.address()
    );
    let mut gateway = Process::start(&folder.0, "gateway", &upward)?;
    println!(
        "gateway on {}, cloud on {}, {SENSORS} sensors\n",
        gateway.address(),
        cloud.address()
    );

    let books = Books::default();
    let is_over = Arc::new(AtomicBool::new(false));
    let is_counted = Arc::new(AtomicBool::new(false));
    let mut subscriber = Client::connect(cloud.address(), "ledger")?;
    subscriber.subscribe("plant/#")?;
    let watching = thread::spawn({
        let (books, is_counted) = (books.clone(), is_counted.clone());
        move || sensor::watch_cloud(subscriber, &books, &is_counted)
    });
    let sensors = start_sensors(&gateway, &books, &is_over);

    let mut screen = Screen {
        books: books.clone(),
        start: now(),
    };
    screen.watch("all is well", Duration::from_secs(3), &gateway);
    link.cut();
    screen.watch("link cut", Duration::from_secs(3), &gateway);
    gateway.kill()?;
    screen.watch(
        "gateway killed by SIGKILL",
        Duration::from_secs(1),
        &gateway,
    );
    gateway.restart()?;
    screen.watch(
        "gateway started again, link still cut",
        Duration::from_secs(2),
        &gateway,
    );
    link.heal();
    screen.watch("link healed", Duration::from_secs(4), &gateway);
    gateway.kill()?;
    gateway.restart()?;
    screen.watch(
        "killed again while draining, started at once",
        Duration::from_secs(2),
        &gateway,
    );
    is_over.store(true, Ordering::Relaxed);
    for sensor in sensors {
        // A sensor that panicked has said so.
        let _ = sensor.join();
    }
    screen.drain(&gateway);

    let status = gateway.status();
    let fact = |name| admin::fact(&status, name).unwrap_or(0);
    let stored = fact("critical.head") + fact("urgent.head") + fact("normal.head");
    is_counted.store(true, Ordering::Relaxed);
    let _ = watching.join();
    let balance = lock(&books).balance(stored, fact("gaps"));
    println!("\n{balance}");
    conclude(balance)
}

fn conclude(balance: Balance) -> Result<(), DemoError> {
    if balance.is_clean() {
        println!("everything that was acknowledged has arrived");
        return Ok(());
    }
    let Balance {
        missing,
        out_of_order,
        ..
    } = balance;
    Err(DemoError::Ledger {
        missing,
        out_of_order,
    })
}

fn start_sensors(
    gateway: &Process,
    books: &Books,
    is_over: &Arc<AtomicBool>,
) -> Vec<thread::JoinHandle<()>> {
    let start = |number| {
        let (address, books, is_over) = (gateway.address(), books.clone(), is_over.clone());
        thread::spawn(move || sensor::run(number, address, &books, &is_over))
    };
    (0..SENSORS).map(start).collect()
}

/// Progress: one line that is written over on a terminal, one line a phase elsewhere.
struct Screen {
    books: Books,
    start: Instant,
}

impl Screen {
    /// Shows a phase for as long as it lasts.
    fn watch(&mut self, phase: &str, lasts: Duration, gateway: &Process) {
        let end = now() + lasts;
        while now() < end {
            thread::park_timeout(STEP);
            self.show(phase, gateway);
        }
        let is_terminal = io::stdout().is_terminal();
        let line = if is_terminal {
            String::new()
        } else {
            self.line(phase, gateway)
        };
        println!("{line}");
    }

    /// Waits until nothing is missing, for as long as something still arrives.
    fn drain(&mut self, gateway: &Process) {
        let (mut left, mut since) = (u64::MAX, now());
        loop {
            let missing = lock(&self.books).missing();
            if missing < left {
                (left, since) = (missing, now());
            }
            if missing == 0 || now() - since > DRAIN {
                break;
            }
            thread::park_timeout(STEP);
            self.show("waiting for the rest", gateway);
        }
        println!("{}", self.line("sensors stopped, drained", gateway));
    }

    fn show(&self, phase: &str, gateway: &Process) {
        if io::stdout().is_terminal() {
            print!("\r{}", self.line(phase, gateway));
            // A terminal that went away is no reason to stop.
            let _ = io::stdout().flush();
        }
    }

    fn line(&self, phase: &str, gateway: &Process) -> String {
        let (acknowledged, arrived) = lock(&self.books).counts();
        let backlog = admin::fact(&gateway.status(), "cloud.normal.backlog");
        let backlog = backlog.map_or_else(|| "-".to_owned(), |count| count.to_string());
        let seconds = (now() - self.start).as_secs_f32();
        format!(
            "{seconds:5.1} s  {phase:<46} acknowledged {acknowledged:>6}  arrived {arrived:>6}  backlog {backlog:>6}"
        )
    }
}

#[expect(clippy::disallowed_methods, reason = "the demo runs in real time")]
fn now() -> Instant {
    Instant::now()
}

/// A temporary folder that goes away with the demo.
struct Folder(PathBuf);

impl Folder {
    fn make() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("robustmq-edge-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What the system cleans up later is no reason to fail now.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
