//! From a PUBLISH of the server to a message for the gateway.

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Publish;
use wire::topic::TopicName;

use crate::failure::Failure;
use crate::{Downlink, property};

/// What a PUBLISH turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// A message for the gateway.
    Usable(Downlink),
    /// A message with a topic name or a property that MQTT does not allow. It is acknowledged and
    /// dropped: sent again for ever, it would hold up everything behind it.
    Unusable,
}

/// Takes a PUBLISH apart.
///
/// # Errors
/// When the server uses what this client never offered: a topic alias, a subscription identifier
/// (behind several of which rumqttc puts property bytes into the payload), or QoS 2.
pub(crate) fn read(publish: Publish) -> Result<Message, Failure> {
    let properties = publish.properties.unwrap_or_default();
    if properties.topic_alias.is_some() {
        return Err(Failure::violation(
            "the server uses a topic alias, none is allowed",
        ));
    }
    if !properties.subscription_identifiers.is_empty() {
        let text = "the server names a subscription identifier, none was given";
        return Err(Failure::violation(text));
    }
    if publish.qos == QoS::ExactlyOnce {
        return Err(Failure::violation(
            "the server sends QoS 2, subscribed is QoS 1",
        ));
    }
    let topic = str::from_utf8(&publish.topic).ok();
    let topic = topic.and_then(|topic| TopicName::new(topic).ok());
    let (Some(topic), Ok(forwardable)) = (topic, property::encode(&properties)) else {
        tracing::warn!("a downlink message with an invalid topic name or property is dropped");
        return Ok(Message::Unusable);
    };
    Ok(Message::Usable(Downlink {
        topic: topic.as_str().to_owned(),
        payload: publish.payload,
        properties: forwardable,
        qos: publish.qos as u8,
        retain: publish.retain,
        expiry_seconds: properties.message_expiry_interval,
        duplicate: publish.dup,
    }))
}
