//! Connections are reset all the time, in the middle of calls: a handler whose method may not be repeated never runs twice.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use callsign::{CallOptions, Channel};
use callsign_testbed::Proxy;
use tokio::{
    runtime::Runtime,
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::{Code, Request};

use super::{
    client, columns,
    load::Tally,
    node::{self, numbered},
    runtime, span,
};
use crate::{
    calls::pb::bench_client::BenchClient,
    frame::{Bound, Comparison, Report, Settings},
};

const NODES: usize = 3;
const LATENCY: Duration = Duration::from_millis(1);
/// Calls under way at a time.
const WORKERS: usize = 64;
/// How often the connections to one of the nodes are reset.
const PERIOD: Duration = Duration::from_millis(50);
/// How many calls are made, and how many if it is to be quick.
const CALLS: u64 = 200_000;
const CALLS_QUICK: u64 = 2_000;

/// 200,000 calls that may not be repeated, and for comparison as many that may.
pub(crate) fn resets(settings: &Settings) -> Report {
    let metrics =
        columns([("calls", 0), ("resets", 0), ("failed", 0), ("otherwise", 0), ("ran", 0), ("ran twice", 0)]);
    let calls = if span(settings) < Duration::from_secs(5) { CALLS_QUICK } else { CALLS };
    let runtime = runtime(2);
    let mut comparison = Comparison::new("Calls over connections that are reset every 50 ms", metrics);
    for (name, idempotent) in [("not to be repeated", false), ("idempotent", true)] {
        let runtime = &runtime;
        comparison.case(name, move || run(runtime, calls, idempotent));
    }
    comparison
        .run_cold(1)
        .hold("ran twice", Bound::Zero, |case| case == "not to be repeated")
        // So that it is known that the others could have been.
        .hold("ran twice", Bound::AtLeast(1.0), |case| case == "idempotent")
        .hold("otherwise", Bound::Zero, |_| true)
}

fn run(runtime: &Runtime, calls: u64, idempotent: bool) -> Vec<f64> {
    runtime.block_on(async {
        let record = tempfile::NamedTempFile::new().expect("a file");
        let options =
            node::Options { latency: LATENCY, record: Some(record.path().to_owned()), ..Default::default() };
        let nodes = node::start(NODES, &options).await;
        let mut proxies = Vec::new();
        for node in &nodes {
            proxies.push(Proxy::start(node.address.parse().expect("a socket's address")).await);
        }
        let entries = proxies.iter().map(|proxy| client::node(&proxy.endpoint()));
        let channel = Channel::builder("bench").nodes(entries).build().expect("a channel");
        channel.ready(super::PATIENCE).await.expect("nodes to call");

        let tally = Arc::new(Tally::default());
        let next = Arc::new(AtomicU64::new(0));
        let mut workers = JoinSet::new();
        for _ in 0..WORKERS {
            let (client, tally, next) = (BenchClient::new(channel.clone()), tally.clone(), next.clone());
            workers.spawn(work(client, tally, next, calls, idempotent));
        }
        let mut resets = 0_u64;
        while !workers.is_empty() {
            proxies[fastrand::usize(..NODES)].reset();
            resets += 1;
            sleep(PERIOD).await;
            while workers.try_join_next().is_some() {}
        }
        let counts = tally.take();
        let (ran, twice) = node::runs(record.path(), |_| true);
        let otherwise = counts.failed_otherwise(Code::Unavailable);
        vec![calls as f64, resets as f64, counts.failed() as f64, otherwise as f64, ran as f64, twice as f64]
    })
}

/// Makes calls until all have been made.
async fn work(
    mut client: BenchClient<Channel>,
    tally: Arc<Tally>,
    next: Arc<AtomicU64>,
    calls: u64,
    idempotent: bool,
) {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= calls {
            return;
        }
        let since = Instant::now();
        let mut request = Request::new(numbered(number));
        // A call that finds every node reset is not to fail, which is quick and shows nothing, but to wait.
        request.extensions_mut().insert(CallOptions::new().idempotent(idempotent).wait_for_ready(true));
        let answer = client.echo(request).await;
        tally.count(since, &answer);
    }
}
