//! Listeners as they are meant: every key checked against the others.
//!
//! What others can reach asks who they are, unless the configuration says in so many words that it
//! does not. A Unix socket and a serial line count as local, like loopback.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use wire::websocket::Origin;

use super::check::{Check, MILLION};
use super::usize_of;
use crate::config::{
    self, ClientCertificate, ConfigError, IdentityAsUser, LimitsSection, ListenerTls,
    PayloadEncoding, Protocol,
};

/// Where links come from, with everything that holds for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The place itself.
    pub address: Address,
    /// What carries the packets.
    pub protocol: Protocol,
    /// Certificates, still in their files.
    pub tls: Option<ListenerTls>,
    /// Whether clients without a name may connect, as written.
    pub allow_anonymous: Option<bool>,
    /// Names and passwords.
    pub password_file: Option<PathBuf>,
    /// Who may do what.
    pub acl_file: Option<PathBuf>,
    /// Connections of this listener at a time; one more is refused. Where the file does not say:
    /// all of them, as far as their TLS and WebSocket fit into an eighth of the memory, which all
    /// such listeners share; less, down to a sixteenth, beside much else.
    pub connections: usize,
    /// Whether that is shared out, since the file does not say.
    pub(super) is_shared_out: bool,
    /// The largest packet of this listener's clients.
    pub packet_bytes: u32,
    /// Whose pages may connect over WebSocket; `None` for everybody's.
    pub allowed_origins: Option<Vec<String>>,
    /// How payloads of mail are written for its clients, as written.
    pub mq9_payload: Option<PayloadEncoding>,
}

/// A place where links come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix {
        /// Its file, made at the start.
        path: PathBuf,
        /// The file's permissions: who may connect.
        mode: u32,
    },
    /// A serial line, which is one link for as long as the gateway runs.
    Serial {
        /// The device.
        path: PathBuf,
        /// Bits a second.
        baud: u32,
    },
}

impl Listener {
    /// The most that TLS and WebSocket hold of one connection, in bytes.
    #[must_use]
    pub const fn layer_bytes(&self) -> u64 {
        let websocket = match self.protocol {
            Protocol::Mqtt | Protocol::Nats => 0,
            Protocol::Websocket => WEBSOCKET_BYTES,
        };
        websocket + if self.tls.is_some() { TLS_BYTES } else { 0 }
    }
}

impl Address {
    /// Whether only this host, or who is wired to it, can get there.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix { .. } | Self::Serial { .. } => true,
        }
    }

    /// Whether the system chooses the port: then several listeners may have this address.
    pub(crate) const fn takes_any_port(&self) -> bool {
        matches!(self, Self::Tcp(address) if address.port() == 0)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
            Self::Serial { path, .. } => write!(f, "serial:{}", path.display()),
        }
    }
}

/// What `robustmq-edge check` prints, one line a listener, and one more for its certificates.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "listener.address = {}", self.address)?;
        match self.address {
            Address::Tcp(_) => {}
            Address::Unix { mode, .. } => write!(f, ", mode = {mode:04o}")?,
            Address::Serial { baud, .. } => write!(f, ", baud = {baud}")?,
        }
        match self.protocol {
            Protocol::Mqtt => {}
            Protocol::Websocket => write!(f, ", protocol = websocket")?,
            Protocol::Nats => write!(f, ", protocol = nats")?,
        }
        let (connections, bytes) = (self.connections, self.packet_bytes);
        writeln!(f, ", connections = {connections}, packet_bytes = {bytes}")?;
        if let Some(tls) = &self.tls {
            write!(f, "listener.tls = {}", tls.certificate_file.display())?;
            write!(
                f,
                ", client_certificate = {}",
                asked(tls.client_certificate)
            )?;
            if tls.identity_as_user == IdentityAsUser::CommonName {
                write!(f, ", identity_as_user = common-name")?;
            }
            writeln!(f)?;
        }
        let files = [
            ("password_file", &self.password_file),
            ("acl_file", &self.acl_file),
        ];
        for (key, file) in files {
            if let Some(file) = file {
                writeln!(f, "listener.{key} = {}", file.display())?;
            }
        }
        Ok(())
    }
}

