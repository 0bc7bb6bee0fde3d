//! Nodes that an operator has drained: they go on, and get no calls.

use std::time::Duration;

use callsign::{
    CallOptions, CallReport, Channel, ErrorKind, Operator,
    client::NodeState,
    core::{
        NodeId, WatchEvent,
        memory::MemoryRegistry,
        registry::{ListOptions, Registry as _, WatchOptions},
    },
    server::{DrainConfig, Operators, Phase},
};
use callsign_examples::greeter::greeter_client::GreeterClient;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{builder, failures, state, until, until_ready, with};
use crate::support::{Connection, Running, hello, run, soon};

async fn start(registry: &MemoryRegistry, id: &str) -> Running {
    let running = run(registry, |builder| builder.id(id).operators(Operators::on_loopback())).await;
    soon("the registration", running.handle.registered()).await.unwrap();
    running
}

/// The weight that the registry shows of a node, if it shows the node.
async fn weight(registry: &MemoryRegistry, id: &str) -> Option<Option<u16>> {
    let nodes = registry.list(&ListOptions::default()).await.unwrap().nodes;
    nodes.iter().find(|node| node.id().as_str() == id).map(|node| node.weight())
}

async fn serves(running: &Running) -> ServingStatus {
    let mut health = HealthClient::new(Connection::open(running.handle.local_addr()).await);
    health.check(HealthCheckRequest::default()).await.unwrap().into_inner().status()
}

async fn answerer(channel: &Channel) -> String {
    let mut client = GreeterClient::new(channel.clone());
    let options = CallOptions::new().report(true);
    let response = soon("an answer", client.hello(with(options, "World"))).await.unwrap();
    response.extensions().get::<CallReport>().unwrap().node.id().to_string()
}

