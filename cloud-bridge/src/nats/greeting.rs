//! How a life begins: INFO, CONNECT, the one subscription, and a PING whose PONG ends it.
//!
//! RobustMQ sends a PING of its own at once, and takes no CONNECT that leaves one of its mandatory
//! fields out, so all are written.

use embedded_io::ErrorKind;
use sync::{Record, WallTime};
use wire::nats::{ClientOperation, Connect, Info, ServerError, ServerOperation, Subscribe};

use super::session::Terms;
use crate::Credentials;
use crate::failure::Failure;

/// What is said before a life, sans I/O.
#[derive(Debug)]
pub(super) struct Greeting {
    name: String,
    credentials: Option<Credentials>,
    inbox: String,
    info: Option<Box<Info>>,
    is_secured: bool,
}

/// The number of the one subscription.
const SID: &str = "1";

impl Greeting {
    /// Begins; `wall` and the name make the subjects of replies unlike those of others.
    pub(super) fn new(
        edge_id: &str,
        credentials: Option<Credentials>,
        wall: WallTime,
        is_secured: bool,
    ) -> Self {
        let hash = Record::publisher_hash(edge_id);
        Self {
            name: format!("edge-{edge_id}"),
            credentials,
            inbox: format!("_INBOX.{hash:016x}-{:x}", wall.0),
            info: None,
            is_secured,
        }
    }

    /// The server said something; appends what is to be answered. True when the greeting is over.
    ///
    /// # Errors
    /// When the server does not let the client in, or is none that mail can be sent to.
    pub(super) fn handle(
        &mut self,
        operation: &ServerOperation<'_>,
        outbound: &mut Vec<u8>,
    ) -> Result<bool, Failure> {
        match (operation, &self.info) {
            (ServerOperation::Info(info), None) => {
                if info.tls_required && !self.is_secured {
                    let text = "the server wants TLS: tls:// in place of nats://";
                    return Err(Failure::new(ErrorKind::Unsupported, text));
                }
                self.info = Some(info.clone());
                self.introduce(outbound);
                Ok(false)
            }
            (ServerOperation::Ping, _) => {
                write(&ClientOperation::Pong, outbound);
                Ok(false)
            }
            (ServerOperation::Pong, Some(_)) => Ok(true),
            (ServerOperation::Err(error), _) => Err(refused(*error)),
            (ServerOperation::Info(_) | ServerOperation::Ok, Some(_)) => Ok(false),
            (other, _) => Err(Failure::violation(format!(
                "the server begins with {}",
                other.verb()
            ))),
        }
    }

    /// Adds what the server said to what the gateway wants.
    pub(super) fn agree(&self, terms: Terms) -> Terms {
        let maximum = self.info.as_ref().map(|info| info.message_bytes_maximum);
        let maximum = maximum.map_or(usize::MAX, |it| usize::try_from(it).unwrap_or(usize::MAX));
        Terms {
            inbox: self.inbox.clone(),
            maximum_message_bytes: maximum.min(terms.maximum_message_bytes),
            ..terms
        }
    }

    fn introduce(&self, outbound: &mut Vec<u8>) {
        let credentials = self.credentials.as_ref();
        let connect = Connect {
            verbose: false,
            pedantic: false,
            tls_required: self.is_secured,
            echo: false,
            headers: true,
            no_responders: true,
            protocol: 1,
            name: Some(self.name.clone()),
            lang: "rust".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            user: credentials.map(|it| it.user_name.clone()),
            password: credentials.map(|it| it.password.clone()),
            ..Connect::default()
        };
        write(&ClientOperation::Connect(Box::new(connect)), outbound);
        let subject = format!("{}.*", self.inbox);
        let subscribe = Subscribe {
            subject: &subject,
            queue_group: None,
            sid: SID,
        };
        write(&ClientOperation::Subscribe(subscribe), outbound);
        write(&ClientOperation::Ping, outbound);
    }
}

fn write(operation: &ClientOperation<'_>, outbound: &mut Vec<u8>) {
    let written = operation.encode(outbound);
    written.expect("names are made of what NATS allows");
}

fn refused(error: ServerError<'_>) -> Failure {
    let kind = match error {
        ServerError::AuthorizationViolation | ServerError::AuthenticationTimeout => {
            ErrorKind::PermissionDenied
        }
        _ => ErrorKind::ConnectionRefused,
    };
    Failure::new(kind, format!("the server says {error}"))
}
