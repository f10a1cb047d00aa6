//! What holds on a line that loses bytes: one damaged byte costs one packet, and nothing is ever
//! delivered that was not sent.

use embedded_io::Write as _;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use wire::serial::{CHECKSUM_BYTES, Damage, Decoder, Encoder, Frame};

/// What a line brought: packets, ends of the connection, and damaged frames.
#[derive(Debug, Default, PartialEq)]
struct Brought {
    packets: Vec<Vec<u8>>,
    ends: usize,
    damages: Vec<Damage>,
}

fn receive(line: &[u8], limit: usize) -> Brought {
    let mut decoder = Decoder::new(vec![0; limit + CHECKSUM_BYTES]);
    let mut brought = Brought::default();
    for &byte in line {
        match decoder.push(byte) {
            None => {}
            Some(Ok(Frame::Packet(packet))) => {
                brought.packets.push(packet.to_vec());
                assert_eq!(decoder.packet(), brought.packets[brought.packets.len() - 1]);
            }
            Some(Ok(Frame::End)) => brought.ends += 1,
            Some(Err(damage)) => brought.damages.push(damage),
        }
    }
    brought
}

fn send(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    for packet in packets {
        encoder.write_all(packet).expect("a vector takes all");
    }
    encoder.sink().clone()
}

/// Puts a fixed header before a body.
fn packet(first_byte: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first_byte];
    let mut length = body.len();
    while length > 127 {
        packet.push(0x80 | (length & 0x7F) as u8);
        length >>= 7;
    }
    packet.push(length as u8);
    packet.extend_from_slice(body);
    packet
}

/// One damaged byte may cost one packet; the others arrive in order, and no other does.
fn check_damaged(sent: &[Vec<u8>], line: &[u8], what: &str) {
    // Whatever is sent next ends the last frame, if its own end was hit.
    let brought = receive(&[line, &[0]].concat(), 4096);
    assert_eq!(brought.ends, 0, "{what}");
    let is_all = brought.packets == sent;
    let misses_one = (0..sent.len()).any(|missing| {
        let others = sent
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != missing)
            .map(|(_, packet)| packet);
        others.eq(&brought.packets)
    });
    assert!(is_all || misses_one, "{what}: {brought:?}");
    let is_counted = is_all || !brought.damages.is_empty();
    assert!(is_counted, "{what}: a loss was not noticed");
}

#[test]
fn frames_are_these_bytes() {
    let table: [(&[u8], &[u8]); 3] = [
        (&[0xC0, 0], &[0, 2, 0xC0, 3, 0xED, 0xC5, 0]),
        (&[0x40, 2, 0, 7], &[0, 3, 0x40, 2, 4, 7, 0x6E, 0x2B, 0]),
        (
            b"\x30\x04\0\x01ab",
            &[0, 3, 0x30, 4, 6, 1, b'a', b'b', 0x0A, 0x7B, 0],
        ),
    ];
    for (packet, frame) in table {
        assert_eq!(send(&[packet.to_vec()]), frame, "{packet:02x?}");
    }
    let mut encoder = Encoder::new(Vec::new());
    encoder.end().expect("a vector takes all");
    assert_eq!(encoder.sink()[..], [0, 1, 1, 1, 0]);
}

#[test]
fn full_blocks_have_no_zero_behind_them() {
    // Around the lengths at which a body without zeros fills one or two blocks to the last byte.
    for length in (240..260).chain(495..515) {
        for last in [0, 1] {
            let mut body = vec![0xAA; length];
            body[length - 1] = last;
            let sent = vec![packet(0x30, &body), packet(0xC0, &[])];
            let line = send(&sent);
            assert_eq!(receive(&line, 4096).packets, sent);
            // Two delimiters, a code a block, and the checksum.
            let bytes = sent[0].len() + CHECKSUM_BYTES;
            let most = 2 + bytes + 1 + bytes / 254;
            assert!(line.len() <= most + 7, "{} for {length}", line.len());
        }
    }
}

#[test]
fn any_byte_lost_flipped_or_inserted_costs_one_packet() {
    let sent = [
        packet(0xC0, &[]),
        packet(0x30, b"\0\x03a/btext"),
        packet(0x32, b"\0\x01a\0\x07\0\0\xFF\x01\0"),
        packet(0x40, b"\0\x07"),
        packet(0xD0, &[]),
    ];
    let line = send(&sent);
    for at in 0..line.len() {
        let mut lost = line.clone();
        lost.remove(at);
        check_damaged(&sent, &lost, &format!("{at} lost"));
        for byte in 0..=255 {
            let mut flipped = line.clone();
            flipped[at] = byte;
            check_damaged(&sent, &flipped, &format!("{at} became {byte}"));
            let mut inserted = line.clone();
            inserted.insert(at, byte);
            check_damaged(&sent, &inserted, &format!("{byte} before {at}"));
        }
    }
}

#[test]
fn a_frame_above_the_limit_is_skipped_and_the_next_one_is_good() {
    let (fits, does_not) = (packet(0x30, &[7; 62]), packet(0x30, &[7; 63]));
    let good = packet(0xC0, &[]);
    let line = send(&[does_not, good.clone(), fits.clone()]);
    let brought = receive(&line, 64);
    assert_eq!(brought.packets, [good, fits]);
    assert_eq!(brought.damages, [Damage::TooLong { limit: 64 }]);
    // Not even a buffer of nothing is a reason to panic.
    let mut decoder = Decoder::new([]);
    let ends = line.iter().filter_map(|byte| decoder.push(*byte)?.err());
    assert_eq!(ends.count(), 3);
}

