//! What a change of membership costs the one who publishes it: a slate made from the one before.

use std::{sync::Arc, time::Duration};

use callsign_core::{
    Node,
    select::{Filter, Filters, Load, Member, Outcome, PickRequest, Slate, Strategy},
};
use tokio::time::Instant;

use crate::frame::{Comparison, Metric, Report, Settings, nanoseconds_in_batches};

const SIZES: [(usize, &str); 3] = [(100, "100 nodes"), (1000, "1000 nodes"), (10_000, "10,000 nodes")];

/// Microseconds for a slate from which a node has gone, or to which it has come back.
pub(crate) fn run(settings: &Settings) -> Report {
    let metrics = SIZES.map(|(_, name)| Metric { name, digits: 0 });
    let everybody = SIZES.map(|(nodes, _)| members(nodes));
    let mut comparison = Comparison::new("µs to publish that a node has come or gone", metrics);
    for name in Strategy::NAMES {
        let strategy: Strategy = name.parse().expect("the strategy is known");
        let everybody = &everybody;
        comparison.case(name, move || {
            everybody.iter().map(|members| change(&strategy, members, None, settings.span)).collect()
        });
    }
    let blue = Filters::from(Filter::group("blue"));
    let (everybody, adaptive) = (&everybody, Strategy::default());
    comparison.case("adaptive, with a filter in use", move || {
        everybody.iter().map(|members| change(&adaptive, members, Some(&blue), settings.span)).collect()
    });
    comparison.run(settings)
}

fn members(nodes: usize) -> Vec<Member<()>> {
    let now = Instant::now();
    let member = |n: usize| {
        let node = Node::builder("greeter", format!("greeter-{n}"), "127.0.0.1:4000");
        let node = node.group(if n.is_multiple_of(4) { "green" } else { "blue" });
        let load = Load::new();
        load.set_ready(true);
        load.ticket().mark(Outcome::Success, Duration::from_micros(5_000 + n as u64), now);
        Member { node: Arc::new(node.build().expect("the node is well formed")), load, handle: () }
    };
    (0..nodes).map(member).collect()
}

fn change(strategy: &Strategy, members: &[Member<()>], filters: Option<&Filters>, span: Duration) -> f64 {
    let (mut rng, all) = (fastrand::Rng::with_seed(1), Filters::default());
    let mut slate = Slate::new(strategy, &all, members.to_vec(), None, &mut rng);
    let mut count = 0;
    let nanoseconds = nanoseconds_in_batches(4, span, || {
        count += 1;
        let gone = usize::from(count % 2 == 1);
        if let Some(filters) = filters {
            let request = PickRequest { filters: Some(filters), ..PickRequest::default() };
            slate.pick(&request, &mut rng).expect("a node is ready");
        }
        slate = Slate::new(strategy, &all, members[gone..].to_vec(), Some(&slate), &mut rng);
        slate.members().len()
    });
    nanoseconds / 1000.0
}
