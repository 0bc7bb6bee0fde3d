//! Nodes are asked how busy they are, and the one that answers best is called.

use std::time::Duration;

use bytes::Bytes;
use callsign::{
    CallOptions, Channel,
    core::{
        memory::MemoryRegistry,
        select::{PrequalConfig, Strategy},
    },
    server::ConcurrencyLimit,
};
use callsign_examples::greeter::greeter_client::GreeterClient;
use h2::RecvStream;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt as _, Full};
use tower_service::Service as _;

use super::{
    Count, failures, fixed,
    peer::{self, Peer},
    status, until, until_ready,
};
use crate::support::{Connection, Running, hello, run, soon};

const PATH: &str = "/callsign.probe.v1.Probe/Ask";

/// A peer that answers probes with so many calls in flight and this latency, or says that it does not know them.
async fn probed(asked: &Count, answer: Option<(u8, u8)>) -> Peer {
    let asked = asked.clone();
    Peer::serve(move |request: Request<RecvStream>, mut respond| {
        let asked = asked.clone();
        async move {
            if request.uri().path() != PATH {
                return peer::greet(request, respond).await;
            }
            asked.add();
            let mut head = peer::head();
            let Some((inflight, micros)) = answer else {
                head.headers_mut().insert("grpc-status", HeaderValue::from_static("12"));
                let _ = respond.send_response(head, true);
                return;
            };
            let Ok(mut stream) = respond.send_response(head, false) else { return };
            let message = vec![0, 0, 0, 0, 4, 0x08, inflight, 0x10, micros];
            let _ = stream.send_data(Bytes::from(message), false);
            let _ = stream.send_trailers(peer::trailers());
        }
    })
    .await
}

fn by_probes<'a>(nodes: impl IntoIterator<Item = (&'a str, std::net::SocketAddr)>) -> Channel {
    fixed(nodes)
        .strategy(Strategy::Prequal(PrequalConfig::default()))
        .slow_start(Duration::ZERO)
        .build()
        .unwrap()
}

#[tokio::test]
async fn the_quickest_of_those_that_are_not_hot_gets_most_calls() {
    let asked = Count::default();
    let peers = [
        probed(&asked, Some((1, 5))).await,
        probed(&asked, Some((1, 90))).await,
        probed(&asked, Some((1, 80))).await,
    ];
    let ids = ["quick", "slow", "slower"];
    let channel = by_probes(ids.into_iter().zip(peers.iter().map(|peer| peer.address)));
    for id in ids {
        until_ready(&channel, id).await;
    }
    soon("the quick one gets most", async {
        loop {
            let before = status(&channel, "quick").calls;
            for _ in 0..30 {
                GreeterClient::new(channel.clone()).hello(hello("x")).await.unwrap();
            }
            if status(&channel, "quick").calls - before >= 20 {
                break;
            }
        }
    })
    .await;
    assert!(asked.get() > 30);
    drop(channel);
    until("probes end with the channel", || peers.iter().all(|peer| peer.open.get() == 0)).await;
}

#[tokio::test]
async fn without_answers_calls_go_to_any_node() {
    let asked = Count::default();
    let (one, other) = (probed(&asked, None).await, probed(&asked, None).await);
    let channel = by_probes([("one", one.address), ("other", other.address)]);
    until_ready(&channel, "one").await;
    until_ready(&channel, "other").await;
    assert!(failures(&channel, &CallOptions::new(), 60).await.is_empty());
    assert!(["one", "other"].iter().all(|id| status(&channel, id).calls > 10), "{:?}", channel.nodes());
}

/// What a server answers to a probe.
async fn ask(server: &Running) -> Bytes {
    let request = http::Request::post(format!("http://x{PATH}"))
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(Full::new(Bytes::from_static(&[0, 0, 0, 0, 0]))))
        .unwrap();
    let mut connection = Connection::open(server.handle.local_addr()).await;
    let body = connection.call(request).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    body.to_bytes()
}

#[tokio::test]
async fn a_server_answers_with_its_calls_in_flight_and_what_calls_have_taken() {
    let server = run(&MemoryRegistry::new(), |builder| builder.unregistered()).await;
    assert_eq!(*ask(&server).await, [0, 0, 0, 0, 0], "idle, and nothing is known");
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut client = server.conversation().await;
        streams.push(client.listen(hello("x")).await.unwrap());
    }
    let mut client = server.client().await;
    client.hello(hello("x")).await.unwrap();
    until("the call has ended", || server.handle.calls_in_flight() == 2).await;
    let answer = ask(&server).await;
    assert_eq!(answer[5..8], [0x08, 2, 0x10], "two in flight, and a latency: {answer:?}");
    drop(streams);
}

#[tokio::test]
async fn a_server_at_its_limit_still_answers_and_what_it_refuses_does_not_make_it_look_quick() {
    let one = ConcurrencyLimit::adaptive().with_least(1).with_most(1);
    let server = run(&MemoryRegistry::new(), |builder| builder.unregistered().concurrency_limit(one)).await;
    let mut client = server.client().await;
    let first = tokio::spawn(async move { client.hello(hello("slow")).await });
    soon("the call arrives", server.greeter.arrived.notified()).await;
    let status = server.client().await.hello(hello("x")).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    until("the refusal has been sent", || server.handle.calls_in_flight() == 1).await;
    assert_eq!(*ask(&server).await, [0, 0, 0, 0, 2, 0x08, 1], "one in flight, and nothing is known");
    let meter = server.handle.call_meter();
    assert_eq!((meter.started(), meter.refused()), (2, 1), "probes are no calls");
    server.greeter.go.notify_one();
    soon("the first reply", first).await.unwrap().unwrap();
}

#[tokio::test]
async fn channels_and_servers_of_ours_understand_each_other() {
    let servers = [
        run(&MemoryRegistry::new(), |builder| builder.unregistered()).await,
        run(&MemoryRegistry::new(), |builder| builder.unregistered()).await,
    ];
    let channel =
        by_probes(["a", "b"].into_iter().zip(servers.iter().map(|server| server.handle.local_addr())));
    assert!(failures(&channel, &CallOptions::new(), 200).await.is_empty());
    assert_eq!(channel.nodes().iter().map(|node| node.calls).sum::<u64>(), 200, "probes are no calls");
}
