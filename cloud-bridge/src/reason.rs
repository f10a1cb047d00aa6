//! What an MQTT 5 reason code in a PUBACK means for the record.

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
