//! What a server publishes of its methods: their names and the shapes of their messages, read off protobuf descriptors.
//!
//! The form is go-micro's: `Greeter.Hello`, and for each message a tree of names and Go type names, three levels deep. It
//! is documentation for people and gateways; nothing decodes by it.

use std::collections::{BTreeMap, BTreeSet};

use callsign_core::{Endpoint, Value, model::Metadata};
use prost::Message as _;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet, ServiceDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

use crate::{Error, ErrorKind, Result};

/// How many levels of a message are shown, as in go-micro.
const LEVELS_MAX: usize = 3;

/// How much of one message is shown: an entry that no registry takes helps nobody. A larger one is shown less deep.
const VALUES_MAX: usize = 500;

/// All that is known of a server's protobuf files.
#[derive(Debug, Default)]
pub(crate) struct Schema {
    /// Full name, without a leading dot, to the message.
    messages: BTreeMap<String, DescriptorProto>,
    services: BTreeMap<String, ServiceDescriptorProto>,
}

// === impl Schema ===

impl Schema {
    /// Decodes descriptor sets. A file that is in several of them is read once.
    pub(crate) fn decode(sets: &[&[u8]]) -> Result<Self> {
        let mut schema = Self::default();
        let mut seen = BTreeSet::new();
        for set in sets {
            let set = FileDescriptorSet::decode(*set).map_err(|error| {
                Error::new(
                    ErrorKind::InvalidInput,
                    "read descriptors",
                    "these are no protobuf file descriptors",
                )
                .with_hint("pass the FILE_DESCRIPTOR_SET of a module made by callsign-build")
                .with_source(error)
            })?;
            for file in set.file {
                if seen.insert(file.name().to_owned()) {
                    schema.add(file);
                }
            }
        }
        Ok(schema)
    }

    /// Whether the service, by its full name, is described.
    pub(crate) fn describes(&self, service: &str) -> bool {
        self.services.contains_key(service)
    }

    /// The endpoints of `services`, in the order of their names.
    pub(crate) fn endpoints<'a>(&self, services: impl Iterator<Item = &'a str>) -> Vec<Endpoint> {
        let mut endpoints: Vec<_> = services
            .filter_map(|name| self.services.get(name))
            .flat_map(|service| service.method.iter().map(|method| self.endpoint(service.name(), method)))
            .collect();
        endpoints.sort_by(|a, b| a.name.cmp(&b.name));
        endpoints
    }

    fn add(&mut self, file: FileDescriptorProto) {
        let package = file.package().to_owned();
        for message in file.message_type {
            self.add_message(&package, message);
        }
        for service in file.service {
            self.services.insert(full_name(&package, service.name()), service);
        }
    }

    fn add_message(&mut self, scope: &str, mut message: DescriptorProto) {
        let name = full_name(scope, message.name());
        for nested in std::mem::take(&mut message.nested_type) {
            self.add_message(&name, nested);
        }
        self.messages.insert(name, message);
    }

    fn endpoint(&self, service: &str, method: &prost_types::MethodDescriptorProto) -> Endpoint {
        let mut metadata = Metadata::new();
        if method.client_streaming() || method.server_streaming() {
            metadata.insert("stream".to_owned(), "true".to_owned());
        }
        Endpoint {
            name: format!("{service}.{}", method.name()),
            request: Some(self.shape(method.input_type())),
            response: Some(self.shape(method.output_type())),
            metadata,
        }
    }

    /// The message `full` with as many levels as there is room for.
    fn shape(&self, full: &str) -> Value {
        let levels = (2..=LEVELS_MAX).rev().map(|levels| self.message(go_name(full), full, levels));
        let fits = levels.into_iter().find(|shape| count(shape) <= VALUES_MAX);
        fits.unwrap_or_else(|| self.message(go_name(full), full, 1))
    }

    /// A value called `name` whose type is the message `full`, with so many levels, its own included.
    fn message(&self, name: String, full: &str, levels: usize) -> Value {
        let message = self.messages.get(full.trim_start_matches('.'));
        let fields = message.map_or(&[][..], |message| &message.field);
        Value { name, kind: go_name(full), values: self.fields(fields, levels - 1) }
    }

    fn fields(&self, fields: &[FieldDescriptorProto], levels: usize) -> Vec<Value> {
        if levels == 0 {
            return Vec::new();
        }
        fields.iter().map(|field| self.field(field, levels)).collect()
    }

    fn field(&self, field: &FieldDescriptorProto, levels: usize) -> Value {
        let name = field.name().to_owned();
        if field.label() != Label::Repeated {
            return self.single(name, field, levels);
        }
        if self.is_map(field) {
            return Value { name, ..Value::default() };
        }
        let kind = format!("[]{}", go_type(field));
        let element = (levels > 1).then(|| self.single(go_type(field), field, levels - 1));
        Value { name, kind, values: element.into_iter().collect() }
    }

    fn single(&self, name: String, field: &FieldDescriptorProto, levels: usize) -> Value {
        match field.r#type() {
            Type::Message | Type::Group => self.message(name, field.type_name(), levels),
            _ => Value { name, kind: go_type(field), values: Vec::new() },
        }
    }

    /// Protobuf writes a map as a repeated message of its own.
    fn is_map(&self, field: &FieldDescriptorProto) -> bool {
        let message = self.messages.get(field.type_name().trim_start_matches('.'));
        let options = message.and_then(|message| message.options.as_ref());
        options.is_some_and(prost_types::MessageOptions::map_entry)
    }
}

fn count(value: &Value) -> usize {
    1 + value.values.iter().map(count).sum::<usize>()
}

fn full_name(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

/// The name that Go gives a type: its own, after those of the messages it is nested in.
fn go_name(full: &str) -> String {
    let parts = full.trim_start_matches('.').split('.');
    // Packages are written small and types large by every style guide; go-micro shows the types only.
    let types: Vec<_> =
        parts.clone().skip_while(|part| !part.starts_with(|c: char| c.is_uppercase())).collect();
    if types.is_empty() {
        parts.into_iter().next_back().unwrap_or_default().to_owned()
    } else {
        types.join("_")
    }
}

fn go_type(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Double => "float64",
        Type::Float => "float32",
        Type::Int64 | Type::Sint64 | Type::Sfixed64 => "int64",
        Type::Uint64 | Type::Fixed64 => "uint64",
        Type::Int32 | Type::Sint32 | Type::Sfixed32 => "int32",
        Type::Uint32 | Type::Fixed32 => "uint32",
        Type::Bool => "bool",
        Type::String => "string",
        Type::Bytes => "[]uint8",
        Type::Message | Type::Group | Type::Enum => return go_name(field.type_name()),
    }
    .to_owned()
}

#[cfg(test)]
mod tests;
