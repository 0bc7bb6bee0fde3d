//! Reading, with more patience than Go's.

use std::{borrow::Cow, collections::HashSet, hash::Hash, net::Ipv6Addr, sync::Arc};

use serde_json::{Map, Value as Json};

use crate::{
    error::{Error, ErrorKind, Result},
    model::{Domain, Endpoint, Metadata, Node, Value},
};

/// How deep the shapes of messages are read; go-micro writes three levels.
const SHAPE_DEPTH_MAX: usize = 16;

/// How many distinct values a [`Decoder`] keeps before it looks for those that nobody uses any more.
const SHARED_MIN: usize = 64;

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
    endpoints: Pool<Arc<[Endpoint]>>,
    metadata: Pool<Metadata>,
}

/// Values of which each is kept once.
#[derive(Debug)]
struct Pool<T> {
    values: HashSet<T>,
    /// The size at which the pool is cleaned.
    full: usize,
}

/// A handle on a value that many may hold.
trait Shared: Clone + Eq + Hash {
    /// Whether anybody but the pool holds it.
    fn in_use(&self) -> bool;
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
        let json: Json = serde_json::from_slice(bytes)
            .map_err(|error| corrupt(format!("{} bytes are not JSON", bytes.len())).with_source(error))?;
        let Json::Object(service) = json else {
            return Err(corrupt(format!("it is {}, not an object", kind_of(&json))));
        };
        let name = match field(&service, "name") {
            Json::String(name) if !name.is_empty() => name,
            other => return Err(corrupt(format!("its service's name is {}", kind_of(other)))),
        };
        let version = field(&service, "version").as_str();
        let service_metadata = self.metadata.share(metadata(field(&service, "metadata")));
        let endpoints: Vec<_> = objects(field(&service, "endpoints")).map(endpoint).collect();
        let endpoints = self.endpoints.share(endpoints.into());

        let mut entry = Entry { nodes: Vec::new(), skipped: Vec::new() };
        let Json::Array(nodes) = field(&service, "nodes") else { return Ok(entry) };
        for json in nodes {
            let node = node(json, name).and_then(|builder| {
                let builder = builder.in_domain(domain).service_metadata_of(&service_metadata);
                let builder = version.into_iter().fold(builder, |builder, text| builder.version(text));
                builder.endpoints(endpoints.clone()).build_as_read()
            });
            match node {
                Ok(mut node) => {
                    node.share(|text| self.texts.share(text), |metadata| self.metadata.share(metadata));
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
        let Self { texts, endpoints, metadata } = self;
        texts.values.len() + endpoints.values.len() + metadata.values.len()
    }
}

// === impl Pool ===

impl<T: Shared> Pool<T> {
    fn share(&mut self, value: T) -> T {
        if let Some(kept) = self.values.get(&value) {
            return kept.clone();
        }
        if self.values.len() >= self.full {
            self.values.retain(Shared::in_use);
            self.full = (self.values.len() * 2).max(SHARED_MIN);
        }
        self.values.insert(value.clone());
        value
    }
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { values: HashSet::new(), full: SHARED_MIN }
    }
}

impl<T: ?Sized> Shared for Arc<T>
where
    Self: Eq + Hash,
{
    fn in_use(&self) -> bool {
        Self::strong_count(self) > 1
    }
}

impl Shared for Metadata {
    fn in_use(&self) -> bool {
        self.is_shared()
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

/// A node's own fields. What is missing is empty, which only the id may not be.
fn node(json: &Json, service: &str) -> Result<crate::model::NodeBuilder> {
    let Json::Object(node) = json else {
        return Err(corrupt(format!("a node of {service} is {}, not an object", kind_of(json))));
    };
    let id = field(node, "id").as_str().unwrap_or_default();
    let address = field(node, "address").as_str().unwrap_or_default();
    let address = match field(node, "port").as_u64() {
        Some(port) if port > 0 => with_port(address, port),
        _ => Cow::Borrowed(address),
    };
    Ok(Node::builder(service, id, address).metadata_of(&metadata(field(node, "metadata"))))
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

fn endpoint(json: &Map<String, Json>) -> Endpoint {
    Endpoint {
        name: field(json, "name").as_str().unwrap_or_default().to_owned(),
        request: field(json, "request").as_object().map(|json| shape(json, SHAPE_DEPTH_MAX)),
        response: field(json, "response").as_object().map(|json| shape(json, SHAPE_DEPTH_MAX)),
        metadata: metadata(field(json, "metadata")),
    }
}

fn shape(json: &Map<String, Json>, depth: usize) -> Value {
    let values = if depth == 0 { &Json::Null } else { field(json, "values") };
    Value {
        name: field(json, "name").as_str().unwrap_or_default().to_owned(),
        kind: field(json, "type").as_str().unwrap_or_default().to_owned(),
        values: objects(values).map(|json| shape(json, depth.saturating_sub(1))).collect(),
    }
}

/// Text is what belongs there; numbers and booleans, which people write by hand, are taken as their text.
fn metadata(json: &Json) -> Metadata {
    let Json::Object(pairs) = json else { return Metadata::new() };
    pairs
        .iter()
        .filter_map(|(key, value)| match value {
            Json::String(text) => Some((key.clone(), text.clone())),
            Json::Number(number) => Some((key.clone(), number.to_string())),
            Json::Bool(flag) => Some((key.clone(), flag.to_string())),
            Json::Null | Json::Array(_) | Json::Object(_) => None,
        })
        .collect()
}

/// A field by its name, else by its name in any other case, else `null`.
fn field<'a>(object: &'a Map<String, Json>, name: &str) -> &'a Json {
    let any_case = || object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    object.get(name).or_else(any_case).unwrap_or(&Json::Null)
}

fn objects(json: &Json) -> impl Iterator<Item = &Map<String, Json>> {
    json.as_array().into_iter().flatten().filter_map(Json::as_object)
}

fn kind_of(json: &Json) -> &'static str {
    match json {
        Json::Null => "missing",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(text) if text.is_empty() => "empty",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

fn corrupt(message: String) -> Error {
    Error::new(ErrorKind::Corrupt, "read registry entry", message)
}
