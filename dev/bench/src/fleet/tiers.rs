//! Four tiers, the lowest of which fails every call: how much load retries add there, and how soon calls are answered once it is
//! repaired.
//!
//! Each tier calls the next through a channel of its own and may repeat every call. Without bounds, three attempts a tier are 27
//! at the bottom. With them, only the tier next to the failure repeats, for it says so to those above, and no more than its budget
//! allows.

use std::time::Duration;

use tokio::{
    runtime::Runtime,
    time::{Instant, sleep, timeout},
};
use tonic::Code;

use super::{
    PATIENCE,
    client::{self, Client, Seen, Way},
    columns, node, runtime, span,
};
use crate::frame::{Bound, Comparison, Report, Settings};

const BOTTOM: usize = 3;
const LATENCY: Duration = Duration::from_millis(2);
const WARM_UP: Duration = Duration::from_secs(3);
/// For how many spans the bottom fails: for a full run's ten seconds, four times the eleven after which a budget forgets what it has
/// allowed. It spends what it has at once, so over a part of that time there would be more or less, as chance has it.
const OUTAGE: f64 = 4.4;
/// How closely the recovery is watched.
const LOOK: Duration = Duration::from_millis(200);

/// The bottom of four tiers fails every call, and is repaired.
pub(crate) fn tiers(settings: &Settings) -> Report {
    let metrics = columns([("offered/s", 0), ("load, x offered", 2), ("recovered s", 2)]);
    let runtime = runtime(2);
    let mut comparison = Comparison::new("Four tiers, the lowest of which fails every call", metrics);
    // The naive fleet makes 27 calls of one, so it is offered less.
    for (name, per_second, naive) in [("without bounds", 50, true), ("as it is", 500, false)] {
        let (runtime, span) = (&runtime, span(settings));
        comparison.case(name, move || measure(runtime, per_second, naive, span));
    }
    comparison.run_cold(1).hold("load, x offered", Bound::AtMost(1.2), |case| case == "as it is").hold(
        "recovered s",
        Bound::AtMost(5.0),
        |case| case == "as it is",
    )
}

fn measure(runtime: &Runtime, per_second: u32, naive: bool, span: Duration) -> Vec<f64> {
    runtime.block_on(async {
        let options = node::Options { latency: LATENCY, naive, ..Default::default() };
        let mut bottom = node::start(BOTTOM, &options).await;
        let above = |next: &[node::Node]| node::Options {
            next: next.iter().map(|node| node.address.clone()).collect(),
            ..options.clone()
        };
        let third = node::start(1, &above(&bottom)).await;
        let second = node::start(1, &above(&third)).await;
        let options = client::Options {
            way: Way::Adaptive,
            per_second,
            idempotent: true,
            naive,
            nodes: second.iter().map(|node| node.address.clone()).collect(),
            ..Default::default()
        };
        let mut client = Client::start(&options).await;
        sleep(WARM_UP).await;

        client.begin().await;
        let before: f64 = node::calls(&mut bottom).await.iter().sum();
        for node in &mut bottom {
            node.fail(Code::Unavailable).await;
        }
        sleep(span.mul_f64(OUTAGE)).await;
        let load = node::calls(&mut bottom).await.iter().sum::<f64>() - before;
        let offered = ended(&client.take().await);

        for node in &mut bottom {
            node.fail(Code::Ok).await;
        }
        vec![f64::from(per_second), load / offered, recovered(&mut client).await]
    })
}

/// Calls that ended, one way or the other.
fn ended(seen: &Seen) -> f64 {
    seen.figure("answered") + seen.figure("failed")
}

/// Seconds until no more than one of a hundred calls fails.
async fn recovered(client: &mut Client) -> f64 {
    let since = Instant::now();
    let well = async {
        loop {
            client.begin().await;
            let begun = since.elapsed();
            sleep(LOOK).await;
            let seen = client.take().await;
            if seen.figure("failed %") <= 1.0 {
                return begun.as_secs_f64();
            }
        }
    };
    timeout(PATIENCE, well).await.unwrap_or(f64::INFINITY)
}
