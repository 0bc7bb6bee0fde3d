//! Peers that are not what they should be: beside a good node they cost no call, and alone they are named for what they do.

use std::time::Duration;

use callsign::{
    CallOptions, Channel,
    core::{retry::RetryBudget, select::Strategy},
};
use callsign_examples::greeter::greeter_client::GreeterClient;
use h2::Reason;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{Code, Status};

use super::{
    Count, failures, fixed,
    peer::{self, Peer, Raw},
    quick, refusal, until, with,
};
use crate::support::{hello, soon};

/// Closes with a reset, not with an orderly end.
fn slam(socket: TcpStream) {
    socket.set_zero_linger().unwrap();
    drop(socket);
}

async fn hold(mut socket: TcpStream) {
    let _ = socket.read_to_end(&mut Vec::new()).await;
}

/// Says `words` once the client has said its preface.
async fn say(mut socket: TcpStream, words: &'static [u8]) {
    let mut preface = [0; 24];
    if socket.read_exact(&mut preface).await.is_ok() {
        let _ = socket.write_all(words).await;
        hold(socket).await;
    }
}

/// 500 calls to the peer and a good node: none fails. Then one to the peer alone, once it is known.
async fn beside_a_good_node_and_alone(bad: Peer) -> Status {
    let good = Peer::good().await;
    let channel = fixed([("bad", bad.address), ("good", good.address)]).connection(quick()).build().unwrap();
    let failed = failures(&channel, &CallOptions::new(), 500).await;
    assert!(failed.is_empty(), "{} of 500: {}", failed.len(), failed[0]);
    soon("it closes", channel.close()).await;

    let channel = fixed([("bad", bad.address)]).connection(quick()).build().unwrap();
    until("it is given up", || refusal(&channel, "bad").is_some()).await;
    let status = soon("the answer", GreeterClient::new(channel).hello(hello("World"))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().starts_with("the one node of greeter cannot be reached: bad: "), "{status}");
    status
}

#[tokio::test]
async fn one_that_accepts_and_never_answers() {
    let status = beside_a_good_node_and_alone(Peer::start(hold).await).await;
    assert!(status.message().contains("said nothing within 500 ms"), "{status}");
}

