//! A schema as people know it: in the language of proto files.

use std::fmt::Write as _;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, ServiceDescriptor};
use serde::Serialize;

use crate::reflect::{Schema, Shape, signature};

/// A method as JSON and YAML show it.
#[derive(Debug, Serialize)]
pub(super) struct Method {
    /// `greeter.Greeter/Hello`.
    name: String,
    /// `unary`, `server stream`, `client stream` or `both stream`.
    shape: String,
    request: String,
    response: String,
    #[serde(skip)]
    pub(super) short: String,
    #[serde(skip)]
    pub(super) signature: String,
}

/// The methods of all services that are there for their own sake.
pub(super) fn methods(schema: &Schema) -> Vec<Method> {
    schema
        .services()
        .flat_map(ServiceDescriptor::methods)
        .map(|method| Method {
            name: format!("{}/{}", method.parent_service().full_name(), method.name()),
            shape: Shape::of(&method).to_string(),
            request: method.input().full_name().to_owned(),
            response: method.output().full_name().to_owned(),
            short: format!("{}.{}", method.parent_service().name(), method.name()),
            signature: signature(&method),
        })
        .collect()
}

/// The messages and enums that the methods use.
pub(super) fn types(schema: &Schema) -> String {
    let (messages, enums) = schema.types();
    let blocks = messages.iter().map(message).chain(enums.iter().map(enumeration));
    blocks.collect::<Vec<_>>().join("\n")
}

fn message(message: &MessageDescriptor) -> String {
    let mut text = format!("message {} {{\n", message.name());
    for field in message.fields() {
        let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
        let choice = oneof.map(|oneof| format!("  // one of {}", oneof.name())).unwrap_or_default();
        let _ = writeln!(text, "  {} {} = {};{choice}", kind(&field), field.name(), field.number());
    }
    text.push_str("}\n");
    text
}

fn enumeration(descriptor: &EnumDescriptor) -> String {
    let mut text = format!("enum {} {{\n", descriptor.name());
    for value in descriptor.values() {
        let _ = writeln!(text, "  {} = {};", value.name(), value.number());
    }
    text.push_str("}\n");
    text
}

fn kind(field: &FieldDescriptor) -> String {
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        return format!(
            "map<{}, {}>",
            name(&entry.map_entry_key_field().kind()),
            name(&entry.map_entry_value_field().kind())
        );
    }
    let name = name(&field.kind());
    if field.is_list() {
        format!("repeated {name}")
    } else if field.supports_presence()
        && !matches!(field.kind(), Kind::Message(_))
        && field.containing_oneof().is_none_or(|oneof| oneof.is_synthetic())
    {
        format!("optional {name}")
    } else {
        name
    }
}

/// Types of the same package are known by their last name; others by the whole.
fn name(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) if message.full_name().starts_with("google.") => {
            message.full_name().to_owned()
        }
        Kind::Message(message) => message.name().to_owned(),
        Kind::Enum(descriptor) => descriptor.name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}
