//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use sync::Lane;

/// MQTT gateway that stores what it acknowledges and replicates it to RobustMQ.
#[derive(Debug, Parser)]
#[command(name = "robustmq-edge", version, arg_required_else_help = true)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One command a use.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve devices until SIGTERM or SIGINT
    Run(ConfigFile),
    /// Read a configuration, print what it means, and end: 0 if it can be used, 2 if not
    Check(ConfigFile),
    /// Ask a running gateway where everything stands, one fact a line
    Status(ConfigFile),
    /// Send records to the cloud again that it acknowledged and may have lost
    Replay(Replay),
    /// Add a user to a password file, change a user's password, or delete a user
    Passwd(Passwd),
    /// Show a gateway surviving a cut link and a kill, with nothing else installed
    Demo,
}

/// Which configuration.
#[derive(Debug, clap::Args)]
pub struct ConfigFile {
    /// TOML file; without one: 127.0.0.1:1883, ./data, no cloud
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What to send again.
#[derive(Debug, clap::Args)]
pub struct Replay {
    /// The configuration of the running gateway
    #[command(flatten)]
    pub file: ConfigFile,
    /// Only this lane
    #[arg(long, value_enum, value_name = "LANE")]
    pub lane: Option<LaneName>,
    /// First offset; without one: everything that is still held
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    pub from: u64,
}

/// Whose password.
#[derive(Debug, clap::Args)]
pub struct Passwd {
    /// The password file, in Mosquitto's format; made if it is missing
    pub file: PathBuf,
    /// The user
    pub user: String,
    /// The password, for scripts; without it: asked for, or a line of standard input
    #[arg(short = 'b', long, value_name = "PASSWORD", conflicts_with = "delete")]
    pub password: Option<String>,
    /// Keep what SCRAM-SHA-256 needs; Mosquitto can't read that
    #[arg(long, conflicts_with = "delete")]
    pub scram: bool,
    /// Delete the user
    #[arg(short = 'D', long)]
    pub delete: bool,
}

/// A lane, as typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LaneName {
    /// Alarms
    Critical,
    /// Between alarms and telemetry
    Urgent,
    /// Telemetry
    Normal,
}

impl From<LaneName> for Lane {
    fn from(name: LaneName) -> Self {
        match name {
            LaneName::Critical => Self::Critical,
            LaneName::Urgent => Self::Urgent,
            LaneName::Normal => Self::Normal,
        }
    }
}
