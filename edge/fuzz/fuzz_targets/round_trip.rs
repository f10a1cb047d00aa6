//! What was decoded can be encoded, and decoding that gives the same; the first byte chooses the
//! version.
//!
//! Run: `edge/benches/fuzz.sh 600 round_trip`
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::mqtt::{Packet, Version, decode};

fuzz_target!(|input: &[u8]| {
    let Some((&choice, bytes)) = input.split_first() else {
        return;
    };
    let version = Version::ALL[usize::from(choice) % Version::ALL.len()];
    let Ok(Some((packet, _))) = decode(bytes, version, u32::MAX) else {
        return;
    };
    let spoken = match packet {
        Packet::Connect(connect) => connect.version,
        _ => version,
    };
    let mut encoded = Vec::new();
    let length = packet
        .encode(version, &mut encoded)
        .expect("a decoded packet is valid");
    assert_eq!(packet.encoded_len(version), Ok(length));
    assert_eq!(
        decode(&encoded, spoken, u32::MAX),
        Ok(Some((packet, length)))
    );
});
