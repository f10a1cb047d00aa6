//! The program as its users meet it: real processes, real sockets, real files.
//!
//! Tests against mosquitto run where it is installed and say so where it is not.

mod access;
mod authority;
mod bad_days;
#[path = "../../../cloud-bridge/tests/bridge/certificates.rs"]
mod certificates;
mod check;
mod clients;
mod cloud;
mod cloud_mail;
mod cuts;
mod descriptors;
mod devices;
mod disk;
mod expiry;
mod flash;
mod flood;
mod gaps;
mod limits;
mod line;
mod links;
mod mail;
mod memory;
mod nats;
mod overflow;
mod protection;
mod resting;
mod scripted;
mod serial;
mod service;
mod shared;
mod small_board;
mod support;
mod sys;
mod tls;
mod tools;
mod unix;
mod uplink;
mod web;
mod websocket;
