//! The service manager's side: ready, stopping, and the watchdog, by systemd's notify protocol.
//!
//! It promises that the watchdog is fed only while all working threads turn: the core, which calls,
//! and the writer and the bridge, whose turns it compares. Without a manager it does nothing. A
//! notice that can't be sent is left out; the manager draws its own conclusions.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use super::GatewayError;

/// How often each of the other threads has come round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Turns {
    pub(super) writer: u64,
    /// `None` where there is no bridge.
    pub(super) bridge: Option<u64>,
}

/// The way to the service manager.
pub(super) struct Service {
    manager: Option<(UnixDatagram, SocketAddr)>,
    is_watched: bool,
    fed: Turns,
}

impl Service {
    /// Reads what the service manager put into the environment.
    pub(super) fn from_environment() -> Self {
        let address = std::env::var_os("NOTIFY_SOCKET").and_then(|name| address(&name));
        let socket = UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        let is_ours =
            std::env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        Self {
            manager: socket.ok().zip(address),
            is_watched: is_ours && std::env::var_os("WATCHDOG_USEC").is_some(),
            fed: Turns::default(),
        }
    }

    /// Every port is open and the log is there.
    pub(super) fn ready(&self) {
        self.tell("READY=1\nSTATUS=serving");
    }

    /// The end begins.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// The end begins of itself, and why.
    pub(super) fn failing(&self, why: &GatewayError) {
        self.tell(&format!("STOPPING=1\nSTATUS={why}"));
    }

    /// Feeds the watchdog, if every other thread has turned since it was fed last. Call it about
    /// once a second: the manager's patience decides how long a thread may take.
    pub(super) fn feed(&mut self, turns: Turns) {
        if self.is_watched && turns.all_beyond(self.fed) {
            self.fed = turns;
            self.tell("WATCHDOG=1");
        }
    }

    fn tell(&self, notice: &str) {
        if let Some((socket, address)) = &self.manager {
            let _ = socket.send_to_addr(notice.as_bytes(), address);
        }
    }
}

impl Turns {
    fn all_beyond(self, before: Self) -> bool {
        let has_bridge_turned = match (self.bridge, before.bridge) {
            (None, _) => true,
            (Some(now), before) => before.is_none_or(|before| now > before),
        };
        self.writer > before.writer && has_bridge_turned
    }
}

/// A path, or `@` and a name without a file.
fn address(name: &OsStr) -> Option<SocketAddr> {
    match name.as_bytes().split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name).ok(),
        _ => SocketAddr::from_pathname(name).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_only_when_all_have_turned() {
        let turns = |writer, bridge| Turns { writer, bridge };
        for (before, now, fed) in [
            (turns(0, None), turns(1, None), true),
            (turns(1, None), turns(1, None), false),
            (turns(1, Some(1)), turns(2, Some(2)), true),
            (turns(1, Some(1)), turns(2, Some(1)), false),
            (turns(1, Some(1)), turns(1, Some(2)), false),
            (turns(0, None), turns(1, Some(0)), true),
        ] {
            assert_eq!(now.all_beyond(before), fed, "{before:?} {now:?}");
        }
    }
}