const fn asked(certificate: ClientCertificate) -> &'static str {
    match certificate {
        ClientCertificate::None => "none",
        ClientCertificate::Optional => "optional",
        ClientCertificate::Required => "required",
    }
}

impl Check<'_> {
    pub(super) fn listeners(&self, config: &config::Config) -> Result<Vec<Listener>, ConfigError> {
        let limits = &config.limits;
        if config.listener.is_empty() {
            return Ok(vec![Listener {
                address: Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 1883))),
                protocol: Protocol::Mqtt,
                tls: None,
                allow_anonymous: None,
                password_file: None,
                acl_file: None,
                connections: limits.connections,
                is_shared_out: false,
                packet_bytes: limits.packet_bytes,
                allowed_origins: None,
                mq9_payload: None,
            }]);
        }
        self.within("listener", config.listener.len() as u64, 1, LISTENERS)?;
        let mut listeners = Vec::new();
        for written in &config.listener {
            let listener = self.listener(written, limits)?;
            let name = listener.address.to_string();
            let again = |other: &Listener| other.address.to_string() == name;
            if !listener.address.takes_any_port() && listeners.iter().any(again) {
                let found = format!("{} twice", listener.address);
                return self.refuse("listener.address", found, "one listener an address");
            }
            listeners.push(listener);
        }
        Ok(listeners)
    }

    fn listener(
        &self,
        written: &config::Listener,
        limits: &LimitsSection,
    ) -> Result<Listener, ConfigError> {
        let address = self.address(written)?;
        // A line has one link at a time.
        let (is_line, all) = (
            matches!(address, Address::Serial { .. }),
            limits.packet_bytes,
        );
        let packet_bytes = if is_line {
            all.min(SERIAL_PACKET_BYTES)
        } else {
            all
        };
        let mut listener = Listener {
            address,
            protocol: written.protocol,
            tls: written.tls.clone(),
            allow_anonymous: written.allow_anonymous,
            password_file: written.password_file.clone(),
            acl_file: written.acl_file.clone(),
            connections: written.connections.unwrap_or(match is_line {
                true => 1,
                false => limits.connections,
            }),
            is_shared_out: false,
            packet_bytes: written.packet_bytes.unwrap_or(packet_bytes),
            allowed_origins: written.allowed_origins.clone(),
            mq9_payload: written.mq9_payload,
        };
        listener.is_shared_out = written.connections.is_none() && listener.layer_bytes() > 0;
        let (most, key) = (limits.connections as u64, "listener.connections");
        self.within(key, listener.connections as u64, 1, most)?;
        let (most, key) = (limits.packet_bytes.into(), "listener.packet_bytes");
        self.within(key, listener.packet_bytes.into(), 1024, most)?;
        self.layers(&listener)?;
        self.strangers(&listener)?;
        Ok(listener)
    }

    fn address(&self, written: &config::Listener) -> Result<Address, ConfigError> {
        if let Some(baud) = written.baud
            && !matches!(written.address, config::Address::Serial(_))
        {
            let found = format!("{baud} for {}", written.address);
            return self.refuse("listener.baud", found, "nothing but for serial lines");
        }
        if let Some(mode) = &written.mode
            && !matches!(written.address, config::Address::Unix(_))
        {
            let found = format!("{mode} for {}", written.address);
            return self.refuse("listener.mode", found, "nothing but for Unix sockets");
        }
        Ok(match &written.address {
            config::Address::Tcp(address) => Address::Tcp(*address),
            config::Address::Unix(path) => {
                let bytes = path.as_os_str().len();
                if bytes > UNIX_PATH_BYTES {
                    let found = format!("a path of {bytes} bytes");
                    let allowed = format!("at most {UNIX_PATH_BYTES} for a Unix socket");
                    return self.refuse("listener.address", found, allowed);
                }
                Address::Unix {
                    path: path.clone(),
                    mode: self.mode(written.mode.as_deref().unwrap_or(MODE))?,
                }
            }
            config::Address::Serial(path) => {
                let baud = written.baud.unwrap_or(BAUD);
                self.within("listener.baud", baud.into(), 300, 4 * MILLION)?;
                Address::Serial {
                    path: path.clone(),
                    baud,
                }
            }
        })
    }

    fn mode(&self, written: &str) -> Result<u32, ConfigError> {
        match u32::from_str_radix(written, 8) {
            Ok(mode) if mode <= 0o777 => Ok(mode),
            _ => {
                let allowed = "0000 to 0777, in octal";
                self.refuse("listener.mode", format!("\"{written}\""), allowed)
            }
        }
    }

    /// TLS and WebSocket go with TCP, and the keys of certificates with each other.
    fn layers(&self, listener: &Listener) -> Result<(), ConfigError> {
        let address = &listener.address;
        let is_tcp = matches!(address, Address::Tcp(_));
        let (key, is_line) = (
            "listener.protocol",
            matches!(address, Address::Serial { .. }),
        );
        match listener.protocol {
            Protocol::Websocket if !is_tcp => {
                let found = format!("websocket for {address}");
                return self.refuse(key, found, "mqtt, or an IP address and port");
            }
            Protocol::Nats if is_line => {
                let found = format!("nats for {address}");
                return self.refuse(key, found, "mqtt");
            }
            Protocol::Mqtt | Protocol::Websocket | Protocol::Nats => {}
        }
        if listener.mq9_payload.is_some() && listener.protocol != Protocol::Nats {
            let found = format!("a value for {address}");
            let allowed = "nothing but for protocol = \"nats\"";
            return self.refuse("listener.mq9_payload", found, allowed);
        }
        self.origins(listener)?;
        let Some(tls) = &listener.tls else {
            return Ok(());
        };
        if !is_tcp {
            let found = format!("certificates for {address}");
            return self.refuse("listener.tls", found, "none, or an IP address and port");
        }
        let asks = tls.client_certificate != ClientCertificate::None;
        if asks != tls.client_ca_file.is_some() {
            let found = if asks { "nothing" } else { "a file" };
            let found = format!(
                "{found}, though {address} has client_certificate = {}",
                asked(tls.client_certificate)
            );
            let allowed = "a file where certificates are optional or required, and only there";
            return self.refuse("listener.tls.client_ca_file", found, allowed);
        }
        let needs = "client_certificate = \"optional\" or \"required\" beside it";
        if tls.crl_file.is_some() && !asks {
            let found = format!("a file, though {address} asks for no certificate");
            return self.refuse("listener.tls.crl_file", found, needs);
        }
        if tls.identity_as_user != IdentityAsUser::None && !asks {
            let found = format!("common-name, though {address} asks for no certificate");
            return self.refuse("listener.tls.identity_as_user", found, needs);
        }
        Ok(())
    }

    fn origins(&self, listener: &Listener) -> Result<(), ConfigError> {
        let key = "listener.allowed_origins";
        let Some(origins) = &listener.allowed_origins else {
            return Ok(());
        };
        if listener.protocol != Protocol::Websocket {
            let found = format!("a list for {}", listener.address);
            return self.refuse(key, found, "nothing but for protocol = \"websocket\"");
        }
        self.within(key, origins.len() as u64, 0, ORIGINS)?;
        match origins.iter().find(|text| Origin::parse(text).is_none()) {
            Some(text) => {
                let allowed = "http:// or https://, a host, and a port unless it is the usual one";
                self.refuse(key, format!("\"{text}\""), allowed)
            }
            None => Ok(()),
        }
    }

    /// Nobody unknown gets in from outside without the operator's word.
    fn strangers(&self, listener: &Listener) -> Result<(), ConfigError> {
        let is_certain = |tls: &ListenerTls| tls.client_certificate == ClientCertificate::Required;
        let is_answered = listener.allow_anonymous == Some(true)
            || listener.password_file.is_some()
            || listener.tls.as_ref().is_some_and(is_certain);
        if listener.address.is_local() || is_answered {
            return Ok(());
        }
        let found = format!("nothing for {}, which others can reach", listener.address);
        let allowed = "true, written out, or a password_file or required client certificates";
        self.refuse("listener.allow_anonymous", found, allowed)
    }
}

