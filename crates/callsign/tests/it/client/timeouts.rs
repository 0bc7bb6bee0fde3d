//! The time that a call has: on the wire, for the head, for the whole of it.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use callsign::{CallOptions, ErrorKind, core::memory::MemoryRegistry};
use callsign_examples::greeter::{conversation_client::ConversationClient, greeter_client::GreeterClient};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt as _, Empty, Full};
use tokio::{sync::mpsc, time::Instant};
use tonic::Code;
use tower_service::Service as _;

use super::{
    builder, fixed, inflight, nowhere,
    peer::{self, Peer},
    until_ready, with,
};
use crate::support::{self, PATIENCE, hello, soon};

/// A peer that tells of the `grpc-timeout` of each request.
async fn telling() -> (Peer, mpsc::Receiver<Option<HeaderValue>>) {
    let (tell, told) = mpsc::channel(8);
    let peer = Peer::serve(move |request, respond| {
        let tell = tell.clone();
        async move {
            tell.send(request.headers().get("grpc-timeout").cloned()).await.unwrap();
            peer::greet(request, respond).await;
        }
    })
    .await;
    (peer, told)
}

fn millis(value: &HeaderValue) -> u64 {
    let text = value.to_str().unwrap();
    let (number, unit) = text.split_at(text.len() - 1);
    let number: u64 = number.parse().unwrap();
    match unit {
        "n" => number / 1_000_000,
        "u" => number / 1_000,
        "m" => number,
        "S" => number * 1_000,
        unit => panic!("unit {unit}"),
    }
}

#[tokio::test]
async fn the_time_that_a_caller_sets_goes_over_the_wire_and_the_default_does_not() {
    let (peer, mut told) = telling().await;
    let plain = || fixed([("peer", peer.address)]);
    let mut client = GreeterClient::new(plain().build().unwrap());
    client.hello(hello("World")).await.unwrap();
    assert_eq!(told.recv().await.unwrap(), None);

    let minute = CallOptions::new().timeout(Duration::from_secs(60));
    client.hello(with(minute, "World")).await.unwrap();
    let said = millis(&told.recv().await.unwrap().unwrap());
    assert!((40_000..=60_000).contains(&said), "{said} ms");

    // The shortest of what is said counts.
    let mut client = GreeterClient::new(plain().timeout(Duration::from_secs(60)).build().unwrap());
    client.hello(hello("World")).await.unwrap();
    assert!(millis(&told.recv().await.unwrap().unwrap()) > 40_000);
    let mut request = with(CallOptions::new().timeout(Duration::from_secs(90)), "World");
    request.set_timeout(Duration::from_secs(50));
    client.hello(request).await.unwrap();
    let said = millis(&told.recv().await.unwrap().unwrap());
    assert!((30_000..=50_000).contains(&said), "{said} ms");
}

#[tokio::test]
async fn a_timeout_that_nobody_can_read_is_refused_before_anything_is_sent() {
    let peer = Peer::good().await;
    let mut client = GreeterClient::new(fixed([("peer", peer.address)]).build().unwrap());
    for text in ["soon", "123456789S", "5", "-1S", ""] {
        let mut request = tonic::Request::new(hello("World"));
        request.metadata_mut().insert("grpc-timeout", text.parse().unwrap());
        let status = client.hello(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{text:?}: {status}");
        assert!(status.message().contains(&format!("grpc-timeout is {text:?}")), "{status}");
    }
}

#[tokio::test]
async fn the_default_covers_the_wait_for_the_head_and_not_the_replies() {
    let registry = MemoryRegistry::new();
    let _node = support::run(&registry, |b| b.id("only")).await;
    let channel = builder(&registry).build().unwrap();
    let mut client = ConversationClient::new(channel.clone());
    let (say, said) = mpsc::channel(1);
    let mut answers =
        client.chat(tokio_stream::wrappers::ReceiverStream::new(said)).await.unwrap().into_inner();
    say.send(hello("early")).await.unwrap();
    assert!(soon("an answer", answers.message()).await.unwrap().is_some());

    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(45)).await;
    tokio::time::resume();
    say.send(hello("late")).await.unwrap();
    assert!(soon("an answer", answers.message()).await.unwrap().is_some());
}

