//! The argument of CONNECT and INFO: a JSON object, read field by field.
//!
//! A field that is not there, and one that is null, leaves its default; unknown ones are passed
//! over; of two with the same name the last one counts. So the NATS server reads CONNECT, except
//! that it does not tell upper from lower case in names.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::DecodeError;
use super::line::Line;

/// The fields of an object, their values not yet read. As many as fit into the control line.
pub(super) struct Fields<'a> {
    line: Line<'a>,
    values: BTreeMap<String, &'a RawValue>,
}

impl<'a> Fields<'a> {
    pub(super) fn parse(line: &Line<'a>) -> Result<Self, DecodeError> {
        let values = serde_json::from_str(line.argument());
        Ok(Self {
            line: *line,
            values: values.map_err(|_| DecodeError::Json { verb: line.verb })?,
        })
    }

    /// Reads the value of a field, unless it is not there or null.
    pub(super) fn read<T: Deserialize<'a>>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, DecodeError> {
        let Some(value) = self.values.get(name) else {
            return Ok(None);
        };
        serde_json::from_str(value.get()).map_err(|_| DecodeError::Field {
            verb: self.line.verb,
            name,
        })
    }
}

/// Writes an object, on one line.
pub(super) fn object<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("text, numbers and flags can be written as JSON")
}
