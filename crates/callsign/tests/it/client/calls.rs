//! Calls by name, in all four shapes, and what they say when there is nobody to call.

use std::time::Duration;

use callsign::{CallOptions, CallReport, core::memory::MemoryRegistry};
use callsign_examples::greeter::{HelloRequest, conversation_client::ConversationClient};
use futures_util::stream;
use tokio::time::Instant;
use tonic::{Code, Request};

use super::{builder, greeter};
use crate::support::{self, hello, soon};

fn with(options: CallOptions, name: &str) -> Request<HelloRequest> {
    let mut request = Request::new(hello(name));
    request.extensions_mut().insert(options);
    request
}

#[tokio::test]
async fn a_generated_client_calls_by_name_in_all_four_shapes() {
    let registry = MemoryRegistry::new();
    let _nodes = [
        support::run(&registry, |b| b).await,
        support::run(&registry, |b| b).await,
        support::run(&registry, |b| b).await,
    ];
    let mut client = greeter(&registry);

    let reply = soon("unary", client.hello(hello("World"))).await.unwrap();
    assert_eq!(reply.into_inner().message, "Hello, World!");

    let mut client = ConversationClient::new(builder(&registry).build().unwrap());
    let mut replies = soon("server streaming", client.listen(hello("x"))).await.unwrap().into_inner();
    assert_eq!(replies.message().await.unwrap().unwrap().message, "Hello, one!");

    let everybody = stream::iter(["a", "b", "c"].map(hello));
    let reply = soon("client streaming", client.tell(everybody)).await.unwrap();
    assert_eq!(reply.into_inner().message, "Hello, a and b and c!");

    let (say, said) = tokio::sync::mpsc::channel(1);
    let said = stream::unfold(said, |mut said| async move { said.recv().await.map(|word| (word, said)) });
    let mut chat = soon("both", client.chat(said)).await.unwrap().into_inner();
    for word in ["one", "two", "three"] {
        say.send(hello(word)).await.unwrap();
        let answer = soon("an answer", chat.message()).await.unwrap().unwrap();
        assert_eq!(answer.message, format!("Hello, {word}!"));
    }
    drop(say);
    assert!(soon("the end", chat.message()).await.unwrap().is_none());
}

#[tokio::test]
async fn in_flight_counts_end_with_the_reply_stream() {
    let registry = MemoryRegistry::new();
    let _node = support::run(&registry, |b| b).await;
    let channel = builder(&registry).build().unwrap();
    let mut client = ConversationClient::new(channel.clone());
    let inflight = || channel.nodes().iter().map(|node| node.inflight).sum::<u32>();

    let mut replies = client.listen(hello("x")).await.unwrap().into_inner();
    replies.message().await.unwrap();
    assert_eq!(inflight(), 1);
    drop(replies);
    assert_eq!(inflight(), 0);

    client.ask(hello("x")).await.unwrap();
    assert_eq!(inflight(), 0);
}

#[tokio::test]
async fn a_name_that_nobody_serves_is_said_at_once() {
    let status = soon("the answer", greeter(&MemoryRegistry::new()).hello(hello("x"))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("no node of greeter is known"), "{}", status.message());
}

#[tokio::test]
async fn a_filter_that_leaves_nobody_is_named() {
    let registry = MemoryRegistry::new();
    let _node = support::run(&registry, |b| b.group("green")).await;
    let mut client = greeter(&registry);
    client.hello(hello("x")).await.unwrap();
    let status = client.hello(with(CallOptions::new().group("blue"), "x")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("group=blue"), "{}", status.message());
    assert!(status.message().contains("green"), "{}", status.message());
}

#[tokio::test]
async fn waiting_for_ready_ends_when_a_node_comes() {
    let registry = MemoryRegistry::new();
    let mut client = greeter(&registry);
    let waits = CallOptions::new().wait_for_ready(true).report(true);
    let call = client.hello(with(waits, "x"));
    let come = support::run(&registry, |b| b);
    let (reply, node) = soon("the reply", async { tokio::join!(call, come) }).await;
    let reply = reply.unwrap();
    let report = reply.extensions().get::<CallReport>().unwrap();
    assert_eq!(report.node.id(), node.handle.node().id());
    assert_eq!(report.attempts, 1);
}

#[tokio::test]
async fn a_deadline_says_what_was_waited_for() {
    let registry = MemoryRegistry::new();
    let node = support::run(&registry, |b| b).await;
    let mut client = greeter(&registry);
    // Connecting may take as long on a busy machine.
    soon("a reply", client.hello(with(CallOptions::new(), "x"))).await.unwrap();
    let brief = CallOptions::new().timeout(Duration::from_millis(100));
    let since = Instant::now();
    let status = client.hello(with(brief.clone(), "slow")).await.unwrap_err();
    assert!(since.elapsed() >= Duration::from_millis(100));
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("waiting for the reply of greeter-"), "{}", status.message());
    soon("the handler is dropped", node.greeter.dropped.notified()).await;

    let mut nobody = greeter(&MemoryRegistry::new());
    let status = nobody.hello(with(brief.wait_for_ready(true), "x")).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("waiting for a node: no node of greeter"), "{}", status.message());
}

#[tokio::test]
async fn a_call_goes_to_the_node_or_address_that_it_names() {
    let registry = MemoryRegistry::new();
    let nodes = [support::run(&registry, |b| b.id("a")).await, support::run(&registry, |b| b.id("b")).await];
    let elsewhere = support::run(&MemoryRegistry::new(), |b| b.id("c")).await;
    let mut client = greeter(&registry);
    for _ in 0..10 {
        let options = CallOptions::new().node("b".parse().unwrap()).report(true);
        let reply = client.hello(with(options, "x")).await.unwrap();
        assert_eq!(reply.extensions().get::<CallReport>().unwrap().node.id(), "b");
        for server in [&nodes[0], &elsewhere] {
            let address = server.handle.local_addr().to_string();
            let options = CallOptions::new().address(address.parse().unwrap()).report(true);
            let reply = client.hello(with(options, "x")).await.unwrap();
            assert_eq!(reply.extensions().get::<CallReport>().unwrap().address, address);
        }
    }
    let options = CallOptions::new().node("z".parse().unwrap());
    let status = client.hello(with(options, "x")).await.unwrap_err();
    assert!(status.message().contains("greeter has no node z"), "{}", status.message());
}
