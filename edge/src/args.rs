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
    /// Say what is in a data folder: lanes, segments, cursors, gaps; no gateway may run on it
    Inspect(DataFolder),
    /// Check everything in a data folder, and say what is damaged; no gateway may run on it
    Fsck(Fsck),
    /// Write records of a data folder to standard output; no gateway may run on it
    Export(Export),
    /// Write a data folder to one tar archive, while a gateway runs on it or not
    Backup(Backup),
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

/// Which data folder.
#[derive(Debug, clap::Args)]
pub struct DataFolder {
    /// The data folder
    #[arg(value_name = "DIR")]
    pub data: PathBuf,
}

/// What to check.
#[derive(Debug, clap::Args)]
pub struct Fsck {
    /// The data folder
    #[command(flatten)]
    pub folder: DataFolder,
    /// Save what can be saved, and write down what is missing, as the next start would
    #[arg(long)]
    pub repair: bool,
}

/// What to export.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// The data folder
    #[command(flatten)]
    pub folder: DataFolder,
    /// The lane
    #[arg(
        long,
        value_enum,
        value_name = "LANE",
        required_unless_present = "mail"
    )]
    pub lane: Option<LaneName>,
    /// All rows of the mail, in place of a lane
    #[arg(long, conflicts_with_all = ["lane", "from", "to"])]
    pub mail: bool,
    /// First offset
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    pub from: u64,
    /// Last offset; without one: all
    #[arg(long, value_name = "OFFSET")]
    pub to: Option<u64>,
    /// One JSON object a line, or CBOR maps one after the other
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = ExportFormat::Jsonl)]
    pub format: ExportFormat,
}

/// How records are written, as typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ExportFormat {
    /// JSON lines
    Jsonl,
    /// CBOR sequence
    Cbor,
}

/// What to back up, and where to.
#[derive(Debug, clap::Args)]
pub struct Backup {
    /// The data folder
    #[command(flatten)]
    pub folder: DataFolder,
    /// The archive, which must not exist; - is standard output
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
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
