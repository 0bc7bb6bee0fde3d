//! Servers that are killed or stopped while calls run on them.

use std::{sync::Arc, time::Duration};

use callsign::{
    CallOptions, CallReport, Channel,
    client::NodeState,
    core::select::{AdaptiveConfig, Strategy},
};
use callsign_examples::greeter::{HelloReply, greeter_client::GreeterClient};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, timeout},
};
use tonic::{Code, Response, Status};

use super::{Count, failures, fixed, inflight, quick, status, until, until_ready, with};
use crate::support::{
    PATIENCE,
    process::{ServerProcess, Spawn},
    soon,
};

type Answers = JoinSet<Result<Response<HelloReply>, Status>>;

/// Three processes, and a channel to them that is connected to all.
async fn three(strategy: Strategy) -> (Vec<ServerProcess>, Channel) {
    let (a, b, c) = tokio::join!(Spawn::new("a").start(), Spawn::new("b").start(), Spawn::new("c").start());
    let processes = vec![a, b, c];
    let nodes = processes.iter().map(|process| (process.id.as_str(), process.address));
    let channel = fixed(nodes).strategy(strategy).connection(quick()).build().unwrap();
    for process in &processes {
        until_ready(&channel, &process.id).await;
    }
    (processes, channel)
}

/// 64 calls that no node answers, under way.
async fn held(channel: &Channel, options: &CallOptions) -> Answers {
    let mut answers = JoinSet::new();
    for _ in 0..64 {
        let mut client = GreeterClient::new(channel.clone());
        let request = with(options.clone(), "slow");
        answers.spawn(async move { client.hello(request).await });
    }
    until("all calls are under way", || inflight(channel) == 64).await;
    // An answer over the same connection: what was sent before it has been sent.
    for id in ["a", "b", "c"] {
        let there = CallOptions::new().node(id.parse().unwrap());
        GreeterClient::new(channel.clone()).hello(with(there, "World")).await.unwrap();
    }
    answers
}

#[tokio::test]
async fn sigkill_fails_only_the_calls_on_the_process_that_may_not_be_repeated() {
    let (processes, channel) = three(Strategy::RoundRobin).await;
    let mut answers = held(&channel, &CallOptions::new()).await;
    let doomed = status(&channel, "b").inflight;
    assert!(doomed > 10, "{doomed} of 64 calls over three nodes");

    processes[1].signal("KILL").await;
    for _ in 0..doomed {
        let status = soon("a call on it ends", answers.join_next()).await.unwrap().unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().starts_with("b ("), "{status}");
        assert!(status.message().contains("may have been processed"), "{status}");
    }
    // The dead process is known to be dead: not one further call fails, and those on the others go on.
    let failed = failures(&channel, &CallOptions::new(), 500).await;
    assert!(failed.is_empty(), "{} of 500: {}", failed.len(), failed[0]);
    assert!(answers.try_join_next().is_none());
    assert_eq!((answers.len() as u32, inflight(&channel)), (64 - doomed, 64 - doomed));
}

#[tokio::test]
async fn sigkill_fails_no_call_that_may_be_repeated() {
    let (mut processes, channel) = three(Strategy::RoundRobin).await;
    let idempotent = CallOptions::new().idempotent(true);
    let mut answers = held(&channel, &idempotent).await;
    processes[1].signal("KILL").await;
    processes[1].exit_code().await;
    until("its calls are on the other nodes", || {
        status(&channel, "a").inflight + status(&channel, "c").inflight == 64
    })
    .await;
    assert_eq!(status(&channel, "b").inflight, 0);
    let failed = failures(&channel, &idempotent, 500).await;
    assert!(failed.is_empty(), "{} of 500: {}", failed.len(), failed[0]);
    assert!(answers.try_join_next().is_none());
}

/// Calls as fast as they are answered, from many tasks, until told to stop. Gives the calls that failed, with their beginning.
struct Load {
    workers: JoinSet<Vec<(Instant, Status)>>,
    made: Count,
    stop: Arc<Notify>,
}

