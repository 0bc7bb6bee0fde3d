//! What the nodes published of their methods in the registry, for services that answer no reflection: go-micro's, above all.

use std::collections::BTreeMap;

use callsign::core::{Endpoint, Value};
use serde::Serialize;

/// A method as JSON and YAML show it. Part of the interface: keys are added, never renamed.
#[derive(Debug, Serialize)]
pub(super) struct Published {
    name: String,
    request: Option<Shape>,
    response: Option<Shape>,
    metadata: BTreeMap<String, String>,
}

/// A message or one of its fields.
#[derive(Debug, Serialize)]
struct Shape {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    values: Vec<Self>,
}

// === impl Published ===

impl Published {
    pub(super) fn new(endpoint: &Endpoint) -> Self {
        let Endpoint { name, request, response, metadata } = endpoint;
        Self {
            name: name.clone(),
            request: request.as_ref().map(Shape::new),
            response: response.as_ref().map(Shape::new),
            metadata: metadata.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        }
    }

    /// `Greeter.Hello(HelloRequest { name string }) -> HelloResponse { msg string }`, as far as it was said.
    pub(super) fn signature(&self) -> String {
        let Self { name, request, response, metadata } = self;
        let shown = |shape: &Option<Shape>| shape.as_ref().map(Shape::text);
        let request = shown(request).map(|request| format!("({request})")).unwrap_or_default();
        let response = shown(response).map(|response| format!(" -> {response}")).unwrap_or_default();
        let metadata: Vec<_> = metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let metadata = if metadata.is_empty() { String::new() } else { format!("  {}", metadata.join(" ")) };
        format!("{name}{request}{response}{metadata}")
    }
}

// === impl Shape ===

impl Shape {
    fn new(value: &Value) -> Self {
        let Value { name, kind, values } = value;
        Self { name: name.clone(), kind: kind.clone(), values: values.iter().map(Self::new).collect() }
    }

    fn text(&self) -> String {
        let fields: Vec<_> = self.values.iter().map(Self::field).collect();
        if fields.is_empty() {
            self.kind.clone()
        } else {
            format!("{} {{ {} }}", self.kind, fields.join(", "))
        }
    }

    fn field(&self) -> String {
        // A message that is named by its type alone is not named twice.
        if self.name == self.kind { self.text() } else { format!("{} {}", self.name, self.text()) }
    }
}

#[cfg(test)]
mod tests {
    use callsign::core::model::Metadata;

    use super::*;

    fn value(name: &str, kind: &str, values: Vec<Value>) -> Value {
        Value { name: name.into(), kind: kind.into(), values }
    }

    #[test]
    fn a_method_is_shown_as_far_as_it_was_published() {
        let request = value(
            "HelloRequest",
            "HelloRequest",
            vec![value("name", "string", vec![]), value("at", "Place", vec![value("x", "int64", vec![])])],
        );
        let whole = Endpoint {
            name: "Greeter.Hello".into(),
            request: Some(request),
            response: Some(value("HelloResponse", "HelloResponse", vec![])),
            metadata: Metadata::from([("stream", "true")]),
        };
        assert_eq!(
            Published::new(&whole).signature(),
            "Greeter.Hello(HelloRequest { name string, at Place { x int64 } }) -> HelloResponse  stream=true"
        );
        let bare = Endpoint { name: "Func".into(), ..Endpoint::default() };
        assert_eq!(Published::new(&bare).signature(), "Func");
    }
}
