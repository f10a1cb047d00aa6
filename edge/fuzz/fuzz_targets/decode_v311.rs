//! Any bytes, read as MQTT 3.1.1, are decided without panic, and decided alike however they arrive.
//!
//! Run: `edge/benches/fuzz.sh 600 decode_v311`
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::mqtt::{Version, decode, decode_connect, packet_bytes};

fuzz_target!(|bytes: &[u8]| {
    let _ = decode_connect(bytes, u32::MAX);
    let needed = packet_bytes(bytes, u32::MAX);
    match decode(bytes, Version::V311, u32::MAX) {
        Ok(Some((packet, length))) => {
            assert_eq!(needed, Ok(Some(length)));
            let _ = format!("{packet:?}");
            assert_eq!(
                decode(&bytes[..length - 1], Version::V311, u32::MAX),
                Ok(None)
            );
        }
        Ok(None) => assert!(!matches!(needed, Ok(Some(length)) if length <= bytes.len())),
        Err(error) => {
            let _ = format!("{error}");
            // More bytes never make an error good.
            let mut more = bytes.to_vec();
            more.push(0);
            assert_eq!(decode(&more, Version::V311, u32::MAX), Err(error));
        }
    }
});
