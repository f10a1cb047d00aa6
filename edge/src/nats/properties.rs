//! What goes along with a message: headers here, properties in MQTT.
//!
//! | NATS | MQTT 5 |
//! | --- | --- |
//! | reply subject | response topic |
//! | header `Mqtt-Correlation-Data`, in hexadecimal | correlation data |
//! | any other header | user property |
//!
//! Order and repeats are kept. What the other protocol can't say is left out: a status, a header of
//! more than 65,535 bytes, all headers where they are none by their own rules; a user property whose
//! name is not printable ASCII or whose value has line ends or blanks around it.

use wire::mqtt::property::{Properties, Property, PropertySet, PropertyWriter, UserProperty};
use wire::nats::{HeaderWriter, Headers};
use wire::topic::TopicName;

/// The header of the correlation data: whoever answers a device sends it back.
const CORRELATION_DATA: &str = "Mqtt-Correlation-Data";

/// The properties of a message that was published with a reply subject and headers.
pub(super) fn properties_of(reply: Option<TopicName<'_>>, headers: &[u8]) -> Vec<u8> {
    let mut properties = Vec::new();
    let mut writer = PropertyWriter::new(&mut properties, PropertySet::FORWARDABLE);
    // What can't be written leaves the rest as good as it was.
    let mut write = |property: Property<'_>| writer.write(&property).is_ok();
    if let Some(topic) = reply {
        write(Property::ResponseTopic(topic));
    }
    let headers = Headers::parse(headers).ok();
    let fields = headers.iter().flat_map(Headers::fields);
    for (name, value) in fields {
        let data = (name == CORRELATION_DATA).then(|| from_hexadecimal(value));
        let data = data.flatten();
        let is_written = data.is_some_and(|data| write(Property::CorrelationData(&data)));
        if !is_written {
            write(Property::UserProperty(UserProperty { name, value }));
        }
    }
    properties
}

/// The header block of a message; empty where there is nothing to say.
pub(super) fn headers_of(properties: &Properties<'_>) -> Vec<u8> {
    let mut block = Vec::new();
    let correlation = properties.correlation_data().map(hexadecimal);
    if correlation.is_none() && properties.user_properties().next().is_none() {
        return block;
    }
    let Ok(mut writer) = HeaderWriter::new(None, &mut block) else {
        return Vec::new();
    };
    let mut count = 0;
    let correlation = correlation.as_deref();
    let correlation = correlation.map(|value| (CORRELATION_DATA, value));
    let users = properties.user_properties().map(|it| (it.name, it.value));
    for (name, value) in correlation.into_iter().chain(users) {
        count += u32::from(writer.field(name, value).is_ok());
    }
    match writer.finish() {
        Ok(_) if count > 0 => block,
        _ => Vec::new(),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 0xF)]);
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xF]);
    digits.map(digit).collect()
}

fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |&[high, low]: &[u8; 2]| u8::try_from(digit(high)? << 4 | digit(low)?).ok();
    match rest {
        [] => pairs.iter().map(byte).collect(),
        _ => None,
    }
}
