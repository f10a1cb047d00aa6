//! The table of valid and malformed packets: each is decided right, and valid ones in their
//! shortest form come back as the same bytes.

mod corpus_file;

use corpus_file::{Case, cases};
use wire::mqtt::decode;

/// Valid packets that are not encoded as they came, with the bytes that come instead.
const NOT_CANONICAL: &[(&str, &str)] = &[
    // The property length may be left out; some clients do not know that.
    ("DISCONNECT rc only ok", "e0020400"),
];

#[test]
fn every_case_is_decided_right() {
    let mut wrong = Vec::new();
    for case in cases() {
        let decoded = decode(&case.bytes, case.version, u32::MAX);
        let is_accepted = matches!(decoded, Ok(Some((_, length))) if length == case.bytes.len());
        if is_accepted != case.is_valid {
            wrong.push(format!("{case}: {decoded:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn invalid_cases_are_errors_and_not_waits_for_more() {
    for case in cases().iter().filter(|case| !case.is_valid) {
        decode(&case.bytes, case.version, u32::MAX).expect_err(&case.to_string());
    }
}

#[test]
fn valid_cases_come_back_as_the_same_bytes() {
    for case in cases().iter().filter(|case| case.is_valid) {
        let encoded = decode_and_encode(case);
        let exception = NOT_CANONICAL.iter().find(|(name, _)| *name == case.name);
        let expected = match exception {
            Some((_, hex)) => corpus_file::bytes(hex),
            None => case.bytes.clone(),
        };
        assert_eq!(encoded, expected, "{case}");
    }
}

#[test]
fn every_error_has_a_reason_code_that_a_server_may_send() {
    use wire::mqtt::PacketType::{Connack, Disconnect};
    for case in cases().iter().filter(|case| !case.is_valid) {
        let error = decode(&case.bytes, case.version, u32::MAX).expect_err(&case.to_string());
        let reason_code = error.reason_code();
        let is_first_packet = case.name.starts_with("CONNECT");
        let packet = if is_first_packet { Connack } else { Disconnect };
        assert!(reason_code.is_allowed_in(packet), "{case}: {error}");
    }
}

fn decode_and_encode(case: &Case) -> Vec<u8> {
    let decoded = decode(&case.bytes, case.version, u32::MAX).expect(&case.name);
    let (packet, _) = decoded.expect(&case.name);
    let mut encoded = Vec::new();
    let length = packet.encode(case.version, &mut encoded).expect(&case.name);
    assert_eq!(length, encoded.len(), "{case}");
    assert_eq!(packet.encoded_len(case.version), Ok(length), "{case}");
    encoded
}
