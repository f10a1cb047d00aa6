//! The opening of a connection: INFO, and from CONNECT to the session.

use std::collections::VecDeque;

use sync::{Instant, Now, Record};
use wire::nats::{Connect, Info, ServerError, ServerOperation};

use super::connection::{Connection, Established, State};
use super::error::PeerError;
use super::mail::Errands;
use super::settings::Tls;
use super::subscriptions::Subscriptions;
use crate::broker::{self, Connected, Credentials, Echo, Input, Password, Refusal, SessionStart};
use crate::pace::Allowance;

/// Both ends of a link, as INFO names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Where the server listens.
    pub host: String,
    /// Where the server listens; 0 where there are no ports.
    pub port: u16,
    /// Where the client is, where that has an address.
    pub client_ip: Option<String>,
}

/// How a client wants to be talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// Whether each operation is answered with +OK.
    pub(super) is_verbose: bool,
    pub(super) echo: Echo,
    pub(super) takes_headers: bool,
    /// Whether a request that nobody hears is answered with status 503.
    pub(super) wants_no_responders: bool,
}

/// The version that INFO shows: clients choose by it what they use, and core NATS is the same since
/// then. Anything but three numbers is refused by nats.js.
const VERSION: &str = "2.10.0";

impl Connection {
    /// Says who we are. What is not so is left out: some clients begin TLS wherever INFO mentions it.
    pub(super) fn introduce(&mut self, ends: &Ends) {
        let id = self.id;
        let info = Info {
            server_id: self.settings.server_id.clone(),
            server_name: self.settings.server_name.clone(),
            version: VERSION.to_owned(),
            proto: 1,
            host: ends.host.clone(),
            port: ends.port,
            headers: true,
            message_bytes_maximum: self.settings.message_bytes_maximum as u64,
            client_id: Some(u64::from(id.generation) << 32 | u64::from(id.index)),
            client_ip: ends.client_ip.clone(),
            auth_required: self.settings.asks_for_credentials,
            tls_required: self.settings.tls != Tls::None,
            tls_verify: self.settings.tls == Tls::Verified,
            ..Info::default()
        };
        self.say(&ServerOperation::Info(Box::new(info)));
    }

    /// Handles CONNECT: asks for a session that ends with the connection.
    pub(super) fn handle_connect(
        &mut self,
        connect: &Connect,
        deadline: Instant,
    ) -> Result<(), PeerError> {
        if connect.protocol > 1 {
            let found = connect.protocol;
            return Err(PeerError::Protocol { found });
        }
        if connect.no_responders && !connect.headers {
            return Err(PeerError::NoRespondersWithoutHeaders);
        }
        let options = Options {
            is_verbose: connect.verbose,
            echo: match connect.echo {
                true => Echo::Heard,
                false => Echo::Suppressed,
            },
            takes_headers: connect.headers,
            wants_no_responders: connect.no_responders,
        };
        self.state = State::Connecting { options, deadline };
        self.tell(Input::Connect(Box::new(broker::Connect {
            connection: self.id,
            entrance: self.entrance.clone(),
            credentials: credentials(connect),
            client_identifier: String::new(),
            start: SessionStart::Clean,
            session_expiry: 0,
            receive_maximum: 1,
            will: None,
        })));
        Ok(())
    }

    /// The session is there.
    pub(super) fn establish(&mut self, now: Now, options: Options, connected: &Connected) {
        self.note_heard(now.instant);
        self.state = State::Connected(Box::new(Established {
            options,
            allowance: Allowance::new(now.instant, self.settings.rate()),
            publisher: Record::publisher_hash(&connected.client_identifier),
            subscriptions: Subscriptions::default(),
            requests: VecDeque::new(),
            errands: Errands::default(),
        }));
        self.confirm(options);
        self.consume_tail(now);
    }

    /// There is no session for the client.
    pub(super) fn turn_away(&mut self, refusal: Refusal) {
        self.peer_error = match refusal {
            Refusal::Credentials => Some(PeerError::Credentials),
            Refusal::NotAuthorized => Some(PeerError::NotAuthorized),
            _ => None,
        };
        // A limit is nobody's mistake.
        let answer = self.peer_error.map(PeerError::answer);
        let answer = answer.unwrap_or(ServerError::MaximumConnectionsExceeded);
        self.say(&ServerOperation::Err(answer));
        self.state = State::Closing;
    }

    /// Says to a verbose client that an operation was taken.
    pub(super) fn confirm(&mut self, options: Options) {
        if options.is_verbose {
            self.say(&ServerOperation::Ok);
        }
    }
}

/// Who a client says it is. A token is the password of the user who is called so.
fn credentials(connect: &Connect) -> Credentials {
    let (user, password) = match (&connect.user, &connect.auth_token) {
        (Some(user), _) => (user.as_str(), &connect.password),
        (None, Some(_)) => (TOKEN_USER, &connect.auth_token),
        (None, None) => return Credentials::None,
    };
    let password = password.as_deref().unwrap_or_default();
    match user {
        "" => Credentials::None,
        user => Credentials::Password {
            user: user.to_owned(),
            password: Password::new(password.as_bytes().to_vec()),
        },
    }
}

/// Whose password `auth_token` is.
const TOKEN_USER: &str = "token";
