//! Nodes are asked whether they serve, and are called only if they say so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use callsign::{
    CallOptions, CallReport, Channel,
    client::{ChannelBuilder, HealthCheck, NodeState},
    core::{memory::MemoryRegistry, select::Strategy},
};
use callsign_examples::greeter::{conversation_client::ConversationClient, greeter_client::GreeterClient};
use h2::{RecvStream, server::SendResponse};
use http::{HeaderValue, Request};
use prost::Message as _;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::{
    Count, failures, fixed,
    peer::{self, Peer},
    state, status, until, until_ready, with,
};
use crate::support::{Running, hello, run, soon};

async fn server() -> Running {
    run(&MemoryRegistry::new(), |builder| builder.unregistered()).await
}

fn asking(builder: ChannelBuilder) -> Channel {
    builder.strategy(Strategy::RoundRobin).health_check(HealthCheck::default()).build().unwrap()
}

fn is_not_serving(channel: &Channel, id: &str) -> bool {
    matches!(state(channel, id), Some(NodeState::NotServing { .. }))
}

/// Answers one health check by a message, or by a status alone.
async fn answer_check(mut respond: SendResponse<Bytes>, answer: Result<i32, &'static str>) {
    let mut head = peer::head();
    match answer {
        Err(code) => {
            head.headers_mut().insert("grpc-status", HeaderValue::from_static(code));
            let _ = respond.send_response(head, true);
        }
        Ok(status) => {
            let message = HealthCheckResponse { status }.encode_to_vec();
            let mut framed = vec![0, 0, 0, 0, message.len() as u8];
            framed.extend(message);
            let Ok(mut stream) = respond.send_response(head, false) else { return };
            let _ = stream.send_data(framed.into(), false);
            let _ = stream.send_trailers(peer::trailers());
        }
    }
}

