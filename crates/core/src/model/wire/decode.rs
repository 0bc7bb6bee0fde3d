//! Reading, with more patience than Go's.

use std::{borrow::Cow, net::Ipv6Addr, sync::Arc};

use serde_json::value::RawValue;

use super::{
    fields::{Field, Fields},
    pool::{Pool, Shape},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Domain, Endpoint, Metadata, Node, NodeBuilder},
};

/// What one entry of a registry holds.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The nodes, in the order in which they were written.
    pub nodes: Vec<Node>,
    /// Why each node that could not be understood is not among them.
    pub skipped: Vec<Error>,
}

/// Reads many entries, keeping once what they have in common.
///
/// It holds on to what it has shared until it has seen twice as much again, and then lets go of what no node uses.
///
/// ```
/// use std::sync::Arc;
/// use callsign_core::{Domain, model::wire::Decoder};
///
/// let mut decoder = Decoder::default();
/// let one = br#"{"name":"greeter","endpoints":[{"name":"Greeter.Hello"}],"nodes":[{"id":"1","address":"a:1"}]}"#;
/// let two = br#"{"name":"greeter","endpoints":[{"name":"Greeter.Hello"}],"nodes":[{"id":"2","address":"a:2"}]}"#;
/// let (one, two) = (decoder.decode(one, &Domain::default())?, decoder.decode(two, &Domain::default())?);
/// assert!(Arc::ptr_eq(one.nodes[0].endpoints(), two.nodes[0].endpoints()));
/// # Ok::<(), callsign_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Decoder {
    texts: Pool<Arc<str>>,
    shapes: Pool<Shape>,
    metadata: Pool<Metadata>,
}

// === impl Decoder ===

impl Decoder {
    /// Reads one entry.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](ErrorKind::Corrupt) when `bytes` are no JSON object or name no service. A node inside that cannot be
    /// understood is no error: it is left out and said in [`Entry::skipped`].
    pub fn decode(&mut self, bytes: &[u8], domain: &Domain) -> Result<Entry> {
        let json: &RawValue = serde_json::from_slice(bytes)
            .map_err(|error| corrupt(format!("{} bytes are not JSON", bytes.len())).with_source(error))?;
        let json = Field::of(json);
        let Some(service) = json.fields() else {
            return Err(corrupt(format!("it is {}, not an object", json.kind())));
        };
        let name = service.get("name");
        let Some(name) = name.text().filter(|name| !name.is_empty()) else {
            return Err(corrupt(format!("its service's name is {}", name.kind())));
        };
        let version = service.get("version").text().unwrap_or_default();
        let metadata = self.metadata(&service);
        let endpoints = self.endpoints(service.get("endpoints"));

        let mut entry = Entry { nodes: Vec::new(), skipped: Vec::new() };
        for json in service.get("nodes").list() {
            let node = self.node(json, &name).and_then(|builder| {
                let builder = builder.in_domain(domain).version(&*version).service_metadata_of(&metadata);
                builder.endpoints(endpoints.clone()).build_as_read()
            });
            match node {
                Ok(mut node) => {
                    node.share(|text| self.texts.share(&*text, || text.clone()));
                    entry.nodes.push(node);
                }
                Err(error) => entry.skipped.push(error),
            }
        }
        Ok(entry)
    }

    /// How many values are kept to be shared.
    #[must_use]
    pub fn shared(&self) -> usize {
        let Self { texts, shapes, metadata } = self;
        texts.len() + shapes.len() + metadata.len()
    }

    /// A node's own fields. What is missing is empty, which only the id may not be.
    fn node(&mut self, json: Field<'_>, service: &str) -> Result<NodeBuilder> {
        let Some(node) = json.fields() else {
            return Err(corrupt(format!("a node of {service} is {}, not an object", json.kind())));
        };
        let id = node.get("id").text().unwrap_or_default();
        let address = node.get("address").text().unwrap_or_default();
        let address = match node.get("port").number() {
            Some(port) if port > 0 => with_port(&address, port),
            _ => Cow::Owned(address),
        };
        Ok(Node::builder(service, id, address).metadata_of(&self.metadata(&node)))
    }

    fn metadata(&mut self, of: &Fields<'_>) -> Metadata {
        let metadata = of.get("metadata").metadata();
        self.metadata.share(&metadata, || metadata.clone())
    }

    fn endpoints(&mut self, json: Field<'_>) -> Arc<[Endpoint]> {
        let read = || Shape { text: json.raw().into(), endpoints: json.endpoints().into() };
        self.shapes.share(json.raw(), read).endpoints
    }
}

/// Reads one entry; [`Decoder::decode`] is the one to read many with.
///
/// # Errors
///
/// [`Corrupt`](ErrorKind::Corrupt) when `bytes` are no JSON object or name no service.
pub fn decode(bytes: &[u8], domain: &Domain) -> Result<Entry> {
    Decoder::default().decode(bytes, domain)
}

/// Joins the separate port of entries written before go-micro v1.8, unless the address has one.
fn with_port(address: &str, port: u64) -> Cow<'_, str> {
    if address.parse::<Ipv6Addr>().is_ok() {
        Cow::Owned(format!("[{address}]:{port}"))
    } else if address.ends_with(']') || !address.contains(':') {
        Cow::Owned(format!("{address}:{port}"))
    } else {
        Cow::Borrowed(address)
    }
}

fn corrupt(message: String) -> Error {
    Error::new(ErrorKind::Corrupt, "read registry entry", message)
}
