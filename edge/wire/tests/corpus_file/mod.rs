//! Reads `mqtt-packets.json`: packets, and whether they are valid.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fmt;

use wire::mqtt::Version;

/// A line of the table.
#[derive(Debug, serde::Deserialize)]
#[serde(from = "Line")]
pub(crate) struct Case {
    pub(crate) version: Version,
    pub(crate) name: String,
    pub(crate) is_valid: bool,
    pub(crate) bytes: Vec<u8>,
}

#[derive(serde::Deserialize)]
struct Line {
    version: u8,
    name: String,
    valid: bool,
    bytes: String,
}

impl From<Line> for Case {
    fn from(line: Line) -> Self {
        Self {
            version: if line.version == 5 {
                Version::V5
            } else {
                Version::V311
            },
            name: line.name,
            is_valid: line.valid,
            bytes: bytes(&line.bytes),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.name, self.version)
    }
}

/// Gives every case, in the order of the file.
pub(crate) fn cases() -> Vec<Case> {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../mqtt-packets.json")).unwrap();
    assert_eq!(cases.len(), 118);
    cases
}

/// Reads hexadecimal digits.
pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex
        .chars()
        .map(|digit| digit.to_digit(16).unwrap())
        .collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect()
}
