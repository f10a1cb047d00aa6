//! WebSocket frames and certificates under any bytes, cut anywhere.

use proptest::prelude::*;
use wire::certificate::common_name;
use wire::websocket::{Decoder, Upgrade, Violation};

/// One frame of a client.
#[derive(Clone, Debug)]
enum Sent {
    /// A message in as many frames as there are parts.
    Message(Vec<Vec<u8>>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn sent() -> impl Strategy<Value = Sent> {
    let part = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..10),
        proptest::collection::vec(any::<u8>(), 120..130),
        proptest::collection::vec(any::<u8>(), 300..400),
        Just(vec![7; 65_536]),
    ];
    let short = || proptest::collection::vec(any::<u8>(), 0..=125);
    prop_oneof![
        3 => proptest::collection::vec(part, 1..4).prop_map(Sent::Message),
        1 => short().prop_map(Sent::Ping),
        1 => short().prop_map(Sent::Pong),
    ]
}

fn frame(first: u8, key: [u8; 4], payload: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | u8::try_from(short).expect("short")),
        medium @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend(u16::try_from(medium).expect("medium").to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend((long as u64).to_be_bytes());
        }
    }
    out.extend(key);
    out.extend(
        payload
            .iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
}

/// What a client sends, what is in it, and its last ping.
fn stream(all: &[Sent], key: [u8; 4]) -> (Vec<u8>, Vec<u8>, Option<Vec<u8>>) {
    let (mut bytes, mut payload, mut ping) = (Vec::new(), Vec::new(), None);
    for one in all {
        match one {
            Sent::Message(parts) => {
                for (at, part) in parts.iter().enumerate() {
                    let is_last = at + 1 == parts.len();
                    let opcode = if at == 0 { 2 } else { 0 };
                    frame(opcode | u8::from(is_last) << 7, key, part, &mut bytes);
                    payload.extend(part);
                }
            }
            Sent::Ping(body) => {
                frame(0x89, key, body, &mut bytes);
                ping = Some(body.clone());
            }
            Sent::Pong(body) => frame(0x8a, key, body, &mut bytes),
        }
    }
    (bytes, payload, ping)
}

/// Gives a decoder the bytes in pieces.
fn decode(
    bytes: &[u8],
    mut pieces: impl Iterator<Item = usize>,
) -> Result<(Vec<u8>, Decoder), Violation> {
    let mut decoder = Decoder::new(1 << 20);
    let (mut rest, mut payload) = (bytes, Vec::new());
    while !rest.is_empty() {
        let count = pieces.next().unwrap_or(usize::MAX).clamp(1, rest.len());
        let (piece, more) = rest.split_at(count);
        let mut piece = piece.to_vec();
        let length = decoder.decode(&mut piece)?;
        payload.extend(&piece[..length]);
        rest = more;
    }
    Ok((payload, decoder))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_stream_is_the_same_however_it_is_cut(
        all in proptest::collection::vec(sent(), 0..6),
        key in any::<[u8; 4]>(),
        cuts in proptest::collection::vec(1_usize..200, 1..20),
    ) {
        let (bytes, payload, ping) = stream(&all, key);
        let (found, mut decoder) = decode(&bytes, cuts.into_iter().cycle()).expect("valid");
        prop_assert!(found == payload);
        prop_assert_eq!(decoder.take_ping().map(|ping| ping.as_slice().to_vec()), ping);
    }

    #[test]
    fn any_bytes_mean_the_same_however_they_are_cut(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        cuts in proptest::collection::vec(1_usize..20, 1..5),
    ) {
        let whole = decode(&bytes, std::iter::empty()).map(|(payload, _)| payload);
        let cut = decode(&bytes, cuts.into_iter().cycle()).map(|(payload, _)| payload);
        prop_assert_eq!(whole, cut);
    }

    #[test]
    fn a_request_of_any_bytes_is_answered_or_waited_for(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        begins_well in any::<bool>(),
    ) {
        let begin: &[u8] = if begins_well { b"GET / HTTP/1.1\r\nHost: a\r\n" } else { b"" };
        let bytes = [begin, &bytes, b"\r\n\r\n"].concat();
        prop_assert!(!matches!(Upgrade::parse(&bytes), Ok(None)));
    }

    #[test]
    fn a_certificate_of_any_bytes_is_read_without_harm(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        tags in proptest::collection::vec((0_usize..300, prop_oneof![Just(0x30_u8), Just(0x31), Just(6), Just(0x82)]), 0..20),
    ) {
        let mut bytes = bytes;
        for (at, tag) in tags {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = tag;
            }
        }
        let name = common_name(&bytes);
        prop_assert!(name.is_none_or(|name| !name.is_empty() && !name.contains('\0')));
    }
}
