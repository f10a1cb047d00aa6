//! -ERR: what a server says when it refuses, in the words that clients compare.
//!
//! The texts are those that the NATS server sends, lower case where it sends that; Parser Error and
//! Slow Consumer, which it closes without, are as its protocol description has them. Texts are
//! compared without regard to case, as clients do.

use core::fmt;

/// What a server says when it refuses something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerError<'a> {
    /// Something that is no operation, or a message whose end is not where it should be.
    UnknownProtocolOperation,
    /// An operation whose arguments are wrong.
    ParserError,
    /// No, unknown or wrong credentials.
    AuthorizationViolation,
    /// No credentials within the time for them.
    AuthenticationTimeout,
    /// The credentials are no longer valid.
    UserAuthenticationExpired,
    /// The credentials were withdrawn.
    UserAuthenticationRevoked,
    /// The account of the user is no longer valid.
    AccountAuthenticationExpired,
    /// CONNECT asks for a protocol other than 0 and 1.
    InvalidClientProtocol,
    /// CONNECT asks for `no_responders` without `headers`.
    NoRespondersRequiresHeaders,
    /// The server talks only through TLS.
    SecureConnectionRequired,
    /// A control line is too long.
    MaximumControlLineExceeded,
    /// A message is too long.
    MaximumPayloadViolation,
    /// Too many clients.
    MaximumConnectionsExceeded,
    /// Too many subscriptions of this connection.
    MaximumSubscriptionsExceeded,
    /// SUB with something that is no subject filter.
    InvalidSubject,
    /// PUB with something that is no subject.
    InvalidPublishSubject,
    /// Nothing was heard from the client for too long.
    StaleConnection,
    /// The client reads more slowly than is sent to it.
    SlowConsumer,
    /// The client may not publish there.
    PublishPermission {
        /// Where it wanted to.
        subject: &'a str,
    },
    /// The client may not subscribe to that.
    SubscriptionPermission {
        /// What it wanted to.
        subject: &'a str,
        /// In which group, if in one.
        queue_group: Option<&'a str>,
    },
    /// Any other text. Not written where one of the others has it.
    Other(&'a str),
}

/// Every error with a text of its own.
const FIXED: [ServerError<'static>; 18] = [
    ServerError::UnknownProtocolOperation,
    ServerError::ParserError,
    ServerError::AuthorizationViolation,
    ServerError::AuthenticationTimeout,
    ServerError::UserAuthenticationExpired,
    ServerError::UserAuthenticationRevoked,
    ServerError::AccountAuthenticationExpired,
    ServerError::InvalidClientProtocol,
    ServerError::NoRespondersRequiresHeaders,
    ServerError::SecureConnectionRequired,
    ServerError::MaximumControlLineExceeded,
    ServerError::MaximumPayloadViolation,
    ServerError::MaximumConnectionsExceeded,
    ServerError::MaximumSubscriptionsExceeded,
    ServerError::InvalidSubject,
    ServerError::InvalidPublishSubject,
    ServerError::StaleConnection,
    ServerError::SlowConsumer,
];

const PUBLISH_PERMISSION: &str = "Permissions Violation for Publish to \"";
const SUBSCRIPTION_PERMISSION: &str = "Permissions Violation for Subscription to \"";
const USING_QUEUE: &str = "\" using queue \"";

impl<'a> ServerError<'a> {
    /// Finds the error with a text, which stands without quotation marks around it.
    #[must_use]
    pub fn from_text(text: &'a str) -> Self {
        let fixed = FIXED.iter().find(|error| {
            let known = error.fixed_text();
            known.is_some_and(|known| known.eq_ignore_ascii_case(text))
        });
        if let Some(error) = fixed {
            return *error;
        }
        permission(text).unwrap_or(Self::Other(text))
    }

    /// Says whether the server that sends this closes the connection, as far as is known.
    #[must_use]
    pub const fn closes_connection(self) -> bool {
        !matches!(
            self,
            Self::MaximumSubscriptionsExceeded
                | Self::InvalidSubject
                | Self::InvalidPublishSubject
                | Self::PublishPermission { .. }
                | Self::SubscriptionPermission { .. }
                | Self::Other(_)
        )
    }

    /// Says whether the text would end the control line before its end.
    pub(super) fn breaks_line(self) -> bool {
        let breaks = |text: &str| text.contains(['\r', '\n']);
        match self {
            Self::Other(text) => breaks(text),
            Self::PublishPermission { subject } => breaks(subject),
            Self::SubscriptionPermission {
                subject,
                queue_group,
            } => breaks(subject) || queue_group.is_some_and(breaks),
            _ => false,
        }
    }

