//! A pick, the mark and the end of the call allocate nothing. In a binary of its own, since it counts through the allocator.

use std::{sync::Arc, time::Duration};

use callsign_core::{
    Node, NodeId,
    retry::RetryBudget,
    select::{AdaptiveConfig, Choices, Filter, Filters, Load, Member, Outcome, PickRequest, Slate, Strategy},
};
use tokio::time::Instant;

fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

fn slate(strategy: &Strategy, weights: bool) -> Slate<()> {
    let members = (0..100).map(|n: u16| {
        let mut node =
            Node::builder("greeter", format!("n{n}"), "127.0.0.1:1").group(["blue", "green"][n as usize % 2]);
        if weights {
            node = node.weight(n % 7);
        }
        let load = Load::new();
        load.set_ready(!n.is_multiple_of(3));
        Member { node: Arc::new(node.build().expect("the node is well formed")), load, handle: () }
    });
    Slate::new(strategy, &Filters::default(), members.collect(), None, &mut fastrand::Rng::with_seed(1))
}

#[test]
fn no_strategy_allocates() {
    assert_ne!(allocations(|| drop(vec![1])), 0, "the counter counts");

    let mut strategies: Vec<Strategy> =
        Strategy::NAMES.iter().map(|name| name.parse().expect("the name is known")).collect();
    strategies.push(Strategy::LeastRequest { choices: 5 });
    for name in ["ring-hash", "maglev", "rendezvous"] {
        let strategy: Strategy = name.parse().expect("the name is known");
        strategies.push(strategy.with_max_load(1.25).expect("the bound is a good one"));
    }
    strategies.push(Strategy::Adaptive(AdaptiveConfig::default().choices(Choices::Fixed(2))));
    let (blue, same) = (Filters::from(Filter::group("blue")), Filters::from(Filter::group("blue")));
    let exclude: Vec<NodeId> =
        ["n2", "n4"].iter().map(|id| NodeId::new(id).expect("the id is well formed")).collect();
    let now = Instant::now();

    for (strategy, weights) in strategies.iter().flat_map(|strategy| [(strategy, false), (strategy, true)]) {
        let slate = slate(strategy, weights);
        let mut rng = fastrand::Rng::with_seed(2);
        let mut call = |filters: Option<&Filters>, exclude: &[NodeId], outcome| {
            let request = PickRequest { filters, exclude, hash: Some(7) };
            let picked = slate.pick(&request, &mut rng).expect("a node is ready");
            picked.ticket.mark(outcome, Duration::from_millis(5), now);
        };
        // The first pick with a set of filters makes its view.
        call(Some(&blue), &[], Outcome::Success);
        let counted = allocations(|| {
            for _ in 0..1000 {
                call(None, &[], Outcome::Success);
                call(None, &exclude, Outcome::Failure);
                call(Some(&blue), &[], Outcome::DeadlineExceeded);
                call(Some(&same), &exclude, Outcome::Overloaded { retry_after: None });
            }
        });
        assert_eq!(counted, 0, "{strategy}, weights: {weights}");
    }
}

#[test]
fn to_find_no_node_allocates_nothing_either() {
    let slate = slate(&Strategy::default(), false);
    let none = Filters::from(Filter::group("red"));
    let request = PickRequest { filters: Some(&none), ..PickRequest::default() };
    let mut rng = fastrand::Rng::with_seed(2);
    assert!(slate.pick(&request, &mut rng).is_err());
    assert_eq!(allocations(|| assert!(slate.pick(&request, &mut rng).is_err())), 0);
    slate.members().iter().for_each(|member| member.load.set_ready(false));
    assert_eq!(allocations(|| assert!(slate.pick(&PickRequest::default(), &mut rng).is_err())), 0);
}

#[test]
fn the_retry_budget_allocates_nothing() {
    let (budget, now) = (RetryBudget::default(), Instant::now());
    let counted = allocations(|| {
        for _ in 0..1000 {
            budget.deposit(now);
            let _ = budget.withdraw(now);
        }
    });
    assert_eq!(counted, 0);
}
