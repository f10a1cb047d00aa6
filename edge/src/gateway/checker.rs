//! The hashing thread: the only place that computes the hashes of passwords, one after the other.
//!
//! It keeps a slow hash away from everybody who is connected. How many may wait is the broker's
//! business.

use std::io;
use std::thread;

use async_channel::{Receiver, Sender};

use crate::broker::{ConnectionId, Password, Verdict};
use crate::password::Secret;

/// A password to check.
pub(crate) struct Check {
    pub(crate) connection: ConnectionId,
    pub(crate) secret: std::sync::Arc<Secret>,
    pub(crate) password: Password,
}

/// The core's end of the thread, which ends with it.
pub(crate) struct Checker {
    pub(crate) checks: Sender<Check>,
    pub(crate) verdicts: Receiver<(ConnectionId, Verdict)>,
}

/// Checks that may wait here; more wait in the core.
const CHECKS: usize = 4;
const STACK_BYTES: usize = 256 << 10;

impl Checker {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start() -> io::Result<Self> {
        let (checks, inbox) = async_channel::bounded(CHECKS);
        let (outbox, verdicts) = async_channel::bounded(CHECKS);
        // Nobody waits for its end: a hash that is under way ends with the program.
        thread::Builder::new()
            .name("passwords".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || check(&inbox, &outbox))?;
        Ok(Self { checks, verdicts })
    }
}

fn check(inbox: &Receiver<Check>, outbox: &Sender<(ConnectionId, Verdict)>) {
    while let Ok(check) = inbox.recv_blocking() {
        let verdict = match check.secret.matches(check.password.as_bytes()) {
            true => Verdict::Right,
            false => Verdict::Wrong,
        };
        if outbox.send_blocking((check.connection, verdict)).is_err() {
            return;
        }
    }
}
