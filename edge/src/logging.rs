//! Log lines on standard error, with a level a module. Time is left to whoever collects them.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Level, Logging};

/// Starts logging for the whole process. Called once, first; a second call changes nothing.
pub fn start(logging: &Logging) {
    let mut targets = Targets::new().with_default(filter(logging.level));
    // rumqttc reports at `error` what the engine handles; the bridge says it in its own words.
    targets = targets.with_target("rumqttc", LevelFilter::OFF);
    for (module, level) in &logging.modules {
        targets = targets.with_target(module, filter(*level));
    }
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time();
    // Only a second start can fail.
    let _ = tracing_subscriber::registry()
        .with(lines)
        .with(targets)
        .try_init();
}

const fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    }
}