#[tokio::test]
async fn the_default_ends_a_call_without_an_answer() {
    let peer = Peer::serve(peer::hang).await;
    let channel = fixed([("peer", peer.address)]).build().unwrap();
    until_ready(&channel, "peer").await;
    let mut client = GreeterClient::new(channel.clone());
    let call = tokio::spawn(async move { client.hello(hello("World")).await });
    super::until("it is under way", || inflight(&channel) == 1).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    let status = soon("the end", call).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("no answer from greeter within 30 s"), "{status}");
}

#[tokio::test]
async fn a_time_set_by_the_caller_ends_replies_that_pause() {
    let registry = MemoryRegistry::new();
    let node = support::run(&registry, |b| b.id("only")).await;
    let channel = builder(&registry).build().unwrap();
    let mut client = ConversationClient::new(channel.clone());
    let brief = CallOptions::new().timeout(Duration::from_secs(2));
    let mut replies = client.listen(with(brief, "World")).await.unwrap().into_inner();
    assert!(replies.message().await.unwrap().is_some());
    let status = soon("the end", replies.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!(status.message().contains("did not end within 2 s"), "{status}");
    assert_eq!(inflight(&channel), 0);
    soon("the server gives it up too", node.greeter.dropped.notified()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_set_by_the_caller_ends_replies_that_never_pause() {
    let peer = Peer::serve(|_, mut respond| async move {
        let mut stream = respond.send_response(peer::head(), false).unwrap();
        while stream.send_data(peer::message(&"x".repeat(1000)), false).is_ok() {
            stream.reserve_capacity(2000);
            while stream.capacity() < 2000 {
                match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
                    Some(Ok(_)) => {}
                    _ => return,
                }
            }
        }
    })
    .await;
    let channel = fixed([("peer", peer.address)]).build().unwrap();
    let mut client = ConversationClient::new(channel.clone());
    let begun = Instant::now();
    let brief = CallOptions::new().timeout(Duration::from_millis(300));
    let mut replies = client.listen(with(brief, "World")).await.unwrap().into_inner();
    let status = soon("the end", async {
        loop {
            match replies.message().await {
                Ok(reply) => assert!(reply.is_some()),
                Err(status) => break status,
            }
        }
    })
    .await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(begun.elapsed() < PATIENCE / 2);
}

#[tokio::test]
async fn a_request_that_is_not_grpc_gets_errors_and_not_statuses() {
    let call = |address, headers: &[(&'static str, &'static str)], timeout| {
        let mut channel = fixed([("only", address)]).build().unwrap();
        let mut request = Request::post("/any/path").body(Empty::<Bytes>::new()).unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_static(value));
        }
        request.extensions_mut().insert(CallOptions::new().timeout(timeout));
        async move { soon("the answer", channel.call(request)).await }
    };
    let error = call(nowhere(1), &[], PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("nothing listens there"), "{error}");

    let hanging = Peer::serve(peer::hang).await;
    let error = call(hanging.address, &[], Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);

    let error = call(hanging.address, &[("grpc-timeout", "soon")], PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);

    // HTTP/2 has no such header: no node would take it, so none is asked.
    let error = call(hanging.address, &[("connection", "close")], PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.to_string().contains("HTTP/2 has no words for the request"), "{error}");
}

#[tokio::test]
async fn a_request_that_is_not_grpc_is_answered() {
    let peer = Peer::serve(|request, mut respond| async move {
        let bytes = peer::read(request.into_body()).await;
        let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
        let _ = stream.send_data(Bytes::from(bytes.to_string()), true);
    })
    .await;
    let mut channel = fixed([("peer", peer.address)]).build().unwrap();
    let body = Full::<Bytes>::new("hello".into()).map_err(|never: Infallible| match never {});
    let response = channel.call(Request::put("/file").body(body).unwrap()).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "5");
}
