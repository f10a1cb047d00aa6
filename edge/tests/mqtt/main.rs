//! Scenarios of MQTT, by chapter: exact packets in and out of connections over one broker and a
//! log in memory.

mod connect;
mod model;
mod publish;
mod qos;
mod retained;
mod session;
mod subscribe;
mod will;
mod world;
