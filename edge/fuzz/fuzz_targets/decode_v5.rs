//! Any bytes, read as MQTT 5.0, are decided without panic, and decided alike however they arrive.
//!
//! Run: `edge/benches/fuzz.sh 600 decode_v5`
#![no_main]

mod alike;

use libfuzzer_sys::fuzz_target;
use wire::mqtt::{Version, decode, decode_connect, packet_bytes};

fuzz_target!(|bytes: &[u8]| {
    let _ = decode_connect(bytes, u32::MAX);
    let more = [bytes, &[0]].concat();
    let packet = alike::decide(
        &more,
        |bytes| packet_bytes(bytes, u32::MAX),
        |bytes| decode(bytes, Version::V5, u32::MAX),
    );
    let _ = format!("{packet:?}");
});