/// Gives listeners that do not say how many connections they take as many as there may be at all, as
/// far as what their layers hold fits into what all of these have together.
pub(super) fn share_places(listeners: &mut [Listener], most: usize, bytes: u64) {
    let count = listeners.iter().filter(|it| it.is_shared_out).count() as u64;
    for listener in listeners.iter_mut().filter(|it| it.is_shared_out) {
        let fitting = bytes / count / listener.layer_bytes();
        listener.connections = usize_of(fitting).clamp(1, most);
    }
}

/// The most that the layers of all connections hold, when those that hold most come first.
pub(super) fn worst_layers(listeners: &[Listener], connections: usize) -> u64 {
    let mut layers: Vec<(u64, usize)> = listeners
        .iter()
        .map(|listener| (listener.layer_bytes(), listener.connections))
        .collect();
    layers.sort_unstable();
    let certificates = listeners
        .iter()
        .filter_map(|listener| listener.tls.as_ref());
    let files = certificates.map(|tls| match tls.crl_file {
        Some(_) => TLS_LISTENER_BYTES + CRL_BYTES,
        None => TLS_LISTENER_BYTES,
    });
    let (mut bytes, mut left) = (files.sum(), connections);
    for (layer_bytes, places) in layers.into_iter().rev() {
        let places = places.min(left);
        bytes += layer_bytes * places as u64;
        left -= places;
    }
    bytes
}

