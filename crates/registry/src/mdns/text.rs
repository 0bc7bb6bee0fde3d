//! What an entry's text record says: go-micro's JSON, packed with zlib, in hexadecimal digits.
//!
//! Four fields are go-micro's: `Metadata`, `Service`, `Version` and `Endpoints`. A fifth one, `Callsign`, which go-micro
//! passes over, is written by us alone: it holds what go-micro's entry has no place for, and the [`Stamp`].

use std::fmt;

use callsign_core::{
    Domain, Node,
    error::{Error, ErrorKind, Result},
    model::wire,
};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// How well texts are packed: zlib's usual level, which is go-micro's.
const ZLIB_LEVEL: u8 = 6;
/// The most that a text may unpack to. Packed, it fits into a datagram.
const UNPACKED_BYTES_MAX: usize = 256 * 1024;
const OP: &str = "read registry entry";

/// Who said something, and when in the order of what they said. Packets come by many ways, and some of them late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    /// One registry handle, by a number drawn at random.
    pub(super) owner: u64,
    /// Grows with everything that this owner says of the node.
    pub(super) revision: u64,
}

/// What of a node its DNS records cannot say.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Beside {
    /// Its id is hashed in its name.
    pub(super) id: bool,
    /// It has an address that is no IP address, or not written as usual.
    pub(super) address: bool,
    pub(super) stamp: Option<Stamp>,
}

/// A text that was read, its parts still JSON.
#[derive(Debug, Default)]
pub(super) struct Text {
    pub(super) service: String,
    pub(super) domain: Option<String>,
    pub(super) id: Option<String>,
    pub(super) address: Option<String>,
    pub(super) stamp: Option<Stamp>,
    version: Option<Box<RawValue>>,
    metadata: Option<Box<RawValue>>,
    endpoints: Option<Box<RawValue>>,
    service_metadata: Option<Box<RawValue>>,
}

/// An object's fields, as they are written.
struct Fields(Vec<(String, Box<RawValue>)>);

/// The text of a node.
pub(super) fn encode(node: &Node, beside: Beside) -> Vec<u8> {
    let packed = miniz_oxide::deflate::compress_to_vec_zlib(json(node, beside).as_bytes(), ZLIB_LEVEL);
    let digit = |half: u8| b"0123456789abcdef"[usize::from(half)];
    packed.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The same before it is packed.
pub(super) fn json(node: &Node, beside: Beside) -> String {
    // The entry as other registries have it brings every part in the spelling that go-micro gives it.
    let entry = wire::encode(node);
    let entry = Fields::read(&entry).unwrap_or_else(|| unreachable!("an entry of our own"));
    let nodes: Vec<Box<RawValue>> =
        entry.get("nodes").and_then(|nodes| serde_json::from_str(nodes.get()).ok()).unwrap_or_default();
    let own = nodes.first().and_then(|node| Fields::read(node.get())).unwrap_or(Fields(Vec::new()));
    let raw = |fields: &Fields, name| fields.get(name).map_or("null", RawValue::get).to_owned();
    let mut text = format!(
        "{{\"Metadata\":{},\"Service\":{},\"Version\":{},\"Endpoints\":{}",
        raw(&own, "metadata"),
        raw(&entry, "name"),
        raw(&entry, "version"),
        raw(&entry, "endpoints"),
    );
    let mut more = Vec::new();
    if let Some(Stamp { owner, revision }) = beside.stamp {
        more.push(format!("\"Owner\":\"{owner:016x}\",\"Revision\":{revision}"));
    }
    if beside.id {
        more.push(format!("\"Id\":{}", raw(&own, "id")));
    }
    if beside.address {
        more.push(format!("\"Address\":{}", raw(&own, "address")));
    }
    if *node.domain() != Domain::default() {
        more.push(format!("\"Domain\":{}", serde_json::json!(node.domain().as_str())));
    }
    if !node.service_metadata().is_empty() {
        more.push(format!("\"Metadata\":{}", raw(&entry, "metadata")));
    }
    if !more.is_empty() {
        text.push_str(&format!(",\"Callsign\":{{{}}}", more.join(",")));
    }
    text.push('}');
    text
}

/// Reads a text.
pub(super) fn decode(text: &[u8]) -> Result<Text> {
    let packed = unhex(text).ok_or_else(|| corrupt("its text is not made of hexadecimal digits"))?;
    let json = miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(&packed, UNPACKED_BYTES_MAX)
        .map_err(|error| corrupt("its text cannot be unpacked").with_source(error.to_string()))?;
    let json = String::from_utf8(json).map_err(|_| corrupt("its text is not UTF-8"))?;
    let fields = Fields::read(&json).ok_or_else(|| corrupt("its text is not a JSON object"))?;
    let more = fields.get("callsign").and_then(|more| Fields::read(more.get()));
    let more = more.unwrap_or(Fields(Vec::new()));
    Ok(Text {
        service: fields
            .text("service")
            .filter(|name| !name.is_empty())
            .ok_or_else(|| corrupt("its text names no service"))?,
        domain: more.text("domain"),
        id: more.text("id"),
        address: more.text("address"),
        stamp: more.stamp(),
        version: fields.take("version"),
        metadata: fields.take("metadata"),
        endpoints: fields.take("endpoints"),
        service_metadata: more.take("metadata"),
    })
}

// === impl Text ===

impl Text {
    /// The node that it describes.
    pub(super) fn node(
        &self,
        domain: &Domain,
        id: &str,
        address: &str,
        decoder: &mut wire::Decoder,
    ) -> Result<Node> {
        let raw = |value: &Option<Box<RawValue>>| {
            value.as_ref().map_or_else(|| "null".to_owned(), |value| value.get().to_owned())
        };
        let entry = format!(
            "{{\"name\":{},\"version\":{},\"metadata\":{},\"endpoints\":{},\"nodes\":[{{\"metadata\":{},\"id\":{},\"address\":{}}}]}}",
            serde_json::json!(self.service),
            raw(&self.version),
            raw(&self.service_metadata),
            raw(&self.endpoints),
            raw(&self.metadata),
            serde_json::json!(id),
            serde_json::json!(address),
        );
        let mut entry = decoder.decode(entry.as_bytes(), domain)?;
        match entry.nodes.pop() {
            Some(node) => Ok(node),
            None => Err(entry.skipped.pop().unwrap_or_else(|| corrupt("it describes no node"))),
        }
    }
}

// === impl Fields ===

impl Fields {
    fn read(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// A field by its name in any case, as Go reads them.
    fn get(&self, name: &str) -> Option<&RawValue> {
        let found = self.0.iter().rfind(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(&found.1)
    }

    fn take(&self, name: &str) -> Option<Box<RawValue>> {
        self.get(name).map(ToOwned::to_owned)
    }

    fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    fn stamp(&self) -> Option<Stamp> {
        let owner = u64::from_str_radix(&self.text("owner")?, 16).ok()?;
        let revision = serde_json::from_str(self.get("revision")?.get()).ok()?;
        Some(Stamp { owner, revision })
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyFields;

        impl<'de> Visitor<'de> for AnyFields {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(AnyFields)
    }
}

// === free functions ===

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let half = |digit: u8| char::from(digit).to_digit(16).map(|half| half as u8);
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() || pairs.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(half(*high)? << 4 | half(*low)?)).collect()
}

fn corrupt(message: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, OP, message)
}
