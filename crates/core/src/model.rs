//! Names, nodes and endpoints: the values that registries hold.
//!
//! A [`Node`] is self-contained: it carries its service's name, its version and its endpoints, so that one node is one entry
//! in every registry. A [`Service`] is a view over the nodes of one name. In a registry a node is written as go-micro
//! writes it ([`wire`]), with what go-micro does not know (weight, group, zone, start time) in the node's metadata.

mod address;
mod endpoint;
mod metadata;
mod name;
mod node;
mod service;
#[cfg(test)]
mod tests;
pub mod wire;

pub use self::address::Address;
pub use self::endpoint::{Endpoint, Value};
pub use self::metadata::Metadata;
pub use self::name::{Domain, NodeId, NodeKey, ServiceName};
pub use self::node::{Node, NodeBuilder, keys};
pub use self::service::Service;
