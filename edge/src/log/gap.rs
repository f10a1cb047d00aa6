//! Gaps: what was dropped although somebody still wanted it.
//!
//! A gap is stored in [`Table::Gaps`](sync::Table::Gaps) as CBOR, a map with text keys, under a
//! growing number (`u64`, big-endian). It is durable before the records go.
//!
//! | key | what |
//! | --- | --- |
//! | `v` | format, 1 |
//! | `lane` | `critical`, `urgent` or `normal` |
//! | `first`, `last` | the offsets, both inclusive |
//! | `count` | records dropped |
//! | `bytes` | bytes dropped, an estimate where a segment was wanted in part |
//! | `from`, `to` | milliseconds: no record of it is older or younger |
//! | `reason` | `limit`, `age`, `damage`, `rejected`, `toolarge` or `several` |

use serde::{Deserialize, Serialize};
use sync::{Lane, Offset, WallTime};

/// A range of a lane that was dropped while wanted. Acknowledged is delivered plus gaps, always.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The lane.
    pub lane: Lane,
    /// The first dropped offset.
    pub first: Offset,
    /// The last dropped offset.
    pub last: Offset,
    /// How many records were dropped; less than the range holds when gaps were merged.
    pub count: u64,
    /// How many bytes were dropped; an estimate where a segment was wanted in part.
    pub bytes: u64,
    /// No dropped record is older.
    pub from: WallTime,
    /// No dropped record is younger.
    pub to: WallTime,
    /// Why.
    pub reason: Reason,
}

/// Why records were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Reason {
    /// The lane was over its bytes.
    Limit,
    /// The records were over their age.
    Age,
    /// The file could not be read.
    Damage,
    /// The cloud never takes the record.
    Rejected,
    /// The record is larger than the cloud takes.
    TooLarge,
    /// Merged from gaps with different reasons.
    Several,
}
