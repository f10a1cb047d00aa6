//! What a run is made of: libFuzzer's bytes as limits and steps.

use libfuzzer_sys::arbitrary::{self, Arbitrary};

/// One run.
#[derive(Arbitrary, Clone, Debug)]
pub(crate) struct Script {
    /// Chooses limits.
    pub(crate) limits: u8,
    pub(crate) steps: Vec<Step>,
}

/// Clients are taken modulo those that were there, names modulo the lists of them.
#[derive(Arbitrary, Clone, Debug)]
pub(crate) enum Step {
    Open,
    Ask {
        client: u8,
        is_told: bool,
        command: Command,
    },
    /// What agents do all the time: one is sent, some are fetched, some acknowledged.
    Round {
        client: u8,
        address: u8,
        group: u8,
        priority: u8,
    },
    Raw {
        client: u8,
        bytes: Vec<u8>,
    },
    /// The next request of a client comes in two parts, the second with the one after.
    Split {
        client: u8,
        at: u8,
    },
    /// A bit of the next request of a client is another.
    Flip {
        client: u8,
        at: u16,
    },
    Reading {
        client: u8,
        is_reading: bool,
    },
    Cut {
        client: u8,
    },
    Pass {
        tenths: u8,
    },
    Commits {
        mode: u8,
    },
    Finish {
        count: u8,
    },
    Crash {
        durable_count: u8,
    },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Command {
    Create {
        address: u8,
        ttl: u8,
    },
    Send {
        address: u8,
        priority: u8,
        key: Option<u8>,
        delay: Option<u8>,
        ttl: Option<u8>,
        padding: u8,
    },
    Fetch {
        address: u8,
        group: u8,
        deliver: u8,
        is_forced: bool,
        count: u8,
        wait: u8,
    },
    /// An id over 127 is that of what was found last.
    Acknowledge {
        address: u8,
        group: u8,
        id: u8,
    },
    Query {
        address: u8,
        key: Option<u8>,
        limit: u8,
    },
    Delete {
        address: u8,
        id: u8,
    },
    Register {
        name: u8,
    },
    Unregister {
        name: u8,
    },
    Report {
        name: u8,
    },
    Discover {
        word: u8,
        page: u8,
    },
}
