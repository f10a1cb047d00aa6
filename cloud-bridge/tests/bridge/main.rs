//! The bridge against a server that does as it is told: each test plays the server packet by
//! packet, with bytes that no real server may send where that is the point.

mod certificates;
mod connecting;
mod downlink;
mod hostile;
mod mail;
mod mq9;
mod publishing;
mod pulling;
mod rig;
mod robustmq;
mod server;
mod stopping;
mod tls;
mod whole;
