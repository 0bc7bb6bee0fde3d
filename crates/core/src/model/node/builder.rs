//! Putting a node's description together, and checking it.

use std::{sync::Arc, time::Duration};

use super::{Node, keys};
use crate::{
    error::{Error, Result},
    model::{Domain, Endpoint, Metadata, NodeId, ServiceName},
};

/// Most metadata pairs on a node or service.
const METADATA_PAIRS_MAX: usize = 64;
/// Most bytes in a key of metadata.
const METADATA_KEY_BYTES_MAX: usize = 128;
/// Most bytes in a value of metadata.
const METADATA_VALUE_BYTES_MAX: usize = 4096;

/// Collects what a [`Node`] says of itself. Made by [`Node::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct NodeBuilder {
    pub(super) domain: Result<Domain>,
    pub(super) service: String,
    pub(super) id: String,
    pub(super) address: String,
    pub(super) version: Option<String>,
    pub(super) metadata: Metadata,
    pub(super) service_metadata: Metadata,
    pub(super) endpoints: Arc<[Endpoint]>,
}

// === impl NodeBuilder ===

impl NodeBuilder {
    /// The namespace; [`Domain::DEFAULT`] when not called.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Domain::new(domain.into());
        self
    }

    /// The namespace, already checked.
    pub fn in_domain(mut self, domain: &Domain) -> Self {
        self.domain = Ok(domain.clone());
        self
    }

    /// The version; [`Node::VERSION_DEFAULT`] when not called, or called with nothing.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// One pair of metadata.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key, value);
        self
    }

    /// Many pairs of metadata at once, over those that are there.
    pub fn metadata_of(mut self, metadata: &Metadata) -> Self {
        merge(&mut self.metadata, metadata);
        self
    }

    /// One pair of the service's metadata.
    pub fn service_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.service_metadata.insert(key, value);
        self
    }

    /// Many pairs of the service's metadata at once, over those that are there.
    pub fn service_metadata_of(mut self, metadata: &Metadata) -> Self {
        merge(&mut self.service_metadata, metadata);
        self
    }

    /// Relative share of calls; 0 means none.
    pub fn weight(self, weight: u16) -> Self {
        self.metadata(keys::WEIGHT, weight.to_string())
    }

    /// Named subset of the service's nodes.
    pub fn group(self, group: impl Into<String>) -> Self {
        self.metadata(keys::GROUP, group)
    }

    /// Where it runs.
    pub fn zone(self, zone: impl Into<String>) -> Self {
        self.metadata(keys::ZONE, zone)
    }

    /// When its process started, since the Unix epoch.
    pub fn started(self, since_epoch: Duration) -> Self {
        self.metadata(keys::STARTED, since_epoch.as_millis().to_string())
    }

    /// The methods it offers.
    pub fn endpoints(mut self, endpoints: impl Into<Arc<[Endpoint]>>) -> Self {
        self.endpoints = endpoints.into();
        self
    }

    /// Checks everything a node registers with.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput): a name that breaks the rules, the domain `*`, an address that cannot
    /// be dialled, a weight that is not 0 to 65535, or metadata over the limits.
    pub fn build(self) -> Result<Node> {
        let node = self.build_as_read()?;
        node.dial_address()?;
        check_metadata("node", &node.metadata)?;
        check_metadata("service", &node.service_metadata)?;
        if let (Some(text), None) = (node.metadata.get(keys::WEIGHT), node.weight) {
            return Err(Error::invalid(
                "describe node",
                format!("the weight of {} is {text:?}, not a whole number from 0 to 65535", node.id),
            ));
        }
        Ok(node)
    }

    /// Takes an entry as somebody else wrote it: an address that is not `host:port` and a weight that is no number pass.
    ///
    /// For backends, which must show what they read. Names are checked all the same: without them there is no entry.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when a name breaks the rules.
    pub fn build_as_read(self) -> Result<Node> {
        let Self { domain, service, id, address, version, metadata, service_metadata, endpoints } = self;
        let domain = domain?;
        if domain.is_all() {
            return Err(Error::invalid(
                "describe node",
                "the domain * stands for all domains, so nothing can be registered in it",
            ));
        }
        let weight = metadata.get(keys::WEIGHT).and_then(weight_of);
        Ok(Node {
            domain,
            service: ServiceName::new(service)?,
            id: NodeId::new(id)?,
            address: address.into(),
            version: version
                .filter(|text| !text.is_empty())
                .map_or_else(|| Node::VERSION_DEFAULT.into(), Arc::from),
            metadata,
            service_metadata,
            endpoints,
            weight,
        })
    }
}

/// Digits and nothing else: `+5` is somebody's mistake.
fn weight_of(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn merge(metadata: &mut Metadata, more: &Metadata) {
    if metadata.is_empty() {
        *metadata = more.clone();
    } else {
        metadata.extend(more.iter());
    }
}

fn check_metadata(whose: &str, metadata: &Metadata) -> Result<()> {
    let problem = if metadata.len() > METADATA_PAIRS_MAX {
        format!("{} pairs, and {METADATA_PAIRS_MAX} is the most", metadata.len())
    } else if metadata.contains_key("") {
        "an empty key".to_owned()
    } else if let Some(key) = metadata.keys().find(|key| key.len() > METADATA_KEY_BYTES_MAX) {
        format!("the key {key:.20}… of {} bytes, and {METADATA_KEY_BYTES_MAX} is the most", key.len())
    } else if let Some((key, value)) = metadata.iter().find(|(_, v)| v.len() > METADATA_VALUE_BYTES_MAX) {
        format!("{} bytes under {key}, and {METADATA_VALUE_BYTES_MAX} is the most", value.len())
    } else {
        return Ok(());
    };
    Err(Error::invalid("describe node", format!("the {whose}'s metadata has {problem}")))
}
