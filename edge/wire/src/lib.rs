//! Formats only: bytes in, values out. MQTT 3.1, 3.1.1 and 5.0 packets, NATS operations, the names
//! of both and how they become each other, WebSocket frames, the frames of serial lines, and the
//! name and the time in a certificate.
//!
//! Decoding borrows from the bytes it is given and, but for the fields of CONNECT and INFO in NATS,
//! allocates nothing; what it accepts obeys every rule of the specification that one packet alone
//! can break. Encoding writes to any [`embedded_io::Write`] and refuses, before the first byte, what
//! would not be a valid packet.
//! The crate keeps no state but that of a frame in its course, knows no time and never panics on
//! what a peer sent.
#![no_std]

extern crate alloc;

pub mod certificate;
pub mod date;
mod error;
pub mod mq9;
pub mod mqtt;
pub mod nats;
pub mod serial;
pub mod subject;
pub mod topic;
pub mod websocket;

pub use error::{DecodeError, EncodeError, InvalidPacket, TopicError};
