//! A service: what the nodes of one name amount to.

use std::{collections::BTreeSet, sync::Arc};

use super::{Domain, Endpoint, Node, ServiceName};

/// The nodes of one name in one domain, with what can be read off them.
///
/// ```
/// use std::sync::Arc;
/// use callsign_core::{Node, Service};
///
/// let node = |service, id, version| Node::builder(service, id, "127.0.0.1:4000").version(version).build().map(Arc::new);
/// let nodes = [node("greeter", "b", "2")?, node("cart", "a", "1")?, node("greeter", "a", "1")?];
/// let services = Service::group(nodes);
/// assert_eq!(services.iter().map(|service| service.name().as_str()).collect::<Vec<_>>(), ["cart", "greeter"]);
/// assert_eq!(services[1].nodes()[0].id(), &"a");
/// assert_eq!(services[1].versions().into_iter().collect::<Vec<_>>(), ["1", "2"]);
/// # Ok::<(), callsign_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    domain: Domain,
    name: ServiceName,
    nodes: Vec<Arc<Node>>,
}

// === impl Service ===

impl Service {
    /// Groups nodes by domain and name. Services come in the order of their names, nodes in the order of their ids.
    #[must_use]
    pub fn group(nodes: impl IntoIterator<Item = Arc<Node>>) -> Vec<Self> {
        let mut nodes: Vec<_> = nodes.into_iter().collect();
        nodes.sort_by_cached_key(|node| (node.service().clone(), node.domain().clone(), node.id().clone()));
        let mut services: Vec<Self> = Vec::new();
        for node in nodes {
            match services.last_mut() {
                Some(last) if last.name == *node.service() && last.domain == *node.domain() => {
                    last.nodes.push(node);
                }
                _ => services.push(Self {
                    domain: node.domain().clone(),
                    name: node.service().clone(),
                    nodes: vec![node],
                }),
            }
        }
        services
    }

    /// The namespace.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &ServiceName {
        &self.name
    }

    /// The nodes, in the order of their ids.
    #[must_use]
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// The versions that its nodes run, sorted as text.
    #[must_use]
    pub fn versions(&self) -> BTreeSet<&str> {
        self.nodes.iter().map(|node| node.version()).collect()
    }

    /// The endpoints that any of its nodes publishes, by name; the first node's word for each is taken.
    #[must_use]
    pub fn endpoints(&self) -> Vec<&Endpoint> {
        let mut seen = BTreeSet::new();
        let mut endpoints: Vec<_> = self
            .nodes
            .iter()
            .flat_map(|node| node.endpoints().iter())
            .filter(|endpoint| seen.insert(endpoint.name.as_str()))
            .collect();
        endpoints.sort_by(|a, b| a.name.cmp(&b.name));
        endpoints
    }
}