#[tokio::test]
async fn it_gets_no_calls_until_it_is_taken_back() {
    let registry = MemoryRegistry::new();
    let (a, b) = (start(&registry, "a").await, start(&registry, "b").await);
    let channel = builder(&registry).strategy("round-robin".parse().unwrap()).build().unwrap();
    until_ready(&channel, "a").await;
    until_ready(&channel, "b").await;
    let operator = Operator::new(channel.clone());

    let standing = operator.drain(a.handle.node(), false).await.unwrap();
    assert!(standing.drained && standing.node == "a", "{standing:?}");
    soon("the order is carried out", async {
        while !operator.ask(a.handle.node()).await.unwrap().carried_out {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(weight(&registry, "a").await, Some(Some(0)));
    assert_eq!((serves(&a).await, a.handle.phase()), (ServingStatus::NotServing, Phase::Drained));
    let code = || {
        let explained = channel.explain(&CallOptions::new()).nodes;
        let a = explained.into_iter().find(|node| node.node.id().as_str() == "a").unwrap();
        a.obstacle.map(|obstacle| obstacle.code())
    };
    until("the client knows", || code() == Some("draining")).await;
    let before = a.handle.call_meter().started();
    assert_eq!(failures(&channel, &CallOptions::new(), 50).await.len(), 0);
    assert_eq!(a.handle.call_meter().started(), before, "it gets no more calls");

    // A registry that has lost everything is told the same again.
    registry.wipe();
    soon("it is there again", async {
        while weight(&registry, "a").await.is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(weight(&registry, "a").await, Some(Some(0)));

    operator.undrain(a.handle.node()).await.unwrap();
    while answerer(&channel).await != "a" {
        tokio::task::yield_now().await;
    }
    assert_eq!((weight(&registry, "a").await, serves(&a).await), (Some(None), ServingStatus::Serving));
    assert_eq!(a.handle.phase(), Phase::Serving);
    b.handle.stop_now();
}

#[tokio::test]
async fn clients_that_hear_nothing_from_the_registry_know_by_its_replies_and_by_its_goodbye() {
    let registry = MemoryRegistry::new();
    let (a, b) = (start(&registry, "a").await, start(&registry, "b").await);
    let channel = builder(&registry).strategy("round-robin".parse().unwrap()).build().unwrap();
    until_ready(&channel, "a").await;
    until_ready(&channel, "b").await;
    registry.set_away(true);
    a.handle.drain();
    while state(&channel, "a") != Some(NodeState::Leaving) {
        answerer(&channel).await;
    }
    let before = a.handle.call_meter().started();
    assert_eq!(failures(&channel, &CallOptions::new(), 50).await.len(), 0);
    assert_eq!(a.handle.call_meter().started(), before, "it gets no more calls");

    // A call that is under way neither fails nor keeps the client from asking anew.
    let slow = {
        let mut client = GreeterClient::new(channel.clone());
        let options = CallOptions::new().node(NodeId::new("a").unwrap());
        tokio::spawn(async move { client.hello(with(options, "slow")).await })
    };
    soon("the call arrives", a.greeter.arrived.notified()).await;
    a.handle.undrain();
    while answerer(&channel).await != "a" {
        tokio::task::yield_now().await;
    }
    a.greeter.go.notify_one();
    soon("the slow reply", slow).await.unwrap().unwrap();
    until("what it said is forgotten", || state(&channel, "a") == Some(NodeState::Ready)).await;
    b.handle.stop_now();
}

#[tokio::test]
async fn one_that_leaves_the_registry_comes_back_to_it_as_drained_and_then_gets_its_share() {
    let registry = MemoryRegistry::new();
    let (a, b) = (start(&registry, "a").await, start(&registry, "b").await);
    let operator = Operator::new(builder(&registry).build().unwrap());
    operator.drain(a.handle.node(), true).await.unwrap();
    soon("the entry goes", async {
        while weight(&registry, "a").await.is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(a.handle.is_drained() && a.handle.registration().is_none());
    assert!(a.client().await.hello(hello("late")).await.is_ok(), "who comes all the same is served");
    let mut watch = registry.watch(&WatchOptions::default()).await.unwrap();
    while !matches!(soon("the snapshot", watch.next()).await, Some(WatchEvent::SnapshotDone(_))) {}
    operator.undrain(a.handle.node()).await.unwrap();
    soon("the registration", a.handle.registered()).await.unwrap();
    // Clients give a share little by little to whom they see come back from a drain.
    let mut weights = Vec::new();
    soon("its weight", async {
        while weights.last() != Some(&None) {
            match watch.next().await.expect("the watch goes on") {
                WatchEvent::Upsert(node, _) if node.id().as_str() == "a" => weights.push(node.weight()),
                _ => {}
            }
        }
    })
    .await;
    assert_eq!(weights, [Some(0), None]);
    b.handle.stop_now();
}

#[tokio::test]
async fn a_node_takes_the_word_of_nobody_but_those_it_was_told_of() {
    let registry = MemoryRegistry::new();
    let deaf = run(&registry, |builder| builder.id("deaf")).await;
    let wary = Operators::with_token("sesame").unwrap();
    let wary = run(&registry, |builder| builder.id("wary").operators(wary)).await;
    let open = start(&registry, "open").await;
    let channel = builder(&registry).build().unwrap();
    let operator = Operator::new(channel.clone());
    let kind = async |operator: &Operator, node: &Running| {
        let said = operator.drain(node.handle.node(), false).await;
        (said.map(|standing| standing.drained).map_err(|error| error.kind()), node.handle.is_drained())
    };
    assert_eq!(kind(&operator, &deaf).await, (Err(ErrorKind::Unsupported), false));
    assert_eq!(kind(&operator, &wary).await, (Err(ErrorKind::PermissionDenied), false));
    for wrong in ["sesam", "sesamo", "sesame1", "Sesame"] {
        let operator = operator.clone().token(wrong).unwrap();
        assert_eq!(kind(&operator, &wary).await, (Err(ErrorKind::PermissionDenied), false), "{wrong}");
    }
    assert_eq!(kind(&operator.token("sesame").unwrap(), &wary).await, (Ok(true), true));

    // Its port may be another one's by now.
    let operator = Operator::new(channel);
    let gone = super::node("gone", open.handle.local_addr());
    let error = operator.drain(&gone, false).await.unwrap_err();
    assert_eq!((error.kind(), open.handle.is_drained()), (ErrorKind::NotFound, false), "{error}");
    open.handle.stop_now();
    soon("it ends", open.handle.phases().wait_for(|phase| *phase == Phase::Stopped)).await.unwrap();
    let error = operator.drain(open.handle.node(), false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(Operators::with_token(" ").is_err() && operator.token("").is_err());
    deaf.handle.stop_now();
}

#[tokio::test]
async fn an_entry_that_the_registry_cannot_give_up_now_is_given_up_later() {
    let registry = MemoryRegistry::new();
    let (a, b) = (start(&registry, "a").await, start(&registry, "b").await);
    let operator = Operator::new(builder(&registry).build().unwrap());
    registry.set_away(true);
    let standing = operator.drain(a.handle.node(), true).await.unwrap();
    assert!(standing.drained && !standing.carried_out, "{standing:?}");
    soon("it has left", async {
        while a.handle.registration().is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!operator.ask(a.handle.node()).await.unwrap().carried_out, "the entry is still there");
    registry.set_away(false);
    soon("the order is carried out", async {
        while !operator.ask(a.handle.node()).await.unwrap().carried_out {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(weight(&registry, "a").await, None);
    b.handle.stop_now();
}

#[tokio::test]
async fn a_node_that_was_told_to_end_takes_no_word_any_more() {
    let registry = MemoryRegistry::new();
    let long = Duration::from_secs(20);
    let drain = DrainConfig::default().with_quiet(long).with_propagation(long);
    let a = run(&registry, |builder| builder.id("a").drain(drain).operators(Operators::on_loopback())).await;
    soon("the registration", a.handle.registered()).await.unwrap();
    let operator = Operator::new(builder(&registry).build().unwrap());
    a.handle.shutdown();
    soon("it leaves", a.handle.phases().wait_for(|phase| *phase == Phase::Draining)).await.unwrap();
    for said in [operator.drain(a.handle.node(), false).await, operator.undrain(a.handle.node()).await] {
        let error = said.unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().contains("is leaving")),
            (ErrorKind::Closed, true),
            "{error}"
        );
    }
    assert!(!operator.ask(a.handle.node()).await.unwrap().drained, "it was not for an operator's word");
    a.handle.stop_now();
}
