//! What a collector receives of calls between processes, and what becomes of calls when it is away.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests"
)]

mod process;

use std::{collections::BTreeSet, future::Future, time::Duration};

use callsign_testbed::collector::{Collector, Seen};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use self::process::{Process, Role};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

async fn soon<T>(what: &str, done: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, done).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// From the span that has no parent down: each has one child.
fn way(spans: &[Seen]) -> Vec<&Seen> {
    let (mut way, mut parent) = (Vec::new(), Vec::new());
    while let Some(seen) = spans.iter().find(|seen| seen.span.parent_span_id == parent) {
        parent.clone_from(&seen.span.span_id);
        way.push(seen);
    }
    way
}

#[tokio::test]
async fn calls_from_process_to_process_are_one_trace() {
    let collector = Collector::start().await;
    let mut back = Process::start(Role::Server, "back", &collector.endpoint, None).await;
    let mut front = Process::start(Role::Server, "front", &collector.endpoint, Some(&back)).await;
    let mut client = Process::start(Role::Client, "client", &collector.endpoint, Some(&front)).await;
    client.say("call").await;
    for process in [&mut client, &mut front, &mut back] {
        process.end().await;
    }

    // Each has sent all it had before it ended.
    let spans = collector.spans();
    let traces: BTreeSet<_> = spans.iter().map(|seen| seen.span.trace_id.clone()).collect();
    let way = way(&spans);
    assert_eq!((spans.len(), traces.len(), way.len()), (6, 1, 6), "{spans:#?}");
    let seen: Vec<_> = way.iter().map(|seen| (&*seen.service, &*seen.span.name, seen.span.kind())).collect();
    let method = "greeter.Greeter/Hello";
    let wanted = [
        ("client", method, SpanKind::Client),
        ("client", "attempt", SpanKind::Client),
        ("front", method, SpanKind::Server),
        ("front", method, SpanKind::Client),
        ("front", "attempt", SpanKind::Client),
        ("back", method, SpanKind::Server),
    ];
    assert_eq!(seen, wanted);
    let call = way[0];
    assert_eq!(call.text("rpc.system"), "grpc");
    assert_eq!([call.text("rpc.service"), call.text("rpc.method")], ["greeter.Greeter", "Hello"]);
    assert_eq!((call.text("callsign.service"), call.number("rpc.grpc.status_code")), ("front", 0));
    let attempt = way[4];
    assert_eq!([attempt.text("callsign.node"), attempt.text("server.address")], ["back", "127.0.0.1"]);
    assert_eq!(
        (attempt.number("callsign.attempt"), attempt.number("server.port")),
        (1, i64::from(back.port()))
    );
    assert_eq!((way[5].text("client.address"), way[5].number("rpc.grpc.status_code")), ("127.0.0.1", 0));
    // Who asks for the trace's id is told the one that is exported.
    let told = format!("{:032x}", u128::from_be_bytes(way[5].span.trace_id.clone().try_into().unwrap()));
    assert_eq!(client.printed().await, format!("answered {told}\n"));
}

#[tokio::test]
async fn a_trace_that_its_caller_does_not_record_is_not_exported() {
    let collector = Collector::start().await;
    let mut back = Process::start(Role::Server, "back", &collector.endpoint, None).await;
    let mut client = Process::start(Role::Client, "client", &collector.endpoint, Some(&back)).await;
    for flags in ["00", "01"] {
        client.say(&format!("call 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}")).await;
    }
    client.end().await;
    back.end().await;
    let spans = collector.spans();
    let names: Vec<_> = spans.iter().map(|seen| (&*seen.service, &*seen.span.name)).collect();
    assert_eq!(spans.len(), 3, "{names:?}");
    let trace = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes();
    assert!(spans.iter().all(|seen| seen.span.trace_id == trace), "{names:?}");
}

#[tokio::test]
async fn without_a_collector_calls_go_on_and_it_is_said_once() {
    // Bound, and not listened to: nobody else gets it meanwhile.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nowhere = format!("http://{}", socket.local_addr().unwrap());
    let back = Process::start(Role::Server, "back", &nowhere, None).await;
    let mut client = Process::start(Role::Client, "client", &nowhere, Some(&back)).await;
    client.say("call").await;
    client.until_logged("takes no spans").await;
    for _ in 0..20 {
        client.say("call").await;
    }
    client.end().await;
    assert_eq!(client.printed().await.matches("answered").count(), 21);
    let log = client.log().await;
    assert_eq!(log.matches("takes no spans").count(), 1, "{log}");
    assert_eq!(log.matches("did not take the last 42 spans").count(), 1, "{log}");
    assert!(log.contains("refused"), "{log}");
}

/// What never comes to an end by itself.
const FOR_EVER: [(&str, &str); 2] =
    [("OTEL_EXPORTER_OTLP_TIMEOUT", "86400000"), ("OTEL_BSP_EXPORT_TIMEOUT", "86400000")];

#[tokio::test]
async fn a_collector_that_says_nothing_holds_up_neither_calls_nor_the_end_and_each_span_is_counted() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let back = Process::start(Role::Server, "back", "", None).await;
    // Far more spans than there is room for, and a full batch that nobody answers for.
    let small = [("OTEL_BSP_MAX_QUEUE_SIZE", "16"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8")];
    let set = [&FOR_EVER[..], &small].concat();
    let mut client = Process::start_with(&set, Role::Client, "client", &endpoint, Some(&back)).await;
    for _ in 0..50 {
        client.say("call").await;
    }
    client.end().await;
    let log = client.log().await;
    assert!(log.contains("did not take the last 100 spans"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test]
async fn a_batch_that_is_not_answered_for_in_time_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let back = Process::start(Role::Server, "back", "", None).await;
    let set = [FOR_EVER[0], ("OTEL_BSP_EXPORT_TIMEOUT", "50")];
    let mut client = Process::start_with(&set, Role::Client, "client", &endpoint, Some(&back)).await;
    client.say("call").await;
    client.until_logged("takes no spans").await;
    client.end().await;
}

#[tokio::test]
async fn that_the_collector_is_back_is_said_as_well() {
    let collector = Collector::start().await;
    collector.refuse(true);
    let back = Process::start(Role::Server, "back", "", None).await;
    let mut client = Process::start(Role::Client, "client", &collector.endpoint, Some(&back)).await;
    client.say("call").await;
    client.until_logged("takes no spans").await;
    assert_eq!(collector.spans().len(), 0);
    collector.refuse(false);
    client.say("call").await;
    client.until_logged("takes spans again").await;
    client.end().await;
    assert_eq!(collector.spans().len(), 2, "of the call that was made since");
    assert!(!client.log().await.contains("did not take the last"));
}
