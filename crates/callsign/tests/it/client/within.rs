//! Calls that are made for other calls: their time, who repeats, and which trace they belong to.

use std::{sync::Arc, time::Duration};

use callsign::{
    CallOptions, Channel, Deadline, PreviousAttempts, Server,
    client::RetryPolicy,
    core::{memory::MemoryRegistry, select::Strategy},
};
use callsign_examples::greeter::{
    HelloReply, HelloRequest,
    greeter_client::GreeterClient,
    greeter_server::{Greeter, GreeterServer},
};
use tokio::{sync::mpsc, time::Instant};
use tonic::{Code, Request, Response, Status};

use super::{
    Count, fixed,
    peer::{self, Peer},
    until_ready, with,
};
use crate::support::soon;

/// Asks another greeter, in the name of who asked it.
struct Middle {
    behind: Channel,
    /// Whether it says for whom it calls.
    within: bool,
}

#[tonic::async_trait]
impl Greeter for Middle {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let mut options = CallOptions::new().idempotent(true);
        if self.within {
            options = options.within(request.extensions());
        }
        GreeterClient::new(self.behind.clone()).hello(with(options, &request.into_inner().name)).await
    }
}

fn quick(attempts: u32) -> RetryPolicy {
    let millisecond = Duration::from_millis(1);
    RetryPolicy::new().attempts(attempts).backoff(millisecond, millisecond).unwrap()
}

/// Three nodes that all are this peer.
async fn three(peer: &Peer) -> Channel {
    let ids = ["x", "y", "z"];
    let nodes = fixed(ids.map(|id| (id, peer.address)));
    let channel = nodes.strategy(Strategy::Random).retry(quick(3)).build().unwrap();
    for id in ids {
        until_ready(&channel, id).await;
    }
    channel
}

/// A channel to servers in the middle, in front of `behind`.
async fn middle(behind: &Channel, within: bool) -> Channel {
    let registry = MemoryRegistry::new();
    for _ in 0..3 {
        let greeter = Middle { behind: behind.clone(), within };
        let server = Server::builder("greeter")
            .registry(Arc::new(registry.clone()))
            .add_service(GreeterServer::new(greeter))
            .build()
            .await
            .unwrap();
        tokio::spawn(server.serve_until(std::future::pending()));
    }
    let channel =
        Channel::builder("greeter").registry(Arc::new(registry)).retry(quick(3)).seed(1).build().unwrap();
    super::until("three nodes are ready", || {
        let ready = |node: &callsign::client::NodeStatus| node.state == callsign::client::NodeState::Ready;
        channel.nodes().iter().filter(|node| ready(node)).count() == 3
    })
    .await;
    channel
}

#[tokio::test]
async fn a_call_within_another_has_what_is_left_of_its_time() {
    let (tell, mut told) = mpsc::channel(8);
    let peer = Peer::serve(move |request, respond| {
        let tell = tell.clone();
        async move {
            tell.send(request.headers().get("grpc-timeout").cloned()).await.unwrap();
            peer::greet(request, respond).await;
        }
    })
    .await;
    let behind = three(&peer).await;
    for (within, carried) in [(true, true), (false, false)] {
        let mut client = GreeterClient::new(middle(&behind, within).await);
        let options = CallOptions::new().timeout(Duration::from_secs(100));
        soon("the answer", client.hello(with(options, "World"))).await.unwrap();
        let said = told.recv().await.unwrap();
        assert_eq!(said.is_some(), carried);
        if let Some(said) = said {
            // A fiftieth is kept back.
            let text = said.to_str().unwrap();
            let (number, unit) = text.split_at(text.len() - 1);
            assert_eq!(unit, "u", "{text}");
            let seconds: f64 = number.parse::<f64>().unwrap() / 1e6;
            assert!(seconds <= 98.0 && seconds > 60.0, "{seconds}");
        }
    }
}

#[tokio::test]
async fn with_no_time_left_nothing_is_sent() {
    let count = Count::default();
    let peer = Peer::counted(&count).await;
    let channel = three(&peer).await;
    let mut extensions = http::Extensions::new();
    for deadline in [Instant::now(), Instant::now() - Duration::from_secs(1)] {
        extensions.insert(Deadline::new(deadline));
        let request = with(CallOptions::new().within(&extensions), "World");
        let status = GreeterClient::new(channel.clone()).hello(request).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(status.message().contains("nothing is left"), "{status}");
    }
    let status = GreeterClient::new(channel.clone())
        .hello(with(CallOptions::new().timeout(Duration::ZERO), "World"))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(count.get(), 0);
}

