//! Which calls are made again, where, how often, and what is said when they are not.

use std::time::Duration;

use callsign::{
    CallOptions, CallReport,
    client::ChannelBuilder,
    core::{retry::RetryBudget, select::Strategy},
};
use callsign_examples::greeter::{HelloReply, greeter_client::GreeterClient};
use h2::Reason;
use tonic::{Code, Response, Status};

use super::{
    Count, fixed,
    peer::{self, Peer},
    until_ready, with,
};
use crate::support::soon;

const BUSY: &str = "busy with something else";

fn idempotent() -> CallOptions {
    CallOptions::new().idempotent(true).report(true)
}

/// A peer that answers UNAVAILABLE, and counts how often.
async fn busy(count: &Count) -> Peer {
    let count = count.clone();
    Peer::serve(move |request, respond| {
        count.add();
        peer::unavailable(request, respond, BUSY)
    })
    .await
}

/// A peer that takes requests and then breaks off.
async fn breaking() -> Peer {
    Peer::serve(|request, respond| peer::reset(request, respond, Reason::INTERNAL_ERROR)).await
}

/// One call over a channel of its own, connected to all nodes.
async fn call(
    builder: impl Fn() -> ChannelBuilder,
    ids: &[&str],
    options: CallOptions,
    name: &str,
) -> Result<Response<HelloReply>, Status> {
    let channel = builder().strategy(Strategy::Random).build().unwrap();
    for id in ids {
        until_ready(&channel, id).await;
    }
    soon("the answer", GreeterClient::new(channel).hello(with(options, name))).await
}

#[tokio::test]
async fn an_idempotent_call_goes_from_unavailable_nodes_to_others_and_to_each_but_once() {
    let (first, second, good) = (Count::default(), Count::default(), Count::default());
    let peers = [busy(&first).await, busy(&second).await, Peer::counted(&good).await];
    for seed in 0..20 {
        let nodes =
            || fixed([("x", peers[0].address), ("y", peers[1].address), ("z", peers[2].address)]).seed(seed);
        let before = (first.get(), second.get(), good.get());
        let reply = call(nodes, &["x", "y", "z"], idempotent(), "World").await.unwrap();
        let report = reply.extensions().get::<CallReport>().unwrap();
        assert_eq!(report.node.id(), "z");
        let made = (first.get() - before.0, second.get() - before.1, good.get() - before.2);
        assert!(made.0 <= 1 && made.1 <= 1 && made.2 == 1, "{made:?}");
        assert_eq!(report.attempts as usize, made.0 + made.1 + made.2);
        assert_eq!(report.tried.len(), made.0 + made.1);
        for tried in &report.tried {
            assert!(tried.reason.contains(BUSY), "{}", tried.reason);
        }
    }
    assert!(first.get() > 0 && second.get() > 0);
}

#[tokio::test]
async fn without_leave_to_repeat_the_nodes_own_answer_is_handed_on() {
    let count = Count::default();
    let peer = busy(&count).await;
    let nodes = || fixed([("x", peer.address), ("y", peer.address)]);
    let status = call(nodes, &["x", "y"], CallOptions::new(), "World").await.unwrap_err();
    assert_eq!((status.code(), status.message(), count.get()), (Code::Unavailable, BUSY, 1));
}

#[tokio::test]
async fn three_attempts_are_the_most_and_the_last_answer_is_the_nodes_own() {
    let count = Count::default();
    let peer = busy(&count).await;
    let ids = ["v", "w", "x", "y", "z"];
    let nodes = || fixed(ids.map(|id| (id, peer.address)));
    let status = call(nodes, &ids, idempotent(), "World").await.unwrap_err();
    assert_eq!((status.code(), status.message(), count.get()), (Code::Unavailable, BUSY, 3));
}

#[tokio::test]
async fn a_broken_call_lists_its_attempts() {
    let peer = breaking().await;
    let ids = ["w", "x", "y", "z"];
    let nodes = || fixed(ids.map(|id| (id, peer.address)));
    let status = call(nodes, &ids, idempotent(), "World").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("3 attempts are the most"), "{status}");
    assert_eq!(status.message().matches("the peer reset the stream (INTERNAL_ERROR)").count(), 3, "{status}");
    assert_eq!(status.message().matches("; before that ").count(), 2, "{status}");
    let named = ids.iter().filter(|id| status.message().contains(&format!("{id} (127.0.0.1:"))).count();
    assert_eq!(named, 3, "three different nodes: {status}");
}

