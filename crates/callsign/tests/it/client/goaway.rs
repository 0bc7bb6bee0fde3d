//! A peer that says GOAWAY with calls in flight: which of them it has taken is its word, and the rest goes elsewhere.

use std::sync::Arc;

use callsign::{CallOptions, Channel};
use callsign_examples::greeter::{HelloReply, greeter_client::GreeterClient};
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinHandle,
};
use tonic::{Code, Response, Status};

use super::{
    Count, failures, fixed, inflight,
    peer::{self, Peer, Raw},
    until, until_ready,
};
use crate::support::{hello, soon};

type Call = JoinHandle<Result<Response<HelloReply>, Status>>;

/// A peer that answers a request on its first connection, takes two more, then says that it has taken only the first of them.
/// `go` is when it answers that one; without it, it hangs up in the same breath. Further connections are served.
async fn leaver(go: Option<Arc<Notify>>, served: &Count) -> Peer {
    let (once, served) = (Arc::new(Semaphore::new(1)), served.clone());
    Peer::start(move |socket| {
        let (go, once, served) = (go.clone(), once.clone(), served.clone());
        async move {
            let mut raw = Raw::new(socket).await;
            if let Ok(once) = once.try_acquire() {
                once.forget();
                assert_eq!(raw.requests(1).await, [1]);
                raw.greet(1).await;
                assert_eq!(raw.requests(2).await, [3, 5]);
                raw.goaway(3).await;
                let Some(go) = go else { return };
                go.notified().await;
                raw.greet(3).await;
            } else {
                raw.requests(1).await;
                raw.greet(1).await;
                served.add();
            }
            raw.drain().await;
        }
    })
    .await
}

/// Two calls in this order after one that is answered; neither may be repeated.
async fn two_calls(channel: &Channel) -> (Call, Call) {
    let call = || {
        let mut client = GreeterClient::new(channel.clone());
        tokio::spawn(async move { client.hello(hello("World")).await })
    };
    soon("the answer", call()).await.unwrap().unwrap();
    let first = call();
    until("the first is under way", || inflight(channel) == 1).await;
    (first, call())
}

#[tokio::test]
async fn streams_above_the_last_id_are_sent_again_and_those_below_finish() {
    let (go, served) = (Arc::new(Notify::new()), Count::default());
    let leaver = leaver(Some(go.clone()), &served).await;
    let channel = fixed([("leaver", leaver.address)]).build().unwrap();
    until_ready(&channel, "leaver").await;
    let (first, second) = two_calls(&channel).await;

    soon("the second call", second).await.unwrap().unwrap();
    assert_eq!((served.get(), inflight(&channel)), (1, 1));
    assert!(!first.is_finished());
    go.notify_one();
    soon("the first call", first).await.unwrap().unwrap();
    assert_eq!((served.get(), inflight(&channel)), (1, 0));
}

#[tokio::test]
async fn a_peer_that_hangs_up_with_its_goaway_has_still_said_what_it_took() {
    let served = Count::default();
    let leaver = leaver(None, &served).await;
    let channel = fixed([("leaver", leaver.address)]).build().unwrap();
    until_ready(&channel, "leaver").await;
    let (first, second) = two_calls(&channel).await;

    let status = soon("the first call", first).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("may have been processed"), "{status}");
    soon("the second call", second).await.unwrap().unwrap();
    assert_eq!(served.get(), 1);
}

#[tokio::test]
async fn a_peer_that_says_goaway_again_and_again_fails_no_call() {
    // Each connection takes some requests, then leaves in order, as a server with a limited connection age does.
    let peer = Peer::start(|socket| async move {
        let Ok(mut connection) = h2::server::handshake(socket).await else { return };
        let mut answers = tokio::task::JoinSet::new();
        let mut taken = 0;
        while let Some(Ok((request, respond))) = connection.accept().await {
            answers.spawn(peer::greet(request, respond));
            taken += 1;
            if taken == 20 {
                connection.graceful_shutdown();
            }
        }
        answers.join_all().await;
    })
    .await;
    let channel = fixed([("peer", peer.address)]).build().unwrap();
    let failed = failures(&channel, &CallOptions::new(), 1000).await;
    assert!(failed.is_empty(), "{} of 1000: {}", failed.len(), failed[0]);
    assert!(peer.accepted.get() > 5, "{} connections", peer.accepted.get());
}
