//! Who an X.509 certificate says its owner is, the common name of its subject, and from when to when
//! it, or a revocation list, holds.
//!
//! Only the way to these is read, in DER, and nothing is verified: ask who its owner is of a
//! certificate whose signatures were. It promises never to panic, whatever the bytes are.

use crate::date::Date;

/// The time in which a certificate or a revocation list holds, in seconds since 1970, both ends
/// included; before 1970 is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub begins: u64,
    /// The last second.
    pub ends: u64,
}

/// Finds the first common name of the subject, as Mosquitto does.
///
/// `None` when there is none, when it is empty, longer than 256 bytes or not text, and when the
/// bytes are not a certificate. A name with a null character is none, since others may read it as
/// a shorter one.
#[must_use]
pub fn common_name(certificate: &[u8]) -> Option<&str> {
    let mut fields = from_validity(certificate)?;
    fields.inside(SEQUENCE)?;
    let mut subject = fields.inside(SEQUENCE)?;
    while !subject.is_empty() {
        let mut attributes = subject.inside(SET)?;
        while !attributes.is_empty() {
            let mut attribute = attributes.inside(SEQUENCE)?;
            if attribute.inside(OBJECT_IDENTIFIER)?.0 == COMMON_NAME {
                return text(attribute);
            }
        }
    }
    None
}

/// Reads from when to when a certificate holds.
///
/// `None` when the bytes are not a certificate, or its times are none. [RFC5280-4.1.2.5]
#[must_use]
pub fn validity(certificate: &[u8]) -> Option<Validity> {
    let mut times = from_validity(certificate)?.inside(SEQUENCE)?;
    let begins = seconds(&mut times)?;
    let ends = seconds(&mut times)?;
    Some(Validity { begins, ends })
}

/// Reads from when to when a revocation list is the latest: its own time, and that of the next.
///
/// `None` when the bytes are not a revocation list, or it names no next. [RFC5280-5.1.2]
#[must_use]
pub fn revocation_list_validity(list: &[u8]) -> Option<Validity> {
    let mut fields = Reader(list).inside(SEQUENCE)?.inside(SEQUENCE)?;
    if fields.peek() == Some(INTEGER) {
        fields.inside(INTEGER)?;
    }
    // The algorithm of the signature, and the issuer.
    fields.inside(SEQUENCE)?;
    fields.inside(SEQUENCE)?;
    let begins = seconds(&mut fields)?;
    let ends = seconds(&mut fields)?;
    Some(Validity { begins, ends })
}

/// The fields of a certificate from the time of validity on.
fn from_validity(certificate: &[u8]) -> Option<Reader<'_>> {
    let mut certificate = Reader(certificate).inside(SEQUENCE)?;
    let mut fields = certificate.inside(SEQUENCE)?;
    if fields.peek() == Some(VERSION) {
        fields.inside(VERSION)?;
    }
    fields.inside(INTEGER)?;
    // The algorithm of the signature, and the issuer.
    fields.inside(SEQUENCE)?;
    fields.inside(SEQUENCE)?;
    Some(fields)
}

/// Reads `YYMMDDHHMMSSZ`, of the years from 1950 on, or `YYYYMMDDHHMMSSZ`.
fn seconds(times: &mut Reader<'_>) -> Option<u64> {
    let kind = times.peek()?;
    let digits = times.inside(kind)?.0.strip_suffix(b"Z")?;
    let (year, rest) = match kind {
        UTC_TIME => {
            let (year, rest) = pair(digits)?;
            let century = if year < 50 { 2000 } else { 1900 };
            (century + u16::from(year), rest)
        }
        GENERALIZED_TIME => {
            let (century, rest) = pair(digits)?;
            let (year, rest) = pair(rest)?;
            (u16::from(century) * 100 + u16::from(year), rest)
        }
        _ => return None,
    };
    let (month, rest) = pair(rest)?;
    let (day, rest) = pair(rest)?;
    let (hour, rest) = pair(rest)?;
    let (minute, rest) = pair(rest)?;
    let (second, rest) = pair(rest)?;
    if !rest.is_empty() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if year < 1970 {
        return Some(0);
    }
    let days = Date::new(year, month, day)?.days();
    let of_day = (u64::from(hour) * 60 + u64::from(minute)) * 60 + u64::from(second);
    Some(days * 86_400 + of_day)
}

/// A number of two digits, and what follows.
fn pair(digits: &[u8]) -> Option<(u8, &[u8])> {
    let ([tens, ones], rest) = digits.split_first_chunk()?;
    let are_digits = tens.is_ascii_digit() && ones.is_ascii_digit();
    are_digits.then(|| ((tens - b'0') * 10 + ones - b'0', rest))
}

