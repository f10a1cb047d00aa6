//! Properties that travel with a message, between the MQTT 5 wire and rumqttc's own struct.
//!
//! Only what belongs to the message itself passes: payload format, content type, response topic,
//! correlation data, user properties. Expiry travels beside them; aliases and subscription
//! identifiers belong to one connection and never pass.

use core::convert::Infallible;

use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5::PublishProperties;
use wire::mqtt::property::{Properties, Property, PropertySet, PropertyWriter, UserProperty};
use wire::topic::TopicName;
use wire::{DecodeError, EncodeError};

/// A property that MQTT 5 does not allow to be forwarded as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidProperty;

impl From<EncodeError<Infallible>> for InvalidProperty {
    fn from(_: EncodeError<Infallible>) -> Self {
        Self
    }
}

/// Reads forwardable properties, as on the wire without their length. Correlation data shares
/// the memory of `bytes`.
pub(crate) fn decode(bytes: &Bytes) -> Result<PublishProperties, DecodeError> {
    let mut properties = PublishProperties::default();
    for property in Properties::parse(bytes, PropertySet::FORWARDABLE)? {
        match property {
            Property::PayloadFormatIndicator(is_text) => {
                properties.payload_format_indicator = Some(is_text.into());
            }
            Property::ContentType(text) => properties.content_type = Some(text.to_owned()),
            Property::ResponseTopic(topic) => {
                properties.response_topic = Some(topic.as_str().to_owned());
            }
            Property::CorrelationData(data) => {
                properties.correlation_data = Some(bytes.slice_ref(data));
            }
            Property::UserProperty(UserProperty { name, value }) => {
                let pair = (name.to_owned(), value.to_owned());
                properties.user_properties.push(pair);
            }
            // No other is allowed, so none was read.
            _ => {}
        }
    }
    Ok(properties)
}

/// Writes the forwardable properties, as on the wire without their length.
///
/// # Errors
/// When one of them is none: rumqttc lets a server send NUL in a string, wildcards in a response
/// topic and any number as payload format.
pub(crate) fn encode(properties: &PublishProperties) -> Result<Bytes, InvalidProperty> {
    let mut bytes = Vec::new();
    let mut writer = PropertyWriter::new(&mut bytes, PropertySet::FORWARDABLE);
    if let Some(format) = properties.payload_format_indicator {
        let is_text = match format {
            0 => false,
            1 => true,
            _ => return Err(InvalidProperty),
        };
        writer.write(&Property::PayloadFormatIndicator(is_text))?;
    }
    if let Some(text) = &properties.content_type {
        writer.write(&Property::ContentType(text))?;
    }
    if let Some(topic) = &properties.response_topic {
        let topic = TopicName::new(topic).map_err(|_| InvalidProperty)?;
        writer.write(&Property::ResponseTopic(topic))?;
    }
    if let Some(data) = &properties.correlation_data {
        writer.write(&Property::CorrelationData(data))?;
    }
    for (name, value) in &properties.user_properties {
        writer.write(&Property::UserProperty(UserProperty { name, value }))?;
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> PublishProperties {
        PublishProperties {
            payload_format_indicator: Some(1),
            content_type: Some("application/json".to_owned()),
            response_topic: Some("answers/7".to_owned()),
            correlation_data: Some(Bytes::from_static(&[0, 255])),
            user_properties: vec![
                ("unit".to_owned(), "K".to_owned()),
                ("unit".to_owned(), String::new()),
            ],
            ..PublishProperties::default()
        }
    }

    #[test]
    fn properties_of_the_message_pass_both_ways() {
        let bytes = encode(&all()).unwrap();
        assert_eq!(decode(&bytes), Ok(all()));
        assert_eq!(decode(&Bytes::new()), Ok(PublishProperties::default()));
    }

    #[test]
    fn properties_of_the_connection_do_not_pass() {
        let properties = PublishProperties {
            message_expiry_interval: Some(7),
            topic_alias: Some(1),
            subscription_identifiers: vec![1],
            ..PublishProperties::default()
        };
        assert_eq!(encode(&properties), Ok(Bytes::new()));
        for bytes in [&[0x02, 0, 0, 0, 7][..], &[0x23, 0, 1], &[0x0b, 1]] {
            assert!(decode(&Bytes::copy_from_slice(bytes)).is_err());
        }
    }

    #[test]
    fn bytes_cut_off_anywhere_are_refused_or_fewer_properties() {
        let bytes = encode(&all()).unwrap();
        for end in 0..bytes.len() {
            assert_ne!(decode(&bytes.slice(..end)), Ok(all()));
        }
    }

    #[test]
    fn values_that_rumqttc_lets_through_are_refused() {
        let table: [PublishProperties; 3] = [
            PublishProperties {
                payload_format_indicator: Some(2),
                ..PublishProperties::default()
            },
            PublishProperties {
                response_topic: Some("a/#".to_owned()),
                ..PublishProperties::default()
            },
            PublishProperties {
                user_properties: vec![("a\0".to_owned(), String::new())],
                ..PublishProperties::default()
            },
        ];
        for properties in table {
            assert_eq!(encode(&properties), Err(InvalidProperty));
        }
    }
}
