//! Who an X.509 certificate says its owner is: the common name of its subject.
//!
//! Only the way to that name is read, in DER, and nothing is verified: ask it of a certificate whose
//! signatures were. It promises never to panic, whatever the bytes are.

/// Finds the first common name of the subject, as Mosquitto does.
///
/// `None` when there is none, when it is empty, longer than 256 bytes or not text, and when the
/// bytes are not a certificate. A name with a null character is none, since others may read it as
/// a shorter one.
#[must_use]
pub fn common_name(certificate: &[u8]) -> Option<&str> {
    let mut certificate = Reader(certificate).inside(SEQUENCE)?;
    let mut fields = certificate.inside(SEQUENCE)?;
    if fields.peek() == Some(VERSION) {
        fields.inside(VERSION)?;
    }
    fields.inside(INTEGER)?;
    // The algorithm of the signature, the issuer, and the time of validity.
    for _ in 0..3 {
        fields.inside(SEQUENCE)?;
    }
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
            // No certificate in use has 64 KiB.
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
        let length = u16::try_from(inside.len()).expect("short").to_be_bytes();
        let length: &[u8] = match inside.len() {
            0..=0x7f => &length[1..],
            0x80..=0xff => &[0x81, length[1]],
            _ => &[0x82, length[0], length[1]],
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
        let issuer = attribute(COMMON_NAME, UTF8_STRING, b"issuer");
        let fields = element(
            SEQUENCE,
            &[
                &element(VERSION, &[&element(INTEGER, &[&[2]])]),
                &element(INTEGER, &[&[7]]),
                &element(SEQUENCE, &[]),
                &element(SEQUENCE, &[&issuer]),
                &element(SEQUENCE, &[]),
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
        }
    }
}
