//! A NATS server with mq9 that does what RobustMQ was seen to do: it sends PING behind INFO, gives
//! replies the subscription number 0, and closes or falls silent where a test says so. It decodes
//! what the bridge sends strictly.

use std::io::{Read, Write};
use std::net::TcpStream;

use cloud_bridge::{Config, Endpoint, MailConfig, Scheme};
use sync::ConnectionId;
use wire::nats::{ClientOperation, Headers, Limits};

use crate::rig::Rig;
use crate::server::Server;

/// The connection that carries mail: the second, where one is for topics.
pub(crate) const MAIL: ConnectionId = ConnectionId(1);

/// What RobustMQ sends before it is asked anything.
pub(crate) const INFO: &str = concat!(
    r#"INFO {"server_id":"1","server_name":"server-1","version":"0.4.3","proto":1,"#,
    r#""host":"0.0.0.0","port":4222,"headers":true,"auth_required":false,"#,
    r#""tls_required":false,"tls_verify":false,"tls_available":true,"max_payload":1048576,"#,
    r#""jetstream":false,"client_id":7,"client_ip":"127.0.0.1","nonce":"x","cluster":"c","#,
    r#""cluster_dynamic":true,"connect_urls":["10.0.0.1:4222"],"ws_connect_urls":[],"#,
    r#""ldm":false,"git_commit":"-","go":"robustmq-rust","domain":"-"}"#,
    "\r\nPING\r\n"
);

/// A configuration with one connection for topics, which nobody serves, and mail.
pub(crate) fn config(server: &Server, change: impl FnOnce(&mut MailConfig)) -> Config {
    let mut mail = MailConfig::new(vec![Endpoint {
        scheme: Scheme::Nats,
        ..server.endpoint()
    }]);
    mail.agents_interval = None;
    change(&mut mail);
    let mut config = Config::new(vec!["mqtt://localhost".parse().expect("a URL")]);
    config.connections = 1;
    config.mail = Some(mail);
    config
}

/// A bridge whose mail is up, and the server's end of it.
pub(crate) fn start(change: impl FnOnce(&mut MailConfig)) -> (Server, Rig, Peer) {
    let server = Server::bind();
    let rig = Rig::start(config(&server, change));
    rig.connect_to(MAIL);
    let peer = Peer::greeted(server.accept_stream());
    rig.expect_up();
    (server, rig, peer)
}

/// The server's end of one connection.
pub(crate) struct Peer {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A request of the bridge.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) subject: String,
    pub(crate) reply_to: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) payload: Vec<u8>,
}

/// What the bridge sends but for requests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Connect {
        user: Option<String>,
        password: Option<String>,
    },
    Subscribe(String),
    Ping,
    Pong,
    Closed,
}

impl Peer {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Greets as RobustMQ does and lets the bridge in.
    pub(crate) fn greeted(stream: TcpStream) -> Self {
        let mut peer = Self::new(stream);
        peer.send(INFO);
        let mut is_connected = false;
        loop {
            match peer.hear() {
                Err(Word::Connect { .. }) => is_connected = true,
                Err(Word::Subscribe(subject)) => {
                    assert!(subject.starts_with("_INBOX.") && subject.ends_with(".*"));
                }
                Err(Word::Pong) => {}
                Err(Word::Ping) => break,
                other => panic!("{other:?} in a greeting"),
            }
        }
        assert!(is_connected, "CONNECT comes before PING");
        peer.send("PONG\r\n");
        peer
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).expect("it reads");
    }

    /// Sends to a bridge that may be gone.
    pub(crate) fn try_send(&mut self, text: &str) {
        let _ = self.stream.write_all(text.as_bytes());
    }

    /// Answers a request, under the subscription that nobody made.
    pub(crate) fn answer(&mut self, request: &Request, json: &str) {
        let reply = format!("MSG {} 0 {}\r\n{json}\r\n", request.reply_to, json.len());
        self.send(&reply);
    }

    /// The next request; pings are answered.
    pub(crate) fn request(&mut self) -> Request {
        self.try_request().expect("the bridge asks something")
    }

    /// The next request, or `None` when the bridge is gone.
    pub(crate) fn try_request(&mut self) -> Option<Request> {
        loop {
            match self.hear() {
                Ok(request) => return Some(request),
                Err(Word::Ping) => self.send("PONG\r\n"),
                Err(Word::Pong) => {}
                Err(Word::Closed) => return None,
                Err(other) => panic!("{other:?} instead of a request"),
            }
        }
    }

    /// The next thing that the bridge says.
    pub(crate) fn hear(&mut self) -> Result<Request, Word> {
        loop {
            let limits = Limits {
                message_bytes: 16 << 20,
                ..Limits::FROM_CLIENT
            };
            let decoded = ClientOperation::decode(&self.buffer, &limits).expect("valid operations");
            if let Some((operation, length)) = decoded {
                let heard = own(operation);
                self.buffer.drain(..length);
                return heard;
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Word::Closed),
                Ok(length) => self.buffer.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("nothing was received")
                }
                Err(_) => return Err(Word::Closed),
            }
        }
    }
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.payload).expect("text")
    }
}

fn own(operation: ClientOperation<'_>) -> Result<Request, Word> {
    match operation {
        ClientOperation::Publish(publish) => {
            let headers = match publish.headers {
                [] => Vec::new(),
                block => Headers::parse(block)
                    .expect("a valid block")
                    .fields()
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
            };
            Ok(Request {
                subject: publish.subject.to_owned(),
                reply_to: publish.reply_to.expect("it wants answers").to_owned(),
                headers,
                payload: publish.payload.to_vec(),
            })
        }
        ClientOperation::Connect(connect) => {
            // What RobustMQ's parser must have.
            assert!(connect.name.is_some() && !connect.verbose && !connect.pedantic);
            assert!(!connect.tls_required && connect.headers);
            assert!(!connect.lang.is_empty() && !connect.version.is_empty());
            Err(Word::Connect {
                user: connect.user,
                password: connect.password,
            })
        }
        ClientOperation::Subscribe(subscribe) => Err(Word::Subscribe(subscribe.subject.to_owned())),
        ClientOperation::Ping => Err(Word::Ping),
        ClientOperation::Pong => Err(Word::Pong),
        other => panic!("the bridge never sends {other:?}"),
    }
}
