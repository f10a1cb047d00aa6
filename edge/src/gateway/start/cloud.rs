//! The cloud as the configuration says it: a bridge, and the uplink that tells it what to do.

use std::time::Duration;

use cloud_bridge::{Bridge, Credentials, Endpoint, Tls};
use sync::{Engine, Epoch, Lane, LaneExtent, Origin, PerLane, Start};
use tracing::warn;

use super::super::error::GatewayError;
use super::super::shown;
use super::routes;
use crate::broker::Stored;
use crate::config::Cloud;
use crate::limits::{DOWNLINK_WINDOW, Limits, UNCONFIRMED};
use crate::uplink::{CURSOR_KEY, Uplink};

/// Starts the bridge, and the uplink where it stood.
pub(super) fn join_cloud(
    limits: &Limits,
    cloud: &Cloud,
    stored: &Stored,
    seed: u64,
) -> Result<(Uplink, Bridge), GatewayError> {
    let bridge = Bridge::start(bridge_config(limits, cloud)?, &limits.edge_id, stored.epoch)
        .map_err(GatewayError::Bridge)?;
    let checkpoint = stored
        .cursors
        .iter()
        .find(|(key, _)| key == CURSOR_KEY)
        .map(|(_, value)| value.as_slice());
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
    Ok((Uplink::new(engine, routes(limits)), bridge))
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
    config.credentials = credentials(cloud)?;
    config.connections =
        u8::try_from(cloud.connections).expect("connections are checked to be few");
    config.keep_alive = Duration::from_secs(cloud.keep_alive_seconds.into());
    config.window = cloud.window_count;
    config.maximum_packet_bytes = cloud.packet_bytes;
    config.message_expiry = Duration::from_secs(cloud.message_expiry_seconds.into());
    config.topic_prefix.clone_from(&cloud.topic_prefix);
    config.downlink_filters.clone_from(&cloud.downlink);
    config.patience = limits.acknowledge_timeout;
    config.downlink_window = DOWNLINK_WINDOW;
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

fn credentials(cloud: &Cloud) -> Result<Option<Credentials>, GatewayError> {
    let Some(user_name) = cloud.username.clone() else {
        return Ok(None);
    };
    let password = match &cloud.password_file {
        Some(path) => std::fs::read_to_string(path).map_err(|source| GatewayError::Password {
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
        unconfirmed_count: UNCONFIRMED.into(),
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
