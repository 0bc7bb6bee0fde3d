//! What an entry says: go-micro's JSON, and the domain in its metadata where its layout has one.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use callsign_core::{
    Domain, Node,
    error::{Error, ErrorKind, Result},
    model::{
        Metadata,
        wire::{self, Decoder},
    },
};

use super::keys::{self, Place};

/// The key of metadata under which go-micro keeps an entry's domain.
const DOMAIN: &str = "domain";
/// Domains whose names are kept.
const DOMAINS_MAX: usize = 1024;
/// Complaints that are remembered.
const COMPLAINTS_MAX: usize = 1024;

/// Reads entries, and keeps once what they have in common.
#[derive(Debug, Default)]
pub(super) struct Reader(Mutex<Shared>);

#[derive(Debug, Default)]
struct Shared {
    decoder: Decoder,
    /// Domains by how they are written in keys.
    domains: HashMap<String, Domain>,
    /// The keys of what could not be understood, and what was wrong: each is said once.
    complaints: HashMap<Vec<u8>, String>,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) nodes: Vec<Node>,
    /// Why something in it could not be understood.
    pub(super) poison: Option<Error>,
}

/// Writes a node's entry.
///
/// # Errors
///
/// `InvalidInput` when the node cannot be written so that it is read back as it is.
pub(super) fn encode(op: &'static str, node: &Node) -> Result<String> {
    if *node.domain() == Domain::default() {
        return Ok(wire::encode(node));
    }
    if node.metadata().contains_key(DOMAIN) || node.service_metadata().contains_key(DOMAIN) {
        return Err(Error::invalid(
            op,
            format!(
                "the metadata of {} has a `{DOMAIN}`, and in etcd that is where its domain is kept",
                node.key()
            ),
        )
        .with_hint("choose another key for it"));
    }
    let domain = node.domain().as_str();
    let marked = node.to_builder().metadata(DOMAIN, domain).service_metadata(DOMAIN, domain);
    Ok(wire::encode(&marked.build_as_read()?))
}

// === impl Reader ===

impl Reader {
    /// Reads many entries, keys and values, under one lock.
    pub(super) fn read_all<'a>(
        &self,
        entries: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        mut then: impl FnMut(&'a [u8], Read),
    ) {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in entries {
            then(key, shared.read_and_complain(key, value));
        }
    }

    /// Reads one entry.
    pub(super) fn read(&self, key: &[u8], value: &[u8]) -> Read {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read_and_complain(key, value)
    }
}

// === impl Shared ===

impl Shared {
    fn read_and_complain(&mut self, key: &[u8], value: &[u8]) -> Read {
        let read = self.read(key, value);
        match &read.poison {
            Some(error) => self.complain(key, &error.chain()),
            None if self.complaints.is_empty() => {}
            None => {
                self.complaints.remove(key);
            }
        }
        read
    }

    fn complain(&mut self, key: &[u8], error: &str) {
        if self.complaints.get(key).is_some_and(|known| known == error) {
            return;
        }
        let shown = String::from_utf8_lossy(key);
        // Past so many there is no telling which are new.
        if self.complaints.len() >= COMPLAINTS_MAX {
            tracing::debug!(key = %shown, error, "entry not understood; skipped");
            return;
        }
        tracing::warn!(key = %shown, error, "entry not understood; skipped");
        self.complaints.insert(key.to_owned(), error.to_owned());
    }

    fn read(&mut self, key: &[u8], value: &[u8]) -> Read {
        let Some(place) = keys::place(key) else {
            let message = "its key is in neither of the layouts of go-micro";
            return Read::poisoned(Error::new(ErrorKind::Corrupt, "read registry entry", message));
        };
        let domain = match place.domain {
            None => Domain::default(),
            Some(part) => match self.domain(part) {
                Ok(domain) => domain,
                Err(error) => return Read::poisoned(error),
            },
        };
        match self.decoder.decode(value, &domain) {
            Ok(entry) => {
                let mut poison = entry.skipped.into_iter().next();
                let homed = entry.nodes.into_iter().filter_map(|node| match home(node, &place) {
                    Ok(node) => Some(node),
                    Err(error) => {
                        poison = Some(error);
                        None
                    }
                });
                let nodes = homed.collect();
                Read { nodes, poison }
            }
            Err(error) => Read::poisoned(error),
        }
    }