#[tokio::test]
async fn one_that_speaks_http1() {
    let peer =
        Peer::start(|socket| say(socket, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")).await;
    let status = beside_a_good_node_and_alone(peer).await;
    assert!(status.message().contains("speaks HTTP/1, and gRPC needs HTTP/2"), "{status}");
}

#[tokio::test]
async fn one_that_wants_tls() {
    let peer = Peer::start(|socket| say(socket, b"\x15\x03\x01\0\x02\x02\x46\0\0")).await;
    let status = beside_a_good_node_and_alone(peer).await;
    assert!(status.message().contains("it wants TLS"), "{status}");
}

#[tokio::test]
async fn one_that_resets_each_connection() {
    let status = beside_a_good_node_and_alone(Peer::start(|socket| async { slam(socket) }).await).await;
    assert!(status.message().contains("bad: 127.0.0.1:"), "{status}");
}

#[tokio::test]
async fn one_that_shakes_hands_and_resets() {
    let peer = Peer::start(|socket| async { slam(Raw::new(socket).await.into_inner()) }).await;
    let status = beside_a_good_node_and_alone(peer).await;
    assert!(status.message().contains("bad: "), "{status}");
}

/// A channel to a peer that resets the connection once it has a request, and a good one.
async fn with_one_that_resets_at_the_first_request() -> (Peer, Peer, Channel) {
    let bad = Peer::start(|socket| async {
        let mut raw = Raw::new(socket).await;
        if raw.requests(1).await == [1] {
            slam(raw.into_inner());
        }
    })
    .await;
    let good = Peer::good().await;
    let channel = fixed([("bad", bad.address), ("good", good.address)])
        .strategy(Strategy::RoundRobin)
        .connection(quick())
        .build()
        .unwrap();
    (bad, good, channel)
}

#[tokio::test]
async fn one_that_resets_once_it_has_a_request_fails_what_may_not_be_repeated() {
    let (bad, _good, channel) = with_one_that_resets_at_the_first_request().await;
    let mut client = GreeterClient::new(channel);
    let status = soon("a call to it fails", async {
        loop {
            if let Err(status) = client.hello(hello("World")).await {
                break status;
            }
        }
    })
    .await;
    assert!(bad.accepted.get() > 0);
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().starts_with("bad (127.0.0.1:"), "{status}");
    assert!(status.message().contains("may have been processed"), "{status}");
}

#[tokio::test]
async fn one_that_resets_once_it_has_a_request_fails_nothing_that_may_be_repeated() {
    let (bad, _good, channel) = with_one_that_resets_at_the_first_request().await;
    let failed = failures(&channel, &CallOptions::new().idempotent(true), 500).await;
    assert!(failed.is_empty(), "{} of 500: {}", failed.len(), failed[0]);
    assert!(bad.accepted.get() > 0);
}

#[tokio::test]
async fn one_that_refuses_each_stream() {
    let (refused, taken) = (Count::default(), Count::default());
    let counted = refused.clone();
    let bad = Peer::serve(move |request, respond| {
        counted.add();
        peer::reset(request, respond, Reason::REFUSED_STREAM)
    })
    .await;
    let good = Peer::counted(&taken).await;
    let channel = fixed([("bad", bad.address), ("good", good.address)]).build().unwrap();
    let failed = failures(&channel, &CallOptions::new(), 500).await;
    assert!(failed.is_empty(), "{} of 500: {}", failed.len(), failed[0]);
    assert!(refused.get() > 0);
    assert_eq!(taken.get(), 500, "each call is made once");
}

#[tokio::test]
async fn one_that_refuses_each_stream_and_is_the_only_one_is_not_asked_for_ever() {
    let refused = Count::default();
    let counted = refused.clone();
    let bad = Peer::serve(move |request, respond| {
        counted.add();
        peer::reset(request, respond, Reason::REFUSED_STREAM)
    })
    .await;
    let no_retries = RetryBudget::new(0.0, 0).unwrap();
    let channel = fixed([("bad", bad.address)]).retry_budget(no_retries).build().unwrap();
    let mut client = GreeterClient::new(channel.clone());
    let status = soon("the answer", client.hello(hello("World"))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("the peer refused the stream"), "{status}");
    assert!(status.message().contains("the retry budget is used up"), "{status}");
    assert_eq!(refused.get(), 5, "free attempts, then none");

    // With a budget, it is asked until the time is over, or as good as over.
    let channel = fixed([("bad", bad.address)]).build().unwrap();
    let brief = CallOptions::new().timeout(Duration::from_millis(300));
    let mut client = GreeterClient::new(channel);
    let status = soon("the answer", client.hello(with(brief, "World"))).await.unwrap_err();
    let over = status.code() == Code::DeadlineExceeded || status.message().contains("there is no time left");
    assert!(over, "{status}");
    assert!(status.message().contains("before that bad (127.0.0.1:"), "{status}");
    assert!(status.message().contains("the peer refused the stream"), "{status}");
}

#[tokio::test]
async fn one_that_allows_no_stream_at_all() {
    let peer = Peer::start(|socket| async {
        let connection =
            h2::server::Builder::new().max_concurrent_streams(0).handshake::<_, bytes::Bytes>(socket).await;
        if let Ok(mut connection) = connection {
            while connection.accept().await.is_some() {}
        }
    })
    .await;
    let channel = fixed([("bad", peer.address)]).build().unwrap();
    let brief = CallOptions::new().timeout(Duration::from_secs(1));
    let status =
        soon("the answer", GreeterClient::new(channel).hello(with(brief, "World"))).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("it allows no more at the same time"), "{status}");
}
