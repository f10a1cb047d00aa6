//! The mail in a log: its rows one by one, as JSON lines or as a CBOR sequence.
//!
//! | key | what |
//! | --- | --- |
//! | `table` | `mailboxes`, `mail_tails`, `mail`, `mail_keys`, `mail_delayed`, `mail_expiry`, `mail_groups` or `agents` |
//! | `key`, `value` | text in JSON where it is UTF-8, bytes in CBOR |
//! | `key_base64`, `value_base64` | in JSON, where it is not |
//!
//! A row that is damaged has its key, and `missing` with `damage` instead of a value. What keys and
//! values mean is the business of those who put them there.

use std::io::Write;
use std::path::Path;

use ciborium::Value;
use sync::Table;

use super::export::map;
use super::text::{base64, quoted};
use super::{Format, Outcome, STEP, ToolError, open, output};
use crate::log::{Damage, Reader};

/// Writes all rows of the mail, table by table, in the order of their keys.
///
/// # Errors
/// When the folder or its mail can't be read or the output not be written, or a gateway runs on the
/// folder.
pub fn export_mail(data: &Path, format: Format, out: &mut dyn Write) -> Result<Outcome, ToolError> {
    let mut log = open(data)?;
    let mut outcome = Outcome::Fine;
    for (name, table) in TABLES {
        let damaged = each(&mut log.reader, table, |key, value| {
            write(name, key, Some(value), format, out)
        })?;
        for key in &damaged {
            write(name, key, None, format, out)?;
            outcome = Outcome::Damaged;
        }
    }
    out.flush().map_err(output)?;
    Ok(outcome)
}

/// Gives each row of a table, and afterwards the keys of those that are damaged.
pub(super) fn each(
    reader: &mut Reader,
    table: Table,
    mut row: impl FnMut(&[u8], &[u8]) -> Result<(), ToolError>,
) -> Result<Vec<Vec<u8>>, ToolError> {
    let mut from = Some(Vec::new());
    let end = vec![0xff; LONGEST_KEY];
    let mut damaged = Vec::new();
    while let Some(key) = from {
        let walked = reader.walk(table, &key, &end, STEP)?;
        for (key, value) in &walked.rows {
            row(key, value)?;
        }
        from = walked.next;
        while let Some(damage) = reader.poll_damage() {
            if let Damage::Row { key, .. } = damage {
                damaged.push(key);
            }
        }
    }
    Ok(damaged)
}

/// Counts the rows of a table, and the bytes of their keys and values.
pub(super) fn count(reader: &mut Reader, table: Table) -> Result<(u64, u64), ToolError> {
    let (mut rows, mut bytes) = (0, 0);
    each(reader, table, |key, value| {
        rows += 1;
        bytes += (key.len() + value.len()) as u64;
        Ok(())
    })?;
    Ok((rows, bytes))
}

fn write(
    table: &str,
    key: &[u8],
    value: Option<&[u8]>,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), ToolError> {
    let entry = match format {
        Format::JsonLines => {
            let value = value.map_or_else(
                || "\"missing\":\"damage\"".to_owned(),
                |value| json("value", value),
            );
            format!("{{\"table\":\"{table}\",{},{value}}}\n", json("key", key)).into_bytes()
        }
        Format::Cbor => map(vec![
            ("table", Value::from(table)),
            ("key", Value::from(key)),
            match value {
                Some(value) => ("value", Value::from(value)),
                None => ("missing", Value::from("damage")),
            },
        ]),
    };
    out.write_all(&entry).map_err(output)
}

fn json(name: &str, bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("\"{name}\":{}", quoted(text)),
        Err(_) => format!("\"{name}_base64\":\"{}\"", base64(bytes)),
    }
}

/// What the tables are called.
pub(super) const TABLES: [(&str, Table); 8] = [
    ("mailboxes", Table::Mailboxes),
    ("mail_tails", Table::MailTails),
    ("mail", Table::Mail),
    ("mail_keys", Table::MailKeys),
    ("mail_delayed", Table::MailDelayed),
    ("mail_expiry", Table::MailExpiry),
    ("mail_groups", Table::MailGroups),
    ("agents", Table::Agents),
];
/// Longer than any that a journal takes.
const LONGEST_KEY: usize = 65_536;