    const fn fixed_text(self) -> Option<&'static str> {
        Some(match self {
            Self::UnknownProtocolOperation => "Unknown Protocol Operation",
            Self::ParserError => "Parser Error",
            Self::AuthorizationViolation => "Authorization Violation",
            Self::AuthenticationTimeout => "Authentication Timeout",
            Self::UserAuthenticationExpired => "User Authentication Expired",
            Self::UserAuthenticationRevoked => "User Authentication Revoked",
            Self::AccountAuthenticationExpired => "Account Authentication Expired",
            Self::InvalidClientProtocol => "invalid client protocol",
            Self::NoRespondersRequiresHeaders => "no responders requires headers support",
            Self::SecureConnectionRequired => "Secure Connection - TLS Required",
            Self::MaximumControlLineExceeded => "maximum control line exceeded",
            Self::MaximumPayloadViolation => "Maximum Payload Violation",
            Self::MaximumConnectionsExceeded => "maximum connections exceeded",
            Self::MaximumSubscriptionsExceeded => "maximum subscriptions exceeded",
            Self::InvalidSubject => "Invalid Subject",
            Self::InvalidPublishSubject => "Invalid Publish Subject",
            Self::StaleConnection => "Stale Connection",
            Self::SlowConsumer => "Slow Consumer",
            Self::PublishPermission { .. }
            | Self::SubscriptionPermission { .. }
            | Self::Other(_) => return None,
        })
    }
}

/// Takes apart what names a subject between quotation marks.
fn permission(text: &str) -> Option<ServerError<'_>> {
    if let Some(rest) = text.strip_prefix(PUBLISH_PERMISSION) {
        let subject = rest.strip_suffix('"')?;
        return Some(ServerError::PublishPermission { subject });
    }
    let rest = text.strip_prefix(SUBSCRIPTION_PERMISSION)?;
    let rest = rest.strip_suffix('"')?;
    let (subject, queue_group) = match rest.split_once(USING_QUEUE) {
        Some((subject, queue_group)) => (subject, Some(queue_group)),
        None => (rest, None),
    };
    Some(ServerError::SubscriptionPermission {
        subject,
        queue_group,
    })
}

impl fmt::Display for ServerError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::PublishPermission { subject } => write!(f, "{PUBLISH_PERMISSION}{subject}\""),
            Self::SubscriptionPermission {
                subject,
                queue_group: None,
            } => write!(f, "{SUBSCRIPTION_PERMISSION}{subject}\""),
            Self::SubscriptionPermission {
                subject,
                queue_group: Some(queue_group),
            } => write!(
                f,
                "{SUBSCRIPTION_PERMISSION}{subject}{USING_QUEUE}{queue_group}\""
            ),
            Self::Other(text) => f.write_str(text),
            fixed => f.write_str(fixed.fixed_text().unwrap_or_default()),
        }
    }
}

impl core::error::Error for ServerError<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    /// What clients look for, as nats-py, nats.go and async-nats do: some exactly, some in lower
    /// case.
    #[test]
    fn texts_are_those_that_clients_compare() {
        let table = [
            (ServerError::StaleConnection, "Stale Connection", true),
            (
                ServerError::AuthorizationViolation,
                "Authorization Violation",
                true,
            ),
            (
                ServerError::MaximumPayloadViolation,
                "Maximum Payload Violation",
                true,
            ),
            (
                ServerError::MaximumConnectionsExceeded,
                "maximum connections exceeded",
                true,
            ),
            (
                ServerError::UnknownProtocolOperation,
                "Unknown Protocol Operation",
                true,
            ),
            (ServerError::InvalidSubject, "Invalid Subject", false),
            (
                ServerError::InvalidPublishSubject,
                "Invalid Publish Subject",
                false,
            ),
            (
                ServerError::MaximumSubscriptionsExceeded,
                "maximum subscriptions exceeded",
                false,
            ),
            (
                ServerError::PublishPermission { subject: "a.b" },
                "Permissions Violation for Publish to \"a.b\"",
                false,
            ),
            (
                ServerError::SubscriptionPermission {
                    subject: "a.>",
                    queue_group: None,
                },
                "Permissions Violation for Subscription to \"a.>\"",
                false,
            ),
            (
                ServerError::SubscriptionPermission {
                    subject: "a.>",
                    queue_group: Some("g"),
                },
                "Permissions Violation for Subscription to \"a.>\" using queue \"g\"",
                false,
            ),
            (
                ServerError::Other("unrecognized mq9 subject: $mq9.AI.x"),
                "unrecognized mq9 subject: $mq9.AI.x",
                false,
            ),
            (ServerError::Other(""), "", false),
        ];
        for (error, text, closes) in table {
            assert_eq!(error.to_string(), text);
            assert_eq!(ServerError::from_text(text), error);
            assert_eq!(error.closes_connection(), closes, "{text}");
        }
    }

    #[test]
    fn every_fixed_text_is_found_in_any_case() {
        for error in FIXED {
            let text = error.to_string();
            assert!(!text.is_empty());
            assert_eq!(ServerError::from_text(&text), error);
            assert_eq!(ServerError::from_text(&text.to_uppercase()), error);
            assert_eq!(ServerError::from_text(&text.to_lowercase()), error);
        }
    }

    #[test]
    fn texts_that_are_almost_known_are_others() {
        for text in [
            "Stale",
            "Permissions Violation",
            "Permissions Violation for Publish to \"a",
            "Permissions Violation for Subscription to \"a\" (sid 1)",
        ] {
            assert_eq!(ServerError::from_text(text), ServerError::Other(text));
        }
    }
}
