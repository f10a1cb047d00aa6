//! The program `robustmq-edge`.
//!
//! Exit codes: 0 done, 1 it did not work, 2 the command line or the configuration can't be used.

use std::io::Write as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use clap::Parser as _;
use edge::admin::{self, Request};
use edge::args::{Args, Command, ConfigFile, Export, ExportFormat, Fsck, Replay};
use edge::config::{Config, ConfigError};
use edge::gateway::GatewayError;
use edge::limits::Limits;
use edge::log::contains_panics;
use edge::tools::{self, Effect, Outcome, ToolError};
use edge::{demo, gateway, logging, passwd};
use sync::{Lane, Offset};

/// The one of the static C library takes more of the processor and of memory (cross/README.md).
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    match aside(Args::parse).command {
        Command::Run(file) => with_limits(&file, |limits| run(limits, file.config.as_deref())),
        Command::Check(file) => with_limits(&file, |limits| check(limits, &named(&file))),
        Command::Status(file) => with_limits(&file, |limits| ask(&limits, Request::Status)),
        Command::Replay(replay) => with_limits(&replay.file, |limits| ask_replay(&replay, &limits)),
        Command::Passwd(passwd) => exit("passwd", passwd::run(&passwd)),
        Command::Inspect(folder) => tool("inspect", |out| tools::inspect(&folder.data, out)),
        Command::Fsck(args) => tool("fsck", |out| fsck(&args, out)),
        Command::Export(args) => tool("export", |out| export(&args, out)),
        Command::Backup(args) => tool("backup", |_| tools::backup(&args.folder.data, &args.file)),
        Command::Demo => exit("demo", demo::run()),
    }
}

/// Works on a thread that ends with it. What is read at the start takes 200 KB of stack, which would
/// stay with the process for ever on its first thread.
fn aside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let done = thread::scope(|scope| scope.spawn(work).join());
    done.unwrap_or_else(|panic| resume_unwind(panic))
}

fn with_limits(file: &ConfigFile, command: impl FnOnce(Limits) -> ExitCode) -> ExitCode {
    match aside(|| limits(file)) {
        Ok(limits) => command(limits),
        Err(error) => refuse(&error),
    }
}

/// The configuration can't be used.
fn refuse(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("robustmq-edge: {error}");
    ExitCode::from(2)
}

fn limits(file: &ConfigFile) -> Result<Limits, ConfigError> {
    Limits::resolve(&Config::read(file.config.as_deref())?, &named(file))
}

/// The file's name for messages.
fn named(file: &ConfigFile) -> PathBuf {
    let path = file.config.clone();
    path.unwrap_or_else(|| PathBuf::from("(no file)"))
}

fn run(limits: Limits, file: Option<&Path>) -> ExitCode {
    logging::start(&limits.log);
    end_at_panics();
    let (version, machine) = (env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    tracing::info!("robustmq-edge {version} on {machine}");
    match gateway::run(limits, file) {
        Err(GatewayError::Config(error)) => refuse(&error),
        result => exit("run", result),
    }
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

fn check(mut limits: Limits, file: &Path) -> ExitCode {
    let mut notes = match gateway::check(&limits) {
        Err(error) => return refuse(&error),
        Ok(notes) => notes,
    };
    match gateway::check_access(&mut limits, file) {
        Err(error) => return refuse(&error),
        Ok(more) => notes.extend(more),
    }
    notes.iter().for_each(|note| eprintln!("note: {note}"));
    exit(
        "check",
        std::io::stdout().write_all(limits.to_string().as_bytes()),
    )
}

fn ask_replay(replay: &Replay, limits: &Limits) -> ExitCode {
    let from = Offset(replay.from);
    let lanes = replay
        .lane
        .map_or_else(|| Lane::ALL.to_vec(), |lane| vec![lane.into()]);
    let mut code = ExitCode::SUCCESS;
    for lane in lanes {
        let answered = ask(limits, Request::Replay { lane, from });
        if answered != ExitCode::SUCCESS {
            code = answered;
        }
    }
    code
}

/// Asks the gateway that runs with this configuration and prints its answer.
fn ask(limits: &Limits, request: Request) -> ExitCode {
    match admin::ask(&limits.data, request) {
        Ok(text) => exit("answer", std::io::stdout().write_all(text.as_bytes())),
        Err(error) => {
            let data = limits.data.display();
            eprintln!("robustmq-edge: no gateway answers in {data}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a tool that writes to standard output. A reader that has seen enough is no failure.
fn tool(
    name: &str,
    act: impl FnOnce(&mut dyn std::io::Write) -> Result<Outcome, ToolError>,
) -> ExitCode {
    end_at_panics();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let done = act(&mut out).and_then(|outcome| {
        let flushed = out.flush();
        flushed.map(|()| outcome).map_err(|source| ToolError::File {
            path: "the output".to_owned(),
            source,
        })
    });
    match done {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Damaged) => ExitCode::FAILURE,
        Err(ToolError::File { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => exit(name, Err(error)),
    }
}

fn fsck(args: &Fsck, out: &mut dyn std::io::Write) -> Result<Outcome, ToolError> {
    let effect = if args.repair {
        Effect::Repair
    } else {
        Effect::Nothing
    };
    tools::fsck(&args.folder.data, effect, out)
}

fn export(args: &Export, out: &mut dyn std::io::Write) -> Result<Outcome, ToolError> {
    let format = match args.format {
        ExportFormat::Jsonl => tools::Format::JsonLines,
        ExportFormat::Cbor => tools::Format::Cbor,
    };
    // The command line has a lane or asks for the mail.
    let Some(lane) = args.lane else {
        return tools::export_mail(&args.folder.data, format, out);
    };
    let range = tools::Range {
        lane: lane.into(),
        from: Offset(args.from),
        to: args.to.map(Offset),
    };
    tools::export(&args.folder.data, range, format, out)
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