/// A peer that knows no `Watch`, and answers `Check` as said.
async fn checked(
    asked: &Count,
    answer: impl Fn() -> Result<i32, &'static str> + Clone + Send + 'static,
) -> Peer {
    let asked = asked.clone();
    Peer::serve(move |request: Request<RecvStream>, respond| {
        let (asked, answer) = (asked.clone(), answer.clone());
        async move {
            match request.uri().path() {
                "/grpc.health.v1.Health/Watch" => answer_check(respond, Err("12")).await,
                "/grpc.health.v1.Health/Check" => {
                    asked.add();
                    answer_check(respond, answer()).await;
                }
                _ => peer::greet(request, respond).await,
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_node_that_says_it_does_not_serve_is_left_at_once_and_its_streams_go_on() {
    let (one, other) = (server().await, server().await);
    let addresses = [("one", one.handle.local_addr()), ("other", other.handle.local_addr())];
    let channel = asking(fixed(addresses));
    until_ready(&channel, "one").await;
    until_ready(&channel, "other").await;

    let there = CallOptions::new().node("one".parse().unwrap());
    let mut conversation = ConversationClient::new(channel.clone());
    let mut stream = conversation.listen(with(there.clone(), "polite")).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());

    one.handle.health().set_healthy(false);
    until("its word is heard", || is_not_serving(&channel, "one")).await;
    let report = CallOptions::new().report(true);
    for _ in 0..20 {
        let reply = GreeterClient::new(channel.clone()).hello(with(report.clone(), "x")).await.unwrap();
        assert_eq!(reply.extensions().get::<CallReport>().unwrap().node.id(), "other");
    }
    let refused = GreeterClient::new(channel.clone()).hello(with(there, "x")).await.unwrap_err();
    assert!(refused.message().contains("it says that it does not serve"), "{refused}");
    assert_eq!(status(&channel, "one").inflight, 1, "the stream is still there");

    one.handle.health().set_healthy(true);
    until_ready(&channel, "one").await;
    let calls = status(&channel, "one").calls;
    soon("it has calls again", async {
        while status(&channel, "one").calls == calls {
            assert!(failures(&channel, &CallOptions::new(), 1).await.is_empty());
        }
    })
    .await;
    drop(stream);
}

#[tokio::test]
async fn when_no_node_serves_the_call_fails_at_once_and_says_so() {
    let only = server().await;
    only.handle.health().set_healthy(false);
    let channel = asking(fixed([("only", only.handle.local_addr())]));
    until("its word is heard", || is_not_serving(&channel, "only")).await;
    let error = GreeterClient::new(channel.clone()).hello(hello("x")).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unavailable);
    assert!(
        error
            .message()
            .contains("the one node of greeter cannot be called: only: it says that it does not serve"),
        "{error}"
    );

    let waiting = CallOptions::new().wait_for_ready(true);
    let call = tokio::spawn(async move { GreeterClient::new(channel).hello(with(waiting, "x")).await });
    only.handle.health().set_healthy(true);
    soon("the call that waits is made", call).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_node_without_health_checks_is_taken_to_serve() {
    let asked = Count::default();
    let peer = checked(&asked, || Err("12")).await;
    let channel = asking(fixed([("old", peer.address)]));
    until_ready(&channel, "old").await;
    assert!(failures(&channel, &CallOptions::new(), 5).await.is_empty());
    assert_eq!(asked.get(), 1, "it is asked once and left in peace");
}

#[tokio::test]
async fn a_node_that_cannot_watch_is_asked_again_and_again() {
    let (asked, serves) = (Count::default(), Arc::new(AtomicBool::new(false)));
    let says = serves.clone();
    let peer = checked(&asked, move || Ok(if says.load(Ordering::Relaxed) { 1 } else { 2 })).await;
    let often = HealthCheck::default().interval(Duration::from_millis(100)).unwrap();
    let channel = fixed([("old", peer.address)]).health_check(often).build().unwrap();
    until("it is heard not to serve", || is_not_serving(&channel, "old")).await;
    serves.store(true, Ordering::Relaxed);
    until_ready(&channel, "old").await;
    serves.store(false, Ordering::Relaxed);
    until("it is heard not to serve again", || is_not_serving(&channel, "old")).await;
    assert!(asked.get() >= 3);
}

#[tokio::test]
async fn a_node_that_answers_health_checks_with_an_error_is_not_called() {
    let asked = Count::default();
    let peer = checked(&asked, || Err("5")).await;
    let channel = fixed([("odd", peer.address)]).health_check(HealthCheck::of("shop.Cart")).build().unwrap();
    until("it is not called", || is_not_serving(&channel, "odd")).await;
    let error = GreeterClient::new(channel).hello(hello("x")).await.unwrap_err();
    assert!(error.message().contains("it has no service \"shop.Cart\""), "{error}");
}

#[tokio::test]
async fn the_service_that_is_asked_for_is_the_one_that_counts() {
    let server = server().await;
    let addresses = [("a", server.handle.local_addr())];
    let known = fixed(addresses).health_check(HealthCheck::of("greeter.Greeter")).build().unwrap();
    until_ready(&known, "a").await;
    let unknown = fixed(addresses).health_check(HealthCheck::of("greeter.Greter")).build().unwrap();
    until("it is not called", || is_not_serving(&unknown, "a")).await;
}

#[tokio::test]
async fn asking_ends_with_the_connection_and_begins_with_the_next() {
    let begun = Count::default();
    let all = begun.clone();
    let peer = Peer::serve(move |request: Request<RecvStream>, mut respond| {
        let all = all.clone();
        async move {
            if !request.uri().path().ends_with("/Watch") {
                return peer::greet(request, respond).await;
            }
            let mut body = request.into_body();
            let asked = body.data().await.unwrap().unwrap();
            assert_eq!(HealthCheckRequest::decode(&asked[5..]).unwrap().service, "");
            all.add();
            let mut stream = respond.send_response(peer::head(), false).unwrap();
            // SERVING, in two pieces: what comes in pieces is put together.
            stream.send_data(Bytes::from_static(&[0, 0, 0, 0, 2, 8]), false).unwrap();
            stream.send_data(Bytes::from_static(&[1]), false).unwrap();
            let _ = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
        }
    })
    .await;
    let channel = asking(fixed([("a", peer.address)]).idle_after(Duration::from_millis(50)));
    until_ready(&channel, "a").await;
    assert_eq!((begun.get(), peer.open.get()), (1, 1));
    // A connection is not closed before its last stream has ended.
    until("nobody calls, so nobody asks", || {
        state(&channel, "a") == Some(NodeState::Idle) && peer.open.get() == 0
    })
    .await;
    assert!(failures(&channel, &CallOptions::new(), 1).await.is_empty());
    assert_eq!((begun.get(), peer.accepted.get()), (2, 2));
    drop(channel);
    until("all of it ends with the channel", || peer.open.get() == 0).await;
}
