//! A client whose own network fails, to one node or to all of them, and another one that sees nothing of it.
//!
//! The first client's way to each node leads through a proxy. The other's calls must not suffer, and the first must neither spoil
//! calls that the other nodes would answer, nor be left without nodes when its network is back.

use std::time::Duration;

use callsign_testbed::Proxy;
use tokio::{
    runtime::Runtime,
    time::{Instant, sleep, timeout},
};

use super::{
    PATIENCE,
    client::{self, Client, Way},
    columns, node, runtime, span,
};
use crate::frame::{Bound, Comparison, Report, Settings};

const NODES: usize = 3;
const PER_SECOND: u32 = 200;
const LATENCY: Duration = Duration::from_millis(2);
const WARM_UP: Duration = Duration::from_secs(3);
/// How closely the return of a network is watched.
const LOOK: Duration = Duration::from_millis(20);

/// What the client's network does, on the way to so many nodes.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Connections are closed, and new ones at once.
    Cut,
    /// Nothing comes through, and nothing is said about it.
    Swallow,
}

/// The ways to call that are compared, and how each of them fares.
pub(crate) fn cut_off(settings: &Settings) -> Report {
    let metrics = columns([("failed %", 2), ("other's failed", 0), ("back ms", 0)]);
    let runtime = runtime(2);
    let mut comparison = Comparison::new("A client whose own network fails", metrics);
    for (fault, what) in [(Fault::Cut, "cut"), (Fault::Swallow, "silent")] {
        for (count, whom) in [(1, "one node"), (NODES, "all nodes")] {
            for way in [Way::Adaptive, Way::Tonic, Way::TowerPeakEwma] {
                let (runtime, span) = (&runtime, span(settings) / 2);
                comparison
                    .case(format!("{whom} {what}: {way}"), move || measure(runtime, way, fault, count, span));
            }
        }
    }
    let ours = |case: &str| case.contains("adaptive");
    comparison
        .run_cold(1)
        .hold("other's failed", Bound::Zero, ours)
        .hold("failed %", Bound::AtMost(0.5), |case| ours(case) && case.contains("one node cut"))
        .hold("failed %", Bound::AtMost(5.0), |case| ours(case) && case.contains("one node silent"))
        .hold("back ms", Bound::AtMost(5000.0), |case| ours(case) && case.contains("all nodes"))
}

fn measure(runtime: &Runtime, way: Way, fault: Fault, count: usize, span: Duration) -> Vec<f64> {
    runtime.block_on(async {
        let options = node::Options { latency: LATENCY, ..Default::default() };
        let nodes = node::start(NODES, &options).await;
        let direct: Vec<String> = nodes.iter().map(|node| node.address.clone()).collect();
        let mut proxies = Vec::new();
        for address in &direct {
            proxies.push(Proxy::start(address.parse().expect("a socket's address")).await);
        }
        let through = proxies.iter().map(Proxy::endpoint).collect();
        let client = |nodes| client::Options { way, per_second: PER_SECOND, nodes, ..Default::default() };
        let (mut mine, mut other) =
            (Client::start(&client(through)).await, Client::start(&client(direct)).await);
        sleep(WARM_UP).await;

        mine.begin().await;
        other.begin().await;
        for proxy in &proxies[..count] {
            match fault {
                Fault::Cut => proxy.cut(),
                Fault::Swallow => proxy.blackhole(),
            }
        }
        sleep(span).await;
        let (seen, seen_by_other) = (mine.take().await, other.take().await);
        proxies.iter().for_each(Proxy::restore);
        let back = if count == NODES { back(&mut mine).await } else { f64::NAN };
        vec![seen.figure("failed %"), seen_by_other.figure("failed"), back]
    })
}

/// Milliseconds until calls are answered again, and go on to be.
async fn back(client: &mut Client) -> f64 {
    let since = Instant::now();
    let restored = async {
        // Not only those that had waited in the proxy.
        while client.answered().await < 20.0 {
            sleep(LOOK).await;
        }
    };
    match timeout(PATIENCE, restored).await {
        Ok(()) => since.elapsed().as_secs_f64() * 1e3,
        Err(_) => f64::INFINITY,
    }
}