#[test]
fn each_damage_has_its_name() {
    let table: [(&[u8], Damage); 6] = [
        (&[5, 1, 1, 0], Damage::Stuffing),
        (&[2, 0xC0, 3, 0xED, 0xC4, 0], Damage::Checksum),
        (&[2, 9, 0], Damage::Checksum),
        (&[1, 0], Damage::Checksum),
        // PINGREQ twice in one frame, and half a PUBACK, with the right checksums.
        (&frame_of(&[0xC0, 0, 0xC0, 0]), Damage::Length),
        (&frame_of(&[0x40]), Damage::Length),
    ];
    for (line, damage) in table {
        assert_eq!(receive(line, 64).damages, [damage], "{line:02x?}");
    }
}

#[test]
fn a_device_that_dies_in_a_packet_costs_only_that_packet() {
    let whole = packet(0x30, &[7; 300]);
    let mut encoder = Encoder::new(Vec::new());
    encoder.write_all(&whole[..270]).expect("a vector");
    let mut line = encoder.sink().clone();
    line.extend(send(std::slice::from_ref(&whole)));
    let brought = receive(&line, 4096);
    assert_eq!(brought.packets, [whole]);
    assert_eq!(brought.damages.len(), 1);
}

#[test]
fn the_end_of_a_connection_gives_up_a_packet_that_was_begun() {
    let mut encoder = Encoder::new(Vec::new());
    encoder.write_all(&[0x30, 200, 1, 1, 1]).expect("a vector");
    encoder.end().expect("a vector");
    encoder.write_all(&[0xC0, 0]).expect("a vector");
    let brought = receive(encoder.sink(), 4096);
    assert_eq!((brought.ends, brought.packets.len()), (1, 1));
}

#[test]
fn only_connect_begins_a_connection() {
    assert!(Frame::Packet(&[0x10, 0]).is_connect());
    assert!(!Frame::Packet(&[0x20, 0]).is_connect());
    assert!(!Frame::End.is_connect());
}

/// Frames bytes that are no packet, as a faulty device would.
fn frame_of(bytes: &[u8]) -> Vec<u8> {
    // With a fixed header before them they are a packet; what follows its checksum is the same.
    let mut checksum = 0xFFFF_u16;
    for byte in bytes {
        checksum ^= u16::from(*byte);
        for _ in 0..8 {
            checksum = checksum >> 1 ^ (0x8408 * (checksum & 1));
        }
    }
    let mut content = bytes.to_vec();
    content.extend((!checksum).to_le_bytes());
    let mut frame = Vec::new();
    for block in content.split(|byte| *byte == 0) {
        frame.push(1 + block.len() as u8);
        frame.extend(block);
    }
    frame.push(0);
    frame
}

fn packets() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let byte = prop_oneof![3 => Just(0_u8), 10 => any::<u8>(), 10 => 1..=255_u8];
    let body = prop_oneof![
        vec(byte, 0..40),
        vec(1..=255_u8, 240..300),
        vec(any::<u8>(), 0..600)
    ];
    vec(
        (any::<u8>(), body).prop_map(|(first, body)| packet(first, &body)),
        1..8,
    )
}

proptest! {
    // The seed is fixed: one damaged frame of 65,536 has the right checksum, and a test that fails
    // so seldom says nothing.
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..ProptestConfig::with_cases(512)
    })]

    #[test]
    fn packets_come_back_as_they_were_in_any_slices(
        sent in packets(),
        slices in vec(1..90_usize, 1..20),
    ) {
        let stream = sent.concat();
        let mut encoder = Encoder::new(Vec::new());
        let (mut rest, mut slices) = (stream.as_slice(), slices.iter().cycle());
        while !rest.is_empty() {
            let next = (*slices.next().expect("it goes round")).min(rest.len());
            encoder.write_all(&rest[..next]).expect("a vector takes all");
            rest = &rest[next..];
        }
        prop_assert_eq!(encoder.sink(), &send(&sent));
        let brought = receive(encoder.sink(), 4096);
        prop_assert_eq!(brought, Brought { packets: sent, ..Brought::default() });
    }

    #[test]
    fn one_damaged_byte_costs_at_most_one_packet(
        sent in packets(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let line = send(&sent);
        let at = at.index(line.len());
        let (mut lost, mut flipped, mut inserted) = (line.clone(), line.clone(), line);
        lost.remove(at);
        check_damaged(&sent, &lost, "lost");
        flipped[at] = byte;
        check_damaged(&sent, &flipped, "flipped");
        inserted.insert(at, byte);
        check_damaged(&sent, &inserted, "inserted");
    }

    #[test]
    fn noise_between_frames_costs_nothing(
        sent in packets(),
        noise in vec(any::<u8>(), 0..40),
        limit in 0..40_usize,
    ) {
        let mut line = noise.clone();
        line.extend(send(&sent));
        line.extend(&noise);
        line.extend(send(&sent));
        let brought = receive(&line, 4096);
        prop_assert_eq!(&brought.packets, &[sent.clone(), sent].concat());
        // Whatever the noise and however small the buffer, it goes on.
        let _ = receive(&line, limit);
    }
}