impl Load {
    fn start(channel: &Channel, options: &CallOptions) -> Self {
        let mut load = Self { workers: JoinSet::new(), made: Count::default(), stop: Arc::default() };
        for _ in 0..64 {
            let mut client = GreeterClient::new(channel.clone());
            let (options, made, stop) = (options.clone(), load.made.clone(), load.stop.clone());
            load.workers.spawn(async move {
                let mut failed = Vec::new();
                let mut stopped = std::pin::pin!(stop.notified());
                stopped.as_mut().enable();
                while futures_util::FutureExt::now_or_never(&mut stopped.as_mut()).is_none() {
                    let begun = Instant::now();
                    if let Err(status) = client.hello(with(options.clone(), "World")).await {
                        failed.push((begun, status));
                    }
                    made.add();
                }
                failed
            });
        }
        load
    }

    async fn further(&self, calls: usize) {
        let now = self.made.get();
        until("further calls", || self.made.get() >= now + calls).await;
    }

    async fn end(mut self) -> Vec<(Instant, Status)> {
        self.stop.notify_waiters();
        let mut failed = Vec::new();
        while let Some(more) = soon("the workers end", self.workers.join_next()).await {
            failed.extend(more.unwrap());
        }
        failed
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_under_load_fails_at_most_the_calls_in_flight_and_none_begun_later() {
    let (mut processes, channel) = three(Strategy::default()).await;
    let load = Load::start(&channel, &CallOptions::new());
    load.further(500).await;
    processes[0].signal("KILL").await;
    until("it is noticed", || status(&channel, "a").state != NodeState::Ready).await;
    let noticed = Instant::now();
    load.further(2000).await;
    let failed = load.end().await;
    assert!(failed.len() <= 64, "{} calls failed: {}", failed.len(), failed[0].1);
    for (begun, status) in failed {
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().starts_with("a ("), "{status}");
        assert!(begun < noticed, "begun {:?} later: {status}", begun - noticed);
    }
    processes[0].exit_code().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_under_load_fails_no_call_that_may_be_repeated() {
    let (processes, channel) = three(Strategy::default()).await;
    let load = Load::start(&channel, &CallOptions::new().idempotent(true));
    load.further(500).await;
    processes[0].signal("KILL").await;
    load.further(2000).await;
    let failed = load.end().await;
    assert!(failed.is_empty(), "{}: {}", failed.len(), failed[0].1);
}

#[tokio::test]
async fn a_stopped_process_costs_its_calls_their_deadline_and_is_avoided_until_it_goes_on() {
    let (processes, _) = three(Strategy::default()).await;
    let [a, b, _] = &processes[..] else { unreachable!() };
    for strategy in Strategy::NAMES {
        // It is to forget within the test's patience that the node was slow.
        let forgetful = AdaptiveConfig::default().decay(Duration::from_millis(200)).unwrap();
        let chosen = match strategy {
            "adaptive" => Strategy::Adaptive(forgetful),
            other => other.parse().unwrap(),
        };
        let channel =
            fixed([("a", a.address), ("b", b.address)]).strategy(chosen).connection(quick()).build().unwrap();
        for id in ["a", "b"] {
            until_ready(&channel, id).await;
        }
        a.signal("STOP").await;
        let there = CallOptions::new().node("a".parse().unwrap()).timeout(Duration::from_millis(300));
        let mut client = GreeterClient::new(channel.clone());
        let (begun, expired) = soon("a call expires", async {
            loop {
                // It stops when the signal has reached all of its threads.
                let begun = Instant::now();
                if let Err(status) = client.hello(with(there.clone(), "World")).await {
                    break (begun, status);
                }
            }
        })
        .await;
        assert_eq!(expired.code(), Code::DeadlineExceeded, "{strategy}: {expired}");
        assert!(expired.message().contains("waiting for the reply of a ("), "{expired}");
        assert!(begun.elapsed() < PATIENCE / 2);

        // The missed deadline had the connection probed.
        until("it is given up", || status(&channel, "a").state != NodeState::Ready).await;
        let brief = CallOptions::new().timeout(PATIENCE);
        let failed = failures(&channel, &brief, 100).await;
        assert!(failed.is_empty(), "{strategy}: {} of 100: {}", failed.len(), failed[0]);

        a.signal("CONT").await;
        timeout(PATIENCE, until_ready(&channel, "a")).await.unwrap();
        soon("it is called again", async {
            loop {
                let reply = client.hello(with(CallOptions::new().report(true), "World")).await.unwrap();
                if reply.extensions().get::<CallReport>().unwrap().node.id() == "a" {
                    break;
                }
            }
        })
        .await;
    }
}