/// Both layers would try three times: nine attempts. The lower does, says that it did, and the upper does not.
#[tokio::test]
async fn only_one_layer_repeats() {
    let count = Count::default();
    let counted = count.clone();
    let peer = Peer::serve(move |request, respond| {
        counted.add();
        peer::unavailable(request, respond, "down")
    })
    .await;
    let behind = three(&peer).await;
    let mut client = GreeterClient::new(middle(&behind, true).await);
    let status = soon("the answer", client.hello(with(CallOptions::new().idempotent(true), "World")))
        .await
        .unwrap_err();
    assert_eq!((status.code(), status.message(), count.get()), (Code::Unavailable, "down", 3));
}

#[tokio::test]
async fn a_call_within_a_repeated_one_is_made_once_and_says_so() {
    let (tell, mut told) = mpsc::channel(8);
    let peer = Peer::serve(move |request, respond| {
        let tell = tell.clone();
        async move {
            tell.send(request.headers().get("grpc-previous-rpc-attempts").cloned()).await.unwrap();
            peer::unavailable(request, respond, "down").await;
        }
    })
    .await;
    let channel = middle(&three(&peer).await, true).await;
    let mut request = with(CallOptions::new(), "World");
    request.metadata_mut().insert("grpc-previous-rpc-attempts", "2".parse().unwrap());
    let status = soon("the answer", GreeterClient::new(channel).hello(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms"), None, "the upper layer may go on");
    assert_eq!(told.recv().await.unwrap().unwrap(), "2");
    assert!(told.try_recv().is_err(), "one attempt");
}

#[tokio::test]
async fn a_handler_sees_how_often_it_was_asked_before() {
    let mut headers = http::Extensions::new();
    assert!(headers.get::<PreviousAttempts>().is_none());
    let (tell, mut told) = mpsc::channel(8);
    struct Telling(mpsc::Sender<Option<u32>>);
    #[tonic::async_trait]
    impl Greeter for Telling {
        async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
            let attempts = request.extensions().get::<PreviousAttempts>().map(|attempts| attempts.count());
            self.0.send(attempts).await.unwrap();
            Ok(Response::new(HelloReply::default()))
        }
    }
    let registry = MemoryRegistry::new();
    let server = Server::builder("greeter")
        .registry(Arc::new(registry.clone()))
        .add_service(GreeterServer::new(Telling(tell)))
        .build()
        .await
        .unwrap();
    tokio::spawn(server.serve_until(std::future::pending()));
    let mut client = super::greeter(&registry);
    for (text, attempts) in [(None, None), (Some("3"), Some(3)), (Some("many"), Some(1))] {
        let mut request = with(CallOptions::new(), "World");
        if let Some(text) = text {
            request.metadata_mut().insert("grpc-previous-rpc-attempts", text.parse().unwrap());
        }
        client.hello(request).await.unwrap();
        assert_eq!(told.recv().await.unwrap(), attempts, "{text:?}");
    }
    headers.clear();
}

#[tokio::test]
async fn each_attempt_of_a_call_within_another_is_a_span_of_its_trace() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let (tell, mut told) = mpsc::channel(8);
    let peer = Peer::serve(move |request, respond| {
        let tell = tell.clone();
        async move {
            tell.send(request.headers().clone()).await.unwrap();
            peer::unavailable(request, respond, "down").await;
        }
    })
    .await;
    let behind = three(&peer).await;
    let received = format!("00-{TRACE}-00f067aa0ba902b7-01");
    for (within, sent, attempts) in
        [(true, Some(&*received), 3), (true, Some("00-xyz"), 3), (true, None, 3), (false, Some(&received), 3)]
    {
        let mut request = with(CallOptions::new(), "World");
        for (name, value) in
            [("traceparent", sent), ("tracestate", Some("rojo=1")), ("baggage", Some("user=7"))]
        {
            if let Some(value) = value {
                request.metadata_mut().insert(name, value.parse().unwrap());
            }
        }
        let mut client = GreeterClient::new(middle(&behind, within).await);
        soon("the answer", client.hello(request)).await.unwrap_err();
        let mut spans = std::collections::BTreeSet::new();
        for _ in 0..attempts {
            let headers = told.recv().await.unwrap();
            let text = |name| headers.get(name).map(|value: &http::HeaderValue| value.to_str().unwrap());
            if !within || sent != Some(&received) {
                assert_eq!((text("traceparent"), text("tracestate"), text("baggage")), (None, None, None));
                continue;
            }
            assert_eq!((text("tracestate"), text("baggage")), (Some("rojo=1"), Some("user=7")));
            let parts: Vec<_> = text("traceparent").unwrap().split('-').collect();
            assert_eq!([parts[0], parts[1], parts[3]], ["00", TRACE, "01"]);
            assert_ne!(parts[2], "00f067aa0ba902b7", "it is the caller's");
            assert!(spans.insert(parts[2].to_owned()), "two attempts are two spans");
        }
        assert!(told.try_recv().is_err());
    }
}
