//! Scenarios of MQTT, by chapter: exact packets in and out of connections over one broker and a
//! log in memory.
#![expect(clippy::unwrap_used, reason = "a test that can not go on fails")]

mod access;
mod alias;
mod auth;
mod before_5;
mod burst;
mod connack;
mod connect;
mod coverage;
#[path = "../log_parts/dice.rs"]
#[expect(dead_code, reason = "no seed comes from outside")]
mod dice;
mod disconnect;
mod flow;
mod format;
mod hostile;
mod intake;
mod limits;
mod message;
mod model;
mod publish;
mod qos;
mod reason;
mod retained;
mod session;
mod shared;
mod subscribe;
mod sys;
mod topic;
mod will;
mod world;