fn text(mut attribute: Reader<'_>) -> Option<&str> {
    let kind = attribute.peek()?;
    let bytes = attribute.inside(kind)?.0;
    let is_fitting = match kind {
        UTF8_STRING => true,
        PRINTABLE_STRING | IA5_STRING => bytes.is_ascii(),
        _ => false,
    };
    let is_fitting = is_fitting && (1..=NAME_BYTES).contains(&bytes.len()) && !bytes.contains(&0);
    core::str::from_utf8(bytes).ok().filter(|_| is_fitting)
}

/// Elements in DER, one behind the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Takes the next element, which has to have this tag, and gives what is in it.
    fn inside(&mut self, tag: u8) -> Option<Self> {
        let (found, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            0x81 => {
                let (length, rest) = rest.split_first()?;
                (usize::from(*length), rest)
            }
            0x82 => {
                let (length, rest) = rest.split_first_chunk()?;
                (usize::from(u16::from_be_bytes(*length)), rest)
            }
            0x83 => {
                let ([high, middle, low], rest) = rest.split_first_chunk()?;
                let length = u32::from_be_bytes([0, *high, *middle, *low]);
                (usize::try_from(length).ok()?, rest)
            }
            // Nothing in use has 16 MiB.
            _ => return None,
        };
        let (inside, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        (*found == tag).then_some(Self(inside))
    }

    const fn peek(&self) -> Option<u8> {
        match self.0 {
            [tag, ..] => Some(*tag),
            [] => None,
        }
    }

    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]`, constructed.
const VERSION: u8 = 0xa0;
/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const NAME_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let inside = parts.concat();
        let length = u32::try_from(inside.len()).expect("short").to_be_bytes();
        let length: &[u8] = match inside.len() {
            0..=0x7f => &length[3..],
            0x80..=0xff => &[0x81, length[3]],
            0x100..=0xffff => &[0x82, length[2], length[3]],
            _ => &[0x83, length[1], length[2], length[3]],
        };
        [&[tag][..], length, &inside].concat()
    }

    fn attribute(object: &[u8], kind: u8, value: &[u8]) -> Vec<u8> {
        let pair = [
            &element(OBJECT_IDENTIFIER, &[object])[..],
            &element(kind, &[value]),
        ];
        element(SET, &[&element(SEQUENCE, &pair)])
    }

    fn certificate(subject: &[u8]) -> Vec<u8> {
        let begins = element(UTC_TIME, &[b"260101000000Z"]);
        let ends = element(GENERALIZED_TIME, &[b"20500101000000Z"]);
        certificate_of(subject, &[begins, ends].concat())
    }

    fn certificate_of(subject: &[u8], times: &[u8]) -> Vec<u8> {
        let issuer = attribute(COMMON_NAME, UTF8_STRING, b"issuer");
        let fields = element(
            SEQUENCE,
            &[
                &element(VERSION, &[&element(INTEGER, &[&[2]])]),
                &element(INTEGER, &[&[7]]),
                &element(SEQUENCE, &[]),
                &element(SEQUENCE, &[&issuer]),
                &element(SEQUENCE, &[times]),
                &element(SEQUENCE, &[subject]),
                &element(SEQUENCE, &[&[0; 300]]),
            ],
        );
        element(SEQUENCE, &[&fields, &element(SEQUENCE, &[])])
    }

    #[test]
    fn the_first_common_name_of_the_subject_counts() {
        let organisation = attribute(&[0x55, 0x04, 0x0a], UTF8_STRING, b"plant");
        let first = attribute(COMMON_NAME, UTF8_STRING, "f\u{fc}hler-7".as_bytes());
        let second = attribute(COMMON_NAME, PRINTABLE_STRING, b"other");
        let bytes = certificate(&[organisation.clone(), first, second].concat());
        assert_eq!(common_name(&bytes), Some("f\u{fc}hler-7"));
        assert_eq!(common_name(&certificate(&organisation)), None);
        assert_eq!(common_name(&certificate(&[])), None);
    }

    #[test]
    fn a_name_that_could_be_read_in_two_ways_is_none() {
        let of = |kind, value: &[u8]| {
            let bytes = certificate(&attribute(COMMON_NAME, kind, value));
            common_name(&bytes).map(Vec::from)
        };
        assert_eq!(of(PRINTABLE_STRING, b"a"), Some(b"a".to_vec()));
        assert_eq!(of(IA5_STRING, b"a@b"), Some(b"a@b".to_vec()));
        assert_eq!(of(UTF8_STRING, &[b'a'; 256]), Some([b'a'; 256].to_vec()));
        assert_eq!(of(UTF8_STRING, b""), None);
        assert_eq!(of(UTF8_STRING, &[b'a'; 257]), None);
        assert_eq!(of(UTF8_STRING, b"admin\0.example"), None);
        assert_eq!(of(UTF8_STRING, b"\xff"), None);
        assert_eq!(of(IA5_STRING, "\u{fc}".as_bytes()), None);
        assert_eq!(of(0x1e, b"\0a"), None, "two bytes a character");
    }

    #[test]
    fn a_certificate_cut_anywhere_has_no_name_or_the_same_one() {
        let bytes = certificate(&attribute(COMMON_NAME, UTF8_STRING, b"sensor"));
        for end in 0..bytes.len() {
            assert_eq!(common_name(&bytes[..end]), None, "{end}");
            assert_eq!(validity(&bytes[..end]), None, "{end}");
        }
    }

    #[test]
    fn a_certificate_with_any_byte_changed_is_read_without_harm() {
        const LATEST: u64 = 253_402_300_799;
        let whole = certificate(&attribute(COMMON_NAME, UTF8_STRING, b"sensor"));
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            for value in 0..=255 {
                bytes[at] = value;
                let _ = common_name(&bytes);
                let times = validity(&bytes);
                assert!(times.is_none_or(|times| times.begins.max(times.ends) <= LATEST));
            }
        }
    }

    #[test]
    fn times_are_read_in_both_forms() {
        let bytes = certificate(&[]);
        let (begins, ends) = (1_767_225_600, 2_524_608_000);
        assert_eq!(validity(&bytes), Some(Validity { begins, ends }));
        let end = |kind, text: &[u8]| {
            let times = [
                element(UTC_TIME, &[b"491231235959Z"]),
                element(kind, &[text]),
            ];
            let read = validity(&certificate_of(&[], &times.concat()));
            assert!(read.is_none_or(|read| read.begins == 2_524_607_999));
            read.map(|read| read.ends)
        };
        let latest = Some(253_402_300_799);
        assert_eq!(end(GENERALIZED_TIME, b"99991231235959Z"), latest);
        assert_eq!(end(UTC_TIME, b"700101000001Z"), Some(1));
        assert_eq!(end(UTC_TIME, b"500101000000Z"), Some(0), "1950");
        let refused: [(u8, &[u8]); 8] = [
            (UTC_TIME, b""),
            (UTC_TIME, b"2601010000Z"),
            (UTC_TIME, b"260101000000"),
            (UTC_TIME, b"20260101000000Z"),
            (UTC_TIME, b"260229000000Z"),
            (UTC_TIME, b"260101240000Z"),
            (GENERALIZED_TIME, b"2026010100000:Z"),
            (UTF8_STRING, b"260101000000Z"),
        ];
        for (kind, text) in refused {
            assert_eq!(end(kind, text), None, "{kind} {}", text.escape_ascii());
        }
    }

    fn revocation_list(version: &[u8], times: &[u8], revoked_bytes: usize) -> Vec<u8> {
        let issuer = attribute(COMMON_NAME, UTF8_STRING, b"issuer");
        let (algorithm, issuer) = (element(SEQUENCE, &[]), element(SEQUENCE, &[&issuer]));
        let revoked = element(SEQUENCE, &[&std::vec![0; revoked_bytes]]);
        let fields = element(SEQUENCE, &[version, &algorithm, &issuer, times, &revoked]);
        element(SEQUENCE, &[&fields, &element(SEQUENCE, &[])])
    }

    #[test]
    fn a_revocation_list_says_when_the_next_one_comes() {
        let version = element(INTEGER, &[&[1]]);
        let begins = element(UTC_TIME, &[b"260101000000Z"]);
        let ends = element(GENERALIZED_TIME, &[b"20500101000000Z"]);
        let times = [&begins[..], &ends].concat();
        let validity = Validity {
            begins: 1_767_225_600,
            ends: 2_524_608_000,
        };
        for revoked_bytes in [0, 200, 300, 200_000] {
            let list = revocation_list(&version, &times, revoked_bytes);
            assert_eq!(revocation_list_validity(&list), Some(validity));
            let list = revocation_list(&[], &times, revoked_bytes);
            assert_eq!(revocation_list_validity(&list), Some(validity), "version 1");
        }
        let list = revocation_list(&version, &begins, 9);
        assert_eq!(revocation_list_validity(&list), None, "it names no next");
        let list = revocation_list(&version, &times, 9);
        for end in 0..list.len() {
            assert_eq!(revocation_list_validity(&list[..end]), None, "{end}");
        }
        assert_eq!(revocation_list_validity(&certificate(&[])), None);
    }
}
