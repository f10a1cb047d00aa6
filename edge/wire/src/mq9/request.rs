//! Requests as a server reads them: the subject says which, headers and body say what.

use alloc::borrow::ToOwned;

use super::mailbox::create;
use super::message::{acknowledge, fetch, query, send};
use super::{Delete, Failure, PREFIX, Request, agent};

/// Which of the ten requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `MAILBOX.CREATE`.
    Create,
    /// `MSG.SEND`.
    Send,
    /// `MSG.FETCH`.
    Fetch,
    /// `MSG.ACK`.
    Acknowledge,
    /// `MSG.QUERY`.
    Query,
    /// `MSG.DELETE`.
    Delete,
    /// `AGENT.REGISTER`.
    Register,
    /// `AGENT.UNREGISTER`.
    Unregister,
    /// `AGENT.REPORT`.
    Report,
    /// `AGENT.DISCOVER`.
    Discover,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Create,
        Self::Send,
        Self::Fetch,
        Self::Acknowledge,
        Self::Query,
        Self::Delete,
        Self::Register,
        Self::Unregister,
        Self::Report,
        Self::Discover,
    ];

    /// Names it as its subject does between [`PREFIX`] and the address.
    #[must_use]
    pub const fn command(self) -> &'static str {
        match self {
            Self::Create => "MAILBOX.CREATE",
            Self::Send => "MSG.SEND",
            Self::Fetch => "MSG.FETCH",
            Self::Acknowledge => "MSG.ACK",
            Self::Query => "MSG.QUERY",
            Self::Delete => "MSG.DELETE",
            Self::Register => "AGENT.REGISTER",
            Self::Unregister => "AGENT.UNREGISTER",
            Self::Report => "AGENT.REPORT",
            Self::Discover => "AGENT.DISCOVER",
        }
    }

    /// Says whether its subject goes on with the address of a mailbox.
    const fn has_address(self) -> bool {
        matches!(
            self,
            Self::Send | Self::Fetch | Self::Acknowledge | Self::Query | Self::Delete
        )
    }

    /// Finds the request that a subject names, and what follows its name.
    fn from_subject(subject: &str) -> Option<(Self, &str)> {
        let command = subject.strip_prefix(PREFIX)?;
        Self::ALL.into_iter().find_map(|kind| {
            let rest = command.strip_prefix(kind.command())?;
            match kind.has_address() {
                true => rest.strip_prefix('.').filter(|rest| !rest.is_empty()),
                false => Some(rest).filter(|rest| rest.is_empty()),
            }
            .map(|rest| (kind, rest))
        })
    }
}

impl Request {
    /// Reads a request. The header block counts for messages to send only; one that is not UTF-8 is
    /// kept with the message and otherwise ignored.
    ///
    /// # Errors
    /// With what the answer is to say, if the subject names no request or the body is not its body.
    pub fn decode(subject: &str, headers: &[u8], payload: &[u8]) -> Result<Self, Failure> {
        let unknown = || Failure::Subject(subject.to_owned());
        let (kind, rest) = Kind::from_subject(subject).ok_or_else(unknown)?;
        Ok(match kind {
            Kind::Create => Self::Create(create(payload)?),
            Kind::Send => Self::Send(send(rest, headers, payload)?),
            Kind::Fetch => Self::Fetch(fetch(rest, payload)?),
            Kind::Acknowledge => Self::Acknowledge(acknowledge(rest, payload)?),
            Kind::Query => Self::Query(query(rest, payload)?),
            Kind::Delete => {
                let named = rest
                    .rsplit_once('.')
                    .filter(|(address, _)| !address.is_empty());
                let (address, id) = named.ok_or_else(unknown)?;
                let invalid = |_| Failure::MessageId(id.to_owned());
                Self::Delete(Delete {
                    address: address.to_owned(),
                    id: id.parse().map_err(invalid)?,
                })
            }
            Kind::Register => Self::Register(agent::register(payload)?),
            Kind::Unregister => Self::Unregister(agent::unregister(payload)?),
            Kind::Report => Self::Report(agent::report(payload)?),
            Kind::Discover => Self::Discover(agent::discover(payload)?),
        })
    }

    /// Says which of the ten it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Create(_) => Kind::Create,
            Self::Send(_) => Kind::Send,
            Self::Fetch(_) => Kind::Fetch,
            Self::Acknowledge(_) => Kind::Acknowledge,
            Self::Query(_) => Kind::Query,
            Self::Delete(_) => Kind::Delete,
            Self::Register(_) => Kind::Register,
            Self::Unregister(_) => Kind::Unregister,
            Self::Report(_) => Kind::Report,
            Self::Discover(_) => Kind::Discover,
        }
    }

    /// Gives the address of the mailbox that it is about. For an acknowledgement that is the body's,
    /// whatever the subject said: who may do this must be decided by it.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        match self {
            Self::Create(create) => create.name.as_deref(),
            Self::Send(send) => Some(&send.address),
            Self::Fetch(fetch) => Some(&fetch.address),
            Self::Acknowledge(acknowledge) => Some(&acknowledge.address),
            Self::Query(query) => Some(&query.address),
            Self::Delete(delete) => Some(&delete.address),
            Self::Register(_) | Self::Unregister(_) | Self::Report(_) | Self::Discover(_) => None,
        }
    }
}
