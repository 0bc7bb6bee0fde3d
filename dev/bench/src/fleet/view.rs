//! A channel of the measuring process, and what it sees of a node.

use std::time::Duration;

use callsign::{
    Channel,
    client::{NodeState, NodeStatus},
    registry::RegistryUrl,
};
use tokio::time::{sleep, timeout};

use super::PATIENCE;

/// A channel to the nodes that are in this registry.
pub(super) fn channel(registry: &str) -> Channel {
    let url: RegistryUrl = registry.parse().expect("a registry's address");
    let registry = callsign::registry::open(&url).expect("a registry");
    Channel::builder("bench").registry(registry).build().expect("a channel")
}

/// How many calls of this channel are in flight on the node.
pub(super) fn inflight(channel: &Channel, address: &str) -> u32 {
    status(channel, address).map_or(0, |status| status.inflight)
}

/// Waits until this channel can call the node.
pub(super) async fn until_ready(channel: &Channel, address: &str) {
    until("a node that registered is found", || is_ready(channel, address)).await;
}

/// Waits until this channel knows that it cannot call the node.
pub(super) async fn until_gone(channel: &Channel, address: &str) {
    until("a node that died is missed", || !is_ready(channel, address)).await;
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let held = async {
        while !holds() {
            // A channel does not tell of its nodes.
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, held).await.expect(what);
}

fn is_ready(channel: &Channel, address: &str) -> bool {
    status(channel, address).is_some_and(|status| status.state == NodeState::Ready)
}

fn status(channel: &Channel, address: &str) -> Option<NodeStatus> {
    channel.nodes().into_iter().find(|status| status.node.address() == address)
}
