//! The start: what is stored becomes what is running.

mod cloud;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use cloud_bridge::Bridge;
use ring::rand::{SecureRandom as _, SystemRandom};
use sync::{Epoch, Instant, Lane, Now, PerLane, Table};
use tracing::{error, info, warn};
use wire::mq9::PayloadEncoding;

use self::cloud::{bridge_config, join_cloud};
use super::announce::Announcer;
use super::certificates::Prepared;
use super::checker::Checker;
use super::clock::Clock;
use super::committer::{self, Committer};
use super::core::{Core, Doors, GapNews, Pigeonholes, gap_topic};
use super::disk::Disk;
use super::error::GatewayError;
use super::expiry::Expiry;
use super::flash::Flash;
use super::terms::{self, Protocol, Terms};
use super::{shown, wall_time};
use crate::broker::{self, AccessInput, Broker, Input, Policy, Stored};
use crate::config::{self, ClientCertificate};
use crate::guard;
use crate::limits::{self, Address, Limits};
use crate::log::{self, Folder, LaneLimits, LogError, Opened, Reader, Report};
use crate::mail::Office;
use crate::memory::{Memory, OutboundLimits};
use crate::password::Key;
use crate::{mqtt, nats};

/// Everything that runs.
pub(super) struct Started {
    pub(super) core: Core,
    pub(super) clock: Clock,
    pub(super) disk: Disk,
    pub(super) checker: Checker,
    pub(super) bridge: Option<Bridge>,
}

/// Gives up what is not needed, before there is a second thread. The data folder has to exist by
/// then; whatever is wrong with it is said when it is opened.
pub(super) fn protect(limits: &Limits) {
    if !limits.self_protection {
        return info!("self-protection is turned off");
    }
    let _ = std::fs::create_dir_all(&limits.data);
    let (mut folders, mut devices) = (vec![limits.data.clone()], Vec::new());
    for listener in &limits.listeners {
        match &listener.address {
            Address::Tcp(_) => {}
            Address::Unix { path, .. } => folders.push(folder_of(path)),
            Address::Serial { path, .. } => devices.extend(devices_at(path)),
        }
    }
    info!("{}", guard::protect(&folders, &devices));
}

