//! A node: one running instance of a service, and one entry of a registry.

mod builder;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

pub use self::builder::NodeBuilder;
use super::{Address, Domain, Endpoint, Metadata, NodeId, NodeKey, ServiceName};
use crate::error::Result;

/// The metadata keys in which a node says what go-micro's entry has no field for.
pub mod keys {
    /// Relative share of calls, 0 to 65535; absent means "as much as the others".
    pub const WEIGHT: &str = "weight";
    /// A named subset of a service's nodes.
    pub const GROUP: &str = "group";
    /// Where the node runs: `eu-1a`.
    pub const ZONE: &str = "zone";
    /// When the node's process started, in milliseconds since the Unix epoch.
    pub const STARTED: &str = "started";
    /// What it speaks: `grpc` for ours.
    pub const PROTOCOL: &str = "protocol";
    /// `true` for a node that is to be spoken to in TLS, as go-micro's HTTP broker writes it.
    pub const SECURE: &str = "secure";
}

/// One running instance of a service, as registered.
#[derive(Clone, PartialEq)]
pub struct Node {
    domain: Domain,
    service: ServiceName,
    id: NodeId,
    address: Box<str>,
    version: Arc<str>,
    metadata: Metadata,
    service_metadata: Metadata,
    endpoints: Arc<[Endpoint]>,
    /// Read off the metadata once, because selection asks for it again and again.
    weight: Option<u16>,
}

// === impl Node ===

impl Node {
    /// The version of a node that names none; go-micro's.
    pub const VERSION_DEFAULT: &str = "latest";

    /// Starts the description of a node.
    ///
    /// ```
    /// use callsign_core::Node;
    ///
    /// let node = Node::builder("greeter", "greeter-1", "127.0.0.1:4000")
    ///     .version("1.2.0")
    ///     .weight(50)
    ///     .group("blue")
    ///     .build()?;
    /// assert_eq!(node.weight(), Some(50));
    /// assert_eq!(node.key().to_string(), "micro/greeter/greeter-1");
    /// # Ok::<(), callsign_core::Error>(())
    /// ```
    pub fn builder(
        service: impl Into<String>,
        id: impl Into<String>,
        address: impl Into<String>,
    ) -> NodeBuilder {
        NodeBuilder {
            domain: Ok(Domain::default()),
            service: service.into(),
            id: id.into(),
            address: address.into(),
            version: None,
            metadata: Metadata::new(),
            service_metadata: Metadata::new(),
            endpoints: Arc::new([]),
        }
    }

    /// The namespace.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The service it is an instance of.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// Its identity within the service.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// What identifies its entry in a registry.
    #[must_use]
    pub fn key(&self) -> NodeKey {
        NodeKey { domain: self.domain.clone(), service: self.service.clone(), id: self.id.clone() }
    }

    /// The address as registered. With go-micro's transports that are not IP it is a queue's name.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The address as host and port.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when it cannot be dialled.
    pub fn dial_address(&self) -> Result<Address> {
        self.address.parse()
    }

    /// The version it runs.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What it says of itself.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// What it says of its service; go-micro's servers leave it empty.
    #[must_use]
    pub fn service_metadata(&self) -> &Metadata {
        &self.service_metadata
    }

    /// The methods it offers.
    #[must_use]
    pub fn endpoints(&self) -> &Arc<[Endpoint]> {
        &self.endpoints
    }

    /// Its relative share of calls. `None` means unknown (taken as the mean of the others), `Some(0)` means none.
    #[must_use]
    pub fn weight(&self) -> Option<u16> {
        self.weight
    }

    /// Its group.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        self.metadata.get(keys::GROUP)
    }

    /// Its zone.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        self.metadata.get(keys::ZONE)
    }

    /// When its process started, since the Unix epoch.
    #[must_use]
    pub fn started(&self) -> Option<Duration> {
        self.metadata.get(keys::STARTED)?.parse().ok().map(Duration::from_millis)
    }

    /// Starts a description that says all that this node says, to change some of it.
    ///
    /// ```
    /// use callsign_core::Node;
    ///
    /// let node = Node::builder("greeter", "greeter-1", "127.0.0.1:4000").zone("a").build()?;
    /// let lighter = node.to_builder().weight(1).build()?;
    /// assert_eq!((lighter.weight(), lighter.zone()), (Some(1), Some("a")));
    /// # Ok::<(), callsign_core::Error>(())
    /// ```
    pub fn to_builder(&self) -> NodeBuilder {
        let Self { domain, service, id, address, version, metadata, service_metadata, endpoints, weight: _ } =
            self.clone();
        NodeBuilder {
            domain: Ok(domain),
            service: service.into(),
            id: id.into(),
            address: address.into(),
            version: Some((*version).into()),
            metadata,
            service_metadata,
            endpoints,
        }
    }

    /// Replaces texts by equal ones that are kept already.
    pub(super) fn share(&mut self, mut text: impl FnMut(Arc<str>) -> Arc<str>) {
        self.service.share(&mut text);
        self.version = text(self.version.clone());
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, service, id, address, version, metadata, service_metadata, endpoints, weight: _ } =
            self;
        f.debug_struct("Node")
            .field("domain", domain)
            .field("service", service)
            .field("id", id)
            .field("address", address)
            .field("version", version)
            .field("metadata", metadata)
            .field("service_metadata", service_metadata)
            .field("endpoints", &endpoints.len())
            .finish()
    }
}
