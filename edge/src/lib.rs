//! The gateway: MQTT and NATS views over one embedded log, and the drivers that connect them to sockets,
//! disk and cloud.
//!
//! Layers, top to bottom: drivers (`gateway`, `serve`, `uplink`) wait, feed, drain and obey; the
//! views (`mqtt`, `nats`) and the `broker` think, without clocks, sockets or files; `log` makes durable;
//! `link` carries bytes. `tests/architecture.rs` holds the imports to that.

pub mod admin;
pub mod args;
pub mod broker;
pub mod config;
pub mod demo;
pub mod gateway;
mod guard;
pub mod limits;
mod link;
pub mod log;
pub mod logging;
pub mod mail;
pub mod memory;
pub mod mqtt;
pub mod nats;
mod pace;
pub mod passwd;
pub mod password;
mod rare;
mod serve;
mod sys;
pub mod tools;
mod underway;
mod uplink;
