//! A node: one running instance of a service, and one entry of a registry.

use std::{fmt, net::SocketAddr, str::FromStr, sync::Arc, time::Duration};

use super::{Domain, Endpoint, Metadata, NodeId, NodeKey, ServiceName};
use crate::error::{Error, Result};

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

/// `host:port`, checked: what a node can be reached at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    host: Box<str>,
    port: u16,
}

/// Collects what a [`Node`] says of itself. Made by [`Node::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct NodeBuilder {
    domain: Result<Domain>,
    service: String,
    id: String,
    address: String,
    version: Option<String>,
    metadata: Metadata,
    service_metadata: Metadata,
    endpoints: Arc<[Endpoint]>,
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
}

impl Node {
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

    /// Replaces texts and metadata by equal ones that are kept already.
    pub(super) fn share(
        &mut self,
        mut text: impl FnMut(Arc<str>) -> Arc<str>,
        mut metadata: impl FnMut(Metadata) -> Metadata,
    ) {
        self.service.share(&mut text);
        self.version = text(self.version.clone());
        self.metadata = metadata(std::mem::take(&mut self.metadata));
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
        let weight = metadata.get(keys::WEIGHT).and_then(|text| text.parse().ok());
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

fn merge(metadata: &mut Metadata, more: &Metadata) {
    if metadata.is_empty() {
        *metadata = more.clone();
    } else {
        metadata.extend(more.iter());
    }
}

/// Most metadata pairs on a node or service, and most bytes in one of their keys and values.
const METADATA_PAIRS_MAX: usize = 64;
const METADATA_KEY_BYTES_MAX: usize = 128;
const METADATA_VALUE_BYTES_MAX: usize = 4096;

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

// === impl Address ===

impl Address {
    /// The host: a name, an IPv4 address, or an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never 0.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The socket address, when the host is an IP address and needs no look-up.
    #[must_use]
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.host.parse().ok()?, self.port))
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let problem = match split(text) {
            _ if text.contains('/') => "it holds a slash, and no scheme or path belongs here",
            Some(("", _)) => "there is no host",
            Some((host, _)) if host.contains(|c: char| c.is_whitespace() || c.is_control()) => {
                "the host holds a space or a control character"
            }
            Some((host, port)) => match port.parse::<u16>() {
                Ok(0) => "port 0 is no place to call",
                Ok(port) if port.to_string().len() == text.len() - text.rfind(':').map_or(0, |at| at + 1) => {
                    return Ok(Self { host: host.into(), port });
                }
                _ => "the port is not a number from 1 to 65535",
            },
            None => "there is no port",
        };
        Err(Error::invalid("read address", format!("{text:?} is not host:port: {problem}"))
            .with_hint("write it like 10.0.0.5:8080 or [fd00::5]:8080"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Splits `host:port`; an IPv6 host must stand in brackets, and loses them.
fn split(text: &str) -> Option<(&str, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once("]:");
    }
    let (host, port) = text.rsplit_once(':')?;
    (!host.contains(':')).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_back() {
        for text in ["10.0.0.5:8080", "[fd00::5]:8080", "greeter.local:1", "localhost:65535"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("[fd00::5]:80".parse::<Address>().unwrap().host(), "fd00::5");
    }

    #[test]
    fn a_bad_address_says_what_is_wrong_with_it() {
        for (text, said) in [
            ("localhost", "no port"),
            (":80", "no host"),
            ("a:0", "port 0"),
            ("a:70000", "not a number"),
            ("a:+80", "not a number"),
            ("fd00::5:80", "no port"),
            ("http://a:80", "slash"),
            ("", "no port"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.to_string().contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn weights_are_unknown_zero_or_a_number_and_nothing_else() {
        let node = |weight: Option<&str>| {
            let builder = Node::builder("greeter", "greeter-1", "127.0.0.1:1");
            match weight {
                Some(weight) => builder.metadata(keys::WEIGHT, weight),
                None => builder,
            }
        };
        assert_eq!(node(None).build().unwrap().weight(), None);
        assert_eq!(node(Some("0")).build().unwrap().weight(), Some(0));
        assert_eq!(node(Some("65535")).build().unwrap().weight(), Some(65535));
        for bad in ["-1", "NaN", "1.5", "65536", ""] {
            assert!(node(Some(bad)).build().is_err(), "{bad}");
            assert_eq!(node(Some(bad)).build_as_read().unwrap().weight(), None);
        }
    }

    #[test]
    fn metadata_has_bounds() {
        let mut builder = Node::builder("greeter", "greeter-1", "127.0.0.1:1");
        for n in 0..65 {
            builder = builder.metadata(format!("k{n}"), "");
        }
        assert!(builder.build().unwrap_err().to_string().contains("65 pairs"));
        let long = Node::builder("greeter", "greeter-1", "127.0.0.1:1").metadata("k", "x".repeat(4097));
        assert!(long.build().unwrap_err().to_string().contains("4097 bytes under k"));
    }
}
