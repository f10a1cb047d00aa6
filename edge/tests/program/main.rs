//! The program as its users meet it: real processes, real sockets, real files.
//!
//! Tests against mosquitto run where it is installed and say so where it is not.

mod bad_days;
mod check;
mod cloud;
mod devices;
mod disk;
mod memory;
mod scripted;
mod support;
mod tls;
mod tools;
mod uplink;
