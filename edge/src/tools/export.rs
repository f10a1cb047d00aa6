//! Records of a lane as JSON lines or as a CBOR sequence.
//!
//! | key | what |
//! | --- | --- |
//! | `lane`, `offset` | the record's place |
//! | `time` | of the publish, milliseconds since 1970 |
//! | `topic`, `qos`, `retain` | as published |
//! | `expiry_seconds` | message expiry interval, where there is one |
//! | `from_cloud` | true where it came down from the cloud |
//! | `properties` | as on the MQTT 5 wire, where there are any: Base64 in JSON, bytes in CBOR |
//! | `payload` | text in JSON where it is UTF-8, bytes in CBOR |
//! | `payload_base64` | in JSON, where it is not |
//!
//! Records that can't be read leave one entry with `lane`, `first`, `last` and `missing`: the gap's
//! reason, or `damage`.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use ciborium::Value;
use sync::{Lane, Offset, Record};

use super::text::{base64, quoted};
use super::{Outcome, STEP, ToolError, explains, open, output};
use crate::log::{Gap, Reason};

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    JsonLines,
    /// CBOR maps, one after the other (RFC 8742).
    Cbor,
}

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The lane.
    pub lane: Lane,
    /// The first offset; the lane's own first when it begins later.
    pub from: Offset,
    /// The last offset; `None` for everything.
    pub to: Option<Offset>,
}

/// Writes records in order.
///
/// # Errors
/// When the folder can't be read or the output not be written, or a gateway runs on the folder.
pub fn export(
    data: &Path,
    range: Range,
    format: Format,
    out: &mut dyn Write,
) -> Result<Outcome, ToolError> {
    let mut log = open(data)?;
    let lane = range.lane;
    let gaps = log.reader.gaps(0)?.into_iter().map(|(_, gap)| gap);
    let head = log.reader.head(lane);
    let end = range
        .to
        .map_or(head, |to| Offset(to.0.saturating_add(1)).min(head));
    let mut at = range.from.max(log.reader.first(lane));
    let mut writing = Writing {
        lane,
        format,
        gaps: gaps.collect(),
        expected: at,
        outcome: Outcome::Fine,
        out,
    };
    while at < end {
        let chunk = log.reader.read(lane, at, STEP)?;
        for (offset, record) in chunk.records.iter().filter(|(offset, _)| *offset < end) {
            writing.pass_to(*offset)?;
            writing.record(*offset, record)?;
        }
        if let Some(damaged) = chunk.damaged {
            // What is missing right before it may be so for another reason.
            writing.pass_to(damaged.first.min(end))?;
            writing.gaps.push(damaged);
        }
        writing.pass_to(chunk.next.min(end))?;
        at = chunk.next;
    }
    writing.out.flush().map_err(output)?;
    Ok(writing.outcome)
}

/// An export under way.
struct Writing<'a> {
    lane: Lane,
    format: Format,
    gaps: Vec<Gap>,
    /// Everything below is written, or written to be missing.
    expected: Offset,
    outcome: Outcome,
    out: &'a mut dyn Write,
}

impl Writing<'_> {
    fn record(&mut self, offset: Offset, record: &Record) -> Result<(), ToolError> {
        let entry = match self.format {
            Format::JsonLines => json(self.lane, offset, record).into_bytes(),
            Format::Cbor => cbor(self.lane, offset, record),
        };
        self.expected = offset.next();
        self.out.write_all(&entry).map_err(output)
    }

    /// Says of what is not there below an offset that it is missing. What a lane gave up that was at
    /// its limit is no damage.
    fn pass_to(&mut self, offset: Offset) -> Result<(), ToolError> {
        let first = self.expected;
        if first >= offset {
            return Ok(());
        }
        self.expected = offset;
        let gaps = || self.gaps.iter();
        let counts = |gap: &&Gap| gap.lane == self.lane && gap.has(first);
        let near = || gaps().find(|gap| explains(gap, self.lane, first));
        let gap = gaps().find(counts).or_else(near);
        let reason = gap.map_or(Reason::Damage, |gap| gap.reason);
        if reason != Reason::Limit {
            self.outcome = Outcome::Damaged;
        }
        let last = Offset(offset.0 - 1);
        let entry = missing(self.lane, first, last, reason, self.format);
        self.out.write_all(&entry).map_err(output)
    }
}

fn json(lane: Lane, offset: Offset, record: &Record) -> String {
    let mut line = format!(
        "{{\"lane\":\"{lane}\",\"offset\":{offset},\"time\":{},\"topic\":{},\"qos\":{},\"retain\":{}",
        record.time().0,
        quoted(record.topic()),
        record.qos(),
        record.is_retained(),
    );
    // Writing to a string does not fail.
    if let Some(seconds) = record.expiry_seconds() {
        let _ = write!(line, ",\"expiry_seconds\":{seconds}");
    }
    if record.is_from_cloud() {
        line.push_str(",\"from_cloud\":true");
    }
    if !record.properties().is_empty() {
        let _ = write!(line, ",\"properties\":\"{}\"", base64(record.properties()));
    }
    let _ = match std::str::from_utf8(record.payload()) {
        Ok(text) => writeln!(line, ",\"payload\":{}}}", quoted(text)),
        Err(_) => writeln!(
            line,
            ",\"payload_base64\":\"{}\"}}",
            base64(record.payload())
        ),
    };
    line
}

