//! What lives in the cloud: mail to such an address goes up as a record in the lane of its
//! priority, and so do the registrations of agents.
//!
//! The record is the request as a message over MQTT: its topic is the subject with `/` in place of
//! `.`, its user properties are the headers, its payload is the body as it came.

use sync::{Change, Lane, Record, RecordParts};
use wire::mq9::{Failure, Priority, Reply, Request, Send};
use wire::mqtt::property::{Property, PropertySet, PropertyWriter, UserProperty};
use wire::nats::Headers;
use wire::subject::{Subject, SubjectFilter};

use super::Office;
use super::commit::{Draft, Work};
use super::event::Ticket;
use super::settings::Settings;

impl Settings {
    /// Whether mail to an address goes to the cloud instead of being kept.
    #[must_use]
    pub fn lives_in_cloud(&self, address: &str) -> bool {
        let Ok(address) = Subject::new(address) else {
            return false;
        };
        let filters = self.cloud_mailboxes.iter();
        let mut filters = filters.filter_map(|filter| SubjectFilter::new(filter).ok());
        filters.any(|filter| filter.matches(address))
    }
}

impl Office {
    pub(super) fn lives_in_cloud(&self, address: &str) -> bool {
        !self.settings.cloud_mailboxes.is_empty() && self.settings.lives_in_cloud(address)
    }

    /// Refuses to look into a mailbox that is not here.
    pub(super) fn refuse_cloud(&self, address: &str) -> Result<(), Failure> {
        match self.lives_in_cloud(address) {
            false => Ok(()),
            true => Err(Failure::Refused(format!(
                "mailbox {address} lives in the cloud, where its messages are"
            ))),
        }
    }

    pub(super) fn send_to_cloud(
        &mut self,
        ticket: Ticket,
        send: Send,
        changes: Vec<Change>,
    ) -> Result<(), Failure> {
        self.check_attributes(&send.attributes)?;
        let mut draft = Draft::with(changes);
        draft.changes.push(self.for_cloud(Request::Send(send)));
        self.commit(draft, Work::answer(ticket, Reply::Sent { id: None }), true);
        Ok(())
    }

    /// The change that sends a request up.
    pub(super) fn for_cloud(&self, mut request: Request) -> Change {
        let topic = request.subject().replace('.', "/");
        let mut lane = Lane::Normal;
        let mut expiry_seconds = None;
        let payload = match &mut request {
            Request::Send(send) => {
                lane = lane_of(send.attributes.priority);
                let ttl = send.attributes.ttl_seconds;
                expiry_seconds = ttl.and_then(|ttl| u32::try_from(ttl).ok());
                // Headers say nothing about a payload that is not there: it goes as it is.
                std::mem::take(&mut send.payload)
            }
            Request::Register(register) => std::mem::take(&mut register.body).into_bytes(),
            other => other.body(),
        };
        let properties = properties_of(&request.headers());
        let record = Record::new(&RecordParts {
            qos: 1,
            retain: false,
            from_cloud: false,
            time: self.now.wall,
            expiry_seconds,
            publisher: 0,
            topic: &topic,
            properties: &properties,
            payload: &payload,
        });
        Change::Append { lane, record }
    }
}

/// The user properties that say what headers say.
fn properties_of(headers: &[u8]) -> Vec<u8> {
    let mut properties = Vec::new();
    let mut writer = PropertyWriter::new(&mut properties, PropertySet::FORWARDABLE);
    let headers = Headers::parse(headers).ok();
    for (name, value) in headers.iter().flat_map(Headers::fields) {
        // What is too long for a property leaves the rest as good as it was.
        let _ = writer.write(&Property::UserProperty(UserProperty { name, value }));
    }
    properties
}

/// The lane in which mail of a priority goes up.
pub(super) const fn lane_of(priority: Priority) -> Lane {
    match priority {
        Priority::Critical => Lane::Critical,
        Priority::Urgent => Lane::Urgent,
        Priority::Normal => Lane::Normal,
    }
}