#[tokio::test]
async fn with_one_node_the_same_is_tried_again() {
    let count = Count::default();
    let counted = count.clone();
    let peer = Peer::serve(move |request, respond| {
        let first = counted.add() == 0;
        async move {
            match first {
                true => peer::reset(request, respond, Reason::INTERNAL_ERROR).await,
                false => peer::greet(request, respond).await,
            }
        }
    })
    .await;
    let reply = call(|| fixed([("x", peer.address)]), &["x"], idempotent(), "World").await.unwrap();
    assert_eq!(reply.extensions().get::<CallReport>().unwrap().attempts, 2);
}

#[tokio::test]
async fn a_used_up_budget_is_said_and_costs_no_further_attempt() {
    let none = || RetryBudget::new(0.0, 0).unwrap();
    let count = Count::default();
    let (breaking, busy) = (breaking().await, busy(&count).await);

    let nodes = || fixed([("x", breaking.address)]).retry_budget(none());
    let status = call(nodes, &["x"], idempotent(), "World").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("the retry budget is used up"), "{status}");

    let nodes = || fixed([("x", busy.address)]).retry_budget(none());
    let status = call(nodes, &["x"], idempotent(), "World").await.unwrap_err();
    assert_eq!((status.message(), count.get()), (BUSY, 1));

    // One retry in ten calls: two retries for twenty, and each is paid for once.
    let channel =
        fixed([("x", busy.address)]).retry_budget(RetryBudget::new(0.1, 0).unwrap()).build().unwrap();
    for _ in 0..20 {
        let mut client = GreeterClient::new(channel.clone());
        let _ = soon("the answer", client.hello(with(idempotent(), "World"))).await.unwrap_err();
    }
    assert_eq!(count.get() - 1, 22);
}

#[tokio::test]
async fn a_body_too_large_to_keep_is_not_sent_again() {
    let large = "x".repeat(200 << 10);
    for (reason, said) in [
        (Reason::INTERNAL_ERROR, "failed with the request in hand"),
        (Reason::REFUSED_STREAM, "did not take the request"),
    ] {
        let peer = Peer::serve(move |request, respond| peer::reset(request, respond, reason)).await;
        let nodes = || fixed([("x", peer.address), ("y", peer.address)]);
        let status = call(nodes, &["x", "y"], idempotent(), &large).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().contains(said), "{status}");
        assert!(status.message().contains("too much of its body was sent to be sent again"), "{status}");
    }
}

#[tokio::test]
async fn a_body_that_fits_is_sent_again_whole() {
    let (tell, mut told) = tokio::sync::mpsc::channel(8);
    let count = Count::default();
    let peer = Peer::serve(move |request, mut respond| {
        let (tell, first) = (tell.clone(), count.add() == 0);
        async move {
            tell.send(peer::read(request.into_body()).await).await.unwrap();
            match first {
                true => respond.send_reset(Reason::INTERNAL_ERROR),
                false => peer::say_hello(respond),
            }
        }
    })
    .await;
    let name = "x".repeat(50 << 10);
    call(|| fixed([("x", peer.address)]), &["x"], idempotent(), &name).await.unwrap();
    let sizes = (told.recv().await.unwrap(), told.recv().await.unwrap());
    assert!(sizes.0 > 50 << 10, "{sizes:?}");
    assert_eq!(sizes.0, sizes.1);
}

#[tokio::test]
async fn the_deadline_holds_over_all_attempts_and_names_those_before() {
    let (breaking, hanging) = (breaking().await, Peer::serve(peer::hang).await);
    let mut both = 0;
    for seed in 0..20 {
        let nodes = || fixed([("breaks", breaking.address), ("hangs", hanging.address)]).seed(seed);
        let brief = idempotent().timeout(Duration::from_millis(200));
        let status = call(nodes, &["breaks", "hangs"], brief, "World").await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        assert!(status.message().contains("within 200 ms, waiting for the reply of hangs ("), "{status}");
        both += usize::from(status.message().contains("; before that breaks (127.0.0.1:"));
    }
    assert!(both > 0, "the first node is the breaking one in half of the cases");
}
