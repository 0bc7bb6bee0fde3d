//! Second attempts for calls that are slow.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use callsign::{
    CallOptions, CallReport, Channel,
    client::{ChannelBuilder, HedgePolicy, MethodPolicy, NodeState},
    core::{health::HealthConfig, retry::RetryBudget, select::Strategy},
};
use callsign_examples::greeter::{
    HelloReply, conversation_client::ConversationClient, greeter_client::GreeterClient,
};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};
use tonic::{Code, Response, Status};

use super::{
    Count, fixed, inflight,
    peer::{self, Peer},
    until, until_ready, with,
};
use crate::support::{hello, soon};

const DELAY: Duration = Duration::from_millis(20);

/// Hedged after a fixed delay, with a budget that is no hindrance.
fn hedge() -> HedgePolicy {
    HedgePolicy::new().delay(DELAY).share(10.0).unwrap()
}

async fn channel(builder: ChannelBuilder, policy: HedgePolicy, idempotent: bool) -> Channel {
    let policy = MethodPolicy::new().idempotent(idempotent).hedge(policy);
    let builder = builder.method("*", policy).unwrap().strategy(Strategy::Random).health(HealthConfig::off());
    let channel = builder.build().unwrap();
    until("the nodes are there", || !channel.nodes().is_empty()).await;
    for status in channel.nodes() {
        until_ready(&channel, status.node.id().as_str()).await;
    }
    channel
}

async fn call(channel: &Channel, options: CallOptions) -> Result<Response<HelloReply>, Status> {
    soon("the answer", GreeterClient::new(channel.clone()).hello(with(options.report(true), "World"))).await
}

/// A peer that never answers, and tells of each request that comes and of each that is reset.
async fn deaf(count: &Count, reset: mpsc::Sender<h2::Reason>) -> Peer {
    let count = count.clone();
    Peer::serve(move |request, mut respond| {
        count.add();
        let reset = reset.clone();
        async move {
            peer::read(request.into_body()).await;
            if let Ok(reason) = std::future::poll_fn(|cx| respond.poll_reset(cx)).await {
                reset.send(reason).await.unwrap();
            }
        }
    })
    .await
}

#[tokio::test]
async fn the_first_good_answer_is_taken_and_the_loser_is_told() {
    let (heard, answered) = (Count::default(), Count::default());
    let (tell, mut resets) = mpsc::channel(64);
    let (slow, good) = (deaf(&heard, tell).await, Peer::counted(&answered).await);
    let nodes = fixed([("slow", slow.address), ("good", good.address)]);
    let channel = channel(nodes, hedge(), true).await;
    let (mut calls, mut hedged) = (0, 0);
    // Ten slow ones of twenty would be a surge.
    while hedged < 5 {
        calls += 1;
        assert!(calls < 1000, "a random choice falls on either");
        let reply = call(&channel, CallOptions::new()).await.unwrap();
        let report = reply.extensions().get::<CallReport>().unwrap();
        assert_eq!(report.node.id(), "good");
        if report.attempts == 2 {
            hedged += 1;
            let reason = soon("the loser hears of it", resets.recv()).await.unwrap();
            assert_eq!(reason, h2::Reason::CANCEL);
        }
    }
    assert_eq!(answered.get(), calls);
    assert_eq!(heard.get(), hedged);
    let meter = channel.meter();
    assert_eq!(meter.hedges(), hedged as u64);
    // On a busy machine the good one may be the first of a race, and win it.
    assert!((1..=hedged as u64).contains(&meter.hedges_won()), "{} of {hedged}", meter.hedges_won());
    until("no call is in flight", || inflight(&channel) == 0).await;
    let slow = super::status(&channel, "slow");
    assert_eq!((slow.calls, slow.failures), (heard.get() as u64, 0), "the loser is no failure");
}

#[tokio::test]
async fn a_quick_answer_needs_no_second_attempt() {
    let count = Count::default();
    let peer = Peer::counted(&count).await;
    let policy = hedge().delay(Duration::from_secs(20));
    let channel = channel(fixed([("x", peer.address), ("y", peer.address)]), policy, true).await;
    for _ in 0..10 {
        call(&channel, CallOptions::new()).await.unwrap();
    }
    assert_eq!(count.get(), 10);
}

