//! Nodes that say on their replies that they leave.

use std::time::Duration;

use callsign::{
    CallOptions, CallReport, Channel,
    client::NodeState,
    core::memory::MemoryRegistry,
    server::{DrainConfig, Phase},
};
use callsign_examples::greeter::greeter_client::GreeterClient;

use super::{builder, failures, state, until, until_ready, with};
use crate::support::{Running, run, soon};

/// Leaves so slowly that all of the test happens meanwhile.
async fn start(registry: &MemoryRegistry, id: &str, group: &str) -> Running {
    let long = Duration::from_secs(20);
    let drain = DrainConfig::default().with_quiet(long).with_propagation(long);
    let running = run(registry, |builder| builder.id(id).group(group).drain(drain)).await;
    soon("the registration", running.handle.registered()).await.unwrap();
    running
}

/// Who answers a call.
async fn answerer(channel: &Channel, options: CallOptions) -> String {
    let mut client = GreeterClient::new(channel.clone());
    let response = soon("an answer", client.hello(with(options.report(true), "World"))).await.unwrap();
    response.extensions().get::<CallReport>().unwrap().node.id().to_string()
}

#[tokio::test]
async fn a_node_that_leaves_is_no_longer_chosen_although_the_registry_cannot_tell() {
    let registry = MemoryRegistry::new();
    let (a, b) = (start(&registry, "a", "blue").await, start(&registry, "b", "green").await);
    let channel = builder(&registry).strategy("round-robin".parse().unwrap()).build().unwrap();
    until_ready(&channel, "a").await;
    until_ready(&channel, "b").await;
    registry.set_away(true);
    a.handle.shutdown();
    soon("it leaves", a.handle.phases().wait_for(|phase| *phase == Phase::Draining)).await.unwrap();

    // The first reply that comes from there says it.
    while state(&channel, "a") != Some(NodeState::Leaving) {
        answerer(&channel, CallOptions::new()).await;
    }
    let before = a.handle.call_meter().started();
    assert_eq!(failures(&channel, &CallOptions::new(), 100).await.len(), 0);
    assert_eq!(a.handle.call_meter().started(), before, "it gets no more calls");
    assert_eq!(a.handle.phase(), Phase::Draining, "and still listens");

    // Where there is no other, it is called all the same: by a call's own wish, and when all leave.
    assert_eq!(answerer(&channel, CallOptions::new().group("blue")).await, "a");
    b.handle.shutdown();
    until("both are called", || b.handle.phase() == Phase::Draining).await;
    assert_eq!(failures(&channel, &CallOptions::new(), 20).await.len(), 0);
    a.handle.stop_now();
    b.handle.stop_now();
}

#[tokio::test]
async fn one_that_comes_back_at_the_same_address_is_chosen_again() {
    let registry = MemoryRegistry::new();
    let (a, b) = (start(&registry, "a", "blue").await, start(&registry, "b", "green").await);
    let channel = builder(&registry).build().unwrap();
    until_ready(&channel, "a").await;
    until_ready(&channel, "b").await;
    // So the channel keeps the node, and the link to it.
    registry.set_away(true);
    a.handle.shutdown();
    while state(&channel, "a") != Some(NodeState::Leaving) {
        answerer(&channel, CallOptions::new()).await;
    }
    let address = a.handle.local_addr();
    a.handle.stop_now();
    until("it is gone", || state(&channel, "a") != Some(NodeState::Leaving)).await;
    let _again = run(&MemoryRegistry::new(), |builder| builder.id("a").bind(address.to_string())).await;
    until_ready(&channel, "a").await;
    while answerer(&channel, CallOptions::new()).await != "a" {}
    b.handle.stop_now();
}
