//! A tree of data that keeps the order of its keys, between what is shown and how it is written.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// JSON data whose objects keep their order; `serde_json::Value` sorts them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Doc {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

// === impl Doc ===

impl Doc {
    /// The data of a value.
    ///
    /// # Errors
    ///
    /// What serde_json says, for a value that is not JSON: a map whose keys are not text.
    pub(crate) fn of(value: &(impl Serialize + ?Sized)) -> serde_json::Result<Self> {
        serde_json::from_str(&serde_json::to_string(value)?)
    }

    /// The text of a single value, for a table; nested data as JSON.
    pub(crate) fn inline(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            other => serde_json::to_string(other).unwrap_or_default(),
        }
    }
}

impl Serialize for Doc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(value) => value.serialize(serializer),
            Self::Text(value) => serializer.serialize_str(value),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(pairs) => {
                let mut map = ser::Serializer::serialize_map(serializer, Some(pairs.len()))?;
                for (key, value) in pairs {
                    ser::SerializeMap::serialize_entry(&mut map, key, value)?;
                }
                ser::SerializeMap::end(map)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Doc {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Doc;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Doc, E> {
                Ok(Doc::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Doc, E> {
                Ok(Doc::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Doc, E> {
                Ok(Doc::Number(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Doc, E> {
                Ok(Doc::Number(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Doc, E> {
                Ok(serde_json::Number::from_f64(value).map_or(Doc::Null, Doc::Number))
            }

            fn visit_str<E>(self, value: &str) -> Result<Doc, E> {
                Ok(Doc::Text(value.to_owned()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Doc, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Doc::List(list))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Doc, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = entries.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Doc::Map(pairs))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}
