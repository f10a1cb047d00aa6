//! Records for the unit tests of the log: as a publisher at QoS 1 sends them.

use sync::{Record, RecordParts, WallTime};

/// Makes a record without properties that never expires.
pub(super) fn record(publisher: u64, topic: &str, time: u64, payload: &[u8]) -> Record {
    Record::new(&RecordParts {
        qos: 1,
        retain: false,
        from_cloud: false,
        time: WallTime(time),
        expiry_seconds: None,
        publisher,
        topic,
        properties: &[],
        payload,
    })
}
