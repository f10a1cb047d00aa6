//! From a record of the log to the request that carries it upward.
//!
//! A record's topic is the subject of the request as MQTT writes it, its user properties are the
//! headers. To those come the five that make a record recognisable however often it arrives; what
//! a publisher wrote under their names is left out, so that each can be believed.

use sync::{Place, Record, WallTime};
use wire::mq9::Request;
use wire::mqtt::property::{Properties, PropertySet};
use wire::nats::HeaderWriter;

use crate::Rejection;

/// Reads the request that a record is, as it is to be sent now: what it says of times counts from
/// the time of the record.
///
/// # Errors
/// When it can never be sent.
pub(super) fn read(place: &Place, record: &Record, now: WallTime) -> Result<Request, Rejection> {
    let age = now.seconds_since(record.time());
    let is_over = |seconds: u64| seconds <= age;
    if record.expiry_seconds().is_some_and(|it| is_over(it.into())) {
        return Err(Rejection::Expired);
    }
    let subject = record.topic().replace('/', ".");
    let headers = headers(place, record)?;
    let request = Request::decode(&subject, &headers, record.payload());
    let mut request = request.map_err(|failure| Rejection::Mail {
        text: failure.to_string(),
    })?;
    match &mut request {
        Request::Send(send) => {
            let attributes = &mut send.attributes;
            if attributes.ttl_seconds.is_some_and(is_over) {
                return Err(Rejection::Expired);
            }
            let rest = |seconds: u64| seconds.checked_sub(age).filter(|rest| *rest > 0);
            attributes.ttl_seconds = attributes.ttl_seconds.and_then(rest);
            attributes.delay_seconds = attributes.delay_seconds.and_then(rest);
        }
        Request::Register(_) | Request::Unregister(_) | Request::Report(_) => {}
        // Nothing else is done for its effect alone.
        _ => return Err(Rejection::Topic),
    }
    Ok(request)
}

/// The header block of a record.
fn headers(place: &Place, record: &Record) -> Result<Vec<u8>, Rejection> {
    let properties = Properties::parse(record.properties(), PropertySet::FORWARDABLE);
    let properties = properties.map_err(|_| Rejection::Properties)?;
    let own = place.to_properties();
    let is_own = |name: &str| own.iter().any(|(reserved, _)| *reserved == name);
    let mut block = Vec::new();
    let mut writer = HeaderWriter::new(None, &mut block).map_err(|_| Rejection::Properties)?;
    for pair in properties.user_properties().filter(|it| !is_own(it.name)) {
        // What NATS has no way to say is left out, as it is for subscribers of NATS.
        let _ = writer.field(pair.name, pair.value);
    }
    for (name, value) in &own {
        let written = writer.field(name, value);
        written.map_err(|_| Rejection::Properties)?;
    }
    writer.finish().map_err(|_| Rejection::Properties)?;
    Ok(block)
}
