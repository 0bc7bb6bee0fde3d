//! Nodes that fail calls are left alone, and come back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use callsign::{
    CallOptions, CallReport, Channel,
    client::ChannelBuilder,
    core::{
        ErrorKind,
        health::{HealthConfig, Reason, Verdict},
        select::{Outcome, Strategy},
    },
};
use callsign_examples::greeter::greeter_client::GreeterClient;

use super::{
    failures, fixed, node, nowhere,
    peer::{self, Peer},
    status, until, until_ready, with,
};
use crate::support::soon;

/// A peer that answers UNAVAILABLE for as long as the flag says so.
async fn moody(bad: &Arc<AtomicBool>) -> Peer {
    let bad = bad.clone();
    Peer::serve(move |request, respond| {
        let bad = bad.load(Ordering::Relaxed);
        async move {
            if bad {
                peer::unavailable(request, respond, "in a mood").await;
            } else {
                peer::greet(request, respond).await;
            }
        }
    })
    .await
}

fn channel(builder: ChannelBuilder) -> Channel {
    let brief = HealthConfig::default().ejection(Duration::from_millis(300), Duration::from_secs(2)).unwrap();
    builder.strategy(Strategy::RoundRobin).health(brief).build().unwrap()
}

#[tokio::test]
async fn a_node_that_fails_is_ejected_shown_with_its_reason_and_back_when_it_answers() {
    let bad = Arc::new(AtomicBool::new(true));
    let (moody, good, other) = (moody(&bad).await, Peer::good().await, Peer::good().await);
    let nodes = [("moody", moody.address), ("good", good.address), ("other", other.address)];
    let channel = channel(fixed(nodes));
    for (id, _) in nodes {
        until_ready(&channel, id).await;
    }
    let mut failed = 0;
    soon("it is ejected", async {
        while !matches!(status(&channel, "moody").verdict, Verdict::Ejected { .. }) {
            failed += failures(&channel, &CallOptions::new(), 1).await.len();
        }
    })
    .await;
    assert!((5..12).contains(&failed), "{failed}");
    let Verdict::Ejected { reason, .. } = status(&channel, "moody").verdict else {
        panic!("it is back already")
    };
    assert!(matches!(reason, Reason::Consecutive { failures: 5.. }), "{reason}");
    assert_eq!(status(&channel, "good").verdict, Verdict::Ok);

    bad.store(false, Ordering::Relaxed);
    soon("it is back", async {
        while status(&channel, "moody").verdict != Verdict::Ok {
            failed += failures(&channel, &CallOptions::new(), 1).await.len();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert!(failed < 12, "a probe or two, and no more");
    let calls = status(&channel, "moody").calls;
    assert!(failures(&channel, &CallOptions::new(), 1).await.is_empty());
    soon("it has calls again", async {
        while status(&channel, "moody").calls < calls + 3 {
            assert!(failures(&channel, &CallOptions::new(), 1).await.is_empty());
        }
    })
    .await;
}

#[tokio::test]
async fn when_all_nodes_fail_calls_go_on_to_all_but_one() {
    let bad = Arc::new(AtomicBool::new(true));
    let peers = [moody(&bad).await, moody(&bad).await, moody(&bad).await];
    let ids = ["a", "b", "c"];
    let channel = channel(fixed(ids.into_iter().zip(peers.iter().map(|peer| peer.address))));
    failures(&channel, &CallOptions::new(), 300).await;
    let ejected = channel.nodes().iter().filter(|node| node.verdict != Verdict::Ok).count();
    assert!(ejected <= 1, "{:?}", channel.nodes());
}

#[tokio::test]
async fn mark_blacklist_and_reset_do_by_hand_what_calls_do() {
    let (one, other) = (Peer::good().await, Peer::good().await);
    let channel = channel(fixed([("one", one.address), ("other", other.address)]));
    until_ready(&channel, "one").await;
    until_ready(&channel, "other").await;
    let (id, nobody) = ("one".parse().unwrap(), "nobody".parse().unwrap());

    assert!(!channel.blacklist(&nobody, Duration::from_secs(60)));
    assert!(channel.blacklist(&id, Duration::from_secs(60)));
    let report = CallOptions::new().report(true);
    for _ in 0..20 {
        let reply = GreeterClient::new(channel.clone()).hello(with(report.clone(), "x")).await.unwrap();
        assert_eq!(reply.extensions().get::<CallReport>().unwrap().node.id(), "other");
    }
    channel.reset();
    assert_eq!(status(&channel, "one").verdict, Verdict::Ok);

    assert!(!channel.mark(&nobody, Outcome::Failure, Duration::from_millis(1)));
    for _ in 0..5 {
        assert!(channel.mark(&id, Outcome::Failure, Duration::from_millis(1)));
    }
    until("it is ejected", || matches!(status(&channel, "one").verdict, Verdict::Ejected { .. })).await;
}

#[tokio::test]
async fn two_nodes_of_one_id_are_refused() {
    let nodes = [node("a", nowhere(1)), node("b", nowhere(2)), node("a", nowhere(3))];
    let error = Channel::builder("greeter").nodes(nodes).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("two nodes have the id a"), "{error}");
}