/// All nodes hang: second attempts would help nobody.
#[tokio::test]
async fn when_most_calls_are_slow_there_are_no_second_attempts() {
    let count = Count::default();
    let (tell, _told) = mpsc::channel(1000);
    let peer = deaf(&count, tell).await;
    let channel = channel(fixed([("x", peer.address), ("y", peer.address)]), hedge(), true).await;
    let options = CallOptions::new().timeout(DELAY * 10);
    let calls = 100;
    let failed = super::failures(&channel, &options, calls).await;
    assert_eq!(failed.len(), calls);
    assert!(count.get() < calls + calls / 2, "{} attempts for {calls} calls", count.get());
}

/// Whatever stands in the way of a second attempt: the call goes on without one.
#[tokio::test]
async fn there_is_no_second_attempt_where_it_is_not_allowed() {
    let made = async |builder: &dyn Fn(&Peer) -> ChannelBuilder, policy: HedgePolicy, idempotent, timeout| {
        let count = Count::default();
        let (tell, _told) = mpsc::channel(8);
        let peer = deaf(&count, tell).await;
        let channel = channel(builder(&peer), policy, idempotent).await;
        let status = call(&channel, CallOptions::new().timeout(timeout)).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        (count.get(), status.message().to_owned())
    };
    let two = |peer: &Peer| fixed([("x", peer.address), ("y", peer.address)]);
    let enough = DELAY * 10;
    let (attempts, said) = made(&two, hedge(), true, enough).await;
    assert_eq!(attempts, 2, "if nothing is in the way there is one");
    assert!(
        said.contains("waiting for the replies of") && said.contains('x') && said.contains('y'),
        "{said}"
    );

    assert_eq!(made(&two, hedge(), false, enough).await.0, 1, "not idempotent");
    assert_eq!(made(&two, hedge(), true, DELAY).await.0, 1, "the deadline comes first");
    assert_eq!(made(&|peer| fixed([("x", peer.address)]), hedge(), true, enough).await.0, 1, "one node");
    assert_eq!(made(&two, hedge().share(0.0).unwrap(), true, enough).await.0, 1, "no share");
    let poor = |peer: &Peer| two(peer).retry_budget(RetryBudget::new(0.0, 0).unwrap());
    assert_eq!(made(&poor, hedge(), true, enough).await.0, 1, "no retry budget");
    assert_eq!(made(&two, HedgePolicy::new(), true, enough).await.0, 1, "no samples yet");
}

#[tokio::test]
async fn a_failure_that_is_not_fatal_starts_the_next_attempt_at_once() {
    let (busy, good) = (Count::default(), Count::default());
    let counted = busy.clone();
    let first = Peer::serve(move |request, respond| {
        counted.add();
        peer::unavailable(request, respond, "busy")
    })
    .await;
    let second = Peer::counted(&good).await;
    let policy = hedge().delay(Duration::from_secs(20));
    let channel = channel(fixed([("busy", first.address), ("good", second.address)]), policy, true).await;
    for _ in 0..20 {
        let reply = call(&channel, CallOptions::new()).await.unwrap();
        let report = reply.extensions().get::<CallReport>().unwrap();
        assert_eq!(report.tried.len() + 1, report.attempts as usize);
    }
    assert_eq!(good.get(), 20);
    assert!(busy.get() > 0);
}

#[tokio::test]
async fn when_all_attempts_fail_the_nodes_own_answer_is_handed_on() {
    let count = Count::default();
    let counted = count.clone();
    let peer = Peer::serve(move |request, respond| {
        counted.add();
        peer::unavailable(request, respond, "busy")
    })
    .await;
    let channel =
        channel(fixed([("x", peer.address), ("y", peer.address), ("z", peer.address)]), hedge(), true).await;
    let status = call(&channel, CallOptions::new()).await.unwrap_err();
    assert_eq!((status.code(), status.message(), count.get()), (Code::Unavailable, "busy", 2));
    until("no call is in flight", || inflight(&channel) == 0).await;
}

