//! Finds where JSON and a message type part ways, to say which field it is and what was expected there.
//!
//! This only explains a failure that the real conversion met; it accepts nothing and converts nothing.

use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value;

use crate::suggest;

/// Where and why JSON does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    /// A sentence with the field in it.
    pub(super) problem: String,
    /// The name that was probably meant.
    pub(super) near: Option<String>,
}

/// The first thing in `json` that does not fit, in the order it was written.
pub(super) fn find(descriptor: &MessageDescriptor, json: &Value) -> Option<Misfit> {
    message(descriptor, json, "")
}

fn message(descriptor: &MessageDescriptor, json: &Value, path: &str) -> Option<Misfit> {
    if descriptor.full_name().starts_with("google.protobuf.") {
        return well_known(descriptor, json, path);
    }
    let Value::Object(pairs) = json else {
        return expected(path, &format!("an object ({})", descriptor.full_name()), json);
    };
    let mut chosen: Vec<(String, &str)> = Vec::new();
    for (key, value) in pairs {
        let Some(field) = by_name(descriptor, key) else { return Some(unknown_field(descriptor, key, path)) };
        let path = join(path, key);
        if value.is_null() {
            continue;
        }
        if let Some(oneof) = field.containing_oneof() {
            if let Some((_, other)) = chosen.iter().find(|(name, _)| name == oneof.name()) {
                let problem = format!(
                    "`{path}` and `{other}` cannot both be set: they are one choice, `{}`",
                    oneof.name()
                );
                return Some(Misfit { problem, near: None });
            }
            chosen.push((oneof.name().to_owned(), key));
        }
        if let Some(misfit) = field_value(&field, value, &path) {
            return Some(misfit);
        }
    }
    None
}

fn field_value(field: &FieldDescriptor, json: &Value, path: &str) -> Option<Misfit> {
    if field.is_map() {
        let Value::Object(pairs) = json else { return expected(path, "an object (a map)", json) };
        let Kind::Message(entry) = field.kind() else { return None };
        let (key_kind, kind) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
        return pairs.iter().find_map(|(key, value)| {
            let path = format!("{path}[{key:?}]");
            let key = Value::String(key.clone());
            let key_fits = matches!(key_kind, Kind::String)
                || integer(&key_kind).is_some_and(|(low, high, _)| whole(&key, low, high))
                || matches!(key.as_str(), Some("true" | "false")) && key_kind == Kind::Bool;
            if !key_fits {
                return expected(&path, &format!("a key that is {}", phrase(&key_kind)), &key);
            }
            single(&kind, value, &path)
        });
    }
    if field.is_list() {
        let Value::Array(items) = json else {
            return expected(path, &format!("a list, each of its items {}", phrase(&field.kind())), json);
        };
        return items
            .iter()
            .enumerate()
            .find_map(|(at, item)| single(&field.kind(), item, &format!("{path}[{at}]")));
    }
    single(&field.kind(), json, path)
}

fn single(kind: &Kind, json: &Value, path: &str) -> Option<Misfit> {
    let fits = match kind {
        Kind::Message(descriptor) => return message(descriptor, json, path),
        Kind::Enum(descriptor) => return enum_value(descriptor, json, path),
        Kind::String | Kind::Bytes => json.is_string(),
        Kind::Bool => json.is_boolean(),
        Kind::Double | Kind::Float => match json {
            Value::String(text) => {
                matches!(text.as_str(), "NaN" | "Infinity" | "-Infinity") || text.parse::<f64>().is_ok()
            }
            other => other.is_number(),
        },
        other => integer(other).is_some_and(|(low, high, _)| whole(json, low, high)),
    };
    if fits { None } else { expected(path, &phrase(kind), json) }
}

fn enum_value(descriptor: &EnumDescriptor, json: &Value, path: &str) -> Option<Misfit> {
    let names: Vec<_> = descriptor.values().map(|value| value.name().to_owned()).collect();
    let names = || names.iter().map(String::as_str);
    match json {
        Value::Number(number) if number.is_i64() => None,
        Value::String(text) if names().any(|name| name == text) => None,
        _ => {
            let near = json.as_str().and_then(|text| suggest::nearest(text, names())).map(str::to_owned);
            let what = format!("one of {} ({})", suggest::enumerate(names()), descriptor.full_name());
            expected(path, &what, json).map(|misfit| Misfit { near, ..misfit })
        }
    }
}

