//! One node of three is worse than the others: how many calls still go to it, and what that does to callers.

use std::time::Duration;

use tokio::{runtime::Runtime, time::sleep};
use tonic::Code;

use super::{
    client::{self, Client, Way},
    columns, node, runtime, span,
};
use crate::frame::{Bound, Comparison, Report, Settings};

const NODES: usize = 3;
const PER_SECOND: u32 = 500;
const HEALTHY: Duration = Duration::from_millis(2);
const SLOW: Duration = Duration::from_millis(100);
/// How often each case is run at most, for the sake of whoever waits for it.
const REPEATS_MAX: usize = 3;
/// Long enough for each way to have connected, and to know its nodes.
const WARM_UP: Duration = Duration::from_secs(3);

/// What goes wrong with one node.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Slow,
    Fails(Code),
}

/// One node of three takes 50 times as long from a moment on.
pub(crate) fn slow(settings: &Settings) -> Report {
    let report = compare("One node of three turns 50 times slower", settings, &[Fault::Slow], &[false]);
    let ours = |case: &str| case.contains("adaptive");
    report
        .hold("its share %", Bound::AtMost(1.0), ours)
        .hold("p99 ms", Bound::AtMost(SLOW.as_secs_f64() * 1e3), ours)
        .hold("failed %", Bound::Zero, ours)
}

/// One node of three answers every call with an error from a moment on, at once.
pub(crate) fn failing(settings: &Settings) -> Report {
    let faults = [Fault::Fails(Code::Unavailable), Fault::Fails(Code::Internal)];
    let report = compare("One node of three fails at once", settings, &faults, &[false, true]);
    let ours = |case: &str| case.contains("adaptive");
    report.hold("its share %", Bound::AtMost(1.0), ours).hold("failed %", Bound::AtMost(1.0), ours).hold(
        "failed %",
        Bound::Zero,
        |case| case.contains("UNAVAILABLE") && case.contains("repeated"),
    )
}

fn compare(title: &'static str, settings: &Settings, faults: &[Fault], idempotent: &[bool]) -> Report {
    let metrics = columns([("its share %", 2), ("failed %", 2), ("p50 ms", 1), ("p99 ms", 1)]);
    let runtime = runtime(2);
    let mut comparison = Comparison::new(title, metrics);
    let span = span(settings);
    for fault in faults {
        for way in Way::ALL {
            for idempotent in idempotent.iter().filter(|idempotent| !**idempotent || way == Way::Adaptive) {
                let repeated = if *idempotent { ", repeated" } else { "" };
                let runtime = &runtime;
                comparison.case(format!("{}{way}{repeated}", fault.label()), move || {
                    measure(runtime, way, *idempotent, *fault, span)
                });
            }
        }
    }
    comparison.run_cold(settings.repeats.min(REPEATS_MAX))
}

fn measure(runtime: &Runtime, way: Way, idempotent: bool, fault: Fault, span: Duration) -> Vec<f64> {
    runtime.block_on(async {
        let options = node::Options { latency: HEALTHY, ..Default::default() };
        let mut nodes = node::start(NODES, &options).await;
        let addresses = nodes.iter().map(|node| node.address.clone()).collect();
        let options = client::Options {
            way,
            per_second: PER_SECOND,
            idempotent,
            nodes: addresses,
            ..Default::default()
        };
        let mut client = Client::start(&options).await;
        sleep(WARM_UP).await;

        let before = node::calls(&mut nodes).await;
        client.begin().await;
        match fault {
            Fault::Slow => nodes[0].slow(SLOW).await,
            Fault::Fails(code) => nodes[0].fail(code).await,
        }
        sleep(span).await;
        let seen = client.take().await;
        let calls: Vec<f64> =
            node::calls(&mut nodes).await.iter().zip(before).map(|(after, before)| after - before).collect();
        let share = 100.0 * calls[0] / calls.iter().sum::<f64>();
        vec![share, seen.figure("failed %"), seen.figure("p50 ms"), seen.figure("p99 ms")]
    })
}

// === impl Fault ===

impl Fault {
    fn label(self) -> &'static str {
        match self {
            Self::Slow => "",
            Self::Fails(Code::Unavailable) => "UNAVAILABLE: ",
            Self::Fails(_) => "INTERNAL: ",
        }
    }
}
