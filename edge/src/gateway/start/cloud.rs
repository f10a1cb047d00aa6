//! The cloud as the configuration says it: a bridge, and the uplink that tells it what to do.

use std::path::PathBuf;
use std::time::Duration;

use cloud_bridge::{Bridge, Credentials, Endpoint, MailConfig, Pull, Tls};
use sync::{Engine, Epoch, Lane, LaneExtent, Origin, PerLane, Start, WallTime};
use tracing::warn;

use super::super::error::GatewayError;
use super::super::shown;
use super::routes;
use crate::broker::Stored;
use crate::config::{Cloud, CloudMq9};
use crate::limits::Limits;
use crate::uplink::{self, CURSOR_KEY, Uplink};

/// Starts the bridge, and the uplink where it stood.
pub(super) fn join_cloud(
    limits: &Limits,
    cloud: &Cloud,
    stored: &Stored,
    (seed, steady): (u64, WallTime),
) -> Result<(Uplink, Bridge), GatewayError> {
    let cursor = |wanted: &[u8]| {
        let mut rows = stored.cursors.iter();
        rows.find(|(key, _)| key == wanted)
            .map(|(_, value)| value.as_slice())
    };
    let mut config = bridge_config(limits, cloud)?;
    config.steady_time = Some(steady);
    for pull in config.mail.iter_mut().flat_map(|mail| &mut mail.pull) {
        let key = uplink::position_key(&pull.address);
        pull.position = cursor(&key).map(<[u8]>::to_vec);
    }
    let mail = config.mail_connection();
    let bridge = Bridge::start(config, &limits.edge_id, stored.epoch);
    let bridge = bridge.map_err(GatewayError::Bridge)?;
    let checkpoint = cursor(CURSOR_KEY);
    let lanes = PerLane::from_fn(|lane| LaneExtent {
        first: stored.first[lane],
        head: stored.head[lane],
    });
    let settings = engine_settings(limits, cloud, stored.epoch);
    let start = Start {
        settings,
        seed,
        lanes,
        checkpoint,
    };
    let engine = Engine::new(&start).or_else(|error| {
        warn!("the uplink's position can't be used, everything is sent again: {error}");
        Engine::new(&Start {
            checkpoint: None,
            ..start
        })
    });
    let engine = engine.map_err(GatewayError::Uplink)?;
    let uplink = Uplink::new(engine, routes(limits)).with_mail(mail);
    Ok((uplink, bridge))
}

/// Says to the bridge what the configuration says.
pub(super) fn bridge_config(
    limits: &Limits,
    cloud: &Cloud,
) -> Result<cloud_bridge::Config, GatewayError> {
    let endpoints: Result<Vec<Endpoint>, _> =
        cloud.endpoints.iter().map(|url| url.parse()).collect();
    let endpoints =
        endpoints.map_err(|error: cloud_bridge::ConfigError| GatewayError::Bridge(error.into()))?;
    let mut config = cloud_bridge::Config::new(endpoints);
    let (user_name, file) = (cloud.username.as_ref(), cloud.password_file.as_ref());
    config.credentials = credentials(user_name, file, "cloud.password_file")?;
    config.mail = cloud.mq9.as_ref().map(mail_config).transpose()?;
    config.connections =
        u8::try_from(cloud.connections).expect("connections are checked to be few");
    config.keep_alive = Duration::from_secs(cloud.keep_alive_seconds.into());
    config.window = cloud.window_count;
    config.maximum_packet_bytes = cloud.packet_bytes;
    config.message_expiry = Duration::from_secs(cloud.message_expiry_seconds.into());
    config.topic_prefix.clone_from(&cloud.topic_prefix);
    config.downlink_filters.clone_from(&cloud.downlink);
    config.patience = limits.acknowledge_timeout;
    config.downlink_window = limits.downlink_window;
    config.tls = cloud.ca_file.as_ref().map(|ca_file| Tls {
        certificate_authority: ca_file.clone(),
        identity: cloud
            .certificate_file
            .clone()
            .zip(cloud.key_file.clone())
            .map(|(certificate, key)| cloud_bridge::Identity { certificate, key }),
        server_name: cloud.server_name.clone(),
    });
    Ok(config)
}

fn mail_config(mq9: &CloudMq9) -> Result<MailConfig, GatewayError> {
    let endpoints = mq9.endpoints.iter().map(|url| Endpoint::for_mail(url));
    let endpoints: Result<Vec<Endpoint>, _> = endpoints.collect();
    let endpoints = endpoints.map_err(|error| GatewayError::Bridge(error.into()))?;
    let pull = |address: &String| Pull {
        address: address.clone(),
        position: None,
    };
    let (user_name, file) = (mq9.username.as_ref(), mq9.password_file.as_ref());
    let interval = mq9.agents_interval_seconds;
    Ok(MailConfig {
        credentials: credentials(user_name, file, "cloud.mq9.password_file")?,
        create: mq9.create,
        pull: mq9.pull.iter().map(pull).collect(),
        pull_interval: Duration::from_millis(mq9.pull_interval_ms),
        pull_interval_most: Duration::from_millis(mq9.pull_interval_max_ms),
        reply_bytes: mq9.reply_bytes,
        agents_interval: (interval > 0).then(|| Duration::from_secs(interval)),
        ..MailConfig::new(endpoints)
    })
}

/// What a section says of who the gateway is; `key` names the file with the password.
fn credentials(
    user_name: Option<&String>,
    password_file: Option<&PathBuf>,
    key: &'static str,
) -> Result<Option<Credentials>, GatewayError> {
    let Some(user_name) = user_name.cloned() else {
        return Ok(None);
    };
    let password = match password_file {
        Some(path) => std::fs::read_to_string(path).map_err(|source| GatewayError::Password {
            key,
            path: shown(path),
            source,
        })?,
        None => String::new(),
    };
    Ok(Some(Credentials {
        user_name,
        password: password.trim_end_matches(['\r', '\n']).to_owned(),
    }))
}

fn engine_settings(limits: &Limits, cloud: &Cloud, epoch: Epoch) -> sync::Settings {
    let window_count = usize::from(cloud.window_count);
    let defaults = sync::Settings::default();
    sync::Settings {
        origin: Origin {
            edge_id: limits.edge_id.clone(),
            epoch,
        },
        connections: u8::try_from(cloud.connections).expect("connections are checked to be few"),
        window_count,
        window_bytes: limits.flight_bytes,
        apart: cloud.mq9.as_ref().map(|_| uplink::apart()),
        unconfirmed_count: limits.unconfirmed_count(),
        window_least: defaults.window_least.min(window_count),
        read_ahead_bytes: limits.read_ahead_bytes / Lane::ALL.len(),
        maximum_packet_bytes: cloud.packet_bytes,
        reconnect_most: limits.backoff_max.max(defaults.reconnect_first),
        patience: limits.acknowledge_timeout,
        hold: limits.hold,
        watched_topics: if limits.watch_offsets {
            defaults.watched_topics
        } else {
            0
        },
        ..defaults
    }
}
