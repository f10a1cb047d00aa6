//! Three independent codecs behind one function: decode a packet, encode what was understood.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::BytesMut;
use mqtt_protocol_core::mqtt;
use tokio_util::codec::{Decoder, Encoder};
use wire::mqtt::Version;

/// A codec that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    Rumqttc,
    RmqttCodec,
    MqttProtocolCore,
}

impl Peer {
    pub(crate) const ALL: [Self; 3] = [Self::Rumqttc, Self::RmqttCodec, Self::MqttProtocolCore];

    /// Lets the peer decode one packet and encode it again; says why if it does not.
    pub(crate) fn recode(self, version: Version, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let recode = || match (self, version) {
            (Self::Rumqttc, Version::V5) => rumqttc_5(bytes),
            (Self::Rumqttc, _) => rumqttc_3(bytes),
            (Self::RmqttCodec, Version::V5) => rmqtt_5(bytes),
            (Self::RmqttCodec, _) => rmqtt_3(bytes),
            (Self::MqttProtocolCore, _) => mqtt_protocol_core(version, bytes),
        };
        catch_unwind(AssertUnwindSafe(recode)).unwrap_or_else(|_| Err("panic".to_owned()))
    }
}

fn rumqttc_3(bytes: &[u8]) -> Result<Vec<u8>, String> {
    use rumqttc::mqttbytes::v4::Packet;
    let mut stream = BytesMut::from(bytes);
    let packet = Packet::read(&mut stream, usize::MAX).map_err(|error| format!("{error:?}"))?;
    let mut out = BytesMut::new();
    packet
        .write(&mut out, usize::MAX)
        .map_err(|error| format!("write: {error:?}"))?;
    whole(&stream, out)
}

fn rumqttc_5(bytes: &[u8]) -> Result<Vec<u8>, String> {
    use rumqttc::v5::mqttbytes::v5::Packet;
    let mut stream = BytesMut::from(bytes);
    let packet = Packet::read(&mut stream, None).map_err(|error| format!("{error:?}"))?;
    let mut out = BytesMut::new();
    packet
        .write(&mut out, None)
        .map_err(|error| format!("write: {error:?}"))?;
    whole(&stream, out)
}

fn rmqtt_3(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut codec = rmqtt_codec::v3::Codec::new(0);
    recode_with(&mut codec, bytes)
}

fn rmqtt_5(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut codec = rmqtt_codec::v5::Codec::new(0, 0);
    recode_with(&mut codec, bytes)
}

fn recode_with<C, P>(codec: &mut C, bytes: &[u8]) -> Result<Vec<u8>, String>
where
    C: Decoder<Item = (P, u32)> + Encoder<P>,
    <C as Decoder>::Error: std::fmt::Debug,
    <C as Encoder<P>>::Error: std::fmt::Debug,
{
    let mut stream = BytesMut::from(bytes);
    let decoded = codec
        .decode(&mut stream)
        .map_err(|error| format!("{error:?}"))?;
    let (packet, _) = decoded.ok_or("incomplete")?;
    let mut out = BytesMut::new();
    codec
        .encode(packet, &mut out)
        .map_err(|error| format!("write: {error:?}"))?;
    whole(&stream, out)
}

fn whole(stream: &BytesMut, out: BytesMut) -> Result<Vec<u8>, String> {
    match stream.len() {
        0 => Ok(out.to_vec()),
        left => Err(format!("{left} bytes left")),
    }
}

/// Takes the packet apart by type, as the crate's own connection does.
fn mqtt_protocol_core(version: Version, bytes: &[u8]) -> Result<Vec<u8>, String> {
    use mqtt::packet::{v3_1_1, v5_0};
    macro_rules! parse {
        ($body:expr, $packet:ty) => {{
            let (packet, used) = <$packet>::parse($body).map_err(|error| format!("{error:?}"))?;
            (packet.to_continuous_buffer(), used)
        }};
    }
    macro_rules! publish {
        ($flags:expr, $body:expr, $packet:ty) => {{
            let shared = std::sync::Arc::from($body);
            let (packet, used) =
                <$packet>::parse($flags, shared).map_err(|error| format!("{error:?}"))?;
            (packet.to_continuous_buffer(), used)
        }};
    }
    let (length, length_bytes) = match mqtt::packet::VariableByteInteger::decode_stream(&bytes[1..])
    {
        mqtt::packet::DecodeResult::Ok(length, used) => (length.to_u32() as usize, used),
        _ => return Err("remaining length".to_owned()),
    };
    let body = bytes
        .get(1 + length_bytes..)
        .filter(|body| body.len() == length);
    let body = body.ok_or("incomplete")?;
    let (number, flags) = (bytes[0] >> 4, bytes[0] & 0x0F);
    let (out, used) = match (version, number) {
        (Version::V5, 1) => parse!(body, v5_0::Connect),
        (Version::V5, 2) => parse!(body, v5_0::Connack),
        (Version::V5, 3) => publish!(flags, body, v5_0::Publish),
        (Version::V5, 4) => parse!(body, v5_0::Puback),
        (Version::V5, 5) => parse!(body, v5_0::Pubrec),
        (Version::V5, 6) => parse!(body, v5_0::Pubrel),
        (Version::V5, 7) => parse!(body, v5_0::Pubcomp),
        (Version::V5, 8) => parse!(body, v5_0::Subscribe),
        (Version::V5, 9) => parse!(body, v5_0::Suback),
        (Version::V5, 10) => parse!(body, v5_0::Unsubscribe),
        (Version::V5, 11) => parse!(body, v5_0::Unsuback),
        (Version::V5, 12) => parse!(body, v5_0::Pingreq),
        (Version::V5, 13) => parse!(body, v5_0::Pingresp),
        (Version::V5, 14) => parse!(body, v5_0::Disconnect),
        (Version::V5, 15) => parse!(body, v5_0::Auth),
        (_, 1) => parse!(body, v3_1_1::Connect),
        (_, 2) => parse!(body, v3_1_1::Connack),
        (_, 3) => publish!(flags, body, v3_1_1::Publish),
        (_, 4) => parse!(body, v3_1_1::Puback),
        (_, 5) => parse!(body, v3_1_1::Pubrec),
        (_, 6) => parse!(body, v3_1_1::Pubrel),
        (_, 7) => parse!(body, v3_1_1::Pubcomp),
        (_, 8) => parse!(body, v3_1_1::Subscribe),
        (_, 9) => parse!(body, v3_1_1::Suback),
        (_, 10) => parse!(body, v3_1_1::Unsubscribe),
        (_, 11) => parse!(body, v3_1_1::Unsuback),
        (_, 12) => parse!(body, v3_1_1::Pingreq),
        (_, 13) => parse!(body, v3_1_1::Pingresp),
        (_, 14) => parse!(body, v3_1_1::Disconnect),
        _ => return Err("packet type".to_owned()),
    };
    match body.len() - used {
        0 => Ok(out),
        left => Err(format!("{left} bytes left")),
    }
}
