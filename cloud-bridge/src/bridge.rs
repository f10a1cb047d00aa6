//! The bridge's thread, and the two channels that lead to it.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_channel::{Receiver, Sender};
use embedded_io::ErrorKind;
use sync::{ConnectionId, Epoch};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

use crate::session::Tokens;
use crate::settings::Settings;
use crate::tls::{Certificates, Trust};
use crate::{BridgeError, Command, Config, Event, connection, nats};

/// A running bridge. Dropping it, with every clone of its command sender, stops it too, without
/// waiting.
#[derive(Debug)]
pub struct Bridge {
    commands: Sender<Command>,
    events: Receiver<Event>,
    thread: JoinHandle<()>,
    turns: Arc<AtomicU64>,
    trust: Option<Trust>,
}

impl Bridge {
    /// Checks the settings and reads the certificates, as [`Bridge::start`] would, and no more.
    ///
    /// # Errors
    /// When a setting is not allowed or a file of certificates is unusable.
    pub fn check(config: Config, edge_id: &str) -> Result<(), BridgeError> {
        Settings::new(config, edge_id, Epoch(0)).map(drop)
    }

    /// Checks the settings, reads the certificates and starts the thread. Connects nowhere yet.
    ///
    /// # Errors
    /// When a setting is not allowed, a file of certificates is unusable, or the operating system
    /// gives no thread.
    pub fn start(config: Config, edge_id: &str, epoch: Epoch) -> Result<Self, BridgeError> {
        let settings = Settings::new(config, edge_id, epoch)?;
        let runtime = runtime(&settings).map_err(BridgeError::Thread)?;
        let (command_sender, command_receiver) = async_channel::bounded(settings.capacity());
        let (event_sender, event_receiver) = async_channel::bounded(settings.capacity());
        let turns = Arc::new(AtomicU64::new(0));
        let counter = turns.clone();
        let trust = settings.trust.clone();
        let thread = thread::Builder::new()
            .name("bridge".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || run(runtime, settings, (command_receiver, event_sender), counter))
            .map_err(BridgeError::Thread)?;
        Ok(Self {
            commands: command_sender,
            events: event_receiver,
            thread,
            turns,
            trust,
        })
    }

    /// Gives the way to the bridge. Holds as many commands as all windows together; full means
    /// that the bridge has not kept up: wait, but go on reading events meanwhile.
    #[must_use]
    pub const fn commands(&self) -> &Sender<Command> {
        &self.commands
    }

    /// Gives the way from the bridge. Read it always: while it is full, connections stand still.
    #[must_use]
    pub const fn events(&self) -> &Receiver<Event> {
        &self.events
    }

    /// Counts the turns of the thread: one a second, as long as nothing in it hangs.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Reads the certificates again, from where they were read at the start; `None` without TLS.
    /// Nothing changes yet.
    ///
    /// # Errors
    /// When a file is unusable now.
    pub fn read_certificates(&self) -> Result<Option<Certificates>, BridgeError> {
        self.trust.as_ref().map(Trust::read_again).transpose()
    }

    /// Lets new connections begin with these; those that exist keep what they began with.
    pub fn replace_certificates(&self, certificates: Certificates) {
        if let Some(trust) = &self.trust {
            trust.replace(certificates);
        }
    }

    /// Stops the bridge and waits for its thread: at most 1.5 s, whatever the cloud does. Blocks,
    /// and discards the events that nobody has taken.
    pub fn stop(self) {
        self.commands.close();
        self.events.close();
        // A panic of the thread has been reported on its way up.
        let _ = self.thread.join();
    }
}

fn runtime(settings: &Settings) -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_io()
        .enable_time()
        // For looking up names, one a connection.
        .max_blocking_threads(settings.config.connection_count())
        .thread_keep_alive(RESOLVER_KEEP_ALIVE)
        .thread_stack_size(STACK_BYTES)
        .build()
}

fn run(
    runtime: Runtime,
    settings: Settings,
    (commands, events): (Receiver<Command>, Sender<Event>),
    turns: Arc<AtomicU64>,
) {
    let tasks = LocalSet::new();
    tasks.spawn_local(async move {
        loop {
            turns.fetch_add(1, Ordering::Relaxed);
            sleep(TURN).await;
        }
    });
    tasks.block_on(&runtime, dispatch(Rc::new(settings), commands, events));
    drop(tasks);
    // A name that is still being looked up is left behind.
    runtime.shutdown_background();
}

/// Leads each command to its connection until the stop, and then gives the connections a second
/// to take their leave.
async fn dispatch(settings: Rc<Settings>, commands: Receiver<Command>, events: Sender<Event>) {
    let mut mailboxes = Vec::new();
    let mut connections = Vec::new();
    let tokens = Tokens::default();
    for index in 0..settings.config.connections {
        let (mailbox, orders) = async_channel::bounded(settings.connection_capacity());
        let (settings, tokens, events) = (settings.clone(), tokens.clone(), events.clone());
        let connection = ConnectionId(index);
        let serving = connection::serve(settings, connection, tokens, orders, events);
        connections.push(spawn_local(serving));
        mailboxes.push(mailbox);
    }
    if settings.config.mail.is_some() {
        let (mailbox, orders) = async_channel::bounded(settings.connection_capacity());
        let serving = nats::serve(settings.clone(), tokens, orders, events.clone());
        connections.push(spawn_local(serving));
        mailboxes.push(mailbox);
    }

    while let Ok(command) = commands.recv().await {
        let Some(connection) = addressee(&command) else {
            break;
        };
        if let Some(mailbox) = mailboxes.get(usize::from(connection.0)) {
            // Closed only by a panic, which its tasks' `Down` has told.
            let _ = mailbox.send(command).await;
        } else if let Command::Connect { .. } = command {
            let count = mailboxes.len();
            let down = Event::Down {
                connection,
                kind: ErrorKind::InvalidInput,
                text: format!(
                    "connection {} is not one of {count}, from 0 on",
                    connection.0
                ),
            };
            let _ = events.send(down).await;
        }
    }

    for mailbox in &mailboxes {
        mailbox.close();
    }
    let leave = async {
        for connection in connections {
            let _ = connection.await;
        }
        let _ = events.send(Event::Stopped).await;
    };
    let _ = timeout(LEAVE, leave).await;
}

/// Finds the connection that a command is for; `None` for the stop, which is for all.
const fn addressee(command: &Command) -> Option<ConnectionId> {
    match command {
        Command::Connect { connection }
        | Command::Disconnect { connection }
        | Command::Confirm { connection, .. }
        | Command::Decline { connection, .. } => Some(*connection),
        Command::Publish(publish) => Some(publish.connection),
        Command::Stop => None,
    }
}

/// Between two turns of [`Bridge::turns`].
const TURN: Duration = Duration::from_secs(1);
/// Longer than any farewell takes, shorter than a service manager's or an operator's patience.
const LEAVE: Duration = Duration::from_millis(1200);
/// Enough for TLS handshakes and the system's resolver; only touched pages are memory.
const STACK_BYTES: usize = 1024 * 1024;
const RESOLVER_KEEP_ALIVE: Duration = Duration::from_secs(1);
