//! JSON objects taken apart no further than needed: the values stay text until somebody asks for one.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value as Json, value::RawValue};

use crate::model::{Endpoint, Metadata, Value};

/// How deep the shapes of messages are read; go-micro writes three levels.
const SHAPE_DEPTH_MAX: usize = 16;

/// An object's fields.
pub(super) struct Fields<'a>(Vec<(Key<'a>, &'a RawValue)>);

#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// A field's value, or nothing where there is none.
#[derive(Clone, Copy)]
pub(super) struct Field<'a>(Option<&'a RawValue>);

// === impl Fields ===

impl<'a> Fields<'a> {
    /// A field by its name, else by its name in any other case.
    pub(super) fn get(&self, name: &str) -> Field<'a> {
        let named = |same: fn(&str, &str) -> bool| self.0.iter().rfind(|(key, _)| same(&key.0, name));
        let found = named(str::eq).or_else(|| named(str::eq_ignore_ascii_case));
        Field(found.map(|(_, value)| *value))
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyFields;

        impl<'de> Visitor<'de> for AnyFields {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(AnyFields)
    }
}

// === impl Field ===

impl<'a> Field<'a> {
    pub(super) fn of(value: &'a RawValue) -> Self {
        Self(Some(value))
    }

    /// The value as it is written; `null` where there is none.
    pub(super) fn raw(self) -> &'a str {
        self.0.map_or("null", RawValue::get)
    }

    pub(super) fn text(self) -> Option<String> {
        serde_json::from_str(self.raw()).ok()
    }

    pub(super) fn number(self) -> Option<u64> {
        serde_json::from_str(self.raw()).ok()
    }

    pub(super) fn fields(self) -> Option<Fields<'a>> {
        serde_json::from_str(self.raw()).ok()
    }

    pub(super) fn list(self) -> Vec<Self> {
        let values: Option<Vec<&RawValue>> = serde_json::from_str(self.raw()).ok();
        values.into_iter().flatten().map(Self::of).collect()
    }

    /// Text is what belongs there; numbers and booleans, which people write by hand, are taken as their text.
    pub(super) fn metadata(self) -> Metadata {
        match serde_json::from_str(self.raw()) {
            Ok(Json::Object(pairs)) => metadata(pairs),
            _ => Metadata::new(),
        }
    }

    pub(super) fn endpoints(self) -> Vec<Endpoint> {
        match serde_json::from_str(self.raw()) {
            Ok(Json::Array(items)) => items.into_iter().filter_map(object).map(endpoint).collect(),
            _ => Vec::new(),
        }
    }

    /// What stands there instead of what should.
    pub(super) fn kind(self) -> &'static str {
        match self.raw().as_bytes() {
            b"null" => "missing",
            b"\"\"" => "empty",
            [b'"', ..] => "a text",
            [b'{', ..] => "an object",
            [b'[', ..] => "a list",
            [b't' | b'f', ..] => "a boolean",
            _ => "a number",
        }
    }
}

fn endpoint(mut json: Map<String, Json>) -> Endpoint {
    Endpoint {
        name: text(take(&mut json, "name")),
        request: object(take(&mut json, "request")).map(|json| shape(json, SHAPE_DEPTH_MAX)),
        response: object(take(&mut json, "response")).map(|json| shape(json, SHAPE_DEPTH_MAX)),
        metadata: object(take(&mut json, "metadata")).map(metadata).unwrap_or_default(),
    }
}

fn shape(mut json: Map<String, Json>, depth: usize) -> Value {
    let values = match take(&mut json, "values") {
        Json::Array(items) if depth > 0 => items,
        _ => Vec::new(),
    };
    Value {
        name: text(take(&mut json, "name")),
        kind: text(take(&mut json, "type")),
        values: values.into_iter().filter_map(object).map(|json| shape(json, depth - 1)).collect(),
    }
}

fn metadata(pairs: Map<String, Json>) -> Metadata {
    let text = |value| match value {
        Json::String(text) => Some(text),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(flag) => Some(flag.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    };
    pairs.into_iter().filter_map(|(key, value)| Some((key, text(value)?))).collect()
}

fn take(object: &mut Map<String, Json>, name: &str) -> Json {
    if let Some(value) = object.get_mut(name) {
        return value.take();
    }
    let any_case = object.iter_mut().find(|(key, _)| key.eq_ignore_ascii_case(name));
    any_case.map_or(Json::Null, |(_, value)| value.take())
}

fn text(json: Json) -> String {
    if let Json::String(text) = json { text } else { String::new() }
}

fn object(json: Json) -> Option<Map<String, Json>> {
    if let Json::Object(object) = json { Some(object) } else { None }
}
