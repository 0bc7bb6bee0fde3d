//! Calls, streams and channels that are given up half-way leave nothing behind: no task, no connection, no call in flight.

use std::time::Duration;

use callsign::{Channel, core::memory::MemoryRegistry};
use callsign_examples::greeter::{
    HelloRequest, conversation_client::ConversationClient, greeter_client::GreeterClient,
};
use futures_util::stream;
use tokio::runtime::Handle;
use tonic::Code;

use super::{
    Count, builder, failures, fixed, inflight,
    peer::{self, Peer},
    until, until_ready,
};
use crate::support::{self, Running, hello, soon};

/// A server, and a channel to it that has been used; and how many tasks there were before there was a channel.
struct Scene {
    server: Running,
    channel: Channel,
    tasks_before: usize,
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

impl Scene {
    async fn new() -> Self {
        let registry = MemoryRegistry::new();
        let server = support::run(&registry, |b| b.id("only")).await;
        server.handle.registered().await.unwrap();
        let tasks_before = tasks();
        let channel = builder(&registry).build().unwrap();
        GreeterClient::new(channel.clone()).hello(hello("World")).await.unwrap();
        Self { server, channel, tasks_before }
    }

    fn greeter(&self) -> GreeterClient<Channel> {
        GreeterClient::new(self.channel.clone())
    }

    fn conversation(&self) -> ConversationClient<Channel> {
        ConversationClient::new(self.channel.clone())
    }

