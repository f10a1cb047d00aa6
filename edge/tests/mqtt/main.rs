//! Scenarios of MQTT, by chapter: exact packets in and out of connections over one broker and a
//! log in memory.
#![expect(clippy::unwrap_used, reason = "a test that can not go on fails")]

mod connect;
mod hostile;
mod limits;
mod model;
mod publish;
mod qos;
mod retained;
mod session;
mod subscribe;
mod will;
mod world;
