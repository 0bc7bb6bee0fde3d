//! A registry that fails or forgets while calls run.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use callsign::{
    CallOptions, Channel,
    core::{Registry as _, memory::MemoryRegistry, registry::RegisterOptions},
};
use callsign_examples::greeter::greeter_client::GreeterClient;
use tokio::task::JoinSet;

use super::{Count, builder, failures, node, nowhere, until, until_ready};
use crate::support::{self, Running, hello, soon};

/// Calls all the time, until told to stop; fails with the first call that does.
struct Load {
    workers: JoinSet<Result<(), tonic::Status>>,
    made: Count,
    stop: Arc<AtomicBool>,
}

impl Load {
    fn start(channel: &Channel) -> Self {
        let mut load = Self { workers: JoinSet::new(), made: Count::default(), stop: Arc::default() };
        for _ in 0..8 {
            let mut client = GreeterClient::new(channel.clone());
            let (made, stop) = (load.made.clone(), load.stop.clone());
            load.workers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    client.hello(hello("World")).await?;
                    made.add();
                }
                Ok(())
            });
        }
        load
    }

    async fn further(&mut self, calls: usize) {
        let enough = self.made.get() + calls;
        until("further calls", || {
            if let Some(ended) = self.workers.try_join_next() {
                panic!("a call failed: {ended:?}");
            }
            self.made.get() >= enough
        })
        .await;
    }

    async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = soon("the workers end", self.workers.join_next()).await {
            ended.unwrap().unwrap();
        }
    }
}

async fn two(registry: &MemoryRegistry) -> [Running; 2] {
    let nodes = [support::run(registry, |b| b.id("a")).await, support::run(registry, |b| b.id("b")).await];
    for node in &nodes {
        node.handle.registered().await.unwrap();
    }
    nodes
}

#[tokio::test]
async fn a_registry_that_goes_away_and_comes_back_costs_no_call() {
    let registry = MemoryRegistry::new();
    let _nodes = two(&registry).await;
    let channel = builder(&registry).build().unwrap();
    let mut load = Load::start(&channel);
    load.further(200).await;
    registry.set_away(true);
    load.further(500).await;
    assert_eq!(channel.nodes().len(), 2, "the last good view is kept");
    registry.set_away(false);
    load.further(200).await;
    // A node that comes now is seen.
    let _third = support::run(&registry, |b| b.id("third")).await;
    until("the third node is known", || channel.nodes().len() == 3).await;
    load.further(200).await;
    load.end().await;
}

#[tokio::test]
async fn a_registry_that_forgets_everything_costs_no_call() {
    let registry = MemoryRegistry::new();
    let _nodes = two(&registry).await;
    let channel = builder(&registry).build().unwrap();
    let mut load = Load::start(&channel);
    load.further(200).await;
    for _ in 0..3 {
        registry.wipe();
        load.further(300).await;
    }
    load.end().await;
    until("both nodes are known again", || channel.nodes().len() == 2).await;
}

#[tokio::test]
async fn a_channel_made_while_the_registry_is_away_works_when_it_is_back() {
    let registry = MemoryRegistry::new();
    let _nodes = two(&registry).await;
    registry.set_away(true);
    let channel = builder(&registry).build().unwrap();
    let mut client = GreeterClient::new(channel.clone());
    let failed = soon("the answer", client.hello(hello("World"))).await.unwrap_err();
    assert_eq!(failed.code(), tonic::Code::Unavailable);
    assert!(failed.message().contains("cannot be asked who serves greeter"), "{failed}");
    let waits = super::with(CallOptions::new().wait_for_ready(true), "World");
    let call = tokio::spawn(async move { client.hello(waits).await });
    registry.set_away(false);
    soon("the answer", call).await.unwrap().unwrap();
}

#[tokio::test]
async fn of_the_nodes_that_a_registry_forgot_the_dead_are_dropped_and_the_live_are_called() {
    let registry = MemoryRegistry::new();
    // Nobody registers these two again.
    let live = super::peer::Peer::good().await;
    let mut leases = Vec::new();
    for (id, address) in [("live", live.address), ("dead", nowhere(1))] {
        let node = Arc::new(node(id, address));
        leases.push(registry.register(&node, &RegisterOptions::default()).await.unwrap());
    }
    let channel = builder(&registry).build().unwrap();
    until("both are known", || channel.nodes().len() == 2).await;
    until_ready(&channel, "live").await;
    registry.wipe();
    until("the dead one is dropped", || channel.nodes().iter().all(|status| status.node.id() == "live"))
        .await;
    let failed = failures(&channel, &CallOptions::new(), 200).await;
    assert!(failed.is_empty(), "{} of 200: {}", failed.len(), failed[0]);
}