/// What has to be writable for a serial line. One that is soldered in is the same file for ever;
/// one that is plugged in again is another, and what a link in /dev/serial points to is another.
fn devices_at(path: &Path) -> Vec<PathBuf> {
    const SOLDERED_IN: [&str; 2] = ["/dev/ttyS", "/dev/ttyAMA"];
    let device = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = device.to_string_lossy();
    if device.exists() && SOLDERED_IN.iter().any(|kind| name.starts_with(kind)) {
        return vec![device];
    }
    vec![PathBuf::from("/dev"), folder_of(&device)]
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

/// Opens the log and builds everything on what it holds.
pub(super) fn start(limits: &Limits, policies: Vec<Policy>) -> Result<Started, GatewayError> {
    let folder = shown(&limits.data);
    let failed = |source: LogError| GatewayError::Log {
        folder: folder.clone(),
        source,
    };
    let directory = Folder::open(&limits.data).map_err(failed)?;
    let opened = log::open(directory, log_settings(limits), wall_time()).map_err(failed)?;
    let Opened {
        writer,
        mut reader,
        epoch,
        report,
        time,
        wear: _,
    } = opened;
    let clock = Clock::resume(time);
    say(&report, epoch, &folder);

    let stored = stored(&reader, epoch).map_err(failed)?;
    let seed = random();
    let now = clock.now();
    let (uplink, bridge) = match &limits.cloud {
        Some(cloud) => {
            let (uplink, bridge) = join_cloud(limits, cloud, &stored, (seed, now.wall))?;
            (Some(uplink), Some(bridge))
        }
        None => (None, None),
    };
    let terms = terms(limits, seed);
    let office = open_office(limits, &mut reader, seed, now);
    let settings = broker::Settings {
        has_mail: office.is_some(),
        memory: terms.shared().memory.clone(),
        ..broker_settings(limits, seed)?
    };
    let mut broker = Broker::new(settings, stored, now);
    broker.handle(now, Input::Access(AccessInput::Policies(policies)));
    info!(
        "{} sessions, {} retained messages",
        broker.session_count(),
        broker.retained_count()
    );
    let flash = Flash::new(writer.meter(), limits);
    let disk = Disk::start(writer, clock).map_err(GatewayError::Thread)?;
    let checker = Checker::start().map_err(GatewayError::Thread)?;
    let committer = Committer::new(committer_settings(limits));
    let section = &limits.section;
    let doors = Doors::new(section.connections, section.connections_per_address);
    let news = (GapNews::new(&limits.edge_id), flash);
    let mut core = Core::new(broker, committer, reader, uplink, terms, doors, news);
    let announcer = |interval| Announcer::new(interval, limits.data.clone());
    core.office = office;
    core.found = report;
    core.announcer = limits.sys_interval.map(announcer);
    core.time = clock.stamp();
    core.expiry = Expiry::read(limits);
    core.remind_of_certificates(now.instant);
    // The first client is to find it.
    core.announce(now);
    Ok(Started {
        core,
        clock,
        disk,
        checker,
        bridge,
    })
}

/// Opens the mail office, where there is to be one. Everything else goes on without it.
fn open_office(limits: &Limits, reader: &mut Reader, seed: u64, now: Now) -> Option<Office> {
    let settings = limits.office_settings(seed)?;
    match Office::new(settings, &mut Pigeonholes(reader), now) {
        Ok(office) => {
            info!("{} mailboxes", office.counts().mailboxes);
            Some(office)
        }
        Err(why) => {
            error!("no mail is served until the next start: {why}");
            None
        }
    }
}

/// Looks at every file that a configuration names: certificates, keys and passwords. Gives what is to
/// be said of certificates that can be used, but not for long.
///
/// # Errors
/// When `run` would not start because of one.
pub fn check(limits: &Limits) -> Result<Vec<String>, GatewayError> {
    Prepared::read(&limits.listeners)?;
    if let Some(cloud) = &limits.cloud {
        let config = bridge_config(limits, cloud)?;
        Bridge::check(config, &limits.edge_id).map_err(GatewayError::Bridge)?;
    }
    let start = Instant::from_micros(0);
    Ok(Expiry::read(limits).remind(start, wall_time()))
}

fn say(report: &Report, epoch: Epoch, folder: &str) {
    if report.is_new {
        info!("data folder {folder} is new");
    } else {
        info!(
            "data folder {folder}: epoch {}, {} groups from the journal",
            epoch.0, report.replayed_frames
        );
    }
    for finding in report.findings() {
        warn!("{finding}");
    }
}

fn stored(reader: &Reader, epoch: Epoch) -> Result<Stored, LogError> {
    let table = |table| {
        let mut rows = Vec::new();
        reader.read_state(table, |key: &[u8], value: &[u8]| {
            rows.push((key.to_vec(), value.to_vec()))
        })?;
        Ok(rows)
    };
    Ok(Stored {
        sessions: table(Table::Sessions)?,
        subscriptions: table(Table::Subscriptions)?,
        handshakes: table(Table::Handshakes)?,
        cursors: table(Table::Cursors)?,
        retained: table(Table::Retained)?,
        epoch,
        first: PerLane::from_fn(|lane| reader.first(lane)),
        head: PerLane::from_fn(|lane| reader.head(lane)),
    })
}

fn log_settings(limits: &Limits) -> log::Settings {
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    log::Settings {
        journal_bytes: limits.journal_bytes,
        flush_bytes: bytes(limits.flush_bytes),
        segment_bytes: limits.segment_bytes,
        cache_bytes: bytes(limits.cache_bytes),
        lanes: PerLane::from_fn(|lane| LaneLimits {
            max_bytes: limits.retention[lane].max_bytes,
            max_age: limits.retention[lane]
                .max_age_seconds
                .map(Duration::from_secs),
            overflow: match limits.retention[lane].overflow {
                config::Overflow::Reject => log::Overflow::Reject,
                config::Overflow::DropOldest | config::Overflow::KeepLatest => {
                    log::Overflow::DropOldest
                }
            },
        }),
        max_bytes: limits.retention_bytes,
        keeps_latest: limits.keeps_latest(),
        has_mail: limits.has_mail(),
        announces_gaps: limits.cloud.is_some(),
        salt: random(),
        ..log::Settings::default()
    }
}

fn broker_settings(limits: &Limits, seed: u64) -> Result<broker::Settings, GatewayError> {
    let section = &limits.section;
    let overflow_rules = limits.overflow_filters.iter();
    let overflow_rules = overflow_rules.map(|(filter, it)| (filter.clone(), overflow(*it)));
    Ok(broker::Settings {
        session_count_maximum: section.sessions,
        subscription_count_maximum: section.subscriptions_per_session,
        filter_level_maximum: section.filter_levels,
        filter_bytes_maximum: section.filter_bytes,
        group_count_maximum: section.shared_groups,
        share_name_bytes_maximum: section.share_name_bytes,
        session_bytes_maximum: limits.session_bytes,
        session_expiry_maximum: section.session_expiry_seconds,
        inflight_maximum: section.inflight_count,
        note_bytes_maximum: limits.note_bytes,
        retained_count_maximum: section.retained_count,
        retained_bytes_maximum: usize::try_from(section.retained_bytes).unwrap_or(usize::MAX),
        lanes: [limits.lane_filters.clone(), gap_lane(limits)].concat(),
        overflow: PerLane::from_fn(|lane| overflow(limits.retention[lane].overflow)),
        overflow_rules: overflow_rules.collect(),
        routes: routes(limits),
        login_bytes_maximum: limits.login_bytes,
        login_memory_maximum: section.connections,
        underway_bytes_maximum: limits.underway_bytes_with_first(),
        outbound: OutboundLimits {
            own: limits.outbound_bytes,
            total: limits.outbound_total_bytes,
        },
        seed,
        key: secret_key()?,
        ..broker::Settings::default()
    })
}

const fn overflow(overflow: config::Overflow) -> broker::Overflow {
    match overflow {
        config::Overflow::DropOldest => broker::Overflow::DropOldest,
        config::Overflow::Reject => broker::Overflow::Reject,
        config::Overflow::KeepLatest => broker::Overflow::KeepLatest,
    }
}

/// What goes up: what the operator says, and what was dropped of it.
fn routes(limits: &Limits) -> Vec<String> {
    let cloud = limits.cloud.iter();
    let mut routes: Vec<_> = cloud.flat_map(|cloud| cloud.uplink.clone()).collect();
    if limits.cloud.is_some() {
        routes.push(gap_topic(&limits.edge_id));
    }
    routes
}

/// What is said of gaps must not become one, so it has the lane that gives way last, unless the
/// operator names another.
fn gap_lane(limits: &Limits) -> Vec<(String, Lane)> {
    vec![(gap_topic(&limits.edge_id), Lane::Critical)]
}

/// One set of limits a listener, which differ in what the listener says itself.
fn terms(limits: &Limits, seed: u64) -> Terms {
    let shared = mqtt_settings(limits);
    let listener = |listener: &limits::Listener| {
        let protocol = match listener.protocol {
            config::Protocol::Mqtt | config::Protocol::Websocket => {
                Protocol::Mqtt(Rc::new(mqtt::Settings {
                    packet_bytes_maximum: listener.packet_bytes,
                    ..shared.clone()
                }))
            }
            config::Protocol::Nats => Protocol::Nats(Rc::new(nats::Settings {
                message_bytes_maximum: listener.packet_bytes as usize,
                payload_encoding: payload_encoding(limits, listener),
                asks_for_credentials: listener.password_file.is_some(),
                tls: nats_tls(listener),
                server_id: format!("{seed:016X}"),
                memory: shared.memory.clone(),
                ..nats_settings(limits)
            })),
        };
        terms::Listener::new(protocol, listener.connections)
    };
    let listeners = limits.listeners.iter().map(listener).collect();
    Terms::new(shared.clone(), listeners)
}

fn mqtt_settings(limits: &Limits) -> mqtt::Settings {
    let section = &limits.section;
    mqtt::Settings {
        connect_timeout: Duration::from_secs(section.connect_timeout_seconds),
        packet_bytes_maximum: section.packet_bytes,
        keep_alive_maximum: section.keep_alive_max_seconds,
        receive_maximum: section.inflight_count,
        topic_bytes_maximum: section.topic_bytes,
        topic_level_maximum: section.topic_levels,
        filter_count_maximum: section.subscriptions_per_session,
        publishes_per_second: section.publishes_per_second,
        publish_burst: section.publish_burst,
        outbound_bytes_maximum: limits.outbound_bytes,
        inbound_total_bytes_maximum: limits.inbound_total_bytes,
        outbound_total_bytes_maximum: limits.outbound_total_bytes,
        outbound_alias_bytes_maximum: limits.alias_bytes,
        memory: Rc::new(Memory::shared_by(section.connections)),
        ..mqtt::Settings::default()
    }
}

fn nats_tls(listener: &limits::Listener) -> nats::Tls {
    let asked = listener.tls.as_ref().map(|tls| tls.client_certificate);
    match asked {
        None => nats::Tls::None,
        Some(ClientCertificate::Required) => nats::Tls::Verified,
        Some(ClientCertificate::None | ClientCertificate::Optional) => nats::Tls::Required,
    }
}

fn payload_encoding(limits: &Limits, listener: &limits::Listener) -> PayloadEncoding {
    let of_all = limits.mq9.as_ref().map(|mq9| mq9.payload_encoding);
    let written = listener.mq9_payload.or(of_all).unwrap_or_default();
    written.into()
}

fn nats_settings(limits: &Limits) -> nats::Settings {
    let section = &limits.section;
    nats::Settings {
        server_name: limits.edge_id.clone(),
        connect_timeout: Duration::from_secs(section.connect_timeout_seconds),
        publishes_per_second: section.publishes_per_second,
        publish_burst: section.publish_burst,
        subscription_count_maximum: section.subscriptions_per_session,
        subscription_bytes_maximum: limits.nats_bytes,
        outbound_bytes_maximum: limits.outbound_bytes,
        inbound_total_bytes_maximum: limits.inbound_total_bytes,
        outbound_total_bytes_maximum: limits.outbound_total_bytes,
        reply_bytes_maximum: limits.reply_bytes(),
        fetch_count_maximum: limits
            .mq9
            .as_ref()
            .map_or(0, |mq9| mq9.waiting_fetches_per_connection),
        ..nats::Settings::default()
    }
}

fn committer_settings(limits: &Limits) -> committer::Settings {
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    committer::Settings {
        linger: limits.linger,
        relaxed: limits.relaxed_commit,
        group_bytes: bytes(limits.journal_bytes / 4),
        waiting_bytes: bytes(limits.waiting_bytes),
    }
}

/// Bytes that nobody outside can guess.
fn secret_key() -> Result<Key, GatewayError> {
    let mut bytes = [0; 32];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| GatewayError::Random)?;
    Ok(Key::new(bytes))
}

/// A number that nobody outside can guess: the standard library's own hash keys, which the system
/// seeds.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::hash::RandomState::new().build_hasher().finish()
}
