//! Canaries, lanes and what they fall back to.

use callsign::{
    CallOptions, CallReport, Channel,
    core::{
        ErrorKind,
        memory::MemoryRegistry,
        select::{Filter, Shape},
    },
};
use callsign_examples::greeter::greeter_client::GreeterClient;

use super::{builder, until, with};
use crate::support::{self, soon};

async fn report(channel: &Channel, options: CallOptions) -> CallReport {
    let request = with(options.report(true), "x");
    let reply = soon("the reply", GreeterClient::new(channel.clone()).hello(request)).await.unwrap();
    reply.extensions().get::<CallReport>().unwrap().clone()
}

async fn until_all_are_ready(channel: &Channel, count: usize) {
    until("all are ready", || channel.nodes().iter().filter(|node| node.connections > 0).count() == count)
        .await;
}

#[tokio::test]
async fn a_lane_that_is_lost_is_left_for_the_next_and_the_report_says_so() {
    let registry = MemoryRegistry::new();
    let blue = support::run(&registry, |b| b.group("blue")).await;
    let _green = support::run(&registry, |b| b.group("green")).await;
    let shape = Shape::default().prefer(Filter::group("blue")).prefer(Filter::group("green"));
    let channel = builder(&registry).shape(shape).build().unwrap();
    until_all_are_ready(&channel, 2).await;
    for _ in 0..20 {
        let report = report(&channel, CallOptions::new()).await;
        assert_eq!((report.node.group(), report.instead.as_deref()), (Some("blue"), None));
    }
    assert_eq!(channel.fallbacks(), 0);
    blue.handle.shutdown();
    blue.end().await.unwrap();
    let report = report(&channel, CallOptions::new()).await;
    assert_eq!(report.node.group(), Some("green"));
    assert_eq!(report.instead.as_deref(), Some("no node of group=blue can be called"));
    assert_eq!(channel.fallbacks(), 1);
}

#[tokio::test]
async fn a_user_stays_with_the_canary_or_with_the_others() {
    let registry = MemoryRegistry::new();
    let mut nodes = Vec::new();
    for version in ["1.4", "1.4", "2.0"] {
        nodes.push(support::run(&registry, |b| b.version(version)).await);
    }
    let shape = Shape::default().split(Filter::version("2"), 30.0).unwrap();
    let make = |seed| builder(&registry).shape(shape.clone()).seed(seed).build().unwrap();
    let (one, other) = (make(1), make(2));
    until_all_are_ready(&one, 3).await;
    until_all_are_ready(&other, 3).await;
    let mut canary = 0;
    for user in 0..60 {
        let options = CallOptions::new().hash_key(format!("user-{user}").as_bytes());
        let version = report(&one, options.clone()).await.node.version().to_owned();
        canary += u32::from(version == "2.0");
        assert_eq!(report(&other, options).await.node.version(), version);
    }
    assert!((8..30).contains(&canary), "{canary} of 60");
}

#[tokio::test]
async fn a_client_that_keeps_to_a_subset_connects_to_no_other_node_and_replaces_one_that_left() {
    let registry = MemoryRegistry::new();
    let mut nodes = Vec::new();
    for n in 0..6 {
        nodes.push(support::run(&registry, |b| b.id(format!("n{n}"))).await);
    }
    let channel = builder(&registry).subset(3).build().unwrap();
    until_all_are_ready(&channel, 3).await;
    let ids = || channel.nodes().iter().map(|node| node.node.id().to_string()).collect::<Vec<_>>();
    let before = ids();
    assert_eq!(before.len(), 3);
    let other = builder(&registry).subset(3).build().unwrap();
    until_all_are_ready(&other, 3).await;
    assert_eq!(other.nodes().iter().map(|node| node.node.id().to_string()).collect::<Vec<_>>(), before);

    let gone = nodes.iter().position(|node| node.handle.node().id() == before[0].as_str()).unwrap();
    let gone = nodes.remove(gone);
    gone.handle.shutdown();
    gone.end().await.unwrap();
    until("another has its place", || ids().len() == 3 && !ids().contains(&before[0])).await;
    assert!(before[1..].iter().all(|id| ids().contains(id)), "{before:?}, {:?}", ids());
}

#[tokio::test]
async fn policies_that_contradict_each_other_are_refused() {
    let registry = MemoryRegistry::new();
    let both = builder(&registry).filter(Filter::group("blue")).filter(Filter::group("green")).build();
    let error = both.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("no node can be of group=blue and of group=green"), "{error}");
    let shape = Shape::default().near(["there"]);
    let error = builder(&registry).filter(Filter::zone("here")).shape(shape).build().unwrap_err();
    assert!(error.to_string().contains("zone=here"), "{error}");
}
