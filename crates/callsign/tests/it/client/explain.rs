//! Why a call goes where it goes: five planted faults are named, with real servers, and what is said agrees with what calls do.

use std::{collections::BTreeSet, time::Duration};

use callsign::{
    CallOptions, CallReport, Channel,
    client::{Explanation, HealthCheck, NodeExplanation},
    core::{
        health::HealthConfig,
        memory::MemoryRegistry,
        select::{Filter, Outcome, Shape, Strategy},
    },
};
use callsign_examples::greeter::greeter_client::GreeterClient;

use super::{builder, fixed, node, nowhere, register, server, settled, with};
use crate::support::soon;

fn said<'a>(explanation: &'a Explanation, id: &str) -> &'a NodeExplanation {
    explanation.nodes.iter().find(|node| node.node.id() == id).expect("a node of that id")
}

/// The node is passed over for this reason, which is in the first line too.
#[track_caller]
fn names(explanation: &Explanation, id: &str, code: &str, words: &str) {
    let node = said(explanation, id);
    assert!(!node.is_candidate(), "{explanation}");
    assert_eq!(node.obstacle.as_ref().map(|obstacle| obstacle.code()), Some(code), "{explanation}");
    assert!(node.remark().unwrap().contains(words), "{explanation}");
    let first = explanation.to_string().lines().next().unwrap().to_owned();
    assert!(first.contains(id) && first.contains(words), "{first}");
}

/// The nodes that calls with these options go to are among those that may take them.
async fn calls_agree(channel: &Channel, options: &CallOptions, explanation: &Explanation) {
    let candidates: BTreeSet<_> = explanation.candidates().map(|node| node.node.id().to_string()).collect();
    for _ in 0..30 {
        let request = with(options.clone().report(true), "x");
        let reply = soon("the reply", GreeterClient::new(channel.clone()).hello(request)).await;
        match reply {
            Ok(reply) => {
                let id = reply.extensions().get::<CallReport>().unwrap().node.id().to_string();
                assert!(candidates.contains(&id), "{id}: {explanation}");
            }
            Err(status) => assert!(candidates.is_empty(), "{status}: {explanation}"),
        }
    }
}

#[tokio::test]
async fn a_node_in_the_wrong_zone_is_named() {
    let (registry, server) = (MemoryRegistry::new(), server().await);
    let _here = register(&registry, &server, "here", |node| node.zone("eu-1a")).await;
    let _there = register(&registry, &server, "there", |node| node.zone("eu-1b")).await;
    let channel = settled(builder(&registry).filter(Filter::zone("eu-1a"))).await;
    let explanation = channel.explain(&CallOptions::new());
    names(&explanation, "there", "filter", "zone=eu-1a is asked for, and it has eu-1b");
    calls_agree(&channel, &CallOptions::new(), &explanation).await;

    let channel = settled(builder(&registry).shape(Shape::default().near(["eu-1a"]))).await;
    let explanation = channel.explain(&CallOptions::new());
    names(&explanation, "there", "zone", "nearer nodes, in eu-1a, take the calls unless they are far busier");
    calls_agree(&channel, &CallOptions::new(), &explanation).await;
}

#[tokio::test]
async fn a_node_that_drains_is_named() {
    let (registry, stays, leaves) = (MemoryRegistry::new(), server().await, server().await);
    let _stays = register(&registry, &stays, "stays", |node| node).await;
    let leaving = register(&registry, &leaves, "leaves", |node| node.weight(0)).await;
    let channel = settled(builder(&registry)).await;
    let explanation = channel.explain(&CallOptions::new());
    names(&explanation, "leaves", "draining", "its weight is 0: it is draining, or wants no calls");
    calls_agree(&channel, &CallOptions::new(), &explanation).await;
    drop(leaving);

    // The same by its own word, as a server says it first of all when it is told to leave.
    let addresses = [("stays", stays.handle.local_addr()), ("leaves", leaves.handle.local_addr())];
    leaves.handle.health().set_healthy(false);
    let channel = settled(fixed(addresses).health_check(HealthCheck::default())).await;
    let explanation = channel.explain(&CallOptions::new());
    names(&explanation, "leaves", "not-serving", "it is not serving: it says that it does not serve");
    calls_agree(&channel, &CallOptions::new(), &explanation).await;
}

