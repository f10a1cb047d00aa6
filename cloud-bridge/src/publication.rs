//! From a record to the PUBLISH that carries it upward.

use bytes::Bytes;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Publish, PublishProperties};
use sync::{Origin, Record, SteadyTime, TimeStamp, WallTime};
use wire::topic::TopicName;

use crate::inflight::Place;
use crate::{Rejection, property};

/// What every record of this gateway has in common on its way up.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    pub(crate) origin: Origin,
    pub(crate) topic_prefix: String,
    /// Of records without their own.
    pub(crate) expiry_seconds: u32,
}

/// A PUBLISH as rumqttc takes it: QoS 1, and never with RETAIN, since a retained message holds
/// RobustMQ's subscribers up for 20 s.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) properties: PublishProperties,
}

impl Stamp {
    /// Makes the PUBLISH of a record, if it can be sent at all.
    pub(crate) fn publication(
        &self,
        place: Place,
        record: &Record,
        now: TimeStamp,
        maximum_packet_bytes: u32,
    ) -> Result<Publication, Rejection> {
        let expiry_seconds = self.remaining_seconds(record, now.steady)?;
        let topic = self.topic(record)?;
        let shared = record.as_bytes().slice_ref(record.properties());
        let mut properties = property::decode(&shared).map_err(|_| Rejection::Properties)?;
        properties.message_expiry_interval = Some(expiry_seconds);
        let time = SteadyTime::outward(record.time(), now);
        self.identify(place, time, &mut properties.user_properties);

        // What rumqttc itself counts: the topic is given to it only to be measured.
        let measured = Publish {
            qos: QoS::AtLeastOnce,
            topic: Bytes::copy_from_slice(topic.as_bytes()),
            pkid: 1,
            payload: record.payload_shared(),
            properties: Some(properties),
            ..Publish::default()
        };
        let found = measured.size() as u64;
        if found > u64::from(maximum_packet_bytes) {
            return Err(Rejection::TooLarge {
                found,
                allowed: maximum_packet_bytes,
            });
        }
        Ok(Publication {
            topic,
            payload: measured.payload,
            properties: measured.properties.unwrap_or_default(),
        })
    }

    /// Counts the seconds that a record has left; a clock that was set back takes nothing away.
    fn remaining_seconds(&self, record: &Record, now: WallTime) -> Result<u32, Rejection> {
        let Some(expiry) = record.expiry_seconds() else {
            return Ok(self.expiry_seconds);
        };
        let age = now.seconds_since(record.time());
        let left = u64::from(expiry).saturating_sub(age);
        match u32::try_from(left) {
            Ok(left) if left > 0 => Ok(left),
            _ => Err(Rejection::Expired),
        }
    }

    fn topic(&self, record: &Record) -> Result<String, Rejection> {
        let name = record.topic();
        let length = self.topic_prefix.len() + name.len();
        if length > usize::from(u16::MAX) || TopicName::new(name).is_err() {
            return Err(Rejection::Topic);
        }
        Ok([&self.topic_prefix, name].concat())
    }

    /// Adds the properties by which a record is recognised, wherever and however often it arrives.
    /// What a publisher wrote under their names is left out, so that each can be believed.
    fn identify(&self, place: Place, time: WallTime, pairs: &mut Vec<(String, String)>) {
        let own = sync::Place {
            origin: self.origin.clone(),
            lane: place.lane,
            offset: place.offset,
            time,
        }
        .to_properties();
        pairs.retain(|(name, _)| own.iter().all(|(reserved, _)| name != reserved));
        pairs.extend(own.map(|(name, value)| (name.to_owned(), value)));
    }
}