    fn domain(&mut self, part: &str) -> Result<Domain> {
        if part == Domain::DEFAULT {
            return Ok(Domain::default());
        }
        if let Some(domain) = self.domains.get(part) {
            return Ok(domain.clone());
        }
        let domain = Domain::new(part)?;
        if self.domains.len() < DOMAINS_MAX {
            self.domains.insert(part.to_owned(), domain.clone());
        }
        Ok(domain)
    }
}

// === impl Read ===

impl Read {
    fn poisoned(error: Error) -> Self {
        Self { nodes: Vec::new(), poison: Some(error) }
    }
}

/// Takes the domain out of the metadata of an entry that has one in its key.
fn home(node: Node, place: &Place<'_>) -> Result<Node> {
    let Some(part) = place.domain else { return Ok(node) };
    let Some(named) = node.metadata().get(DOMAIN).filter(|named| keys::is_written(named, part)) else {
        return Ok(node);
    };
    let builder = Node::builder(node.service().as_str(), node.id().as_str(), node.address())
        .version(node.version())
        .metadata_of(&without_domain(node.metadata(), named))
        .service_metadata_of(&without_domain(node.service_metadata(), named))
        .endpoints(node.endpoints().clone());
    let builder =
        if node.domain() == named { builder.in_domain(node.domain()) } else { builder.domain(named) };
    builder.build_as_read()
}

fn without_domain(metadata: &Metadata, domain: &str) -> Metadata {
    metadata.iter().filter(|pair| *pair != (DOMAIN, domain)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str, value: &str) -> Read {
        Reader::default().read(key.as_bytes(), value.as_bytes())
    }

    #[test]
    fn an_entry_of_the_default_domain_is_go_micros_to_the_byte() {
        let node =
            Node::builder("a/b", "a/b-1", "10.0.0.1:8080").version("1.0.0").metadata("protocol", "mucp");
        let text = encode("test", &node.build().unwrap()).unwrap();
        assert_eq!(
            text,
            r#"{"name":"a/b","version":"1.0.0","metadata":null,"endpoints":null,"nodes":[{"metadata":{"protocol":"mucp"},"id":"a/b-1","address":"10.0.0.1:8080"}]}"#
        );
    }

    #[test]
    fn a_domain_is_kept_in_the_metadata_and_read_back_from_there() {
        let node =
            Node::builder("greeter", "1", "10.0.0.1:1").domain("f/o").metadata("x", "y").build().unwrap();
        let text = encode("test", &node).unwrap();
        assert_eq!(
            text,
            r#"{"name":"greeter","version":"latest","metadata":{"domain":"f/o"},"endpoints":null,"nodes":[{"metadata":{"domain":"f/o","x":"y"},"id":"1","address":"10.0.0.1:1"}]}"#
        );
        assert_eq!(read("/micro/registry/f-o/greeter/1", &text).nodes, [node]);
    }

    #[test]
    fn the_default_domain_is_read_in_the_layout_with_domains_too() {
        let text = r#"{"name":"greeter","metadata":{"domain":"micro"},"nodes":[{"id":"1","address":"a:1","metadata":{"domain":"micro"}}]}"#;
        let read = read("/micro/registry/micro/greeter/1", text);
        assert_eq!(read.nodes, [Node::builder("greeter", "1", "a:1").build().unwrap()]);
    }

    #[test]
    fn metadata_of_that_name_means_nothing_where_the_layout_has_no_domain() {
        let node = Node::builder("greeter", "1", "a:1").metadata("domain", "shop").build().unwrap();
        let text = encode("test", &node).unwrap();
        assert_eq!(read("/micro/registry/greeter/1", &text).nodes, std::slice::from_ref(&node));
        let elsewhere = node.to_builder().domain("shop").build().unwrap();
        assert_eq!(encode("test", &elsewhere).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn what_cannot_be_understood_is_said() {
        for (key, value, said) in [
            ("/micro/registry/greeter/1", "garbage", "not JSON"),
            ("/micro/registry/greeter", "{}", "layouts"),
            ("/micro/registry/*/greeter/1", r#"{"name":"greeter","nodes":[{"id":"1"}]}"#, "domain *"),
            ("/micro/registry/greeter/1", r#"{"name":"greeter","nodes":[{"id":""}]}"#, "empty"),
        ] {
            let read = read(key, value);
            assert!(read.nodes.is_empty(), "{key}");
            assert!(read.poison.unwrap().chain().contains(said), "{key}");
        }
    }
}