#[tokio::test]
async fn a_node_that_is_ejected_is_named_with_what_led_to_it() {
    let (one, other) = (server().await, server().await);
    let addresses = [("bad", one.handle.local_addr()), ("good", other.handle.local_addr())];
    let brief = HealthConfig::default().ejection(Duration::from_secs(60), Duration::from_secs(60)).unwrap();
    let channel = settled(fixed(addresses).strategy(Strategy::RoundRobin).health(brief)).await;
    let bad = node("bad", one.handle.local_addr());
    for _ in 0..5 {
        channel.mark(bad.id(), Outcome::Failure, Duration::from_millis(1));
    }
    super::until("it is ejected", || {
        channel.explain(&CallOptions::new()).nodes.iter().any(|node| !node.is_candidate())
    })
    .await;
    let explanation = channel.explain(&CallOptions::new());
    names(&explanation, "bad", "ejected", "it is ejected: 5 calls failed in a row; for another");
    calls_agree(&channel, &CallOptions::new(), &explanation).await;

    channel.blacklist(node("good", other.handle.local_addr()).id(), Duration::from_secs(60));
    let explanation = channel.explain(&CallOptions::new());
    assert!(explanation.candidates().next().is_some(), "somebody is better than nobody: {explanation}");
}

#[tokio::test]
async fn a_node_of_another_version_is_named() {
    let (registry, server) = (MemoryRegistry::new(), server().await);
    let _old = register(&registry, &server, "old", |node| node.version("1.9")).await;
    let _new = register(&registry, &server, "new", |node| node.version("2.0")).await;
    let channel = settled(builder(&registry)).await;
    let options = CallOptions::new().filter(Filter::version("2"));
    let explanation = channel.explain(&options);
    names(&explanation, "old", "filter", "version=2 is asked for, and it has 1.9");
    calls_agree(&channel, &options, &explanation).await;
    assert_eq!(channel.explain(&CallOptions::new()).summary, "any of 2 nodes may take the next call");

    // When nobody passes, it says what a call is told.
    let nobody = CallOptions::new().filter(Filter::version("3"));
    let explanation = channel.explain(&nobody);
    let failed =
        soon("the call", GreeterClient::new(channel.clone()).hello(with(nobody, "x"))).await.unwrap_err();
    assert_eq!(explanation.summary, failed.message());
}

#[tokio::test]
async fn a_node_outside_of_the_subset_is_named() {
    let (registry, server) = (MemoryRegistry::new(), server().await);
    let mut leases = Vec::new();
    for id in ["a", "b", "c"] {
        leases.push(register(&registry, &server, id, |node| node).await);
    }
    let channel = settled(builder(&registry).subset(2)).await;
    let explanation = channel.explain(&CallOptions::new());
    let outside: Vec<_> = explanation.nodes.iter().filter(|node| !node.is_candidate()).collect();
    assert_eq!(outside.len(), 1, "{explanation}");
    let id = outside[0].node.id().to_string();
    names(&explanation, &id, "subset", "outside the subset: this client keeps to 2 of the 3 nodes");
    calls_agree(&channel, &CallOptions::new(), &explanation).await;

    // The filters of the channel come before the subset: nobody is left, and that is what a call is told.
    let channel = settled(builder(&registry).filter(Filter::zone("moon")).subset(2)).await;
    let summary = channel.explain(&CallOptions::new()).summary;
    assert_eq!(summary, "greeter: none of 3 nodes passes zone=moon");
}

#[tokio::test]
async fn what_cannot_be_called_is_told_with_its_cause() {
    let (registry, server) = (MemoryRegistry::new(), server().await);
    let _http = register(&registry, &server, "web", |node| node.metadata("protocol", "http")).await;
    let _good = register(&registry, &server, "good", |node| node).await;
    let channel = settled(builder(&registry)).await;
    names(&channel.explain(&CallOptions::new()), "web", "unfit", "speaks http");
    let there = CallOptions::new().node(node("good", server.handle.local_addr()).id().clone());
    names(&channel.explain(&there), "web", "unfit", "speaks http");

    let channel = settled(fixed([("away", nowhere(1)), ("good", server.handle.local_addr())])).await;
    names(&channel.explain(&CallOptions::new()), "away", "not-ready", "it is out of reach: ");
    let there = CallOptions::new().node(node("away", nowhere(1)).id().clone());
    let summary = channel.explain(&there).summary;
    assert!(summary.starts_with("away does not take the next call: it is out of reach"), "{summary}");
    let nobody = CallOptions::new().node(node("nobody", nowhere(1)).id().clone());
    assert_eq!(channel.explain(&nobody).summary, "greeter has no node nobody");
}

#[tokio::test]
async fn a_key_is_led_to_the_node_that_is_said() {
    let servers = [server().await, server().await, server().await];
    let ids = ["a", "b", "c"];
    let addresses = ids.iter().copied().zip(servers.iter().map(|server| server.handle.local_addr()));
    let channel = settled(fixed(addresses).strategy("maglev".parse().unwrap())).await;
    for user in 0..8_u8 {
        let options = CallOptions::new().hash_key(&[user]);
        let explanation = channel.explain(&options);
        let home = explanation.candidates().next().unwrap().node.id().to_string();
        assert_eq!(explanation.candidates().count(), 1, "{explanation}");
        let other = ids.iter().find(|id| **id != home).unwrap();
        names(&explanation, other, "key", &format!("the call's key leads to {home}"));
        calls_agree(&channel, &options, &explanation).await;
    }
}
