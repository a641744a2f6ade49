//! JSON without ambiguity: no key twice, bounded depth, one spelling of names.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Deeper bodies are refused.
const DEEPEST: usize = 32;

/// How a provider reads the names of JSON fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Names {
    /// As they stand.
    #[default]
    Exact,
    /// `add_label_ids` is `addLabelIds`: servers that read JSON as protocol buffers take both.
    Camel,
}

impl Names {
    /// The one spelling of a name.
    #[must_use]
    pub(crate) fn canonical(self, name: &str) -> String {
        match self {
            Self::Exact => name.to_owned(),
            Self::Camel => camel(name),
        }
    }
}

fn camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut raise = false;
    for letter in name.chars() {
        match letter {
            '_' => raise = true,
            _ if raise => {
                out.push(letter.to_ascii_uppercase());
                raise = false;
            }
            _ => out.push(letter),
        }
    }
    out
}

/// Reads JSON, or says what is wrong with it.
pub(crate) fn parse(bytes: &[u8], names: Names) -> Result<Value, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Checked { names, depth: 0 }.deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok(value)
}

/// The same value with its keys sorted.
#[must_use]
pub(crate) fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            keys.sort_by(|left, right| left.0.cmp(&right.0));
            Value::Object(keys.into_iter().collect())
        }
        Value::Array(values) => Value::Array(values.iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

#[derive(Clone, Copy)]
struct Checked {
    names: Names,
    depth: usize,
}

impl Checked {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= DEEPEST {
            return Err(E::custom(format!("it is nested deeper than {DEEPEST} levels")));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Checked {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = access.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let value = access.next_value_seed(inner)?;
            let canonical = self.names.canonical(&name);
            if map.insert(canonical, value).is_some() {
                return Err(A::Error::custom(format!("the field {name:?} stands there twice")));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_name_has_one_spelling_and_stands_once() {
        let value = parse(br#"{"add_label_ids":["TRASH"],"ids":["a"]}"#, Names::Camel).unwrap();
        assert_eq!(value["addLabelIds"][0], "TRASH");
        for twice in
            [r#"{"ids":[1],"ids":[2]}"#, r#"{"addLabelIds":[],"add_label_ids":["TRASH"]}"#, r#"{"a":{"b":1,"b":2}}"#]
        {
            assert!(parse(twice.as_bytes(), Names::Camel).unwrap_err().contains("twice"), "{twice}");
        }
    }

    #[test]
    fn depth_is_bounded_and_nothing_follows() {
        let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
        assert!(parse(deep.as_bytes(), Names::Exact).unwrap_err().contains("nested"));
        assert!(parse(b"{} {}", Names::Exact).is_err());
        assert!(parse(b"{\"a\":1e999}", Names::Exact).is_err());
    }
}
