//! What the rules of ejection see, and what they cannot.

use std::time::Duration;

use callsign_core::{
    Node, NodeKey,
    health::{Health, HealthConfig, Verdict},
    select::{Load, Outcome},
};

use super::{Findings, Study, table};
use crate::clock::Clock;

pub(super) const STUDY: Study = Study {
    name: "outliers",
    title: "The blind spot of ejection by success rate",
    source: include_str!("outliers.rs"),
    about: "
Ten nodes with two hundred calls each in an interval of ten seconds. Some of them fail a share of their calls, the others none. How
many are ejected, with a cap of half of the nodes, by the success rate alone and by all rules together?
",
    published: "
By success rate a node is an outlier 1.9 standard deviations below the mean (gRFC A50, Envoy). Of k equally bad nodes of n each is √((n − k) / k) below,
however bad it is: 3.00, 2.00, 1.53, 1.22 here. From the third on the rule is blind. The rules for failures in a row and for the
share of failures see those that fail most of their calls. What neither sees is three nodes of ten that fail two calls of five: that is left to Adaptive,
which charges each failure as five seconds of latency, whatever the others do.
",
    run,
};

const NODES: usize = 10;
const CALLS: usize = 200;

fn run() -> Findings {
    let mut findings = Findings::default();
    let mut rows = Vec::new();
    for (said, fails) in [("2 of 5", fails_two_of_five as fn(usize) -> bool), ("9 of 10", fails_nine_of_ten)]
    {
        for bad in 1..=4 {
            let (by_rate, by_all) =
                (ejected(rate_alone(), bad, fails), ejected(HealthConfig::default(), bad, fails));
            let sees = bad <= 2;
            findings.expect(by_rate == if sees { bad } else { 0 }, || {
                format!("{bad} that fail {said}: {by_rate} ejected by their rate")
            });
            let expected = if sees || said == "9 of 10" { bad } else { 0 };
            findings.expect(by_all == expected, || format!("{bad} that fail {said}: {by_all} ejected"));
            rows.push(vec![
                format!("{bad} of {NODES} fail {said} calls"),
                format!("{:.2}", ((NODES - bad) as f64 / bad as f64).sqrt()),
                by_rate.to_string(),
                by_all.to_string(),
            ]);
        }
    }
    findings.tables.push(table("", &["", "deviations", "by success rate", "by all rules"], rows));
    findings
}

/// How many are ejected after one interval.
fn ejected(config: HealthConfig, bad: usize, fails: fn(usize) -> bool) -> usize {
    let clock = Clock::new();
    let config = config.ejected_percent_max(50).expect("half of the nodes may be ejected");
    let mut health = Health::new(config, 1);
    let nodes: Vec<(NodeKey, Load)> = (0..NODES).map(node).collect();
    nodes.iter().for_each(|(key, load)| health.enter(key.clone(), load.clone()));
    health.review(clock.instant(0));
    for call in 0..CALLS {
        let now = clock.instant(call as u64 * 10_000_000);
        for (place, (_, load)) in nodes.iter().enumerate() {
            let outcome = if place < bad && fails(call) { Outcome::Failure } else { Outcome::Success };
            let ticket = load.ticket();
            ticket.mark(outcome, Duration::from_millis(10), now);
            if ticket.wants_review() {
                drop(ticket);
                health.review(now);
            }
        }
    }
    health.review(clock.instant(11_000_000_000));
    nodes.iter().filter(|(key, _)| matches!(health.verdict(key), Verdict::Ejected { .. })).count()
}

fn node(number: usize) -> (NodeKey, Load) {
    let node = Node::builder("service", format!("node-{number}"), "127.0.0.1:1").build();
    let load = Load::new();
    load.set_ready(true);
    (node.expect("a number makes a valid name").key(), load)
}

/// The other two rules are out of reach.
fn rate_alone() -> HealthConfig {
    let config = HealthConfig::default().consecutive(1_000_000).and_then(|config| config.failed_share(1.0));
    config.expect("both are within their bounds")
}

/// Never many in a row.
fn fails_two_of_five(call: usize) -> bool {
    call % 5 < 2
}

fn fails_nine_of_ten(call: usize) -> bool {
    !call.is_multiple_of(10)
}