fn cbor(lane: Lane, offset: Offset, record: &Record) -> Vec<u8> {
    let mut entries = vec![
        ("lane", Value::from(lane.name())),
        ("offset", Value::from(offset.0)),
        ("time", Value::from(record.time().0)),
        ("topic", Value::from(record.topic())),
        ("qos", Value::from(record.qos())),
        ("retain", Value::from(record.is_retained())),
    ];
    if let Some(seconds) = record.expiry_seconds() {
        entries.push(("expiry_seconds", Value::from(seconds)));
    }
    if record.is_from_cloud() {
        entries.push(("from_cloud", Value::from(true)));
    }
    if !record.properties().is_empty() {
        entries.push(("properties", Value::from(record.properties())));
    }
    entries.push(("payload", Value::from(record.payload())));
    map(entries)
}

fn missing(lane: Lane, first: Offset, last: Offset, reason: Reason, format: Format) -> Vec<u8> {
    match format {
        Format::JsonLines => format!(
            "{{\"lane\":\"{lane}\",\"first\":{first},\"last\":{last},\"missing\":\"{reason}\"}}\n"
        )
        .into_bytes(),
        Format::Cbor => map(vec![
            ("lane", Value::from(lane.name())),
            ("first", Value::from(first.0)),
            ("last", Value::from(last.0)),
            ("missing", Value::from(reason.to_string())),
        ]),
    }
}

pub(super) fn map(entries: Vec<(&str, Value)>) -> Vec<u8> {
    let entries = entries.into_iter();
    let map = Value::Map(
        entries
            .map(|(key, value)| (Value::from(key), value))
            .collect(),
    );
    let mut bytes = Vec::new();
    ciborium::into_writer(&map, &mut bytes).expect("a vector takes every byte");
    bytes
}

#[cfg(test)]
mod tests {
    use sync::{Change, RecordParts, WallTime};

    use super::*;
    use crate::log::{Batch, Folder, Opened, Settings};

    fn append(log: &mut Opened, topic: &str) {
        let record = Record::new(&RecordParts {
            qos: 1,
            retain: false,
            from_cloud: false,
            time: WallTime(1),
            expiry_seconds: None,
            publisher: 0,
            topic,
            properties: &[],
            payload: &[7; 3000],
        });
        let record = record.keeping_latest();
        let lane = Lane::Normal;
        let batch = Batch {
            changes: vec![Change::Append { lane, record }],
        };
        log.writer.commit(&batch, WallTime(1)).unwrap();
        for event in log.writer.maintain(WallTime(1)) {
            log.reader.apply(&event);
        }
    }

    /// Damage behind what a lane gave up at its limit passed for that, and the export for whole.
    #[test]
    fn damage_behind_what_a_limit_took_is_told_apart_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings {
            flush_bytes: 32 << 10,
            segment_bytes: 128 << 10,
            keeps_latest: true,
            ..Settings::default()
        };
        settings.lanes[Lane::Normal].max_bytes = 512 << 10;
        let directory = Folder::open(folder.path()).unwrap();
        let mut log = crate::log::open(directory, settings, WallTime(1)).unwrap();
        for topic in ["first", "busy", "busy", "other"] {
            append(&mut log, topic);
        }
        while log.writer.lane_bytes()[Lane::Normal] < 600 << 10
            && log.reader.gaps(0).unwrap().is_empty()
        {
            append(&mut log, "busy");
        }
        log.writer.close().unwrap();
        drop(log.reader);
        let names = std::fs::read_dir(folder.path()).unwrap();
        let kept = names.map(|it| it.unwrap().path()).find(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.matches('-').count() == 2
        });
        let kept = kept.expect("something outlived the oldest segment");
        let mut bytes = std::fs::read(&kept).unwrap();
        let topic = bytes.windows(5).rposition(|it| it == b"other").unwrap();
        bytes[topic] = b'a';
        std::fs::write(&kept, bytes).unwrap();

        let mut out = Vec::new();
        let range = Range {
            lane: Lane::Normal,
            from: Offset(1),
            to: Some(Offset(3)),
        };
        let outcome = export(folder.path(), range, Format::JsonLines, &mut out).unwrap();
        let expected = "{\"lane\":\"normal\",\"first\":1,\"last\":2,\"missing\":\"limit\"}\n\
            {\"lane\":\"normal\",\"first\":3,\"last\":3,\"missing\":\"damage\"}\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert_eq!(outcome, Outcome::Damaged);
    }
}
