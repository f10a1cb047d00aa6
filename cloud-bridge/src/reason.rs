//! Reason codes of MQTT 5: what they mean for a record or a connection, and their numbers, which
//! rumqttc turns into names and does not turn back.

use embedded_io::ErrorKind;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, PubAckReason, SubscribeReasonCode};

/// What becomes of a record after its PUBACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is stored.
    Accepted,
    /// It is not stored, but may be later: wait, and try its topic again.
    Refused,
    /// It will never be stored: the fault is in the record itself.
    Rejected,
}

/// Decides what a PUBACK's reason code means.
///
/// Only a fault of the record itself is permanent: `0x90` (topic name invalid), `0x95` (packet too
/// large) and `0x99` (payload format invalid). Everything else at or above `0x80` may pass:
/// RobustMQ answers `0x80` for some 30 s after a leader died and for racing first publishes of a
/// topic; quota (`0x97`) is freed and authorization (`0x87`) is granted by an operator, and to set
/// records aside meanwhile would lose what that operator wanted kept.
#[must_use]
pub const fn verdict(reason: u8) -> Verdict {
    match reason {
        0x00..=0x7f => Verdict::Accepted,
        0x90 | 0x95 | 0x99 => Verdict::Rejected,
        _ => Verdict::Refused,
    }
}

/// Sorts the refusals of a CONNACK: who is not let in, who came at the wrong time, who speaks
/// another language.
pub(crate) const fn kind_of_connack(reason: u8) -> ErrorKind {
    match reason {
        0x85..=0x87 | 0x8a | 0x8c => ErrorKind::PermissionDenied,
        0x81 | 0x82 | 0x84 | 0x9a | 0x9b => ErrorKind::Unsupported,
        _ => ErrorKind::ConnectionRefused,
    }
}

/// Gives the number of a PUBACK's reason.
pub(crate) const fn of_puback(reason: PubAckReason) -> u8 {
    match reason {
        PubAckReason::Success => 0x00,
        PubAckReason::NoMatchingSubscribers => 0x10,
        PubAckReason::UnspecifiedError => 0x80,
        PubAckReason::ImplementationSpecificError => 0x83,
        PubAckReason::NotAuthorized => 0x87,
        PubAckReason::TopicNameInvalid => 0x90,
        PubAckReason::PacketIdentifierInUse => 0x91,
        PubAckReason::QuotaExceeded => 0x97,
        PubAckReason::PayloadFormatInvalid => 0x99,
    }
}

/// Gives the number of a SUBACK's reason.
pub(crate) const fn of_suback(reason: &SubscribeReasonCode) -> u8 {
    match reason {
        SubscribeReasonCode::Success(qos) => *qos as u8,
        SubscribeReasonCode::Failure | SubscribeReasonCode::Unspecified => 0x80,
        SubscribeReasonCode::ImplementationSpecific => 0x83,
        SubscribeReasonCode::NotAuthorized => 0x87,
        SubscribeReasonCode::TopicFilterInvalid => 0x8f,
        SubscribeReasonCode::PkidInUse => 0x91,
        SubscribeReasonCode::QuotaExceeded => 0x97,
        SubscribeReasonCode::SharedSubscriptionsNotSupported => 0x9e,
        SubscribeReasonCode::SubscriptionIdNotSupported => 0xa1,
        SubscribeReasonCode::WildcardSubscriptionsNotSupported => 0xa2,
    }
}

/// Gives the number of a CONNACK's reason; those that only MQTT 3.1.1 has become the nearest.
pub(crate) const fn of_connack(code: ConnectReturnCode) -> u8 {
    match code {
        ConnectReturnCode::Success => 0x00,
        ConnectReturnCode::UnspecifiedError => 0x80,
        ConnectReturnCode::MalformedPacket => 0x81,
        ConnectReturnCode::ProtocolError => 0x82,
        ConnectReturnCode::ImplementationSpecificError => 0x83,
        ConnectReturnCode::UnsupportedProtocolVersion
        | ConnectReturnCode::RefusedProtocolVersion => 0x84,
        ConnectReturnCode::ClientIdentifierNotValid | ConnectReturnCode::BadClientId => 0x85,
        ConnectReturnCode::BadUserNamePassword => 0x86,
        ConnectReturnCode::NotAuthorized => 0x87,
        ConnectReturnCode::ServerUnavailable | ConnectReturnCode::ServiceUnavailable => 0x88,
        ConnectReturnCode::ServerBusy => 0x89,
        ConnectReturnCode::Banned => 0x8a,
        ConnectReturnCode::BadAuthenticationMethod => 0x8c,
        ConnectReturnCode::TopicNameInvalid => 0x90,
        ConnectReturnCode::PacketTooLarge => 0x95,
        ConnectReturnCode::QuotaExceeded => 0x97,
        ConnectReturnCode::PayloadFormatInvalid => 0x99,
        ConnectReturnCode::RetainNotSupported => 0x9a,
        ConnectReturnCode::QoSNotSupported => 0x9b,
        ConnectReturnCode::UseAnotherServer => 0x9c,
        ConnectReturnCode::ServerMoved => 0x9d,
        ConnectReturnCode::ConnectionRateExceeded => 0x9f,
    }
}

/// One publish more than the window allows: the bridge's own answer, with MQTT's number for it.
pub(crate) const RECEIVE_MAXIMUM_EXCEEDED: u8 = 0x93;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_faults_of_the_record_are_permanent() {
        let table = [
            (0x00, Verdict::Accepted),
            (0x10, Verdict::Accepted),
            (0x80, Verdict::Refused),
            (0x83, Verdict::Refused),
            (0x87, Verdict::Refused),
            (0x90, Verdict::Rejected),
            (0x91, Verdict::Refused),
            (0x93, Verdict::Refused),
            (0x95, Verdict::Rejected),
            (0x97, Verdict::Refused),
            (0x99, Verdict::Rejected),
        ];
        for (reason, expected) in table {
            assert_eq!(verdict(reason), expected, "{reason:#04x}");
        }
    }
}
