//! The texts in what an agent says, for who looks for words in it.

use core::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::agent::Text;

/// Walks all texts of a JSON document, each with the name of the field that it stands in, directly
/// or in a list. A text that is an object itself, as agents put their cards into payloads, is
/// walked too; not one inside of that. Stops where the document is no JSON.
///
/// ```
/// let mut found = Vec::new();
/// let body = r#"{"name":"a","skills":[{"tags":["x","y"]}],"payload":"{\"level\":\"b\"}"}"#;
/// wire::mq9::walk_texts(body, |field, text| found.push(format!("{field}={text}")));
/// assert_eq!(found, ["name=a", "tags=x", "tags=y", "level=b"]);
/// ```
pub fn walk_texts(body: &str, mut visit: impl FnMut(&str, &str)) {
    walk("", body, true, &mut visit);
}

fn walk<V: FnMut(&str, &str)>(field: &str, body: &str, looks_inside: bool, visit: &mut V) {
    let texts = Texts {
        field,
        looks_inside,
        visit,
    };
    // What was walked before a fault counts.
    let _ = texts.deserialize(&mut serde_json::Deserializer::from_str(body));
}

struct Texts<'t, V> {
    field: &'t str,
    looks_inside: bool,
    visit: &'t mut V,
}

impl<'de, V: FnMut(&str, &str)> DeserializeSeed<'de> for Texts<'_, V> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<V> Texts<'_, V> {
    fn inner<'i>(&'i mut self, field: &'i str) -> Texts<'i, V> {
        Texts {
            field,
            looks_inside: self.looks_inside,
            visit: self.visit,
        }
    }
}

impl<'de, V: FnMut(&str, &str)> Visitor<'de> for Texts<'_, V> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        let looks_like = self.looks_inside && text.trim_start().starts_with('{');
        if looks_like && serde_json::from_str::<IgnoredAny>(text).is_ok() {
            walk(self.field, text, false, self.visit);
        } else {
            (self.visit)(self.field, text);
        }
        Ok(())
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

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let field = self.field;
        while items.next_element_seed(self.inner(field))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        while let Some(Text(name)) = fields.next_key::<Text<'de>>()? {
            fields.next_value_seed(self.inner(&name))?;
        }
        Ok(())
    }
}
