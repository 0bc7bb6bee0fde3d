use super::*;
use crate::select::{AdaptiveConfig, Filter};

fn rng() -> fastrand::Rng {
    fastrand::Rng::with_seed(7)
}

fn member(
    id: &str,
    change: impl FnOnce(crate::model::NodeBuilder) -> crate::model::NodeBuilder,
) -> Member<()> {
    let node = change(Node::builder("greeter", id, "127.0.0.1:1")).build().unwrap();
    let load = Load::new();
    load.set_ready(true);
    Member { node: Arc::new(node), load, handle: () }
}

fn members(count: usize) -> Vec<Member<()>> {
    (0..count).map(|n| member(&format!("n{n}"), |node| node)).collect()
}

fn weighted(weights: &[Option<u16>]) -> Vec<Member<()>> {
    let one = |(n, weight): (usize, &Option<u16>)| {
        member(&format!("n{n}"), |node| match weight {
            Some(weight) => node.weight(*weight),
            None => node,
        })
    };
    weights.iter().enumerate().map(one).collect()
}

fn slate(strategy: &Strategy, members: Vec<Member<()>>) -> Slate<()> {
    Slate::new(strategy, &Filters::default(), members, None, &mut rng())
}

fn strategies() -> Vec<Strategy> {
    let mut all: Vec<Strategy> = Strategy::NAMES.iter().map(|name| name.parse().unwrap()).collect();
    all.push(Strategy::LeastRequest { choices: 5 });
    all.push(Strategy::Adaptive(AdaptiveConfig::default().choices(Choices::Fixed(2))));
    all
}

/// How often each node is picked when calls come one after the other.
fn shares(slate: &Slate<()>, picks: usize) -> Vec<usize> {
    let mut rng = rng();
    let mut counts = vec![0; slate.members().len()];
    for _ in 0..picks {
        counts[slate.pick(&PickRequest::default(), &mut rng).unwrap().index] += 1;
    }
    counts
}

#[test]
fn every_strategy_picks_every_ready_node_and_no_other() {
    for strategy in strategies() {
        let members = members(5);
        members[2].load.set_ready(false);
        let counts = shares(&slate(&strategy, members), 500);
        for (n, count) in counts.iter().enumerate() {
            assert_eq!(*count > 0, n != 2, "{strategy}: {counts:?}");
        }
    }
}

#[test]
fn an_idle_fleet_gets_calls_in_proportion_to_the_weights() {
    for strategy in strategies() {
        if strategy.name() == "round-robin" {
            continue;
        }
        let counts = shares(&slate(&strategy, weighted(&[Some(1), Some(3), None, Some(0)])), 8000);
        // The unknown weight is the mean of those above zero: 2.
        for (count, expected) in counts.iter().zip([1333, 4000, 2667, 0]) {
            assert!(count.abs_diff(expected) < 150, "{strategy}: {counts:?}");
        }
    }
}

#[test]
fn a_node_of_weight_zero_is_never_picked_not_even_alone() {
    for strategy in strategies() {
        let slate = slate(&strategy, weighted(&[Some(0), Some(1)]));
        assert_eq!(shares(&slate, 100), [0, 100]);
        slate.members()[1].load.set_ready(false);
        let none = slate.pick(&PickRequest::default(), &mut rng()).unwrap_err();
        assert_eq!(none, NoPick::NotReady { candidates: 1 });
    }
}

#[test]
fn weights_that_are_all_zero_count_the_same() {
    for strategy in strategies() {
        let counts = shares(&slate(&strategy, weighted(&[Some(0); 4])), 4000);
        assert!(counts.iter().all(|count| count.abs_diff(1000) < 150), "{strategy}: {counts:?}");
    }
}

#[test]
fn why_there_is_no_node_is_told() {
    let strategy = Strategy::Random;
    let none = |slate: &Slate<()>, filters: Option<&Filters>| {
        slate.pick(&PickRequest { filters, ..PickRequest::default() }, &mut rng()).unwrap_err()
    };
    assert_eq!(none(&slate(&strategy, vec![]), None), NoPick::Empty);

    let green = Filters::new([Filter::group("green"), Filter::version("1")]);
    assert_eq!(none(&slate(&strategy, vec![]), Some(&green)), NoPick::Empty);
    let node = |id, group| member(id, |node| node.version("1.2").group(group));
    let filtered = slate(&strategy, vec![node("a", "blue"), node("b", "red"), node("c", "blue")]);
    assert_eq!(
        none(&filtered, Some(&green)).to_string(),
        "none of 3 nodes passes version=1 (0 do not; there is 1.2) and group=green (3 do not; there is blue, red)"
    );

    let unready = slate(&strategy, members(3));
    unready.members().iter().for_each(|member| member.load.set_ready(false));
    assert_eq!(none(&unready, None), NoPick::NotReady { candidates: 3 });
    assert_eq!(none(&unready, None).to_string(), "none of 3 nodes can be called now");
}
