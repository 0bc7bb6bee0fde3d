//! Rolling restarts: each node in turn is told to leave, and another one comes, while calls and streams go on.
//!
//! No call may fail, though none may be repeated. Streams may outlast the node's time to leave; those must end with the status by
//! which a server says that it is leaving, and not with a connection that broke.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use callsign::Channel;
use callsign_testbed::EtcdServer;
use nix::sys::signal::Signal;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    columns,
    load::pace,
    node::{self, Node, numbered},
    runtime, view,
};
use crate::{
    calls::pb::{FlowRequest, bench_client::BenchClient},
    frame::{Bound, Comparison, Report, Settings},
};

const NODES: usize = 3;
const PER_SECOND: u32 = 500;
/// One of so many calls is a stream.
const STREAM_EVERY: u64 = 10;
/// Most messages of a stream, and the time between two of them: up to twice the time that a node has to leave.
const MESSAGES_MAX: u32 = 30;
const PAUSE_MS: u32 = 100;
const LATENCY: Duration = Duration::from_millis(2);
/// How often all nodes are restarted, and how often if it is to be quick.
const ROLLS: usize = 100;
const ROLLS_QUICK: usize = 2;
/// What a leaving server adds to the status of a call that it cuts.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// What became of the calls.
#[derive(Debug, Default)]
struct Outcomes {
    unary: AtomicU64,
    streams: AtomicU64,
    /// Streams that ended with the word of a server that is leaving.
    cut: AtomicU64,
    failed: Mutex<Vec<Status>>,
    broken: Mutex<Vec<Status>>,
}

/// A hundred times, each of three nodes is restarted.
pub(crate) fn restarts(settings: &Settings) -> Report {
    let metrics =
        columns([("restarts", 0), ("unary", 0), ("failed", 0), ("streams", 0), ("cut", 0), ("broken", 0)]);
    let rolls = if settings.repeats < 5 { ROLLS_QUICK } else { ROLLS };
    let runtime = runtime(2);
    let mut comparison = Comparison::new("Rolling restarts of three nodes", metrics);
    let folder = tempfile::tempdir().expect("a folder");
    let etcd = runtime.block_on(EtcdServer::start());
    for (name, registry) in [
        ("local", format!("local://{}", folder.path().display())),
        ("etcd", format!("etcd://{}", etcd.endpoint())),
    ] {
        let runtime = &runtime;
        comparison.case(name, move || run(runtime, &registry, rolls));
    }
    comparison.run_cold(1).hold("failed", Bound::Zero, |_| true).hold("broken", Bound::Zero, |_| true)
}

fn run(runtime: &Runtime, registry: &str, rolls: usize) -> Vec<f64> {
    runtime.block_on(async {
        let options =
            node::Options { registry: Some(registry.to_owned()), latency: LATENCY, ..Default::default() };
        let mut nodes = node::start(NODES, &options).await;
        let channel = view::channel(registry);
        for node in &nodes {
            view::until_ready(&channel, &node.address).await;
        }
        let outcomes = Arc::new(Outcomes::default());
        let end = CancellationToken::new();
        let load = pace(PER_SECOND, end.clone().cancelled_owned(), |number, _| {
            let (client, outcomes) = (BenchClient::new(channel.clone()), outcomes.clone());
            async move { outcomes.call(client, number).await }
        });
        let restarting = async {
            for _ in 0..rolls {
                for node in &mut nodes {
                    node.child.signal(Signal::SIGTERM);
                    node.child.ended().await;
                    *node = Node::start(&options).await;
                    view::until_ready(&channel, &node.address).await;
                }
            }
            end.cancel();
        };
        tokio::join!(load, restarting);
        outcomes.figures(rolls * NODES)
    })
}

// === impl Outcomes ===

impl Outcomes {
    async fn call(&self, mut client: BenchClient<Channel>, number: u64) {
        if !number.is_multiple_of(STREAM_EVERY) {
            self.unary.fetch_add(1, Ordering::Relaxed);
            if let Err(status) = client.echo(numbered(number)).await {
                self.failed.lock().unwrap_or_else(PoisonError::into_inner).push(status);
            }
            return;
        }
        self.streams.fetch_add(1, Ordering::Relaxed);
        let messages = u32::try_from(number / STREAM_EVERY).unwrap_or(u32::MAX) % MESSAGES_MAX + 1;
        match listen(client, messages).await {
            Ok(()) => {}
            Err(status) if status.metadata().contains_key(PUSHBACK) => {
                self.cut.fetch_add(1, Ordering::Relaxed);
            }
            Err(status) => self.broken.lock().unwrap_or_else(PoisonError::into_inner).push(status),
        }
    }

    fn figures(&self, restarts: usize) -> Vec<f64> {
        let number = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        let listed = |what: &str, failures: &Mutex<Vec<Status>>| {
            let failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
            for failure in failures.iter().take(5) {
                eprintln!("{what}: {failure}");
            }
            failures.len() as f64
        };
        vec![
            restarts as f64,
            number(&self.unary),
            listed("a call failed", &self.failed),
            number(&self.streams),
            number(&self.cut),
            listed("a stream broke", &self.broken),
        ]
    }
}

/// Reads a stream to its end.
async fn listen(mut client: BenchClient<Channel>, messages: u32) -> Result<(), Status> {
    let asked = FlowRequest { messages, bytes: 16, pause_ms: PAUSE_MS };
    let mut stream = client.flow(asked).await?.into_inner();
    while stream.message().await?.is_some() {}
    Ok(())
}
