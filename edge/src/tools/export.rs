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
    let mut gaps: Vec<Gap> = log
        .reader
        .gaps(0)?
        .into_iter()
        .map(|(_, gap)| gap)
        .collect();
    let head = log.reader.head(lane);
    let end = range
        .to
        .map_or(head, |to| Offset(to.0.saturating_add(1)).min(head));
    let mut at = range.from.max(log.reader.first(lane));
    let mut outcome = Outcome::Fine;
    while at < end {
        let chunk = log.reader.read(lane, at, STEP)?;
        gaps.extend(chunk.damaged);
        let mut expected = at;
        for (offset, record) in &chunk.records {
            if *offset < end {
                let entry = match format {
                    Format::JsonLines => json(lane, *offset, record).into_bytes(),
                    Format::Cbor => cbor(lane, *offset, record),
                };
                out.write_all(&entry).map_err(output)?;
            }
            expected = offset.next();
        }
        let next = chunk.next.min(end);
        if expected < next {
            outcome = Outcome::Damaged;
            let gap = gaps.iter().find(|gap| explains(gap, lane, expected));
            let reason = gap.map_or(Reason::Damage, |gap| gap.reason);
            let last = Offset(next.0 - 1);
            let entry = missing(lane, expected, last, reason, format);
            out.write_all(&entry).map_err(output)?;
        }
        at = chunk.next;
    }
    out.flush().map_err(output)?;
    Ok(outcome)
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
