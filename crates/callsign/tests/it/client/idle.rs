//! A channel that nobody calls lets go of its connections, and makes them again for the next call.

use std::time::Duration;

use callsign::{
    CallOptions, Channel,
    client::NodeState,
    core::{Registry as _, memory::MemoryRegistry, registry::RegisterOptions},
};
use callsign_examples::greeter::{conversation_client::ConversationClient, greeter_client::GreeterClient};
use std::sync::Arc;

use super::{builder, fixed, node, peer::Peer, status, until, until_ready, with};
use crate::support::{self, hello};

fn is_idle(channel: &Channel) -> bool {
    channel.nodes().iter().all(|node| node.state == NodeState::Idle && node.connections == 0)
}

#[tokio::test]
async fn connections_are_let_go_and_come_back_with_the_next_call() {
    let peers = [Peer::good().await, Peer::good().await];
    let nodes = [("a", peers[0].address), ("b", peers[1].address)];
    let channel = fixed(nodes).idle_after(Duration::from_millis(100)).build().unwrap();
    let mut client = GreeterClient::new(channel.clone());
    for round in 1..=3 {
        client.hello(hello("World")).await.unwrap();
        until("both are connected", || peers.iter().all(|peer| peer.accepted.get() == round)).await;
        until("they are let go", || is_idle(&channel)).await;
        until("the peers see it", || peers.iter().all(|peer| peer.open.get() == 0)).await;
    }
}

#[tokio::test]
async fn connections_of_addresses_that_calls_name_are_let_go_too() {
    let (peer, elsewhere) = (Peer::good().await, Peer::good().await);
    let channel = fixed([("a", peer.address)]).idle_after(Duration::from_millis(100)).build().unwrap();
    let mut client = GreeterClient::new(channel.clone());
    let there = CallOptions::new().address(elsewhere.address.to_string().parse().unwrap());
    for round in 1..=2 {
        client.hello(with(there.clone(), "World")).await.unwrap();
        assert_eq!(elsewhere.accepted.get(), round);
        until("both are let go", || peer.open.get() + elsewhere.open.get() == 0).await;
    }
}

#[tokio::test]
async fn a_call_under_way_keeps_the_connections() {
    let registry = MemoryRegistry::new();
    let _node = support::run(&registry, |b| b.id("only")).await;
    let channel = builder(&registry).idle_after(Duration::from_millis(100)).build().unwrap();
    let mut client = ConversationClient::new(channel.clone());
    let (say, said) = tokio::sync::mpsc::channel(1);
    let mut answers =
        client.chat(tokio_stream::wrappers::ReceiverStream::new(said)).await.unwrap().into_inner();
    tokio::time::pause();
    for _ in 0..5 {
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    tokio::time::resume();
    assert_eq!(status(&channel, "only").state, NodeState::Ready);
    say.send(hello("World")).await.unwrap();
    assert!(answers.message().await.unwrap().is_some());
    drop(answers);
    until("it is let go when the call has ended", || is_idle(&channel)).await;
}

#[tokio::test]
async fn a_node_that_registers_anew_or_comes_while_nobody_calls_is_not_connected() {
    let registry = MemoryRegistry::new();
    let peers = [Peer::good().await, Peer::good().await];
    let nodes = [Arc::new(node("a", peers[0].address)), Arc::new(node("b", peers[1].address))];
    let options = RegisterOptions::default();
    let mut lease = registry.register(&nodes[0], &options).await.unwrap();
    let channel = builder(&registry).idle_after(Duration::from_millis(100)).build().unwrap();
    let mut client = GreeterClient::new(channel.clone());
    client.hello(hello("World")).await.unwrap();
    until("it is let go", || is_idle(&channel) && peers[0].open.get() == 0).await;

    let heavier = callsign::core::Node::builder("greeter", "a", peers[0].address.to_string()).weight(9);
    lease.update(&Arc::new(heavier.build().unwrap())).await.unwrap();
    let _other = registry.register(&nodes[1], &options).await.unwrap();
    until("both are known", || channel.nodes().len() == 2).await;
    until("the new one rests", || is_idle(&channel)).await;
    assert_eq!((peers[0].accepted.get(), peers[1].accepted.get()), (1, 0));

    client.hello(hello("World")).await.unwrap();
    until_ready(&channel, "a").await;
    until_ready(&channel, "b").await;
}

#[tokio::test]
async fn calls_at_the_very_moment_of_rest_find_a_node() {
    let peer = Peer::good().await;
    // It is told to rest whenever it is looked at and nobody calls, once a second.
    let channel = fixed([("a", peer.address)]).idle_after(Duration::ZERO).build().unwrap();
    let mut client = GreeterClient::new(channel.clone());
    for _ in 0..3 {
        until("it rests", || is_idle(&channel)).await;
        crate::support::soon("the answer", client.hello(hello("World"))).await.unwrap();
    }
}
