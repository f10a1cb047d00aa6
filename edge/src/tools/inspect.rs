//! What is in a log, one fact a line: a name and a number, as `status` does.

use std::io::Write;
use std::path::Path;

use sync::{Cursor, Epoch, Lane, Offset, Table};

use super::{Outcome, ToolError, mail, open, say};
use crate::log::{Gap, LogError, Opened};

/// Says what is in the log of a folder: lanes with their segments, how much mail, who has read how
/// far, gaps, and what is not as it must be.
///
/// # Errors
/// When the folder can't be read, or a gateway runs on it.
pub fn inspect(data: &Path, out: &mut dyn Write) -> Result<Outcome, ToolError> {
    let mut log = open(data)?;
    let mut lines = vec![
        format!("epoch {}", log.epoch.0),
        format!("journal.groups {}", log.report.replayed_frames),
    ];
    // Not what bringing it back wrote into memory.
    let wear = log.wear;
    lines.push(format!("flash.written_bytes {}", wear.written_bytes));
    lines.push(format!("flash.open_seconds {}", wear.open_seconds));
    let bytes = log.writer.lane_bytes();
    for lane in Lane::ALL {
        let (first, head) = (log.reader.first(lane), log.reader.head(lane));
        lines.push(format!("{lane}.first {first}"));
        lines.push(format!("{lane}.head {head}"));
        lines.push(format!("{lane}.bytes {}", bytes[lane]));
        let segments: Vec<_> = log.reader.segments(lane).collect();
        lines.push(format!("{lane}.segments {}", segments.len()));
        for (first, next) in segments {
            lines.push(format!("{lane}.segment {first} {next}"));
        }
    }
    for (name, table) in TABLES {
        let mut count = 0_u64;
        log.reader.read_state(table, |_, _| count += 1)?;
        lines.push(format!("{name} {count}"));
    }
    let mut bytes = 0;
    for (name, table) in mail::TABLES {
        let (rows, of_table) = mail::count(&mut log.reader, table)?;
        bytes += of_table;
        lines.push(format!("{name} {rows}"));
    }
    lines.push(format!("mail.bytes {bytes}"));
    cursors(&log, &mut lines)?;
    let gaps = log.reader.gaps(0)?;
    lines.push(format!("gaps {}", gaps.len()));
    for (number, gap) in gaps {
        let Gap {
            lane, first, last, ..
        } = gap;
        let told = match number < log.writer.announced_below() {
            true => "announced",
            false => "not-announced",
        };
        lines.push(format!(
            "gap {number} {lane} {first} {last} {} {} {} {} {} {told}",
            gap.count, gap.bytes, gap.reason, gap.from.0, gap.to.0
        ));
    }
    let findings = log.report.findings();
    lines.extend(
        findings
            .into_iter()
            .map(|finding| format!("damage {finding}")),
    );
    say(out, &lines)?;
    Ok(if log.report.is_clean() {
        Outcome::Fine
    } else {
        Outcome::Damaged
    })
}

/// Where each reader stands: the first offset of each lane that it has not acknowledged.
fn cursors(log: &Opened, lines: &mut Vec<String>) -> Result<(), LogError> {
    log.reader.read_state(Table::Cursors, |key, value| {
        let name = String::from_utf8_lossy(key);
        let floors = floors(value, log.epoch);
        let floors = floors.map(|floors| floors.map(|floor| floor.to_string()).join(" "));
        let floors = floors.unwrap_or_else(|| "of another epoch or version".to_owned());
        // A name is a client's choice.
        lines.push(format!("cursor {} {floors}", name.escape_debug()));
    })
}

/// Reads the two forms of cursors: a session's, and the uplink's with its release floors.
fn floors(value: &[u8], expected: Epoch) -> Option<[Offset; 3]> {
    type Session = (u8, Epoch, [Cursor; 3]);
    type Uplink = (u8, Epoch, [(Cursor, Offset); 3], ciborium::Value);
    let session = ciborium::from_reader::<Session, _>(value);
    let (epoch, cursors) = match session {
        Ok((_, epoch, cursors)) => (epoch, cursors),
        Err(_) => {
            let (_, epoch, lanes, _) = ciborium::from_reader::<Uplink, _>(value).ok()?;
            (epoch, lanes.map(|(cursor, _)| cursor))
        }
    };
    (epoch == expected).then(|| cursors.map(|cursor| cursor.ack_floor()))
}

const TABLES: [(&str, Table); 4] = [
    ("sessions", Table::Sessions),
    ("subscriptions", Table::Subscriptions),
    ("handshakes", Table::Handshakes),
    ("retained", Table::Retained),
];
