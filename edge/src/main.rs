//! The program `robustmq-edge`.
//!
//! Exit codes: 0 done, 1 it did not work, 2 the command line or the configuration can't be used.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;
use edge::admin::{self, Request};
use edge::args::{Args, Command, ConfigFile, Replay};
use edge::config::{Config, ConfigError};
use edge::limits::Limits;
use edge::log::contains_panics;
use edge::{demo, gateway, logging};
use sync::{Lane, Offset};

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Run(file) => with_limits(&file, run),
        Command::Check(file) => with_limits(&file, |limits| check(&limits)),
        Command::Replay(replay) => with_limits(&replay.file, |limits| ask_replay(&replay, &limits)),
        Command::Demo => exit("demo", demo::run()),
    }
}

fn with_limits(file: &ConfigFile, command: impl FnOnce(Limits) -> ExitCode) -> ExitCode {
    match limits(file.config.as_deref()) {
        Ok(limits) => command(limits),
        Err(error) => {
            eprintln!("robustmq-edge: {error}");
            ExitCode::from(2)
        }
    }
}

fn limits(file: Option<&Path>) -> Result<Limits, ConfigError> {
    let named = file.map_or_else(|| PathBuf::from("(no file)"), Path::to_owned);
    Limits::resolve(&Config::read(file)?, &named)
}

fn run(limits: Limits) -> ExitCode {
    logging::start(&limits.log);
    end_at_panics();
    exit("run", gateway::run(limits))
}

/// A bug ends the process at once, whichever thread it is in: the log is intact, and the next start
/// finds a known state. Only what redb makes of a damaged page goes on, as damage.
fn end_at_panics() {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !contains_panics() {
            say(panic);
            std::process::abort();
        }
    }));
}

fn check(limits: &Limits) -> ExitCode {
    if let Err(error) = gateway::check_cloud(limits) {
        eprintln!("robustmq-edge: {error}");
        return ExitCode::from(2);
    }
    exit(
        "check",
        std::io::stdout().write_all(limits.to_string().as_bytes()),
    )
}

fn ask_replay(replay: &Replay, limits: &Limits) -> ExitCode {
    let lanes = replay
        .lane
        .map_or_else(|| Lane::ALL.to_vec(), |lane| vec![lane.into()]);
    for lane in lanes {
        match admin::ask(
            &limits.data,
            Request::Replay {
                lane,
                from: Offset(replay.from),
            },
        ) {
            Ok(text) => print!("{text}"),
            Err(error) => {
                eprintln!(
                    "robustmq-edge: replay: no gateway answers in {}: {error}",
                    limits.data.display()
                );
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn exit<E: std::fmt::Display>(command: &str, result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("robustmq-edge: {command}: {error}");
            ExitCode::FAILURE
        }
    }
}
