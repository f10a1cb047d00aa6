//! What was committed since the files were lent, or were last brought up to date.

use std::collections::VecDeque;

use bytes::Bytes;
use sync::{Change, PerLane, Record, WallTime};

use super::super::rows::Puts;
use super::super::{Committed, Gap};

/// Durable in the journal, kept in memory, and unknown to the files. It is bounded by the journal:
/// whatever has no room there is not committed.
#[derive(Debug, Default)]
pub(in super::super) struct Fresh {
    pub(in super::super) records: PerLane<VecDeque<Record>>,
    pub(in super::super) puts: Puts,
    pub(in super::super) gaps: Vec<Gap>,
    /// Of records and state.
    pub(in super::super) bytes: usize,
    /// Of records.
    pub(in super::super) lane_bytes: PerLane<u64>,
    /// When the oldest of the gaps became durable.
    pub(in super::super) unseen_since: Option<WallTime>,
}

impl Fresh {
    /// Takes a change that was made durable.
    pub(super) fn take(&mut self, change: &Change, committed: &mut Committed) {
        let (table, key, value) = match change {
            Change::Append { lane, record } => {
                self.records[*lane].push_back(record.clone());
                self.bytes += record.as_bytes().len();
                self.lane_bytes[*lane] += record.as_bytes().len() as u64;
                return;
            }
            Change::Put { table, key, value } => (*table, key, Some(value)),
            Change::Delete { table, key } => (*table, key, None),
        };
        self.bytes += key.len() + value.map_or(0, Vec::len);
        if table == sync::Table::Gaps {
            // Of mail that ends with the same commit. It waits for a flush, which nobody hurries.
            self.gaps.extend(value.and_then(|it| Gap::decode(it)));
            return;
        }
        let place = (table, Bytes::copy_from_slice(key));
        let value = value.map(|value| Bytes::copy_from_slice(value));
        if table.is_mail() {
            committed.mail.push((place.clone(), value.clone()));
        }
        self.puts.insert(place, value);
    }
}
