//! Nodes that allow few calls at a time on one connection: further ones are made, up to ten, and nobody is left waiting.

use callsign::{CallOptions, Channel, core::memory::MemoryRegistry, server::Limits};
use callsign_examples::greeter::{conversation_client::ConversationClient, greeter_client::GreeterClient};
use tokio::task::JoinSet;
use tonic::Code;

use super::{Count, builder, inflight, status, until, until_ready, with};
use crate::support::{self, Running, hello, soon};

const IDS: [&str; 3] = ["a", "b", "c"];

/// Nodes that allow two streams on a connection, and a channel connected to all of them.
async fn scene(nodes: usize) -> (Vec<Running>, Channel) {
    let registry = MemoryRegistry::new();
    let mut servers = Vec::new();
    for id in &IDS[..nodes] {
        servers.push(support::run(&registry, |b| b.id(*id).limits(Limits::default().with_streams(2))).await);
    }
    let channel = builder(&registry).build().unwrap();
    until("all nodes are known", || channel.nodes().len() == nodes).await;
    for id in &IDS[..nodes] {
        until_ready(&channel, id).await;
    }
    (servers, channel)
}

fn connections(channel: &Channel) -> Vec<usize> {
    channel.nodes().iter().map(|node| node.connections).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_callers_at_two_streams_a_connection_none_fails_and_none_starves() {
    for nodes in [1, 3] {
        let (_servers, channel) = scene(nodes).await;
        let made: Vec<Count> = (0..64).map(|_| Count::default()).collect();
        let mut callers = JoinSet::new();
        let total = Count::default();
        for count in &made {
            let (mut client, count, total) =
                (GreeterClient::new(channel.clone()), count.clone(), total.clone());
            callers.spawn(async move {
                while total.add() < 64 * 50 {
                    client.hello(hello("World")).await?;
                    count.add();
                }
                Ok::<_, tonic::Status>(())
            });
        }
        while let Some(ended) = soon("all calls end", callers.join_next()).await {
            ended.unwrap().unwrap();
        }
        let fewest = made.iter().map(Count::get).min().unwrap();
        assert!(fewest >= 10, "50 calls each were to be made, and somebody made {fewest}");
        assert!(connections(&channel).iter().all(|&open| open <= 10), "{:?}", connections(&channel));
        assert_eq!(inflight(&channel), 0);
    }
}

#[tokio::test]
async fn calls_that_last_get_connections_of_their_own_up_to_ten() {
    let (servers, channel) = scene(1).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut client = ConversationClient::new(channel.clone());
        let mut replies =
            soon("room on a further connection", client.listen(hello("polite"))).await.unwrap().into_inner();
        assert!(replies.message().await.unwrap().is_some());
        streams.push(replies);
    }
    assert_eq!(connections(&channel), [10]);

    // All at once as well, and the ten connections are the most.
    let mut waiting = JoinSet::new();
    for _ in 0..10 {
        let mut client = GreeterClient::new(channel.clone());
        waiting.spawn(async move { client.hello(hello("World")).await });
    }
    until("they wait", || inflight(&channel) == 30).await;
    let brief = CallOptions::new().timeout(std::time::Duration::from_millis(50));
    let expired = GreeterClient::new(channel.clone()).hello(with(brief, "World")).await.unwrap_err();
    assert_eq!(expired.code(), Code::DeadlineExceeded);
    assert!(expired.message().contains("waiting for other calls to a ("), "{expired}");
    assert_eq!((connections(&channel), inflight(&channel)), (vec![10], 30));

    // One stream that ends makes room for all of them, one after the other.
    drop(streams.pop());
    while let Some(answer) = soon("the answers", waiting.join_next()).await {
        answer.unwrap().unwrap();
    }
    assert_eq!(inflight(&channel), 19);
    drop(servers);
}

#[tokio::test]
async fn calls_that_last_are_given_room_all_at_once() {
    let (_servers, channel) = scene(3).await;
    let mut streams = JoinSet::new();
    for _ in 0..60 {
        let mut client = ConversationClient::new(channel.clone());
        streams.spawn(async move {
            let mut replies = client.listen(hello("polite")).await?.into_inner();
            replies.message().await?;
            Ok::<_, tonic::Status>(replies)
        });
    }
    let mut held = Vec::new();
    while let Some(begun) = soon("all streams begin", streams.join_next()).await {
        held.push(begun.unwrap().unwrap());
    }
    assert_eq!(connections(&channel), [10, 10, 10]);
}

#[tokio::test]
async fn who_queues_is_served_in_order() {
    let (servers, channel) = scene(1).await;
    // All room is taken.
    let mut held = Vec::new();
    for _ in 0..20 {
        let mut client = ConversationClient::new(channel.clone());
        held.push(soon("a stream", client.listen(hello("polite"))).await.unwrap());
    }
    let (order, mut ended) = tokio::sync::mpsc::channel(64);
    for n in 0..64 {
        let (mut client, order) = (GreeterClient::new(channel.clone()), order.clone());
        tokio::spawn(async move {
            client.hello(hello("World")).await.unwrap();
            order.send(n).await.unwrap();
        });
        until("it waits", || inflight(&channel) == 21 + n).await;
    }
    drop(held.pop());
    for n in 0..64 {
        assert_eq!(soon("the next", ended.recv()).await, Some(n));
    }
    assert_eq!(status(&channel, "a").inflight, 19);
    drop(servers);
}

#[tokio::test]
async fn a_call_that_gives_up_in_the_queue_leaves_its_turn_to_the_next() {
    let (_servers, channel) = scene(1).await;
    let mut held = Vec::new();
    for _ in 0..20 {
        let mut client = ConversationClient::new(channel.clone());
        held.push(soon("a stream", client.listen(hello("polite"))).await.unwrap());
    }
    let call = || {
        let mut client = GreeterClient::new(channel.clone());
        tokio::spawn(async move { client.hello(hello("World")).await })
    };
    let first = call();
    until("it waits", || inflight(&channel) == 21).await;
    let second = call();
    until("they wait", || inflight(&channel) == 22).await;
    // The turn may have come to the first already when it goes.
    drop(held.pop());
    first.abort();
    soon("the answer", second).await.unwrap().unwrap();
}