/// Sections `[[listener]]` in one file.
const LISTENERS: u64 = 64;
/// Origins whose pages may connect to one listener.
const ORIGINS: u64 = 64;
/// Of a serial line whose configuration does not say.
const BAUD: u32 = 115_200;
/// The largest packet of a serial line whose configuration does not say, unless all are smaller. A
/// buffer of this size is kept, and it takes the usual line six seconds.
const SERIAL_PACKET_BYTES: u32 = 64 << 10;
/// Of a Unix socket whose configuration does not say: the gateway's user and group.
const MODE: &str = "0660";
/// What the system takes as the name of a Unix socket.
const UNIX_PATH_BYTES: usize = 107;
/// Certificates of a listener, and sessions that may be taken up again.
const TLS_LISTENER_BYTES: u64 = 512 << 10;
/// The largest revocation list, twice, while a new one takes its place.
const CRL_BYTES: u64 = 2 << 20;
/// Keys and buffers of a TLS connection. Measured: 8 KB, with a client's certificate too. The rest
/// is a record or a handshake that has come in part (20 KB), and a chunk that waits to be sent.
const TLS_BYTES: u64 = 32 << 10;
/// State of a WebSocket. Measured: 2 KB. The rest is the head of a request (8 KB), or a chunk that
/// waits to be sent (4 KB).
const WEBSOCKET_BYTES: u64 = 10 << 10;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;
    use crate::limits::Limits;

    fn resolve(text: &str) -> Result<Limits, String> {
        let file = Path::new("edge.toml");
        Config::parse(text, file)
            .and_then(|config| Limits::resolve(&config, file))
            .map_err(|error| error.to_string())
    }

    const TLS: &str = "[listener.tls]\ncertificate_file = \"c.pem\"\nkey_file = \"c.key\"\n";

    #[test]
    fn a_listener_takes_what_it_does_not_say_from_the_limits_of_all() {
        let limits = resolve(
            "[[listener]]\naddress = \"127.0.0.1:0\"\nconnections = 7\npacket_bytes = 2048\n\
             [[listener]]\naddress = \"unix:/run/edge.sock\"\n\
             [[listener]]\naddress = \"serial:/dev/ttyS0\"\n\
             [[listener]]\naddress = \"serial:/dev/ttyS1\"\nbaud = 9600\n",
        )
        .expect("valid");
        let of = |at: usize| {
            (
                limits.listeners[at].connections,
                limits.listeners[at].packet_bytes,
            )
        };
        assert_eq!(of(0), (7, 2048));
        assert_eq!(
            of(1),
            (limits.section.connections, limits.section.packet_bytes)
        );
        let serial = |path: &str, baud| Address::Serial {
            path: path.into(),
            baud,
        };
        assert_eq!(limits.listeners[2].address, serial("/dev/ttyS0", 115_200));
        assert_eq!(limits.listeners[3].address, serial("/dev/ttyS1", 9600));
        assert_eq!(of(2), (1, 65_536));
        let unix = Address::Unix {
            path: "/run/edge.sock".into(),
            mode: 0o660,
        };
        assert_eq!(limits.listeners[1].address, unix);
    }

    #[test]
    fn layers_are_counted_with_those_first_that_hold_most() {
        let limits = resolve(&format!(
            "[limits]\nconnections = 300\n\
             [[listener]]\naddress = \"127.0.0.1:1\"\nprotocol = \"websocket\"\n\
             [[listener]]\naddress = \"127.0.0.1:2\"\n\
             [[listener]]\naddress = \"127.0.0.1:3\"\nconnections = 100\n{TLS}"
        ));
        let limits = limits.expect("valid");
        let part = limits.memory.iter().find(|(part, _)| part.contains("TLS"));
        let expected = TLS_LISTENER_BYTES + 100 * TLS_BYTES + 200 * WEBSOCKET_BYTES;
        assert_eq!(part.map(|(_, bytes)| *bytes), Some(expected));
    }

    #[test]
    fn what_nats_clients_take_is_counted_where_there_may_be_any() {
        let part = |text: &str| {
            let limits = resolve(text).expect("valid");
            let part = limits.memory.iter().find(|(part, _)| part.contains("NATS"));
            part.map(|(_, bytes)| *bytes)
        };
        assert_eq!(part(""), Some(0));
        let text = "[[listener]]\naddress = \"unix:/a\"\nprotocol = \"nats\"\n";
        assert_eq!(part(text), Some((256 << 10) + 1024 * 512));
        let few = format!("{text}connections = 10\n");
        assert_eq!(part(&few), Some((256 << 10) + 10 * 512));
    }

    #[test]
    fn a_listener_with_certificates_has_as_many_places_as_fit() {
        let limits = resolve(&format!("[[listener]]\naddress = \"127.0.0.1:1\"\n{TLS}"));
        assert_eq!(limits.expect("valid").listeners[0].connections, 256);
        let all = "[[listener]]\naddress = \"127.0.0.1:1\"\n\
                   [[listener]]\naddress = \"127.0.0.1:2\"\nprotocol = \"websocket\"\n\
                   [[listener]]\naddress = \"127.0.0.1:3\"\n";
        let limits = resolve(&format!("{all}{TLS}")).expect("the usual three fit");
        let places = limits.listeners.iter().map(|listener| listener.connections);
        assert_eq!(places.collect::<Vec<_>>(), [1024, 409, 128]);
        let text = "[[listener]]\naddress = \"127.0.0.1:1\"\nconnections = 1024\n";
        let error = resolve(&format!("{text}{TLS}")).expect_err("too much");
        assert!(
            error.contains("limits.memory_bytes: found 67108864"),
            "{error}"
        );
    }

    #[test]
    fn strangers_from_outside_need_a_word_a_password_or_a_certificate() {
        let asks = format!("{TLS}client_ca_file = \"ca.pem\"\nclient_certificate = ");
        for (more, is_allowed) in [
            ("", false),
            ("allow_anonymous = false\n", false),
            ("allow_anonymous = true\n", true),
            ("password_file = \"p\"\n", true),
            (TLS, false),
            (&format!("{asks}\"optional\"\n"), false),
            (&format!("{asks}\"required\"\n"), true),
        ] {
            for (address, is_local) in [
                ("0.0.0.0:1883", false),
                ("[::]:1883", false),
                ("192.168.1.1:1883", false),
                ("127.0.0.1:1883", true),
                ("[::1]:1883", true),
            ] {
                let resolved = resolve(&format!("[[listener]]\naddress = \"{address}\"\n{more}"));
                assert_eq!(resolved.is_ok(), is_allowed || is_local, "{address} {more}");
            }
        }
    }

    #[test]
    fn keys_that_do_not_fit_together_are_named() {
        let table = [
            (
                "address = \"127.0.0.1:1\"\nbaud = 9600\n".to_owned(),
                "listener.baud: found 9600 for 127.0.0.1:1, allowed is nothing but for serial lines",
            ),
            (
                "address = \"serial:/dev/ttyS0\"\nbaud = 1\n".to_owned(),
                "listener.baud: found 1, allowed is 300 to 4000000",
            ),
            (
                "address = \"127.0.0.1:1\"\nmode = \"0600\"\n".to_owned(),
                "listener.mode: found 0600 for 127.0.0.1:1, allowed is nothing but for Unix sockets",
            ),
            (
                "address = \"unix:/a\"\nmode = \"rw\"\n".to_owned(),
                "listener.mode: found \"rw\", allowed is 0000 to 0777, in octal",
            ),
            (
                "address = \"unix:/a\"\nmode = \"1777\"\n".to_owned(),
                "listener.mode: found \"1777\", allowed is 0000 to 0777, in octal",
            ),
            (
                "address = \"serial:/a\"\n[[listener]]\naddress = \"serial:/a\"\nbaud = 300\n"
                    .to_owned(),
                "listener.address: found serial:/a twice, allowed is one listener an address",
            ),
            (
                format!("address = \"unix:{}\"\n", "a".repeat(108)),
                "listener.address: found a path of 108 bytes, allowed is at most 107",
            ),
            (
                "address = \"unix:/a\"\nprotocol = \"websocket\"\n".to_owned(),
                "listener.protocol: found websocket for unix:/a, allowed is mqtt",
            ),
            (
                "address = \"serial:/a\"\nprotocol = \"nats\"\n".to_owned(),
                "listener.protocol: found nats for serial:/a, allowed is mqtt",
            ),
            (
                format!("address = \"serial:/a\"\n{TLS}"),
                "listener.tls: found certificates for serial:/a, allowed is none",
            ),
            (
                format!("address = \"127.0.0.1:1\"\n{TLS}client_certificate = \"required\"\n"),
                "listener.tls.client_ca_file: found nothing, though 127.0.0.1:1 has",
            ),
            (
                format!("address = \"127.0.0.1:1\"\n{TLS}client_ca_file = \"a\"\n"),
                "listener.tls.client_ca_file: found a file, though 127.0.0.1:1 has",
            ),
            (
                format!("address = \"127.0.0.1:1\"\n{TLS}crl_file = \"a\"\n"),
                "listener.tls.crl_file: found a file, though 127.0.0.1:1 asks for no certificate",
            ),
            (
                format!("address = \"127.0.0.1:1\"\n{TLS}identity_as_user = \"common-name\"\n"),
                "listener.tls.identity_as_user: found common-name, though 127.0.0.1:1 asks",
            ),
            (
                "address = \"127.0.0.1:1\"\nmq9_payload = \"utf8\"\n".to_owned(),
                "listener.mq9_payload: found a value for 127.0.0.1:1, allowed is nothing but for",
            ),
            (
                "address = \"127.0.0.1:1\"\nallowed_origins = []\n".to_owned(),
                "listener.allowed_origins: found a list for 127.0.0.1:1, allowed is nothing but",
            ),
            (
                "address = \"127.0.0.1:1\"\nprotocol = \"websocket\"\n\
                 allowed_origins = [\"https://a.example\", \"a.example\"]\n"
                    .to_owned(),
                "listener.allowed_origins: found \"a.example\", allowed is http:// or https://",
            ),
            (
                format!(
                    "address = \"127.0.0.1:1\"\nprotocol = \"websocket\"\nallowed_origins = [{}]\n",
                    "\"http://a\",".repeat(65)
                ),
                "listener.allowed_origins: found 65, allowed is 0 to 64",
            ),
            (
                "address = \"127.0.0.1:1\"\nconnections = 1025\n".to_owned(),
                "listener.connections: found 1025, allowed is 1 to 1024",
            ),
            (
                "address = \"127.0.0.1:1\"\npacket_bytes = 2000000\n".to_owned(),
                "listener.packet_bytes: found 2000000, allowed is 1024 to 1048576",
            ),
            (
                "address = \"127.0.0.1:1\"\n[[listener]]\naddress = \"127.0.0.1:1\"\n".to_owned(),
                "listener.address: found 127.0.0.1:1 twice, allowed is one listener an address",
            ),
            (
                format!(
                    "address = \"127.0.0.1:0\"\n{}",
                    "[[listener]]\naddress = \"127.0.0.1:0\"\n".repeat(64)
                ),
                "listener: found 65, allowed is 1 to 64",
            ),
        ];
        for (text, expected) in table {
            let error = resolve(&format!("[[listener]]\n{text}")).expect_err("refused");
            let expected = format!("edge.toml: {expected}");
            assert!(error.starts_with(&expected), "{error}\nis not\n{expected}");
        }
    }
}
