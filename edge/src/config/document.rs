//! A TOML document as serde reads it. The parser's own way to serde is compiled once for every kind
//! of section and every way to come upon it, 340 KB in all; this one borrows the parsed document and
//! asks for what is there. Dates and fractions are refused: no key takes one.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, IntoDeserializer as _, MapAccess,
    SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use toml::Spanned;
use toml::de::{DeInteger, DeString, DeTable, DeValue};
use toml::map;

/// What is wrong with a document, and where.
#[derive(Debug)]
pub(super) struct Fault {
    /// What was found and, often, what was expected.
    pub(super) message: String,
    /// The byte where the value or key begins.
    pub(super) at: Option<usize>,
    /// The keys that lead there, with dots between; empty where the text is not TOML.
    pub(super) key: String,
}

/// Reads a whole document.
pub(super) fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, Fault> {
    let table = DeTable::parse(text).map_err(|error| Fault::from_parser(&error))?;
    let root = Node {
        value: &DeValue::Table(table.into_inner()),
        at: 0,
    };
    root.read(PhantomData)
}

impl Fault {
    /// What the parser says of a text that is not TOML.
    pub(super) fn from_parser(error: &toml::de::Error) -> Self {
        Self {
            message: error.message().to_owned(),
            at: error.span().map(|span| span.start),
            key: String::new(),
        }
    }

    /// The innermost place counts.
    fn or_at(mut self, at: usize) -> Self {
        self.at.get_or_insert(at);
        self
    }

    /// It is in the value of a key.
    fn in_key(mut self, key: &str) -> Self {
        self.key = match self.key.is_empty() {
            true => key.to_owned(),
            false => format!("{key}.{}", self.key),
        };
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            message: message.to_string(),
            at: None,
            key: String::new(),
        }
    }
}

/// TOML's whole numbers have 64 bits, one of them for the sign.
fn whole(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A value and where it begins.
#[derive(Clone, Copy)]
struct Node<'de> {
    value: &'de DeValue<'de>,
    at: usize,
}

impl<'de> Node<'de> {
    fn new(value: &'de Spanned<DeValue<'de>>) -> Self {
        Self {
            value: value.get_ref(),
            at: value.span().start,
        }
    }

    fn refused<V: Visitor<'de>>(self, visitor: &V) -> Fault {
        let found = match self.value {
            DeValue::String(text) => Unexpected::Str(text),
            DeValue::Integer(number) => {
                whole(number).map_or(Unexpected::Other("a whole number"), Unexpected::Signed)
            }
            DeValue::Float(number) => {
                Unexpected::Float(number.as_str().parse().unwrap_or(f64::NAN))
            }
            DeValue::Boolean(value) => Unexpected::Bool(*value),
            DeValue::Datetime(_) => Unexpected::Other("date or time"),
            DeValue::Array(_) => Unexpected::Seq,
            DeValue::Table(_) => Unexpected::Map,
        };
        Fault::invalid_type(found, visitor)
    }

    /// Reads the value; what is wrong in it is wrong here, if no place within is named.
    fn read<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(self).map_err(|fault| fault.or_at(self.at))
    }
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            DeValue::String(text) => visitor.visit_borrowed_str(text),
            DeValue::Integer(number) => match whole(number) {
                Some(number) => visitor.visit_i64(number),
                None => Err(Fault::custom("integer number overflowed")),
            },
            DeValue::Boolean(value) => visitor.visit_bool(*value),
            DeValue::Array(values) => visitor.visit_seq(Values(values.iter())),
            DeValue::Table(table) => visitor.visit_map(Entries::new(table)),
            DeValue::Float(_) | DeValue::Datetime(_) => Err(self.refused(&visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.value {
            DeValue::Table(table) => visitor.visit_map(Entries::new(table)),
            _ => Err(self.refused(&visitor)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.value {
            DeValue::String(text) => visitor.visit_enum((&**text).into_deserializer()),
            _ => Err(self.refused(&visitor)),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map identifier ignored_any
    }
}

/// The values of an array that were not read yet.
struct Values<'de>(std::slice::Iter<'de, Spanned<DeValue<'de>>>);

impl<'de> SeqAccess<'de> for Values<'de> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        let next = self.0.next();
        next.map(|value| Node::new(value).read(seed)).transpose()
    }
}

/// The entries of a table that were not read yet, and the value of the key that was read last.
struct Entries<'de> {
    rest: map::Iter<'de, Spanned<DeString<'de>>, Spanned<DeValue<'de>>>,
    value: Option<(&'de str, Node<'de>)>,
}

