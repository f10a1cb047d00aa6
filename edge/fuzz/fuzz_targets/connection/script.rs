//! What a run is made of: libFuzzer's bytes as limits and steps.

use libfuzzer_sys::arbitrary::{self, Arbitrary};

/// One run.
#[derive(Arbitrary, Clone, Debug, Hash)]
pub(crate) struct Script {
    /// Chooses limits.
    pub(crate) limits: u8,
    pub(crate) steps: Vec<Step>,
}

/// Clients are taken modulo those that are open, names and topics modulo the lists of them.
#[derive(Arbitrary, Clone, Debug, Hash)]
pub(crate) enum Step {
    /// A link, and nothing said on it.
    Open {
        is_5: bool,
    },
    Hello {
        name: u8,
        is_5: bool,
        is_clean: bool,
        keep_alive: u8,
        expiry: u8,
        receive_maximum: u8,
        packet_bytes_maximum: u8,
        will: Option<Message>,
    },
    Publish {
        client: u8,
        message: Message,
    },
    Subscribe {
        client: u8,
        filters: Vec<Filter>,
        identifier: u8,
    },
    Unsubscribe {
        client: u8,
        filter: u8,
    },
    /// Answers of a well-behaved client to what it was sent.
    Answer {
        client: u8,
        count: u8,
    },
    Ping {
        client: u8,
    },
    Disconnect {
        client: u8,
        reason: u8,
        expiry: Option<u8>,
    },
    /// An answer to nothing.
    Stray {
        client: u8,
        kind: u8,
        identifier: u8,
    },
    Raw {
        client: u8,
        bytes: Vec<u8>,
    },
    /// The next packet of a client comes in two parts, the second with the one after.
    Split {
        client: u8,
        at: u8,
    },
    /// A bit of the next packet of a client is another.
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
        seconds: u8,
    },
    Commits {
        mode: u8,
    },
    Finish {
        count: u8,
    },
    Fetches {
        are_held: bool,
    },
    Trim {
        lane: u8,
        count: u8,
    },
    Crash {
        durable_count: u8,
    },
    FromCloud {
        topic: u8,
    },
}

#[derive(Arbitrary, Clone, Copy, Debug, Hash)]
pub(crate) struct Message {
    pub(crate) topic: u8,
    pub(crate) qos: u8,
    pub(crate) is_retained: bool,
    pub(crate) is_empty: bool,
    pub(crate) alias: u8,
    pub(crate) expiry: Option<u8>,
    pub(crate) delay: u8,
    pub(crate) padding: u8,
}

#[derive(Arbitrary, Clone, Copy, Debug, Hash)]
pub(crate) struct Filter {
    pub(crate) filter: u8,
    /// QoS, No Local, Retain As Published, Retain Handling, as the packet has them.
    pub(crate) options: u8,
}