#[tokio::test]
async fn a_pushback_stops_the_race() {
    let count = Count::default();
    let counted = count.clone();
    let peer = Peer::serve(move |request, respond| {
        counted.add();
        peer::refuse(request, respond, &[("grpc-status", "14"), ("grpc-retry-pushback-ms", "-1")])
    })
    .await;
    let policy = hedge().delay(Duration::from_secs(20));
    let tokens = RetryBudget::tokens(10, 0.5).unwrap();
    let nodes = fixed([("x", peer.address), ("y", peer.address)]).retry_budget(tokens);
    let channel = channel(nodes, policy, true).await;
    let before = channel.retry_budget(Instant::now());
    let status = call(&channel, CallOptions::new()).await.unwrap_err();
    assert_eq!((status.code(), count.get()), (Code::Unavailable, 1));
    assert_eq!(channel.retry_budget(Instant::now()), before - 1, "it counts as a failure");
}

/// A peer that answers the first request when it is told to, refuses the second as said, and answers all others at once. It keeps the
/// time of each.
async fn refusing_the_second(
    said: &'static [(&'static str, &'static str)],
    go: &Arc<Notify>,
) -> (Peer, Arc<Mutex<Vec<Instant>>>) {
    let (go, came) = (go.clone(), Arc::new(Mutex::new(Vec::new())));
    let times = came.clone();
    let peer = Peer::serve(move |request, respond| {
        let mut times = times.lock().unwrap();
        times.push(Instant::now());
        let (n, go) = (times.len(), go.clone());
        async move {
            match n {
                1 => go.notified().await,
                2 => return peer::refuse(request, respond, said).await,
                _ => {}
            }
            peer::greet(request, respond).await;
        }
    })
    .await;
    (peer, came)
}

#[tokio::test]
async fn a_negative_pushback_is_for_attempts_to_come_and_those_under_way_go_on() {
    // It says that it leaves, too: so it shows when it has been heard.
    let said = &[("grpc-status", "14"), ("grpc-retry-pushback-ms", "-1"), ("callsign-draining", "1")];
    let go = Arc::default();
    let (peer, came) = refusing_the_second(said, &go).await;
    let ids = ["x", "y", "z"];
    let channel = channel(fixed(ids.map(|id| (id, peer.address))), hedge().attempts(3), true).await;
    let made = {
        let channel = channel.clone();
        tokio::spawn(async move { call(&channel, CallOptions::new()).await })
    };
    let heard = || ids.iter().any(|id| super::state(&channel, id) == Some(NodeState::Leaving));
    until("it has been heard", heard).await;
    go.notify_one();
    let reply = soon("the answer", made).await.unwrap().unwrap();
    assert_eq!(
        (reply.extensions().get::<CallReport>().unwrap().attempts, came.lock().unwrap().len()),
        (2, 2)
    );
}

#[tokio::test]
async fn a_pause_that_a_node_asks_for_is_kept_within_a_race() {
    let pause = Duration::from_millis(300);
    assert!(pause > DELAY * 10);
    let said = &[("grpc-status", "14"), ("grpc-retry-pushback-ms", "300")];
    let (peer, came) = refusing_the_second(said, &Arc::default()).await;
    let nodes = fixed(["x", "y", "z"].map(|id| (id, peer.address)));
    let channel = channel(nodes, hedge().attempts(3), true).await;
    call(&channel, CallOptions::new()).await.unwrap();
    let came = came.lock().unwrap();
    assert_eq!(came.len(), 3);
    assert!(came[2] - came[1] >= pause, "{:?}", came[2] - came[1]);
}

