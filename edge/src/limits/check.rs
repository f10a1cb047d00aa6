//! The rules of the configuration, each with the words of its refusal.

use std::path::Path;

use cloud_bridge::{Endpoint, Scheme};
use sync::Lane;

use super::Limits;
use crate::config::{Cloud, Config, ConfigError, LimitsSection, Overflow};

/// Checks one file.
pub(super) struct Check<'a> {
    pub(super) file: &'a Path,
}

impl Check<'_> {
    pub(super) fn refuse<T>(
        &self,
        key: &str,
        found: impl ToString,
        allowed: impl ToString,
    ) -> Result<T, ConfigError> {
        Err(ConfigError {
            file: self.file.to_owned(),
            line: None,
            key: key.to_owned(),
            found: found.to_string(),
            allowed: allowed.to_string(),
        })
    }

    pub(super) fn within(
        &self,
        key: &str,
        found: u64,
        least: u64,
        most: u64,
    ) -> Result<(), ConfigError> {
        if (least..=most).contains(&found) {
            return Ok(());
        }
        self.refuse(key, found, format!("{least} to {most}"))
    }

    pub(super) fn ranges(&self, config: &Config) -> Result<(), ConfigError> {
        self.limits(&config.limits)?;
        self.durability(config)?;
        let interval = config.gateway.sys_interval_seconds;
        self.within("gateway.sys_interval_seconds", interval, 0, DAY)?;
        let sync = &config.sync;
        self.within("sync.hold_seconds", sync.hold_seconds, 0, 30 * DAY)?;
        let timeout = sync.acknowledge_timeout_seconds;
        self.within("sync.acknowledge_timeout_seconds", timeout, 2, 300)?;
        let backoff = sync.backoff_max_seconds;
        self.within("sync.backoff_max_seconds", backoff, 1, 3600)?;
        match &config.cloud {
            Some(cloud) => self.cloud(config, cloud),
            None => Ok(()),
        }
    }

    fn limits(&self, limits: &LimitsSection) -> Result<(), ConfigError> {
        let packet = u64::from(limits.packet_bytes);
        let subscriptions = limits.subscriptions_per_session as u64;
        let inflight = u64::from(limits.inflight_count);
        let connect = limits.connect_timeout_seconds;
        self.within(
            "limits.memory_bytes",
            limits.memory_bytes,
            16 << 20,
            1 << 40,
        )?;
        self.within("limits.connections", limits.connections as u64, 1, MILLION)?;
        let of_one = u64::from(limits.connections_per_address);
        self.within("limits.connections_per_address", of_one, 0, MILLION)?;
        self.within("limits.packet_bytes", packet, 1024, 4 << 20)?;
        self.within("limits.connect_timeout_seconds", connect, 1, 600)?;
        let handshakes = u64::from(limits.handshake_percent);
        self.within("limits.handshake_percent", handshakes, 1, 90)?;
        self.within("limits.inflight_count", inflight, 1, 10_000)?;
        self.within("limits.sessions", limits.sessions as u64, 1, 10 * MILLION)?;
        self.within(
            "limits.subscriptions_per_session",
            subscriptions,
            1,
            100_000,
        )?;
        let groups = limits.shared_groups as u64;
        self.within("limits.shared_groups", groups, 0, 10_000)?;
        let name_bytes = limits.share_name_bytes as u64;
        self.within("limits.share_name_bytes", name_bytes, 1, 512)?;
        self.names(limits)?;
        let (rate, burst) = (limits.publishes_per_second, limits.publish_burst);
        self.within("limits.publishes_per_second", rate.into(), 0, MILLION)?;
        self.within("limits.publish_burst", burst.into(), 1, MILLION)
    }

    /// With a client identifier a filter is the key of a row, which has 65,535 bytes at most.
    fn names(&self, limits: &LimitsSection) -> Result<(), ConfigError> {
        for (key, found, most) in [
            ("limits.filter_bytes", limits.filter_bytes, 32 << 10),
            ("limits.filter_levels", limits.filter_levels, 1024),
            ("limits.topic_bytes", limits.topic_bytes, 32 << 10),
            ("limits.topic_levels", limits.topic_levels, 1024),
        ] {
            self.within(key, found as u64, 1, most)?;
        }
        Ok(())
    }

    fn durability(&self, config: &Config) -> Result<(), ConfigError> {
        let durability = &config.durability;
        let (journal, segment) = (durability.journal_bytes, durability.segment_bytes);
        self.within("durability.linger_ms", durability.linger_ms, 0, 1000)?;
        let relaxed = durability.relaxed_commit_ms;
        self.within("durability.relaxed_commit_ms", relaxed, 0, 60_000)?;
        self.within("durability.journal_bytes", journal, 256 << 10, 1 << 30)?;
        self.within("durability.segment_bytes", segment, 1 << 20, 4 << 30)?;
        for (key, bytes) in [
            ("flash_bytes_per_day", durability.flash_bytes_per_day),
            ("flash_rated_bytes", durability.flash_rated_bytes),
        ] {
            let key = format!("durability.{key}");
            self.within(&key, bytes.unwrap_or(1 << 30), 1 << 20, 1 << 60)?;
        }
        // A group of commits, which is a frame of the journal, is at most a quarter of it.
        let least = 4 * u64::from(config.limits.packet_bytes);
        if journal < least {
            let allowed = format!("at least {least}, 4 times limits.packet_bytes");
            return self.refuse("durability.journal_bytes", journal, allowed);
        }
        for lane in Lane::ALL {
            let key = format!("retention.{lane}.max_bytes");
            let kept = config.retention.lane(lane).max_bytes;
            // One segment goes at a time, and the last one is being written.
            self.within(&key, kept, 4 * segment, 1 << 50)?;
        }
        match config.retention.max_bytes {
            Some(all) => self.within("retention.max_bytes", all, 4 * segment, 1 << 50),
            None => Ok(()),
        }
    }

    fn cloud(&self, config: &Config, cloud: &Cloud) -> Result<(), ConfigError> {
        let named = |id: &str| {
            (1..=18).contains(&id.len())
                && id
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        };
        let allowed = "1 to 18 of A-Z a-z 0-9 _ -, unique in the fleet";
        match &config.gateway.id {
            None => {
                return self.refuse("gateway.id", "nothing, though there is a [cloud]", allowed);
            }
            Some(id) if !named(id) => {
                return self.refuse("gateway.id", format!("\"{id}\""), allowed);
            }
            Some(_) => {}
        }
        if cloud.endpoints.is_empty() {
            return self.refuse(
                "cloud.endpoints",
                "an empty list",
                "at least one mqtt:// or mqtts:// address",
            );
        }
        self.endpoints(cloud)?;
        self.within("cloud.connections", cloud.connections as u64, 1, 8)?;
        self.within("cloud.window_count", u64::from(cloud.window_count), 1, 1000)?;
        self.within(
            "cloud.keep_alive_seconds",
            u64::from(cloud.keep_alive_seconds),
            5,
            60,
        )?;
        self.within(
            "cloud.packet_bytes",
            u64::from(cloud.packet_bytes),
            1024,
            1_000_000,
        )?;
        for (key, filters) in [
            ("cloud.uplink", &cloud.uplink),
            ("cloud.downlink", &cloud.downlink),
        ] {
            self.filters(key, filters)?;
        }
        match &cloud.mq9 {
            Some(mq9) => self.cloud_mail(config, mq9),
            None => Ok(()),
        }
    }

    fn endpoints(&self, cloud: &Cloud) -> Result<(), ConfigError> {
        for url in &cloud.endpoints {
            match url.parse::<Endpoint>() {
                Err(error) => {
                    return self.refuse("cloud.endpoints", format!("\"{url}\""), error.allowed);
                }
                Ok(endpoint) if endpoint.scheme == Scheme::Mqtts && cloud.ca_file.is_none() => {
                    let found = "nothing, though an endpoint is mqtts://";
                    return self.refuse(
                        "cloud.ca_file",
                        found,
                        "the PEM file of who signed its certificate",
                    );
                }
                Ok(_) => {}
            }
        }
        if cloud.certificate_file.is_some() != cloud.key_file.is_some() {
            let found = "one of certificate_file and key_file";
            return self.refuse("cloud.certificate_file", found, "both or none");
        }
        Ok(())
    }

    fn filters(&self, key: &str, filters: &[String]) -> Result<(), ConfigError> {
        for filter in filters {
            if wire::topic::TopicFilter::new(filter).is_err() {
                return self.refuse(
                    key,
                    format!("\"{filter}\""),
                    "topic filters, such as plant/+/temp or plant/#",
                );
            }
        }
        Ok(())
    }

    pub(super) fn lane_filters(&self, config: &Config) -> Result<Vec<(String, Lane)>, ConfigError> {
        let lanes = &config.lanes;
        self.filters("lanes.critical", &lanes.critical)?;
        self.filters("lanes.urgent", &lanes.urgent)?;
        let of = |filters: &[String], lane| {
            filters
                .iter()
                .map(move |filter| (filter.clone(), lane))
                .collect::<Vec<_>>()
        };
        let rules = config.rule.iter();
        let ruled = rules.filter_map(|rule| Some((rule.filter.clone(), rule.lane?)));
        Ok([
            ruled.collect(),
            of(&lanes.critical, Lane::Critical),
            of(&lanes.urgent, Lane::Urgent),
        ]
        .concat())
    }

    pub(super) fn overflow_filters(
        &self,
        config: &Config,
    ) -> Result<Vec<(String, Overflow)>, ConfigError> {
        for rule in &config.rule {
            self.filters("rule.filter", std::slice::from_ref(&rule.filter))?;
            if rule.lane.is_none() && rule.overflow.is_none() {
                return self.refuse("rule", "neither of both", "a lane, an overflow, or both");
            }
        }
        let rules = config.rule.iter();
        let ruled = rules.filter_map(|rule| Some((rule.filter.clone(), rule.overflow?)));
        Ok(ruled.collect())
    }

    pub(super) fn memory(&self, limits: &Limits) -> Result<(), ConfigError> {
        let (found, needed) = (limits.section.memory_bytes, Limits::sum(&limits.memory));
        if needed <= found {
            return Ok(());
        }
        let allowed = format!(
            "at least {needed} for the other limits, or smaller ones (see `robustmq-edge check`)"
        );
        self.refuse("limits.memory_bytes", found, allowed)
    }
}

pub(super) const DAY: u64 = 86_400;
pub(super) const MILLION: u64 = 1_000_000;
