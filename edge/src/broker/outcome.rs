//! How things end: accepted, refused and why, closed and why.

use std::fmt;

/// How a publish ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everybody who wants it has it or will.
    Accepted,
    /// Nobody wants it.
    NoSubscribers,
    /// It is not kept and was not delivered with QoS over 0.
    Refused(Refusal),
}

/// How the removal of a subscription ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsubscription {
    /// There was one.
    Removed,
    /// There was none.
    NotFound,
}

/// Why the broker closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Another connection took the session.
    TakenOver,
    /// The rules changed, or the client could not prove its name again.
    NotAuthorized,
    /// There is no room for the client to prove its name again.
    Busy,
}

/// Why the broker or the log says no. Policy and limits, never a mistake of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// [`super::Settings::session_count_maximum`] is reached.
    Sessions,
    /// The client identifier is longer than [`super::Settings::client_identifier_bytes_maximum`].
    ClientIdentifier,
    /// [`super::Settings::subscription_count_maximum`] is reached.
    Subscriptions,
    /// The filter is not one.
    Filter,
    /// The filter is longer than [`super::Settings::filter_bytes_maximum`], has more levels than
    /// `filter_level_maximum`, or a share name longer than `share_name_bytes_maximum`.
    FilterTooLarge,
    /// [`super::Settings::session_bytes_maximum`] is reached.
    SessionBytes,
    /// [`super::Settings::group_count_maximum`] is reached.
    Groups,
    /// [`super::Settings::retained_count_maximum`] or `retained_bytes_maximum` is reached.
    Retained,
    /// A session, or all of them together, have as many notes as are kept.
    Notes,
    /// The client may not do this. Topics below `$SYS` and `$edge` are the gateway's own.
    NotAuthorized,
    /// The log is full.
    LogFull,
    /// The log can't write.
    LogFailed,
    /// The session was taken over or ended before the answer.
    SessionGone,
    /// The user is not known, or the password or proof is wrong.
    Credentials,
    /// The listener has no users who could prove their names this way.
    AuthenticationMethod,
    /// There is no mail office.
    NoMail,
    /// What follows `$mq9/` is no mail address.
    MailAddress,
    /// No mailbox has the address.
    NoMailbox,
    /// The mail office is at a limit, or can't write.
    Mail,
    /// [`super::Settings::check_count_maximum`] or `login_bytes_maximum` is reached.
    Logins,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sessions => "no session is left below the limit",
            Self::ClientIdentifier => "client identifier is longer than the limit",
            Self::Subscriptions => "no subscription is left below the limit",
            Self::Filter => "topic filter is not one",
            Self::FilterTooLarge => "topic filter is longer or has more levels than the limit",
            Self::SessionBytes => "no room for filters and wills is left below the limit",
            Self::Groups => "no group of a shared subscription is left below the limit",
            Self::Retained => "no room for retained messages is left below the limit",
            Self::Notes => "no note is left below the limit",
            Self::NotAuthorized => "not allowed to this client",
            Self::LogFull => "log is full",
            Self::LogFailed => "log can not write",
            Self::SessionGone => "session ended before the answer",
            Self::Credentials => "user is not known, or password or proof is wrong",
            Self::AuthenticationMethod => "authentication method is not served here",
            Self::NoMail => "mail is not served here",
            Self::MailAddress => "mail address is not one level of a topic",
            Self::NoMailbox => "no mailbox has this address",
            Self::Mail => "mail office is at a limit or can not write",
            Self::Logins => "too many logins wait for their check",
        })
    }
}
