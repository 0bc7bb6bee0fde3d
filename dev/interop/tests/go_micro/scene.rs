//! What the cases have in common: entries, and how to compare them.

use std::sync::Arc;

use callsign::{
    core::{
        Endpoint, Node, Registry, Value as Shape,
        model::Metadata,
        registration::{Registrar, Registration},
        registry::RegisterOptions,
    },
    registry::{Access, RegistryUrl, open_with},
};
use serde_json::{Value, json};

/// Makes a module for each line of go-micro, with a test for each case.
macro_rules! cases {
    ($($case:ident),+ $(,)?) => {
        mod v3 {
            $(#[tokio::test] async fn $case() { super::$case(callsign_interop::GoMicro::V3).await; })+
        }
        mod v4 {
            $(#[tokio::test] async fn $case() { super::$case(callsign_interop::GoMicro::V4).await; })+
        }
        mod v5 {
            $(#[tokio::test] async fn $case() { super::$case(callsign_interop::GoMicro::V5).await; })+
        }
    };
}
pub(crate) use cases;

/// The request that starts go-micro's own server.
pub(crate) fn serve(name: &str, id: &str, ttl: u32) -> Value {
    json!({ "serve": {
        "name": name, "id": id, "version": "1.2.0", "address": "127.0.0.1:0",
        "metadata": { "team": "shop <floor> & more" }, "ttl": ttl, "interval": 1,
    }})
}

/// A service of one node, as go-micro's JSON has it.
pub(crate) fn service(name: &str, id: &str, metadata: &Value) -> Value {
    json!({
        "name": name, "version": "2.0.0", "metadata": null,
        "endpoints": [{
            "name": "Greeter.Hello",
            "request": { "name": "HelloRequest", "type": "HelloRequest", "values": [
                { "name": "name", "type": "string", "values": null },
            ]},
            "response": null,
            "metadata": { "stream": "true" },
        }],
        "nodes": [{ "id": id, "address": "10.1.2.3:4000", "metadata": metadata }],
    })
}

/// A node of ours that says all that one can say, but for `version`.
pub(crate) fn full_node(name: &str, id: &str, version: &str) -> Node {
    let shape = |name: &str, kind: &str, values| Shape { name: name.into(), kind: kind.into(), values };
    let hello = Endpoint {
        name: "Greeter.Hello".into(),
        request: Some(shape(
            "HelloRequest",
            "HelloRequest",
            vec![shape("name", "string", vec![]), shape("tags", "[]string", vec![])],
        )),
        response: None,
        metadata: Metadata::from([("stream", "true")]),
    };
    Node::builder(name, id, "10.9.8.7:4000")
        .version(version)
        .metadata("team", "Ärger \"<&>\" \u{2028} 日本")
        .metadata("protocol", "grpc")
        .weight(7)
        .group("blue")
        .endpoints(vec![hello])
        .build()
        .unwrap()
}

/// The library's handle on a registry.
pub(crate) fn open(url: &str, access: &Access) -> Arc<dyn Registry> {
    open_with(&url.parse::<RegistryUrl>().unwrap(), access).unwrap()
}

/// Registers a node, and waits until its entry is in place.
pub(crate) async fn register(registrar: &Registrar, node: Node) -> Registration {
    let registration = registrar.register(node, RegisterOptions::default());
    registration.registered().await.unwrap();
    registration
}

/// The one node of a service as go-micro has it.
#[track_caller]
pub(crate) fn only_node(service: &Value) -> &Value {
    let nodes = service["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 1, "{service}");
    &nodes[0]
}

/// What [`full_node`] is to go-micro.
#[track_caller]
pub(crate) fn assert_full(service: &Value, name: &str, id: &str, version: &str) {
    assert_eq!((&service["name"], &service["version"]), (&name.into(), &version.into()), "{service}");
    assert_eq!(
        only_node(service),
        &json!({
            "id": id,
            "address": "10.9.8.7:4000",
            "metadata": {
                "team": "Ärger \"<&>\" \u{2028} 日本", "protocol": "grpc", "weight": "7", "group": "blue",
            },
        })
    );
    let endpoint = &service["endpoints"][0];
    assert_eq!(
        (&endpoint["name"], &endpoint["response"], &endpoint["metadata"]["stream"]),
        (&"Greeter.Hello".into(), &Value::Null, &"true".into()),
        "{service}"
    );
    let fields = endpoint["request"]["values"].as_array().unwrap();
    let fields: Vec<_> =
        fields.iter().map(|field| (field["name"].as_str(), field["type"].as_str())).collect();
    assert_eq!(fields, [(Some("name"), Some("string")), (Some("tags"), Some("[]string"))]);
}
