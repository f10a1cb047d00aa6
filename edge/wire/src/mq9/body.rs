//! Bodies of requests: JSON objects, read leniently where leniency loses nothing.
//!
//! An empty body is an object without fields, unknown fields are passed over, and null is a field
//! that is not there. What is wrong is said in the words of the parser, which RobustMQ uses too.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::Failure;

/// How a request says that its body is wrong.
#[derive(Clone, Copy)]
pub(super) struct Prefix(pub(super) &'static str);

impl Prefix {
    /// Reads the fields of a body.
    pub(super) fn fields<'a, T: Deserialize<'a>>(self, body: &'a [u8]) -> Result<T, Failure> {
        let body = body.trim_ascii();
        // The parser would take an array for an object, field by field.
        if body.first() == Some(&b'[') {
            return Err(self.failure("invalid type: sequence, expected an object"));
        }
        let body = if body.is_empty() { b"{}" } else { body };
        serde_json::from_slice(body).map_err(|error| self.failure(&error.to_string()))
    }

    /// Checks that a body can be passed on as it is: every reader of JSON understands it, also when
    /// it stands `depth` deep inside of another document.
    pub(super) fn sound(self, body: &[u8], depth: usize) -> Result<&str, Failure> {
        let text = core::str::from_utf8(body)
            .map_err(|_| self.failure("text is not well-formed UTF-8"))?;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        Sound { depth }
            .deserialize(&mut deserializer)
            .and_then(|()| deserializer.end())
            .map_err(|error| self.failure(&error.to_string()))?;
        Ok(text.trim_ascii())
    }

    /// Gives the failure, its words cut to [`TEXT_BYTES`]: the parser repeats what it did not
    /// expect.
    pub(super) fn failure(self, text: &str) -> Failure {
        let mut end = text.len().min(TEXT_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let dots = if end < text.len() { "..." } else { "" };
        Failure::Body(format!("{}{}{dots}", self.0, &text[..end]))
    }
}

/// Of what the parser says, the rest is left out.
const TEXT_BYTES: usize = 512;

/// Walks a value and keeps nothing of it. Unlike a value that is passed over, it must have proper
/// text, numbers that fit, and no more levels than these.
struct Sound {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Sound {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Sound {
    fn inner<E: serde::de::Error>(&self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1);
        let depth = depth.ok_or_else(|| E::custom("too many levels of objects and arrays"))?;
        Ok(Self { depth })
    }
}

impl<'de> Visitor<'de> for Sound {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.inner()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while fields.next_key_seed(self.inner()?)?.is_some() {
            fields.next_value_seed(self.inner()?)?;
        }
        Ok(())
    }
}

/// Gives the text of a field unless it is empty.
pub(super) fn given(text: Option<impl AsRef<str>>) -> Option<String> {
    let text = text.as_ref()?.as_ref();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_some_reader_would_not_understand_is_not_passed_on() {
        let prefix = Prefix("p: ");
        let sound = |text: &str| prefix.sound(text.as_bytes(), 2).is_ok();
        for text in [
            "{}",
            " {\"a\":[1,-2.5e3,null,true,\"\\ud83d\\ude00\"]}\n",
            "{\"a\":{\"b\":0}}",
            "\"\u{4f60}\"",
        ] {
            assert!(sound(text), "{text}");
        }
        for text in [
            "",
            "{",
            "{}{}",
            "{\"a\":\"\\ud83d\"}",
            "{\"a\":\"\\udc00\"}",
            "{\"a\":1e999}",
            "{\"a\":{\"b\":{}}}",
            "{\"a\":[[1]]}",
            "{\"\\ud800\":1}",
            "{\"a\":\"\t\"}",
        ] {
            assert!(!sound(text), "{text}");
        }
        assert!(prefix.sound(b"\"\xFF\"", 2).is_err());
        assert_eq!(prefix.sound(b" {} ", 2), Ok("{}"));
    }

    #[test]
    fn what_the_parser_repeats_is_cut() {
        let long = "\u{e9}".repeat(TEXT_BYTES);
        let Failure::Body(text) = Prefix("p: ").failure(&long) else {
            panic!("a failure of a body");
        };
        assert_eq!(text.len(), "p: ".len() + TEXT_BYTES + "...".len());
        assert_eq!(Prefix("").failure("x"), Failure::Body("x".into()));
    }
}
