//! Nodes where nothing listens: calls go to the others, and say what is wrong when there are none.

use callsign::{
    CallOptions, CallReport,
    core::{Registry as _, memory::MemoryRegistry, registry::RegisterOptions, select::Strategy},
};
use callsign_examples::greeter::greeter_client::GreeterClient;
use std::{sync::Arc, time::Duration};
use tokio::runtime::Handle;
use tonic::Code;

use super::{builder, failures, fixed, node, nowhere, peer::Peer, refusal, until, with};
use crate::support::{self, hello, process::Spawn, soon};

#[tokio::test]
async fn with_one_live_and_one_dead_node_none_of_2000_calls_fails() {
    let live = Peer::good().await;
    for strategy in Strategy::NAMES {
        let channel = fixed([("live", live.address), ("dead", nowhere(1))])
            .strategy(strategy.parse().unwrap())
            .build()
            .unwrap();
        let failed = failures(&channel, &CallOptions::new(), 2000).await;
        assert!(failed.is_empty(), "{strategy}: {} of 2000: {}", failed.len(), failed[0]);
        let refused = |error: String| error.contains("nothing listens there");
        until("the dead one is named", || refusal(&channel, "dead").is_some_and(refused)).await;
    }
}

#[tokio::test]
async fn a_dead_node_in_the_registry_fails_no_call() {
    let registry = MemoryRegistry::new();
    let live = support::run(&registry, |b| b).await;
    live.handle.registered().await.unwrap();
    let dead = Arc::new(node("dead", nowhere(1)));
    let _lease = registry.register(&dead, &RegisterOptions::default()).await.unwrap();
    let channel = builder(&registry).build().unwrap();
    let failed = failures(&channel, &CallOptions::new(), 2000).await;
    assert!(failed.is_empty(), "{} of 2000: {}", failed.len(), failed[0]);
}

#[tokio::test]
async fn when_the_last_node_is_gone_calls_say_so_and_go_on_when_it_is_back_at_its_port() {
    let mut process = Spawn::new("only").start().await;
    let address = process.address;
    let channel = fixed([("only", address)]).build().unwrap();
    let mut client = GreeterClient::new(channel.clone());
    client.hello(hello("World")).await.unwrap();
    process.signal("KILL").await;
    process.exit_code().await;
    let refused = |error: String| error.contains("nothing listens there");
    until("it is given up", || refusal(&channel, "only").is_some_and(refused)).await;
    let status = soon("the answer", client.hello(hello("World"))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().starts_with("the one node of greeter cannot be reached: only: "), "{status}");
    assert!(status.message().contains("nothing listens there"), "{status}");

    let waits = CallOptions::new().wait_for_ready(true);
    let call = client.hello(with(waits, "World"));
    let (reply, _process) = tokio::join!(call, Spawn::new("only").bind(address).start());
    reply.unwrap();
}

#[tokio::test]
async fn when_the_last_node_is_gone_calls_say_so_and_go_on_when_it_is_back_elsewhere() {
    let registry = MemoryRegistry::new();
    let node = support::run(&registry, |b| b.id("only")).await;
    let mut client = GreeterClient::new(builder(&registry).build().unwrap());
    client.hello(hello("World")).await.unwrap();
    node.handle.shutdown();
    node.end().await.unwrap();
    let status = soon("the answer", client.hello(hello("World"))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("greeter"), "{status}");

    let waits = CallOptions::new().wait_for_ready(true).report(true);
    let call = client.hello(with(waits, "World"));
    let (reply, back) = tokio::join!(call, support::run(&registry, |b| b.id("only")));
    let reply = reply.unwrap();
    let report = reply.extensions().get::<CallReport>().unwrap();
    assert_eq!(report.address, back.handle.local_addr().to_string());
}

#[tokio::test]
async fn of_a_thousand_nodes_ten_alive_are_enough() {
    let live = [
        Peer::good().await,
        Peer::good().await,
        Peer::good().await,
        Peer::good().await,
        Peer::good().await,
        Peer::good().await,
        Peer::good().await,
        Peer::good().await,
        Peer::good().await,
        Peer::good().await,
    ];
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let nodes = (0..990).map(nowhere).chain(live.iter().map(|peer| peer.address)).map(|address| {
        let address = address.to_string();
        callsign::core::Node::builder("greeter", &address, &address).build().unwrap()
    });
    let channel = callsign::Channel::builder("greeter").nodes(nodes).seed(7).build().unwrap();
    let brief = CallOptions::new().timeout(Duration::from_secs(10));
    let failed = failures(&channel, &brief, 1000).await;
    assert!(failed.is_empty(), "{} of 1000: {}", failed.len(), failed[0]);
    // One for each node, one for each connection and its other end, and the channel's own.
    assert!(tasks() - before < 1000 + 4 * 10 + 10, "{} tasks", tasks() - before);
    until("the ten are all in use", || live.iter().all(|peer| peer.open.get() == 1)).await;
    soon("it closes", channel.close()).await;
    until("all of it ends", || tasks() <= before).await;
}
