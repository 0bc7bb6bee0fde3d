//! What is exposed agrees with what happened and with what is documented, and is shown to nobody who is not meant to see it.

use std::collections::{BTreeMap, BTreeSet};

use callsign::{
    CallOptions, Channel, ErrorKind,
    core::memory::MemoryRegistry,
    metrics::{Admin, Kind, Metrics},
};
use callsign_examples::greeter::greeter_client::GreeterClient;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    client::{builder, failures, register, server, until, until_ready, with},
    support::{PATIENCE, run, soon},
};

const HERE: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

/// One request by hand, and the whole response.
async fn get(admin: &Admin, request: &str) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(admin.local_addr()).await.unwrap();
        stream.write_all(format!("{request}\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    };
    soon("a response", exchange).await
}

/// The numbers of a page, by name and labels.
fn numbers(response: &str) -> BTreeMap<&str, f64> {
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

/// The metric that a number is of: a histogram has several.
fn metric(name: &str) -> &str {
    let stem = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
    let is_histogram = |stem: &&str| {
        Metrics::all().iter().any(|metric| metric.name == *stem && metric.kind == Kind::Histogram)
    };
    stem.filter(is_histogram).unwrap_or(name)
}

async fn settled(registry: &MemoryRegistry) -> Channel {
    let channel = builder(registry).build().unwrap();
    assert!(channel.settled(PATIENCE).await);
    channel
}

#[tokio::test]
async fn a_scrape_shows_what_calls_have_left_behind() {
    let registry = MemoryRegistry::new();
    let server = run(&registry, |builder| builder.id("one")).await;
    soon("it is registered", server.handle.registered()).await.unwrap();
    let channel = settled(&registry).await;
    let metrics = Metrics::new();
    metrics.add_channel(&channel);
    metrics.add_server(server.handle.clone());
    let admin = Admin::bind(HERE.into(), None, metrics).await.unwrap();
    assert_eq!(failures(&channel, &CallOptions::new(), 20).await.len(), 0);

    let response = get(&admin, "GET /metrics HTTP/1.1").await;
    let numbers = numbers(&response);
    let of =
        |name: &str| numbers.get(format!("{name}{{service=\"greeter\",node=\"one\"}}").as_str()).copied();
    assert_eq!(of("callsign_client_calls_total"), Some(20.0), "{response}");
    assert_eq!(of("callsign_client_failures_total"), Some(0.0));
    assert_eq!(of("callsign_client_calls_in_flight"), Some(0.0));
    assert_eq!(of("callsign_client_node_ready"), Some(1.0));
    assert!(of("callsign_client_latency_seconds").is_some_and(|seconds| seconds > 0.0));
    assert_eq!(of("callsign_server_calls_total"), Some(20.0));
    assert_eq!(of("callsign_server_registered"), Some(1.0));
    assert!(of("callsign_server_calls_limit").is_some_and(|limit| limit >= 1.0));
    assert_eq!(of("callsign_client_attempt_duration_seconds_count"), Some(20.0));
    let sum = of("callsign_client_attempt_duration_seconds_sum").unwrap();
    assert!(sum > 0.0 && sum < 20.0 * PATIENCE.as_secs_f64(), "{sum}");
    assert_eq!(numbers.get("callsign_client_held_back_ratio{service=\"greeter\"}"), Some(&0.0));
    // Ten a second for ten seconds, calls or not.
    let budget = numbers.get("callsign_client_retry_budget{service=\"greeter\"}").unwrap();
    assert!(*budget >= 100.0, "{budget}");
    assert_eq!(numbers.get("callsign_client_view_age_seconds{service=\"greeter\"}"), Some(&0.0));

    // All metrics have been shown, and no others.
    let shown: BTreeSet<_> = numbers.keys().map(|name| metric(name.split('{').next().unwrap())).collect();
    let all: BTreeSet<_> = Metrics::all().iter().map(|metric| metric.name).collect();
    assert_eq!(shown, all);

    let explained = get(&admin, "GET /explain HTTP/1.1").await;
    assert!(explained.contains("one takes the next call: it is the only node"), "{explained}");
    let calls = get(&admin, "GET /calls HTTP/1.1").await;
    let listed = calls.lines().filter(|line| line.starts_with("  call ")).collect::<Vec<_>>();
    assert_eq!((listed.len(), listed[0]), (20, "  call 20: /greeter.Greeter/Hello, adaptive"), "{calls}");
    assert!(calls.contains("one took the call and answered after "), "{calls}");
    assert!(get(&admin, "GET / HTTP/1.1").await.starts_with("HTTP/1.1 404"));
    assert!(get(&admin, "POST /metrics HTTP/1.1").await.starts_with("HTTP/1.1 405"));

    // A channel that is gone is shown no more, for it was not kept alive.
    drop(channel);
    let response = get(&admin, "GET /metrics HTTP/1.1").await;
    assert!(!response.contains("callsign_client"), "{response}");
}

#[tokio::test]
async fn ejections_and_retries_are_counted() {
    let registry = MemoryRegistry::new();
    let _servers =
        [run(&registry, |builder| builder.id("a")).await, run(&registry, |builder| builder.id("b")).await];
    let channel = settled(&registry).await;
    let (metrics, a) = (Metrics::new(), channel.nodes()[0].node.clone());
    metrics.add_channel(&channel);
    assert!(channel.blacklist(a.id(), PATIENCE));
    let text = metrics.text();
    assert!(text.contains("callsign_client_ejections_total{service=\"greeter\"} 1\n"), "{text}");
    assert!(text.contains("callsign_client_node_ejected{service=\"greeter\",node=\"a\"} 1\n"), "{text}");
    assert!(text.contains("callsign_client_node_ejected{service=\"greeter\",node=\"b\"} 0\n"), "{text}");
    assert!(text.contains("callsign_client_retries_total{service=\"greeter\"} 0\n"), "{text}");
}

#[tokio::test]
async fn what_attempts_came_to_at_nodes_that_have_gone_is_kept() {
    let registry = MemoryRegistry::new();
    let (a, b) = (server().await, server().await);
    let here = register(&registry, &a, "a", |node| node).await;
    let channel = settled(&registry).await;
    let metrics = Metrics::new();
    metrics.add_channel(&channel);
    let counted = || (channel.attempts().ended, channel.attempts().failed);
    assert_eq!(failures(&channel, &CallOptions::new(), 10).await.len(), 0);
    let mut client = GreeterClient::new(channel.clone());
    let slow = tokio::spawn(async move { client.hello(with(CallOptions::new(), "slow")).await });
    soon("the call arrives", a.greeter.arrived.notified()).await;

    here.release().await.unwrap();
    until("the node has gone", || channel.nodes().is_empty()).await;
    assert_eq!(counted(), (10, 0));
    // Its last call ends, and badly, when the channel knows nothing of the node any more.
    a.handle.stop_now();
    soon("the call ends", slow).await.unwrap().unwrap_err();
    assert_eq!(counted(), (11, 1));

    let _here = register(&registry, &b, "b", |node| node).await;
    until_ready(&channel, "b").await;
    assert_eq!(failures(&channel, &CallOptions::new(), 5).await.len(), 0);
    let text = metrics.text();
    assert!(text.contains("callsign_client_attempts_total{service=\"greeter\"} 16\n"), "{text}");
    assert!(text.contains("callsign_client_attempts_failed_total{service=\"greeter\"} 1\n"), "{text}");
    assert!(text.contains("callsign_client_calls_total{service=\"greeter\",node=\"b\"} 5\n"), "{text}");
}

#[tokio::test]
async fn an_address_that_others_can_reach_wants_a_token() {
    let error = Admin::bind(([0, 0, 0, 0], 0).into(), None, Metrics::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.hint().is_some_and(|hint| hint.contains("token")), "{error}");
    let error = Admin::bind(HERE.into(), Some(" "), Metrics::new()).await.unwrap_err();
    assert!(error.to_string().contains("the token is empty"), "{error}");

    let admin = Admin::bind(HERE.into(), Some("s3cret"), Metrics::new()).await.unwrap();
    for wrong in [
        "",
        "\r\nauthorization: Bearer s3creT",
        "\r\nauthorization: Bearer s3cret2",
        "\r\nauthorization: s3cret",
    ] {
        let response = get(&admin, &format!("GET /metrics HTTP/1.1{wrong}")).await;
        assert!(response.starts_with("HTTP/1.1 401"), "{wrong:?}: {response}");
    }
    let response = get(&admin, "GET /metrics HTTP/1.1\r\nauthorization: Bearer s3cret").await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
}

#[test]
fn the_page_on_metrics_lists_each_one_and_no_other() {
    let page = include_str!("../../../../docs/metrics.md");
    let listed: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `callsign_")?.split('`').next())
        .map(|name| format!("callsign_{name}"))
        .collect();
    let all: BTreeSet<_> = Metrics::all().iter().map(|metric| metric.name.to_owned()).collect();
    assert_eq!(listed, all);
    // Alerts and prose go by metrics that there are.
    let word = |c: char| !c.is_ascii_lowercase() && c != '_';
    for name in page.split(word).filter(|name| name.starts_with("callsign_")) {
        assert!(all.contains(metric(name)), "{name}");
    }
}
