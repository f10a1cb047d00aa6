//! The words of `check`: what a configuration means.

use std::fmt;

use super::Limits;

/// What `robustmq-edge check` prints: resolved values, worst-case memory, worst-case disk.
impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "gateway.id = {}", self.edge_id)?;
        writeln!(f, "gateway.data = {}", self.data.display())?;
        writeln!(f, "gateway.self_protection = {}", self.self_protection)?;
        for listener in &self.listeners {
            listener.fmt(f)?;
        }
        self.show_cloud(f)?;
        self.fmt_mail(f)?;
        self.show_retention(f)?;
        writeln!(
            f,
            "durability.linger = {:?}, relaxed_commit = {:?}",
            self.linger, self.relaxed_commit
        )?;
        writeln!(f, "durability.journal_bytes = {}", self.journal_bytes)?;
        writeln!(f, "durability.segment_bytes = {}", self.segment_bytes)?;
        if let Some(bytes) = self.flash_bytes_per_day {
            writeln!(f, "durability.flash_bytes_per_day = {bytes}")?;
        }
        if let Some(bytes) = self.flash_rated_bytes {
            writeln!(f, "durability.flash_rated_bytes = {bytes}")?;
        }
        writeln!(
            f,
            "sync.hold = {:?}, acknowledge_timeout = {:?}",
            self.hold, self.acknowledge_timeout
        )?;
        writeln!(f, "limits.connections = {}", self.section.connections)?;
        writeln!(
            f,
            "limits.connections_per_address = {}",
            self.section.connections_per_address
        )?;
        writeln!(f, "limits.sessions = {}", self.section.sessions)?;
        writeln!(f, "limits.packet_bytes = {}", self.section.packet_bytes)?;
        writeln!(f, "limits.inflight_count = {}", self.section.inflight_count)?;
        writeln!(f, "limits.shared_groups = {}", self.section.shared_groups)?;
        for (what, limit, parts) in [
            ("memory", Some(self.section.memory_bytes), &self.memory),
            ("disk", None, &self.disk),
        ] {
            let limit = limit.map_or_else(String::new, |limit| format!(" of {limit} allowed"));
            writeln!(f, "\nworst case {what}: {} bytes{limit}", Self::sum(parts))?;
            for (part, bytes) in parts {
                writeln!(f, "{bytes:>14}  {part}")?;
            }
        }
        Ok(())
    }
}

impl Limits {
    fn show_cloud(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cloud {
            None => writeln!(f, "cloud = none")?,
            Some(cloud) => {
                writeln!(f, "cloud.endpoints = {}", cloud.endpoints.join(" "))?;
                writeln!(f, "cloud.uplink = {}", cloud.uplink.join(" "))?;
                writeln!(f, "cloud.downlink = {}", cloud.downlink.join(" "))?;
                writeln!(
                    f,
                    "cloud.connections = {}, window_count = {}, downlink window = {}",
                    cloud.connections, cloud.window_count, self.downlink_window
                )?;
                super::cloud::show(cloud, f)?;
            }
        }
        Ok(())
    }

    fn show_retention(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (filter, lane) in &self.lane_filters {
            writeln!(f, "lanes.{lane} = {filter}")?;
        }
        for (lane, kept) in self.retention.iter() {
            let age = kept
                .max_age_seconds
                .map_or_else(|| "any age".to_owned(), |age| format!("{age} s"));
            writeln!(
                f,
                "retention.{lane} = {} bytes, {age}, then {}",
                kept.max_bytes,
                kept.overflow.name()
            )?;
        }
        for (filter, overflow) in &self.overflow_filters {
            writeln!(f, "rule.{} = {filter}", overflow.name())?;
        }
        if let Some(bytes) = self.retention_bytes {
            writeln!(f, "retention.max_bytes = {bytes}, lower lanes first")?;
        }
        Ok(())
    }
}
