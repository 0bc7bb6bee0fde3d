//! What a server does when there are more calls than it can work on, and what does not count as one.

use callsign::{
    core::memory::MemoryRegistry,
    server::{Builder, ConcurrencyLimit, Priority},
};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::{Connection, Running, hello, run, soon};

/// Works on `calls` at once, always.
fn at_most(calls: u32) -> impl FnOnce(Builder) -> Builder {
    move |builder| builder.concurrency_limit(fixed(calls))
}

fn fixed(calls: u32) -> ConcurrencyLimit {
    ConcurrencyLimit::adaptive().with_least(calls).with_most(calls)
}

/// A call that stays until the greeter lets one go.
async fn busy(running: &Running) -> tokio::task::JoinHandle<Result<(), tonic::Status>> {
    let mut client = running.client().await;
    let call = tokio::spawn(async move { client.hello(hello("slow")).await.map(drop) });
    soon("the call arrives", running.greeter.arrived.notified()).await;
    call
}

fn with_priority(priority: &'static str) -> tonic::Request<callsign_examples::greeter::HelloRequest> {
    let mut request = tonic::Request::new(hello("World"));
    request.metadata_mut().insert("callsign-priority", tonic::metadata::MetadataValue::from_static(priority));
    request
}

#[tokio::test]
async fn a_call_too_many_is_refused_at_once_with_a_time_to_come_again() {
    let running = run(&MemoryRegistry::new(), at_most(1)).await;
    let first = busy(&running).await;
    let mut client = running.client().await;
    // Its handler would panic.
    let status = soon("a refusal", client.hello(hello("panic"))).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("its limit is 1 now"), "{status}");
    let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap();
    assert!(pushback.parse::<u64>().unwrap() < 2000, "{pushback}");
    let meter = running.handle.call_meter();
    assert_eq!((meter.refused(), meter.limit()), (1, Some(1)));

    // Whoever asks whether it is well gets an answer all the same.
    let mut health = HealthClient::new(Connection::open(running.handle.local_addr()).await);
    assert!(soon("health", health.check(HealthCheckRequest::default())).await.is_ok());

    running.greeter.go.notify_one();
    soon("the first reply", first).await.unwrap().unwrap();
    assert!(client.hello(hello("World")).await.is_ok());
}

#[tokio::test]
async fn a_request_of_http_too_many_is_told_in_its_own_words() {
    let routes = axum::Router::new().route("/", axum::routing::get(async || "here"));
    let running =
        run(&MemoryRegistry::new(), |builder| builder.routes(routes).concurrency_limit(fixed(1))).await;
    let _first = busy(&running).await;
    let mut connection = Connection::open(running.handle.local_addr()).await;
    let request = http::Request::get("/").body(tonic::body::Body::empty()).unwrap();
    let response = tower_service::Service::call(&mut connection, request).await.unwrap();
    assert_eq!(response.status(), http::StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
}

#[tokio::test]
async fn what_matters_more_is_let_in_where_the_rest_is_not() {
    let running = run(&MemoryRegistry::new(), at_most(4)).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(busy(&running).await);
    }
    let mut client = running.client().await;
    let sheddable = client.hello(with_priority("sheddable")).await.unwrap_err();
    assert_eq!(sheddable.code(), Code::ResourceExhausted);
    // What is no priority is the default one.
    assert!(client.hello(with_priority("utmost")).await.is_ok());
    held.push(busy(&running).await);
    assert_eq!(client.hello(with_priority("critical")).await.unwrap_err().code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_server_may_decide_for_itself_what_matters() {
    let running = run(&MemoryRegistry::new(), |builder| {
        builder.concurrency_limit(fixed(3)).priority(|request| match request.headers.get("x-customer") {
            Some(_) => Priority::Critical,
            None => Priority::Sheddable,
        })
    })
    .await;
    let first = {
        let mut client = running.client().await;
        tokio::spawn(async move {
            let mut request = tonic::Request::new(hello("slow"));
            request.metadata_mut().insert("x-customer", "1".parse().unwrap());
            client.hello(request).await.map(drop)
        })
    };
    soon("the call arrives", running.greeter.arrived.notified()).await;
    let mut client = running.client().await;
    let mut request = tonic::Request::new(hello("World"));
    request.metadata_mut().insert("x-customer", "2".parse().unwrap());
    assert!(client.hello(request).await.is_ok());
    // What the caller says of itself is not asked for: of three places two are for such calls.
    let _second = {
        let mut client = running.client().await;
        tokio::spawn(async move {
            let mut request = tonic::Request::new(hello("slow"));
            request.metadata_mut().insert("x-customer", "3".parse().unwrap());
            client.hello(request).await.map(drop)
        })
    };
    soon("the call arrives", running.greeter.arrived.notified()).await;
    assert_eq!(client.hello(with_priority("critical")).await.unwrap_err().code(), Code::ResourceExhausted);
    running.greeter.go.notify_one();
    soon("the reply", first).await.unwrap().unwrap();
}

#[tokio::test]
async fn streams_of_replies_do_not_fill_it_however_long_they_last() {
    let running = run(&MemoryRegistry::new(), at_most(1)).await;
    let mut open = Vec::new();
    for _ in 0..5 {
        let mut replies = running.conversation().await.listen(hello("x")).await.unwrap().into_inner();
        assert!(replies.message().await.unwrap().is_some());
        open.push(replies);
    }
    assert!(running.client().await.hello(hello("World")).await.is_ok());
    assert_eq!(running.handle.call_meter().refused(), 0);
}

#[tokio::test]
async fn a_caller_that_takes_its_time_to_send_does_not_fill_it() {
    let running = run(&MemoryRegistry::new(), at_most(1)).await;
    let (send, names) = tokio::sync::mpsc::channel(1);
    let mut client = running.conversation().await;
    let names = tokio_stream::wrappers::ReceiverStream::new(names);
    let telling = tokio::spawn(async move { client.tell(names).await });
    send.send(hello("Ann")).await.unwrap();
    // It has been let in, and waits for its caller: the first time that another one gets its place.
    soon("room", async {
        let mut other = running.client().await;
        while running.handle.call_meter().started() == 0 || other.hello(hello("World")).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    send.send(hello("Bob")).await.unwrap();
    drop(send);
    let reply = soon("the reply", telling).await.unwrap().unwrap();
    assert_eq!(reply.into_inner().message, "Hello, Ann and Bob!");
}

#[tokio::test]
async fn a_call_that_its_caller_lets_go_of_gives_its_place_back() {
    let running = run(&MemoryRegistry::new(), at_most(1)).await;
    let first = busy(&running).await;
    first.abort();
    soon("the handler is dropped", running.greeter.dropped.notified()).await;
    let mut client = running.client().await;
    soon("room", async {
        while client.hello(hello("World")).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn told_to_observe_it_refuses_nothing_and_counts() {
    let running =
        run(&MemoryRegistry::new(), |builder| builder.concurrency_limit(fixed(1).observe_only())).await;
    let _first = busy(&running).await;
    assert!(running.client().await.hello(hello("World")).await.is_ok());
    assert_eq!(running.handle.call_meter().refused(), 1);
}

#[tokio::test]
async fn without_a_limit_there_is_none() {
    let running =
        run(&MemoryRegistry::new(), |builder| builder.concurrency_limit(ConcurrencyLimit::none())).await;
    let _first = busy(&running).await;
    assert!(running.client().await.hello(hello("World")).await.is_ok());
    assert_eq!(running.handle.call_meter().limit(), None);
}
