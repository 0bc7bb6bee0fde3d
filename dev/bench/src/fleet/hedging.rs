//! Second attempts for slow calls: what they do to the longest latencies, and what they cost the nodes.
//!
//! What they should do is worked out from the latencies of the calls with one attempt in the same run: for a call to take longer
//! than `t`, its first attempt must, and so must its second, which has begun later by the quantile. With exponential latencies
//! of mean 1 that is t(p) = -ln(1 - q) + ln((1 - q) / (1 - p)) / 2. Nodes count attempts, and handlers that were cancelled.

use std::{cell::RefCell, time::Duration};

use tokio::time::sleep;

use super::{
    client::{self, Client, Way},
    columns,
    curve::Curve,
    node::{self, Node},
    runtime, span,
    work::Spread,
};
use crate::frame::{Bound, Comparison, Report, Settings};

const NODES: usize = 3;
const PER_SECOND: u32 = 1000;
/// Until there are connections, and it is known how long calls take.
const WARM_UP: Duration = Duration::from_secs(5);
/// In spans of a fleet: for a full run 40,000 calls, so that 40 take longer than their p99.9.
const SPANS: u32 = 4;
/// Longer than all but one call in a hundred should take.
const LONG: Duration = Duration::from_millis(90);
/// The default of [`HedgePolicy`](callsign::client::HedgePolicy): one call in twenty has a second attempt.
const SECOND_ATTEMPTS: f64 = 0.05;

/// How long nodes take.
const NODES_TAKE: [(&str, Duration, Spread); 2] = [
    (
        "1 % slow",
        Duration::from_millis(2),
        Spread::Rarely { share: 0.01, latency: Duration::from_millis(100) },
    ),
    ("exponential", Duration::from_millis(20), Spread::Exponential),
];

/// Nodes of which one reply in a hundred is slow, and such with exponential latencies; with one attempt, and with two.
pub(crate) fn hedging(settings: &Settings) -> Report {
    let metrics = columns([
        ("calls", 0),
        ("failed", 0),
        ("p50 ms", 1),
        ("p99 ms", 1),
        ("p99.9 ms", 1),
        ("of arithmetic", 2),
        ("over 90 ms %", 2),
        ("extra load %", 1),
        ("cancelled %", 1),
    ]);
    let runtime = runtime(2);
    let single = NODES_TAKE.map(|_| RefCell::new(Curve::default()));
    let mut comparison = Comparison::new("Second attempts for calls that are slow", metrics);
    let span = span(settings) * SPANS;
    for ((name, latency, spread), single) in NODES_TAKE.iter().zip(&single) {
        for hedged in [false, true] {
            let attempts = if hedged { "hedged" } else { "one attempt" };
            let runtime = &runtime;
            comparison.case(format!("{name}: {attempts}"), move || {
                let node = node::Options { latency: *latency, spread: *spread, ..Default::default() };
                let run = runtime.block_on(Run::new(&node, hedged, span));
                let expected = if hedged { hedged_p999(&single.borrow()) } else { f64::NAN };
                let figures = run.figures(expected);
                if !hedged {
                    single.replace(run.curve);
                }
                figures
            });
        }
    }
    let hedged = |case: &str| case.ends_with("hedged");
    comparison
        .run_cold(1)
        .hold("failed", Bound::Zero, |_| true)
        .hold("of arithmetic", Bound::AtMost(1.25), hedged)
        .hold("extra load %", Bound::AtMost(100.0 * SECOND_ATTEMPTS), hedged)
        // Of two attempts that take two milliseconds each, the one that lost has mostly answered by then.
        .hold("cancelled %", Bound::AtLeast(90.0), |case| case == "exponential: hedged")
}

/// Microseconds.
fn hedged_p999(single: &Curve) -> f64 {
    single.hedged_exceeded_by(0.001, single.exceeded_by(SECOND_ATTEMPTS)) as f64
}

/// What came of a run.
#[derive(Debug)]
struct Run {
    curve: Curve,
    failed: f64,
    /// That nodes have begun.
    attempts: f64,
    /// Of which they dropped so many.
    cancelled: f64,
}

// === impl Run ===

impl Run {
    async fn new(node: &node::Options, hedged: bool, span: Duration) -> Self {
        let mut nodes = node::start(NODES, node).await;
        let options = client::Options {
            way: Way::Adaptive,
            per_second: PER_SECOND,
            idempotent: true,
            hedged,
            nodes: nodes.iter().map(|node| node.address.clone()).collect(),
            ..Default::default()
        };
        let mut client = Client::start(&options).await;
        sleep(WARM_UP).await;

        client.begin().await;
        let before = counts(&mut nodes).await;
        sleep(span).await;
        let seen = client.take().await;
        let after = counts(&mut nodes).await;
        Self {
            curve: seen.curve(),
            failed: seen.figure("failed"),
            attempts: after[0] - before[0],
            cancelled: after[1] - before[1],
        }
    }

    /// Beside the p99.9 that is expected, in microseconds.
    fn figures(&self, expected: f64) -> Vec<f64> {
        let Self { curve, failed, attempts, cancelled } = self;
        let calls = curve.calls() as f64;
        let at = |share| curve.exceeded_by(share) as f64;
        vec![
            calls,
            *failed,
            at(0.5) / 1e3,
            at(0.01) / 1e3,
            at(0.001) / 1e3,
            at(0.001) / expected,
            100.0 * curve.longer_than(LONG.as_micros() as u64),
            100.0 * (attempts / calls - 1.0),
            100.0 * cancelled / (attempts - calls),
        ]
    }
}

/// Attempts, and those that were cancelled.
async fn counts(nodes: &mut [Node]) -> [f64; 2] {
    let mut sums = [0.0; 2];
    for node in nodes {
        sums[0] += node.calls().await;
        sums[1] += node.cancelled().await;
    }
    sums
}
