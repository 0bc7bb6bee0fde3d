//! Endpoints and the shapes of their messages: documentation for people and gateways, never used to decode.

use super::Metadata;

/// One method that a service offers, as go-micro publishes it: `Greeter.Hello` with the shapes of request and response.
///
/// ```
/// use callsign_core::{Endpoint, Value, model::Metadata};
///
/// let name = Value { name: "name".into(), kind: "string".into(), values: vec![] };
/// let hello = Endpoint {
///     name: "Greeter.Hello".into(),
///     request: Some(Value { name: "HelloRequest".into(), kind: "HelloRequest".into(), values: vec![name] }),
///     response: None,
///     metadata: Metadata::from([("stream", "true")]),
/// };
/// assert_eq!(hello.metadata.get("stream"), Some("true"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// `Type.Method`; in gRPC words the last part of the service's name and the method.
    pub name: String,
    /// The shape of the request message, if it is known.
    pub request: Option<Value>,
    /// The shape of the response message, if it is known.
    pub response: Option<Value>,
    /// `stream` = `true` for a streaming method, and whatever else the service says of it.
    pub metadata: Metadata,
}

/// The shape of a message or of one of its fields. See [`Endpoint`] for an example.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Value {
    /// The field's name; at the top the message's name.
    pub name: String,
    /// The type's name: `string`, `[]Item`, `HelloRequest`.
    pub kind: String,
    /// The fields, for a message.
    pub values: Vec<Self>,
}
