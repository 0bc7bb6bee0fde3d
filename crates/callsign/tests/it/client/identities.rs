//! Which node is which: by domain and id, and by any address that this machine can dial.

use std::sync::Arc;

use callsign::{
    Channel,
    core::{Domain, Node, Registry as _, memory::MemoryRegistry, registry::RegisterOptions},
};
use callsign_examples::greeter::greeter_client::GreeterClient;
use tonic::Code;

use super::{builder, peer::Peer, until};
use crate::support::{hello, soon};

#[tokio::test]
async fn nodes_of_one_id_in_two_domains_keep_their_connections_when_others_change() {
    let registry = MemoryRegistry::new();
    let peers = [Peer::good().await, Peer::good().await];
    let options = RegisterOptions::default();
    let node = |at: usize, weight| {
        let address = peers[at].address.to_string();
        let node = Node::builder("greeter", "same", address).domain(["first", "second"][at]).weight(weight);
        Arc::new(node.build().unwrap())
    };
    let _first = registry.register(&node(0, 1), &options).await.unwrap();
    let mut second = registry.register(&node(1, 1), &options).await.unwrap();
    let all: Domain = Domain::ALL.parse().unwrap();
    let channel = builder(&registry).domain(all).build().unwrap();
    until("both are connected", || peers.iter().all(|peer| peer.open.get() == 1)).await;
    for weight in 2..6 {
        second.update(&node(1, weight)).await.unwrap();
        until("the change is seen", || channel.nodes().iter().any(|n| n.node.weight() == Some(weight))).await;
        GreeterClient::new(channel.clone()).hello(hello("World")).await.unwrap();
    }
    assert_eq!(peers.each_ref().map(|peer| (peer.accepted.get(), peer.open.get())), [(1, 1), (1, 1)]);
    second.release().await.unwrap();
    until("its connection is closed", || peers[1].open.get() == 0).await;
}

#[tokio::test]
async fn an_address_with_an_interface_is_dialled_like_any_other() {
    let node = Node::builder("greeter", "far", "[fe80::1%nowhere]:9").build().unwrap();
    let channel = Channel::builder("greeter").nodes([node]).build().unwrap();
    let status = soon("the answer", GreeterClient::new(channel).hello(hello("World"))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("cannot be reached"), "{status}");
}
