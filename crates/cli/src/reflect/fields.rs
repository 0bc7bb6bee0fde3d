//! `--name World`: a body given field by field.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use crate::{
    error::{CliError, Result},
    suggest,
};

/// Puts `name=value` assignments into a body. A dot leads into a message (`address.city`), a repeated name makes a list, and
/// `-` stands for `_`, as options are written.
///
/// # Errors
///
/// Exit code 2 when there is no such field. Values are checked later, with the rest of the body.
pub(crate) fn assign(
    descriptor: &MessageDescriptor,
    body: &mut Value,
    fields: &[(String, String)],
) -> Result<()> {
    for (name, text) in fields {
        let Value::Object(root) = &mut *body else {
            return Err(CliError::usage("fields can be set in a body that is an object only"));
        };
        assign_one(descriptor, root, name, text)?;
    }
    Ok(())
}

fn assign_one(
    descriptor: &MessageDescriptor,
    object: &mut Map<String, Value>,
    name: &str,
    text: &str,
) -> Result<()> {
    let (first, rest) = match name.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (name, None),
    };
    let field = by_option_name(descriptor, first).ok_or_else(|| unknown(descriptor, first))?;
    let slot = object.entry(field.json_name()).or_insert(Value::Null);
    match (rest, field.kind()) {
        (Some(rest), Kind::Message(inner)) if !field.is_list() && !field.is_map() => {
            if slot.is_null() {
                *slot = Value::Object(Map::new());
            }
            let Value::Object(inner_object) = slot else {
                return Err(CliError::usage(format!(
                    "`{first}` is set to a value already, and `{name}` is in it"
                )));
            };
            assign_one(&inner, inner_object, rest, text)
        }
        (Some(_), _) => {
            Err(CliError::usage(format!("`{first}` is not a message, so there is no field `{name}`")))
        }
        (None, _) => {
            put(&field, slot, text);
            Ok(())
        }
    }
}

/// A list grows by each value; anything else is replaced.
fn put(field: &FieldDescriptor, slot: &mut Value, text: &str) {
    if !field.is_list() {
        *slot = value(field, text);
        return;
    }
    if let Ok(Value::Array(items)) = serde_json::from_str(text) {
        *slot = Value::Array(items);
        return;
    }
    match slot {
        Value::Array(items) => items.push(value(field, text)),
        other => *other = Value::Array(vec![value(field, text)]),
    }
}

/// Text for fields that hold text, JSON for the others; what is no JSON stays text and is complained about later.
fn value(field: &FieldDescriptor, text: &str) -> Value {
    let literal = match field.kind() {
        Kind::String | Kind::Bytes | Kind::Enum(_) => field.is_map(),
        _ => true,
    };
    let parsed = if literal { serde_json::from_str(text).ok() } else { None };
    parsed.unwrap_or_else(|| match (field.kind(), text.parse::<i32>()) {
        (Kind::Enum(_), Ok(number)) => number.into(),
        _ => Value::String(text.to_owned()),
    })
}

fn by_option_name(descriptor: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    descriptor
        .get_field_by_json_name(name)
        .or_else(|| descriptor.get_field_by_name(name))
        .or_else(|| descriptor.get_field_by_name(&name.replace('-', "_")))
}

fn unknown(descriptor: &MessageDescriptor, name: &str) -> CliError {
    let names: Vec<_> = descriptor.fields().map(|field| field.name().replace('_', "-")).collect();
    let names = || names.iter().map(String::as_str);
    let error = CliError::usage(format!(
        "--{name} is neither an option nor a field of {}; its fields are {}",
        descriptor.full_name(),
        suggest::enumerate(names())
    ));
    match suggest::nearest(name, names()) {
        Some(near) => error.hint(format!("did you mean `--{near}`?")),
        None => error,
    }
}
