//! Properties that travel with a message, between the MQTT 5 wire and rumqttc's own struct.
//!
//! Only what belongs to the message itself passes: payload format, content type, response topic,
//! correlation data, user properties. Expiry travels beside them; aliases and subscription
//! identifiers belong to one connection and never pass.

use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5::PublishProperties;

/// Properties that are not well-formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads forwardable properties, as on the wire without their length. Correlation data shares
/// the memory of `bytes`.
pub(crate) fn decode(bytes: &Bytes) -> Result<PublishProperties, Malformed> {
    let mut properties = PublishProperties::default();
    let mut reader = Reader { rest: bytes };
    while let Some((identifier, rest)) = reader.rest.split_first() {
        reader.rest = rest;
        match *identifier {
            PAYLOAD_FORMAT => properties.payload_format_indicator = Some(reader.byte()?),
            CONTENT_TYPE => properties.content_type = Some(reader.string()?),
            RESPONSE_TOPIC => properties.response_topic = Some(reader.string()?),
            CORRELATION_DATA => {
                properties.correlation_data = Some(bytes.slice_ref(reader.binary()?));
            }
            USER_PROPERTY => {
                let pair = (reader.string()?, reader.string()?);
                properties.user_properties.push(pair);
            }
            _ => return Err(Malformed),
        }
    }
    Ok(properties)
}

/// Writes the forwardable properties, as on the wire without their length.
pub(crate) fn encode(properties: &PublishProperties) -> Bytes {
    let mut bytes = Vec::new();
    if let Some(format) = properties.payload_format_indicator {
        bytes.extend_from_slice(&[PAYLOAD_FORMAT, format]);
    }
    let mut field = |identifier: Option<u8>, value: &[u8]| {
        let length = u16::try_from(value.len())
            .expect("a field that was read behind a length of 16 bits has one");
        bytes.extend(identifier);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(value);
    };
    if let Some(content_type) = &properties.content_type {
        field(Some(CONTENT_TYPE), content_type.as_bytes());
    }
    if let Some(response_topic) = &properties.response_topic {
        field(Some(RESPONSE_TOPIC), response_topic.as_bytes());
    }
    if let Some(correlation_data) = &properties.correlation_data {
        field(Some(CORRELATION_DATA), correlation_data);
    }
    for (name, value) in &properties.user_properties {
        field(Some(USER_PROPERTY), name.as_bytes());
        field(None, value.as_bytes());
    }
    bytes.into()
}

const PAYLOAD_FORMAT: u8 = 0x01;
const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION_DATA: u8 = 0x09;
const USER_PROPERTY: u8 = 0x26;

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, Malformed> {
        let (byte, rest) = self.rest.split_first().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn binary(&mut self) -> Result<&'a [u8], Malformed> {
        let (length, rest) = self.rest.split_first_chunk::<2>().ok_or(Malformed)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (value, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(value)
    }

    fn string(&mut self) -> Result<String, Malformed> {
        let text = str::from_utf8(self.binary()?).map_err(|_| Malformed)?;
        Ok(text.to_owned())
    }
}