    /// The call left the channel, its node and its tasks as they were before it.
    async fn nothing_is_left_of_the_call(&self, tasks_before: usize) {
        assert_eq!(inflight(&self.channel), 0);
        soon("the server gives it up too", self.server.greeter.dropped.notified()).await;
        until("its tasks end", || tasks() <= tasks_before).await;
        // On the same connection.
        let failed = failures(&self.channel, &callsign::CallOptions::new(), 10).await;
        assert!(failed.is_empty(), "{}", failed[0]);
    }
}

/// Requests without an end, of which the first comes at once.
fn endless() -> impl futures_util::Stream<Item = HelloRequest> {
    use futures_util::StreamExt as _;
    stream::iter([hello("World")]).chain(stream::pending())
}

#[tokio::test]
async fn a_call_dropped_before_its_answer() {
    let scene = Scene::new().await;
    let before = tasks();
    let mut client = scene.greeter();
    {
        let call = client.hello(hello("slow"));
        tokio::select! {
            biased;
            _ = call => unreachable!("nobody lets it go on"),
            () = scene.server.greeter.arrived.notified() => {}
        }
    }
    scene.nothing_is_left_of_the_call(before).await;
}

#[tokio::test]
async fn many_calls_dropped_before_their_answers() {
    let scene = Scene::new().await;
    let before = tasks();
    for _ in 0..300 {
        let mut client = scene.greeter();
        let call = client.hello(hello("slow"));
        tokio::select! {
            biased;
            _ = call => unreachable!("nobody lets it go on"),
            () = scene.server.greeter.arrived.notified() => {}
        }
    }
    scene.nothing_is_left_of_the_call(before).await;
}

#[tokio::test]
async fn a_reply_stream_dropped_half_way() {
    let scene = Scene::new().await;
    let before = tasks();
    let mut replies = scene.conversation().listen(hello("World")).await.unwrap().into_inner();
    assert!(replies.message().await.unwrap().is_some());
    assert_eq!(inflight(&scene.channel), 1);
    drop(replies);
    scene.nothing_is_left_of_the_call(before).await;
}

#[tokio::test]
async fn a_reply_dropped_whose_request_never_ends() {
    let count = Count::default();
    let ended = count.clone();
    let peer = Peer::serve(move |request, mut respond| {
        let ended = ended.clone();
        async move {
            let mut stream = respond.send_response(peer::head(), false).unwrap();
            stream.send_data(peer::message("Hello!"), false).unwrap();
            // Ends when the client says that no more comes.
            peer::read(request.into_body()).await;
            ended.add();
        }
    })
    .await;
    let channel = fixed([("peer", peer.address)]).build().unwrap();
    until_ready(&channel, "peer").await;
    let before = tasks();
    for n in 1..=10 {
        let mut client = ConversationClient::new(channel.clone());
        let mut replies = soon("the head", client.chat(endless())).await.unwrap().into_inner();
        assert!(soon("a reply", replies.message()).await.unwrap().is_some());
        assert_eq!(inflight(&channel), 1);
        drop(replies);
        assert_eq!(inflight(&channel), 0);
        until("the peer sees the end of the request", || count.get() == n).await;
    }
    until("the tasks end", || tasks() <= before).await;
}

#[tokio::test]
async fn a_reply_that_ends_before_its_request() {
    let peer = Peer::serve(|_, respond| async move { peer::say_hello(respond) }).await;
    let channel = fixed([("peer", peer.address)]).build().unwrap();
    until_ready(&channel, "peer").await;
    let before = tasks();
    let mut client = ConversationClient::new(channel.clone());
    let reply = soon("the reply", client.tell(endless())).await.unwrap();
    assert_eq!(reply.into_inner().message, "Hello from a peer!");
    assert_eq!(inflight(&channel), 0);
    until("the task that sends the request ends", || tasks() <= before).await;
}

#[tokio::test]
async fn a_channel_dropped_with_a_call_under_way() {
    let Scene { server, channel, tasks_before } = Scene::new().await;
    let mut client = GreeterClient::new(channel);
    let call = tokio::spawn(async move { client.hello(hello("slow")).await });
    soon("it arrives", server.greeter.arrived.notified()).await;
    server.greeter.go.notify_one();
    soon("the answer", call).await.unwrap().unwrap();
    until("all of it ends", || tasks() <= tasks_before).await;
}

#[tokio::test]
async fn a_channel_dropped_with_a_reply_stream_open() {
    let Scene { server, channel, tasks_before } = Scene::new().await;
    let mut client = ConversationClient::new(channel);
    let (say, said) = tokio::sync::mpsc::channel(1);
    let said = tokio_stream::wrappers::ReceiverStream::new(said);
    let mut replies = client.chat(said).await.unwrap().into_inner();
    drop(client);
    // The stream goes on without its channel.
    for _ in 0..3 {
        say.send(hello("World")).await.unwrap();
        assert!(soon("a reply", replies.message()).await.unwrap().is_some());
    }
    drop(replies);
    until("all of it ends", || tasks() <= tasks_before).await;
    drop(server);
}

#[tokio::test]
async fn a_channel_dropped_before_it_was_used() {
    let peer = Peer::good().await;
    let before = tasks();
    for _ in 0..20 {
        drop(fixed([("peer", peer.address)]).build().unwrap());
    }
    until("all of it ends", || tasks() <= before).await;
    let channel = fixed([("peer", peer.address)]).build().unwrap();
    until_ready(&channel, "peer").await;
    drop(channel);
    until("all of it ends", || tasks() <= before && peer.open.get() == 0).await;
}

#[tokio::test]
async fn closing_ends_calls_under_way_and_makes_later_ones_fail_at_once() {
    let Scene { server, channel, tasks_before } = Scene::new().await;
    let mut client = GreeterClient::new(channel.clone());
    let call = tokio::spawn(async move { client.hello(hello("slow")).await });
    let mut conversation = ConversationClient::new(channel.clone());
    let mut replies = conversation.listen(hello("World")).await.unwrap().into_inner();
    assert!(replies.message().await.unwrap().is_some());
    soon("it arrives", server.greeter.arrived.notified()).await;

    let clone = channel.clone();
    soon("it closes", channel.close()).await;
    let status = soon("the call ends", call).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("the connection was closed here"), "{status}");
    let status = soon("the stream ends", replies.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(inflight(&clone), 0);

    let waits = callsign::CallOptions::new().wait_for_ready(true).timeout(Duration::from_secs(60));
    let elsewhere =
        callsign::CallOptions::new().address(server.handle.local_addr().to_string().parse().unwrap());
    for options in [callsign::CallOptions::new(), waits, elsewhere] {
        let mut client = GreeterClient::new(clone.clone());
        let status = soon("the answer", client.hello(super::with(options, "World"))).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().contains("the channel to greeter was closed"), "{status}");
    }
    let error = soon("the answer", clone.ready(Duration::from_secs(60))).await.unwrap_err();
    assert_eq!(error.kind(), callsign::ErrorKind::Unavailable);
    drop((replies, clone, conversation));
    until("all of it ends", || tasks() <= tasks_before).await;
}

#[tokio::test]
async fn closing_ends_calls_that_wait_for_a_node() {
    let channel = builder(&MemoryRegistry::new()).build().unwrap();
    let mut client = GreeterClient::new(channel.clone());
    let waits = callsign::CallOptions::new().wait_for_ready(true).timeout(Duration::from_secs(60));
    let call = tokio::spawn(async move { client.hello(super::with(waits, "World")).await });
    tokio::task::yield_now().await;
    soon("it closes", channel.close()).await;
    let status = soon("the call ends", call).await.unwrap().unwrap_err();
    assert!(status.message().contains("the channel to greeter was closed"), "{status}");
}
