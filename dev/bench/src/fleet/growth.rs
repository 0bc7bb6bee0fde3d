//! How calls are spread: over nodes that come while clients hold their connections, and over many nodes that have been there.

use std::time::Duration;

use tokio::{
    runtime::Runtime,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{
    client::{self, Client, Way},
    columns, node, runtime, span,
};
use crate::frame::{Bound, Comparison, Report, Settings};

const CLIENTS: usize = 4;
const PER_SECOND: u32 = 300;
const LATENCY: Duration = Duration::from_millis(2);
/// Until clients know their nodes, and the slow start of these is over.
const WARM_UP: Duration = Duration::from_secs(8);

const FIRST: usize = 3;
const LATER: usize = 3;
/// How often shares are looked at, and over how long each is taken: enough calls for 10 % to be more than chance.
const LOOK: Duration = Duration::from_millis(250);
const WINDOW: usize = 12;
/// How far from its fair share a node may be.
const TOLERANCE: f64 = 0.1;

const MANY: usize = 20;

/// Three nodes become six. When has each new one its share?
pub(crate) fn growth(settings: &Settings) -> Report {
    let metrics = columns([("settled s", 2), ("worst then %", 1), ("failed", 0)]);
    let runtime = runtime(2);
    let mut comparison = Comparison::new("From three nodes to six under load", metrics);
    for way in [Way::Adaptive, Way::LeastRequest, Way::RoundRobin, Way::Tonic] {
        let (runtime, span) = (&runtime, span(settings) * 2);
        comparison.case(way.to_string(), move || runtime.block_on(grow(way, span)));
    }
    let ours = |case: &str| case.contains("adaptive");
    comparison.run_cold(1).hold("settled s", Bound::AtMost(10.0), ours).hold("failed", Bound::Zero, ours)
}

/// Twenty nodes alike, and how many calls the one with the most has, of the mean.
pub(crate) fn even(settings: &Settings) -> Report {
    let metrics = columns([("max/mean", 3), ("min/mean", 3), ("failed", 0)]);
    let runtime = runtime(2);
    let mut comparison = Comparison::new("Twenty nodes under load", metrics);
    for way in Way::ALL {
        let (runtime, span) = (&runtime, span(settings) * 2);
        comparison.case(way.to_string(), move || spread(runtime, way, span));
    }
    let ours = |case: &str| case.contains("adaptive");
    comparison.run_cold(1).hold("max/mean", Bound::AtMost(1.15), ours).hold("failed", Bound::Zero, ours)
}

async fn grow(way: Way, span: Duration) -> Vec<f64> {
    let folder = tempfile::tempdir().expect("a folder");
    let registry = Some(format!("local://{}", folder.path().display()));
    let options = node::Options { registry: registry.clone(), latency: LATENCY, ..Default::default() };
    let mut nodes = node::start(FIRST, &options).await;
    let mut clients = clients(way, &nodes, registry).await;
    sleep(WARM_UP).await;
    begin(&mut clients).await;

    let news = node::start(LATER, &options).await;
    let came = Instant::now();
    for client in &mut clients {
        for node in &news {
            client.add(&node.address).await;
        }
    }
    nodes.extend(news);
    let mut looks = vec![node::calls(&mut nodes).await];
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut times = vec![came.elapsed()];
    while came.elapsed() < span {
        ticks.tick().await;
        looks.push(node::calls(&mut nodes).await);
        times.push(came.elapsed());
    }
    let settled = (0..looks.len().saturating_sub(WINDOW))
        .find(|at| worst(&looks[*at], &looks[at + WINDOW]) <= TOLERANCE);
    let failed = failed(&mut clients).await;
    match settled {
        // From then to the end: was it chance?
        Some(at) => {
            vec![times[at].as_secs_f64(), 100.0 * worst(&looks[at], &looks[looks.len() - 1]), failed]
        }
        None => vec![f64::INFINITY, f64::NAN, failed],
    }
}

/// How far from its fair share the worst of the new nodes was between two looks.
fn worst(before: &[f64], after: &[f64]) -> f64 {
    let calls: Vec<f64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    let fair = calls.iter().sum::<f64>() / calls.len() as f64;
    calls[FIRST..].iter().map(|calls| (calls / fair - 1.0).abs()).fold(0.0, f64::max)
}

fn spread(runtime: &Runtime, way: Way, span: Duration) -> Vec<f64> {
    runtime.block_on(async {
        let options = node::Options { latency: LATENCY, ..Default::default() };
        let mut nodes = node::start(MANY, &options).await;
        let mut clients = clients(way, &nodes, None).await;
        sleep(WARM_UP).await;
        begin(&mut clients).await;
        let before = node::calls(&mut nodes).await;
        sleep(span).await;
        let after = node::calls(&mut nodes).await;
        let calls: Vec<f64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
        let mean = calls.iter().sum::<f64>() / calls.len() as f64;
        let most = calls.iter().copied().fold(0.0, f64::max);
        let least = calls.iter().copied().fold(f64::INFINITY, f64::min);
        vec![most / mean, least / mean, failed(&mut clients).await]
    })
}

async fn clients(way: Way, nodes: &[node::Node], registry: Option<String>) -> Vec<Client> {
    let nodes = nodes.iter().map(|node| node.address.clone()).collect();
    let options = client::Options { way, per_second: PER_SECOND, nodes, registry, ..Default::default() };
    futures_util::future::join_all((0..CLIENTS).map(|_| Client::start(&options))).await
}

async fn begin(clients: &mut [Client]) {
    for client in clients {
        client.begin().await;
    }
}

async fn failed(clients: &mut [Client]) -> f64 {
    let mut failed = 0.0;
    for client in clients {
        failed += client.take().await.figure("failed");
    }
    failed
}
