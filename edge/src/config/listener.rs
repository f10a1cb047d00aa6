//! `[[listener]]` as it is written: where devices connect, over what, and who may.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::PayloadEncoding;

/// `[[listener]]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Where links come from.
    pub address: Address,
    /// Speed of a serial line in bits a second; only there.
    pub baud: Option<u32>,
    /// Permissions of a Unix socket's file, in octal such as `0660`; only there.
    pub mode: Option<String>,
    /// What is spoken, and what carries it.
    #[serde(default)]
    pub protocol: Protocol,
    /// Certificates; absent means that links are not encrypted.
    pub tls: Option<ListenerTls>,
    /// Whether clients without a name may connect. Beyond loopback it has to be written out where
    /// neither a password nor a certificate is asked for.
    pub allow_anonymous: Option<bool>,
    /// Names and passwords, in Mosquitto's format.
    pub password_file: Option<PathBuf>,
    /// Who may do what, in Mosquitto's format.
    pub acl_file: Option<PathBuf>,
    /// Connections of this listener; absent means as many as of all together, or, with TLS or
    /// WebSocket, as fit into an eighth of the memory together with other such listeners.
    pub connections: Option<usize>,
    /// The largest packet of this listener's clients; absent means the limit of all.
    pub packet_bytes: Option<u32>,
    /// Whose pages may connect over WebSocket, such as `https://panel.example.com`; absent means
    /// everybody's, and an empty list nobody's. What is no browser says no origin, and may.
    pub allowed_origins: Option<Vec<String>>,
    /// How payloads of mail are written for NATS clients; absent means as `[mq9]` says.
    pub mq9_payload: Option<PayloadEncoding>,
}

/// `[listener.tls]`
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    /// This listener's own certificate, followed by its chain, PEM.
    pub certificate_file: PathBuf,
    /// The key of `certificate_file`, PEM.
    pub key_file: PathBuf,
    /// The authorities that may have signed the clients' certificates, PEM.
    pub client_ca_file: Option<PathBuf>,
    /// What those authorities have revoked, PEM.
    pub crl_file: Option<PathBuf>,
    /// Whether clients show a certificate.
    #[serde(default)]
    pub client_certificate: ClientCertificate,
    /// What of the certificate becomes the user name.
    #[serde(default)]
    pub identity_as_user: IdentityAsUser,
}

/// An address, as written: `IP:port`, `unix:PATH` or `serial:DEVICE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP port; port 0 takes a free one and says which.
    Tcp(SocketAddr),
    /// A Unix socket, made at the start.
    Unix(PathBuf),
    /// A serial line.
    Serial(PathBuf),
}

/// What is spoken, and what carries it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// MQTT, carried by nothing else.
    #[default]
    Mqtt,
    /// Frames of RFC 6455, for browsers and through HTTP proxies.
    Websocket,
    /// NATS instead of MQTT.
    Nats,
}

/// Whether clients show a certificate.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificate {
    /// They are not asked.
    #[default]
    None,
    /// One that is shown has to be good.
    Optional,
    /// Without a good one there is no connection.
    Required,
}

/// What of the certificate becomes the user name.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityAsUser {
    /// Nothing: CONNECT says who the user is.
    #[default]
    None,
    /// The common name of its subject; what CONNECT says does not count.
    CommonName,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
            Self::Serial(device) => write!(f, "{SERIAL}{}", device.display()),
        }
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        let text = String::deserialize(value)?;
        let rest = |prefix| text.strip_prefix(prefix).filter(|rest| !rest.is_empty());
        if let Some(path) = rest(UNIX) {
            return Ok(Self::Unix(path.into()));
        }
        if let Some(device) = rest(SERIAL) {
            return Ok(Self::Serial(device.into()));
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            serde::de::Error::custom(format!(
                "\"{text}\", expected an IP address and port such as 127.0.0.1:1883, unix:PATH \
                 or serial:DEVICE"
            ))
        })
    }
}

const UNIX: &str = "unix:";
const SERIAL: &str = "serial:";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::*;

    fn parse(text: &str) -> Result<Vec<Listener>, String> {
        Config::parse(text, Path::new("edge.toml"))
            .map(|config| config.listener)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn each_kind_of_address_is_read() {
        let table = [
            (
                "[::1]:1883",
                Address::Tcp(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 1883))),
            ),
            (
                "unix:/run/edge.sock",
                Address::Unix("/run/edge.sock".into()),
            ),
            ("serial:/dev/ttyS0", Address::Serial("/dev/ttyS0".into())),
        ];
        for (text, expected) in table {
            let listeners = parse(&format!("[[listener]]\naddress = \"{text}\"\n"));
            let [listener] = &listeners.expect("valid")[..] else {
                panic!("one listener");
            };
            assert_eq!(listener.address, expected);
            assert_eq!(listener.address.to_string(), text);
        }
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let table = [
            (
                "address = \"unix:\"\n",
                "edge.toml:2: listener.address: found \"unix:\", allowed is an IP address and port \
                 such as 127.0.0.1:1883, unix:PATH or serial:DEVICE",
            ),
            (
                "address = \"[::1]:1\"\nprotocol = \"ws\"\n",
                "edge.toml:3: listener.protocol: found unknown variant `ws`, allowed is one of \
                 `mqtt`, `websocket`, `nats`",
            ),
            (
                "address = \"[::1]:1\"\n[listener.tls]\ncertificate_file = \"a\"\n",
                "edge.toml:3: listener.tls: found missing field `key_file`, allowed is a section \
                 that has it",
            ),
            (
                "address = \"[::1]:1\"\n[listener.tls]\ncertificate_file = \"a\"\nkey_file = \"b\"\n\
                 client_certificate = true\n",
                "edge.toml:6: listener.tls.client_certificate: found ",
            ),
        ];
        for (text, expected) in table {
            let error = parse(&format!("[[listener]]\n{text}")).expect_err("refused");
            assert!(error.starts_with(expected), "{error}\nis not\n{expected}");
        }
    }
}