/// Timestamps and their kin have forms of their own, which only the real conversion knows.
fn well_known(descriptor: &MessageDescriptor, json: &Value, path: &str) -> Option<Misfit> {
    let error = DynamicMessage::deserialize(descriptor.clone(), json).err()?;
    let form = match descriptor.name() {
        "Timestamp" => "a time like \"2026-05-01T10:00:00Z\" (Timestamp)",
        "Duration" => "seconds like \"1.5s\" (Duration)",
        "FieldMask" => "names of fields like \"a,b.c\" (FieldMask)",
        "Struct" => "an object (Struct)",
        "ListValue" => "a list (ListValue)",
        "Any" => "an object with \"@type\" (Any)",
        name => {
            let kind = descriptor.get_field_by_name("value").map(|field| phrase(&field.kind()));
            return expected(path, &kind.unwrap_or_else(|| name.to_owned()), json);
        }
    };
    expected(path, &format!("{form}: {error}"), json)
}

fn by_name(descriptor: &MessageDescriptor, key: &str) -> Option<FieldDescriptor> {
    descriptor.get_field_by_json_name(key).or_else(|| descriptor.get_field_by_name(key))
}

fn unknown_field(descriptor: &MessageDescriptor, key: &str, path: &str) -> Misfit {
    let names: Vec<_> = descriptor.fields().map(|field| field.json_name().to_owned()).collect();
    let names = || names.iter().map(String::as_str);
    let fields = match suggest::enumerate(names()) {
        listed if listed == "none" => "it has no fields at all".to_owned(),
        listed => format!("its fields are {listed}"),
    };
    Misfit {
        problem: format!("there is no field `{}` in {}; {fields}", join(path, key), descriptor.full_name()),
        near: suggest::nearest(key, names()).map(|near| join(path, near)),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every caller returns it as it is")]
fn expected(path: &str, what: &str, found: &Value) -> Option<Misfit> {
    let place = if path.is_empty() { "the body".to_owned() } else { format!("`{path}`") };
    Some(Misfit { problem: format!("{place} must be {what}, and {} is given", given(found)), near: None })
}

/// A value in a few words.
fn given(json: &Value) -> String {
    match json {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text {:?}", crate::output::fit(text, 40)),
        Value::Array(items) if items.is_empty() => "an empty list".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// What a kind of field takes, in words.
pub(super) fn phrase(kind: &Kind) -> String {
    match kind {
        Kind::String => "text (string)".to_owned(),
        Kind::Bytes => "text in base64 (bytes)".to_owned(),
        Kind::Bool => "true or false (bool)".to_owned(),
        Kind::Double | Kind::Float => format!("a number ({kind:?})").to_lowercase(),
        Kind::Message(descriptor) => format!("an object ({})", descriptor.full_name()),
        Kind::Enum(descriptor) => {
            let names: Vec<_> = descriptor.values().map(|value| value.name().to_owned()).collect();
            format!("one of {}", suggest::enumerate(names.iter().map(String::as_str)))
        }
        other => match integer(other) {
            Some((low, high, name)) => format!("a whole number from {low} to {high} ({name})"),
            None => format!("{other:?}"),
        },
    }
}

/// The range and the name of an integer kind.
fn integer(kind: &Kind) -> Option<(i128, i128, &'static str)> {
    let (i32s, i64s) = ((i32::MIN.into(), i32::MAX.into()), (i64::MIN.into(), i64::MAX.into()));
    let (u32s, u64s) = ((0, u32::MAX.into()), (0, u64::MAX.into()));
    let ((low, high), name) = match kind {
        Kind::Int32 => (i32s, "int32"),
        Kind::Sint32 => (i32s, "sint32"),
        Kind::Sfixed32 => (i32s, "sfixed32"),
        Kind::Int64 => (i64s, "int64"),
        Kind::Sint64 => (i64s, "sint64"),
        Kind::Sfixed64 => (i64s, "sfixed64"),
        Kind::Uint32 => (u32s, "uint32"),
        Kind::Fixed32 => (u32s, "fixed32"),
        Kind::Uint64 => (u64s, "uint64"),
        Kind::Fixed64 => (u64s, "fixed64"),
        _ => return None,
    };
    Some((low, high, name))
}

/// Whether JSON is a whole number in a range; 64-bit numbers may stand in quotes, and `1.0` is whole.
fn whole(json: &Value, low: i128, high: i128) -> bool {
    let number = match json {
        Value::String(text) => text.parse::<i128>().ok(),
        Value::Number(number) => number.as_i128().or_else(|| {
            let float = number.as_f64()?;
            (float.fract() == 0.0).then_some(float as i128)
        }),
        _ => None,
    };
    number.is_some_and(|number| (low..=high).contains(&number))
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
