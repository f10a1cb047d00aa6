//! The MQTT view: bytes of one connection to inputs of the broker, events of the broker to bytes.
//! MQTT 3.1.1 and 5; the version is a parameter, not a second implementation.
//!
//! It promises that an acknowledgement leaves only after the broker said so, in the order of the
//! packets it answers, and that whatever a peer sends costs at most one packet of memory and the
//! topics that it gives aliases to. It never touches a socket or a clock and keeps nothing durable:
//! what must survive is a note in the broker's session.

mod alias;
mod connection;
mod ending;
mod error;
mod greeting;
mod inbound;
mod inflight;
mod memory;
mod opening;
mod outbound;
mod room;
mod settings;
mod traffic;
mod words;

pub use connection::Connection;
pub use error::PeerError;
pub use memory::Memory;
pub use settings::Settings;
pub use traffic::{Traffic, TrafficCounts};
