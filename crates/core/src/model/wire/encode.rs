//! Writing, as Go's `encoding/json` does.

use std::fmt::Write as _;

use crate::model::{Endpoint, Metadata, Node, Value};

/// Writes a node as the service with that one node in it.
///
/// The domain is not part of the text: where it goes is the backend's business.
///
/// ```
/// use callsign_core::{Node, model::wire};
///
/// let node = Node::builder("greeter", "greeter-1", "192.0.2.10:8080").build()?;
/// assert_eq!(
///     wire::encode(&node),
///     r#"{"name":"greeter","version":"latest","metadata":null,"endpoints":null,"nodes":[{"metadata":null,"id":"greeter-1","address":"192.0.2.10:8080"}]}"#
/// );
/// # Ok::<(), callsign_core::Error>(())
/// ```
#[must_use]
pub fn encode(node: &Node) -> String {
    let mut out = String::with_capacity(512);
    out.push_str("{\"name\":");
    text(&mut out, node.service().as_str());
    out.push_str(",\"version\":");
    text(&mut out, node.version());
    out.push_str(",\"metadata\":");
    map_or_null(&mut out, node.service_metadata());
    out.push_str(",\"endpoints\":");
    list_or_null(&mut out, node.endpoints(), endpoint);
    out.push_str(",\"nodes\":[{\"metadata\":");
    map_or_null(&mut out, node.metadata());
    out.push_str(",\"id\":");
    text(&mut out, node.id().as_str());
    out.push_str(",\"address\":");
    text(&mut out, node.address());
    out.push_str("}]}");
    out
}

fn endpoint(out: &mut String, endpoint: &Endpoint) {
    let Endpoint { name, request, response, metadata } = endpoint;
    out.push_str("{\"request\":");
    value_or_null(out, request.as_ref());
    out.push_str(",\"response\":");
    value_or_null(out, response.as_ref());
    // go-micro's servers allocate this map even when nothing goes into it, and only this one.
    out.push_str(",\"metadata\":");
    map(out, metadata);
    out.push_str(",\"name\":");
    text(out, name);
    out.push('}');
}

fn value_or_null(out: &mut String, shape: Option<&Value>) {
    match shape {
        Some(shape) => value(out, shape),
        None => out.push_str("null"),
    }
}

fn value(out: &mut String, shape: &Value) {
    let Value { name, kind, values } = shape;
    out.push_str("{\"name\":");
    text(out, name);
    out.push_str(",\"type\":");
    text(out, kind);
    out.push_str(",\"values\":");
    list_or_null(out, values, value);
    out.push('}');
}

fn list_or_null<T>(out: &mut String, items: &[T], item: impl Fn(&mut String, &T)) {
    if items.is_empty() {
        out.push_str("null");
        return;
    }
    out.push('[');
    for (index, each) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        item(out, each);
    }
    out.push(']');
}

fn map_or_null(out: &mut String, pairs: &Metadata) {
    if pairs.is_empty() {
        out.push_str("null");
    } else {
        map(out, pairs);
    }
}

fn map(out: &mut String, pairs: &Metadata) {
    out.push('{');
    for (index, (key, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        text(out, key);
        out.push(':');
        text(out, value);
    }
    out.push('}');
}

/// Go also escapes what would be unsafe inside of HTML and JavaScript.
fn text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            other => out.push(other),
        }
    }
    out.push('"');
}
