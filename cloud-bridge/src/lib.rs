//! The bridge to the cloud: MQTT 5 connections to a RobustMQ cluster, and one of NATS to its mq9,
//! driven as unreliable pipes.
//!
//! The bridge promises to say, for every record it is given, exactly one of accepted, refused or
//! rejected, or that its connection is down; and to confirm a downlink message, or to pull a mailbox
//! on, only when told to.
//! It never retries, never queues beyond its window, never reconnects on its own and owns nothing
//! durable: `sync::Engine` decides retries, order and pace.
//!
//! One thread runs every connection on a current-thread tokio runtime; the rest of the program
//! talks to it through two bounded channels that work from any executor.
//!
//! ```no_run
//! use cloud_bridge::{Bridge, Command, Config, Event};
//! use sync::ConnectionId;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::new(vec!["mqtt://cloud.example:1883".parse()?]);
//! let bridge = Bridge::start(config, "plant-7", sync::Epoch(1))?;
//! let connection = ConnectionId(0);
//! bridge.commands().send(Command::Connect { connection }).await?;
//! while let Ok(event) = bridge.events().recv().await {
//!     match event {
//!         Event::Up { endpoint, .. } => println!("connected to {endpoint}"),
//!         Event::Down { text, .. } => println!("not connected: {text}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod bridge;
mod clock;
mod command;
mod config;
mod connection;
mod downlink;
mod endpoint;
mod error;
mod failure;
mod inflight;
mod life;
mod mail;
mod nats;
mod property;
mod publication;
mod reason;
mod session;
mod settings;
mod tls;

pub use bridge::Bridge;
pub use command::{
    Command, Downlink, Event, PublishCommand, PulledMessage, Rejection, SessionState,
};
pub use config::{Config, Credentials, client_id};
pub use endpoint::{Endpoint, Scheme};
pub use error::{BridgeError, ConfigError, PemProblem};
pub use mail::{MailConfig, Pull};
pub use reason::{Verdict, verdict};
pub use tls::{Certificates, Identity, Tls};
