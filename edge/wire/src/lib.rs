//! Formats only: bytes in, values out. MQTT 3.1, 3.1.1 and 5.0 packets, NATS operations, the names
//! of both and how they become each other.
//!
//! Decoding borrows from the bytes it is given and, but for the fields of CONNECT and INFO in NATS,
//! allocates nothing; what it accepts obeys every rule of the specification that one packet alone
//! can break. Encoding writes to any [`embedded_io::Write`] and refuses, before the first byte, what
//! would not be a valid packet.
//! The crate keeps no state, knows no time and never panics on what a peer sent.
#![no_std]

extern crate alloc;

mod error;
pub mod mqtt;
pub mod nats;
pub mod subject;
pub mod topic;

pub use error::{DecodeError, EncodeError, InvalidPacket, TopicError};