#[tokio::test]
async fn at_the_deadline_of_a_race_what_a_node_has_said_is_told() {
    let said = &[("grpc-status", "14"), ("grpc-message", "busy"), ("grpc-status-details-bin", "aGk")];
    let (peer, came) = refusing_the_second(said, &Arc::default()).await;
    let nodes = fixed(["x", "y"].map(|id| (id, peer.address)));
    let channel = channel(nodes, hedge(), true).await;
    let status = call(&channel, CallOptions::new().timeout(DELAY * 50)).await.unwrap_err();
    assert_eq!((status.code(), status.details()), (Code::Unavailable, &b"hi"[..]), "{status}");
    assert!(status.message().starts_with("busy; then no answer"), "{status}");
    assert_eq!(came.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_quantile_is_learnt_from_the_methods_own_calls() {
    let (heard, answered) = (Count::default(), Count::default());
    let (tell, mut resets) = mpsc::channel(64);
    let slow = deaf(&heard, tell).await;
    let good = Peer::counted(&answered).await;
    let policy = HedgePolicy::new().share(10.0).unwrap();
    let learning = channel(fixed([("x", good.address), ("y", good.address)]), policy.clone(), true).await;
    for _ in 0..150 {
        call(&learning, CallOptions::new()).await.unwrap();
    }
    // The rule is the channel's: a call to a node that hangs gets its second attempt now.
    let address = slow.address.to_string().parse().unwrap();
    let pinned = CallOptions::new().address(address).timeout(Duration::from_secs(1));
    let status = call(&learning, pinned).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "who has chosen an address gets that one alone");
    assert_eq!(heard.get(), 1);
    soon("the loser hears of it", resets.recv()).await.unwrap();
}

#[tokio::test]
async fn a_stream_of_requests_is_not_hedged() {
    let count = Count::default();
    let peer = Peer::counted(&count).await;
    let channel =
        channel(fixed([("x", peer.address), ("y", peer.address)]), hedge().delay(Duration::ZERO), true).await;
    let (send, receive) = mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(receive);
    let call = tokio::spawn(async move { ConversationClient::new(channel).tell(requests).await });
    send.send(hello("one")).await.unwrap();
    send.send(hello("two")).await.unwrap();
    drop(send);
    soon("the answer", call).await.unwrap().unwrap();
    assert_eq!(count.get(), 1);
}

/// One reply in a hundred comes 200 ms late. Gives how many calls were answered by such a one, how many attempts were made, and p99.9.
async fn with_late_replies(policy: Option<HedgePolicy>, calls: usize) -> (usize, usize, Duration) {
    let count = Count::default();
    let counted = count.clone();
    let peer = Peer::serve(move |request, mut respond| {
        let late = counted.add() % 100 == 99;
        async move {
            peer::read(request.into_body()).await;
            if late {
                let unwanted = std::future::poll_fn(|cx| respond.poll_reset(cx));
                if tokio::time::timeout(Duration::from_millis(200), unwanted).await.is_ok() {
                    return;
                }
            }
            // The client may lose interest at any time.
            let Ok(mut stream) = respond.send_response(peer::head(), false) else { return };
            let _ = stream.send_data(peer::message(if late { "late" } else { "prompt" }), false);
            let _ = stream.send_trailers(peer::trailers());
        }
    })
    .await;
    let nodes = fixed([("x", peer.address), ("y", peer.address), ("z", peer.address)]);
    let channel = match policy {
        Some(policy) => channel(nodes, policy, true).await,
        None => channel(nodes, hedge(), false).await,
    };
    let mut client = GreeterClient::new(channel);
    let (mut late, mut took) = (0, Vec::with_capacity(calls));
    for _ in 0..calls {
        let since = tokio::time::Instant::now();
        let reply = soon("the answer", client.hello(hello("World"))).await.unwrap();
        took.push(since.elapsed());
        late += usize::from(reply.get_ref().message == "late");
    }
    took.sort_unstable();
    (late, count.get(), took[calls * 999 / 1000])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_that_come_late_are_not_waited_for() {
    let calls = 4000;
    let (late, attempts, slowest) = with_late_replies(None, calls).await;
    println!("without: {late} late of {calls}, {attempts} attempts, p99.9 {slowest:?}");
    assert_eq!((late, attempts), (calls / 100, calls));
    let share = 0.05;
    let policy = HedgePolicy::new().quantile(0.97).unwrap().share(share).unwrap();
    let (late, attempts, slowest) = with_late_replies(Some(policy), calls).await;
    println!("with:    {late} late of {calls}, {attempts} attempts, p99.9 {slowest:?}");
    assert!(late <= calls / 200, "{late} late ones were waited for");
    assert!(attempts as f64 <= calls as f64 * (1.0 + share), "{attempts} attempts for {calls} calls");
}
