//! From nodes to addresses that this channel can call, and back.

use std::sync::Arc;

use callsign_core::{
    Node, ServiceName,
    model::{Address, keys},
};

/// What a node must speak, if it says what it speaks.
const PROTOCOL: &str = "grpc";

/// The node that an address alone amounts to.
pub(crate) fn fixed_node(
    service: &ServiceName,
    address: &Address,
    weight: Option<u16>,
) -> callsign_core::Result<Arc<Node>> {
    let address = address.to_string();
    let node = Node::builder(service.as_str(), address.clone(), address);
    let node = match weight {
        Some(weight) => node.weight(weight),
        None => node,
    };
    Ok(Arc::new(node.build()?))
}

/// The node's address, if this channel can call it.
pub(crate) fn fitness(node: &Node) -> Result<Address, String> {
    match node.metadata().get(keys::PROTOCOL) {
        Some(protocol) if protocol != PROTOCOL => {
            return Err(format!("{} speaks {protocol}, and this channel speaks {PROTOCOL}", node.id()));
        }
        _ => {}
    }
    node.dial_address().map_err(|error| format!("{}: {error}", node.id()))
}
