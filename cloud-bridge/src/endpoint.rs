//! Servers as the operator writes them: `mqtt://host:port`, `mqtts://host:port` and, for mail,
//! `nats://host:port` or `tls://host:port`.

use core::fmt;
use core::str::FromStr;
use std::net::Ipv6Addr;

use crate::ConfigError;

/// A server: `mqtt://host:port`, `mqtts://host:port`, `nats://host:port` or `tls://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Plain or secured.
    pub scheme: Scheme,
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    /// TCP port; 1883, 8883 or 4222 where the URL names none.
    pub port: u16,
}

impl Endpoint {
    /// Reads the URL of a server for mail, `nats://host:port` or `tls://host:port`.
    ///
    /// # Errors
    /// When it is none.
    pub fn for_mail(url: &str) -> Result<Self, ConfigError> {
        Self::read(url, &[Scheme::Nats, Scheme::Tls]).ok_or_else(|| ConfigError {
            key: "mail.endpoints",
            found: url.to_owned(),
            allowed: "nats://host:port or tls://host:port",
        })
    }

    fn read(url: &str, schemes: &[Scheme]) -> Option<Self> {
        let (name, rest) = url.split_once("://")?;
        let scheme = *schemes.iter().find(|scheme| scheme.name() == name)?;
        let (host, port) = split_host(rest)?;
        let port = match port {
            Some(digits) => parse_port(digits)?,
            None => scheme.default_port(),
        };
        Some(Self {
            scheme,
            host: host.to_owned(),
            port,
        })
    }
}

/// Reads the URL of a server for everything but mail.
impl FromStr for Endpoint {
    type Err = ConfigError;

    fn from_str(url: &str) -> Result<Self, ConfigError> {
        Self::read(url, &[Scheme::Mqtt, Scheme::Mqtts]).ok_or_else(|| ConfigError {
            key: "endpoints",
            found: url.to_owned(),
            allowed: "mqtt://host:port or mqtts://host:port",
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        if host.contains(':') {
            write!(f, "{}://[{host}]:{port}", scheme.name())
        } else {
            write!(f, "{}://{host}:{port}", scheme.name())
        }
    }
}

/// How bytes travel to an endpoint, and what they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// MQTT, as it is.
    Mqtt,
    /// MQTT through TLS.
    Mqtts,
    /// NATS, as it is.
    Nats,
    /// NATS through TLS.
    Tls,
}

impl Scheme {
    /// Names the scheme as URLs do.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::Nats => "nats",
            Self::Tls => "tls",
        }
    }

    /// The port that IANA assigned.
    const fn default_port(self) -> u16 {
        match self {
            Self::Mqtt => 1883,
            Self::Mqtts => 8883,
            Self::Nats | Self::Tls => 4222,
        }
    }
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_host(rest: &str) -> Option<(&str, Option<&str>)> {
    let (host, tail) = match rest.strip_prefix('[') {
        Some(bracketed) => {
            let (host, tail) = bracketed.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, tail)
        }
        None => match rest.find(':') {
            Some(colon) => rest.split_at(colon),
            None => (rest, ""),
        },
    };
    let is_host_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    if host.is_empty() || !host.bytes().all(is_host_byte) {
        return None;
    }
    match tail.strip_prefix(':') {
        Some(port) => Some((host, Some(port))),
        None => tail.is_empty().then_some((host, None)),
    }
}

fn parse_port(digits: &str) -> Option<u16> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|port| is_number && *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_shown() {
        let table = [
            (
                "mqtt://cloud.example:1884",
                Scheme::Mqtt,
                "cloud.example",
                1884,
            ),
            ("mqtt://cloud.example", Scheme::Mqtt, "cloud.example", 1883),
            ("mqtts://10.0.0.1", Scheme::Mqtts, "10.0.0.1", 8883),
            ("mqtts://[::1]:99", Scheme::Mqtts, "::1", 99),
            ("mqtt://[fe80::1]", Scheme::Mqtt, "fe80::1", 1883),
        ];
        for (url, scheme, host, port) in table {
            let endpoint: Endpoint = url.parse().unwrap();
            let expected = Endpoint {
                scheme,
                host: host.to_owned(),
                port,
            };
            assert_eq!(endpoint, expected);
            assert_eq!(endpoint.to_string().parse(), Ok(expected));
        }
    }

    #[test]
    fn mail_has_servers_of_its_own() {
        let endpoint = Endpoint::for_mail("nats://cloud.example").unwrap();
        assert_eq!((endpoint.scheme, endpoint.port), (Scheme::Nats, 4222));
        assert_eq!(endpoint.to_string(), "nats://cloud.example:4222");
        let endpoint = Endpoint::for_mail("tls://cloud.example").unwrap();
        assert_eq!((endpoint.scheme, endpoint.port), (Scheme::Tls, 4222));
        for url in ["mqtt://cloud.example", "mqtts://cloud.example", "nats://"] {
            let error = Endpoint::for_mail(url).unwrap_err();
            assert_eq!((error.key, error.found.as_str()), ("mail.endpoints", url));
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let table = [
            "",
            "cloud.example",
            "http://cloud.example",
            "nats://cloud.example",
            "mqtt://",
            "mqtt://:1883",
            "mqtt://cloud.example:",
            "mqtt://cloud.example:0",
            "mqtt://cloud.example:+1",
            "mqtt://cloud.example:65536",
            "mqtt://cloud.example/path",
            "mqtt://user@cloud.example",
            "mqtt://::1",
            "mqtt://[::1",
            "mqtt://[cloud]:1",
            "mqtt://[::1]1883",
        ];
        for url in table {
            let error = url.parse::<Endpoint>().unwrap_err();
            assert_eq!((error.key, error.found.as_str()), ("endpoints", url));
        }
    }
}