impl<'de> Entries<'de> {
    fn new(table: &'de DeTable<'de>) -> Self {
        Self {
            rest: table.iter(),
            value: None,
        }
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        let Some((key, value)) = self.rest.next() else {
            return Ok(None);
        };
        let name: &str = key.get_ref();
        self.value = Some((name, Node::new(value)));
        let read = seed.deserialize(BorrowedStrDeserializer::new(name));
        read.map(Some)
            .map_err(|fault: Fault| fault.or_at(key.span().start).in_key(name))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let entry = self.value.take();
        let (key, value) = entry.expect("serde asks for a value after its key");
        value.read(seed).map_err(|fault| fault.in_key(key))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Board {
        name: Option<String>,
        pins: Vec<u16>,
        is_live: bool,
        colour: Colour,
        levels: BTreeMap<String, i64>,
        bus: Vec<Bus>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Bus {
        speed: u32,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        #[default]
        Green,
        Red,
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let text = "name = \"a\\tb\"\npins = [1, 0x1F, 1_000]\nis_live = true\ncolour = \"red\"\n\
                    levels = { low = -1, high = 9_223_372_036_854_775_807 }\n\
                    [[bus]]\nspeed = 9600\n[[bus]]\nspeed = 115200\n";
        let levels = [("low", -1), ("high", i64::MAX)];
        let expected = Board {
            name: Some("a\tb".to_owned()),
            pins: vec![1, 0x1f, 1000],
            is_live: true,
            colour: Colour::Red,
            levels: levels.map(|(key, value)| (key.to_owned(), value)).into(),
            bus: vec![Bus { speed: 9600 }, Bus { speed: 115_200 }],
        };
        assert_eq!(read::<Board>(text).expect("it is right"), expected);
        assert_eq!(read::<Board>("").expect("it is right"), Board::default());
    }

    #[test]
    fn what_does_not_fit_is_refused_at_its_place() {
        let table = [
            (
                "name = 3",
                "invalid type: integer `3`, expected a string",
                7,
            ),
            (
                "pins = [1, 70000]",
                "invalid value: integer `70000`, expected u16",
                11,
            ),
            (
                "pins = { a = 1 }",
                "invalid type: map, expected a sequence",
                7,
            ),
            (
                "is_live = 1.5",
                "invalid type: floating point `1.5`, expected a boolean",
                10,
            ),
            (
                "name = 2026-01-01",
                "invalid type: date or time, expected a string",
                7,
            ),
            (
                "colour = 1",
                "invalid type: integer `1`, expected enum Colour",
                9,
            ),
            (
                "bus = [7]",
                "invalid type: integer `7`, expected struct Bus",
                7,
            ),
            (
                "levels = { a = 9223372036854775808 }",
                "integer number overflowed",
                15,
            ),
            ("\n[[bus]]\n", "missing field `speed`", 1),
        ];
        for (text, message, at) in table {
            let fault = read::<Board>(text).expect_err("refused");
            assert_eq!(
                (fault.message.as_str(), fault.at),
                (message, Some(at)),
                "{text}"
            );
        }
        let fault = read::<Board>("color = \"red\"").expect_err("refused");
        assert!(
            fault
                .message
                .starts_with("unknown field `color`, expected one of `name`")
        );
        assert_eq!(fault.at, Some(0));
        let fault = read::<Board>("colour = \"blue\"").expect_err("refused");
        assert!(
            fault
                .message
                .starts_with("unknown variant `blue`, expected")
        );
        assert_eq!(fault.at, Some(9));
        assert!(read::<Board>("name = ").expect_err("not TOML").at.is_some());
    }
}
