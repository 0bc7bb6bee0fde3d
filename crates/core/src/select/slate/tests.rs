//! What picks promise, over all strategies; the files below go by subject.

mod adaptive;
mod busy;
mod explain;
mod filters;
mod leaving;
mod oracle;
mod replay;
mod shape;
mod turns;

use std::time::Duration;

use super::*;
use crate::select::{AdaptiveConfig, Candidates, CustomStrategy, Filter, Outcome};

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
        // A ring's shares are off by some percent: it has tests of its own.
        if matches!(strategy.name(), "round-robin" | "ring-hash") {
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

#[test]
fn a_node_that_stops_being_ready_is_avoided_at_once() {
    for strategy in strategies() {
        let slate = slate(&strategy, members(100));
        let left = 41;
        for (n, member) in slate.members().iter().enumerate() {
            member.load.set_ready(n == left);
        }
        assert_eq!(shares(&slate, 50)[left], 50, "{strategy}");
    }
}

#[test]
fn a_node_that_becomes_ready_when_no_other_is_is_found_at_once() {
    for strategy in strategies() {
        let members = members(4);
        members[2].load.set_ready(false);
        let slate = slate(&strategy, members);
        for (n, member) in slate.members().iter().enumerate() {
            member.load.set_ready(n == 2);
        }
        assert_eq!(shares(&slate, 10), [0, 0, 10, 0], "{strategy}");
    }
}

#[test]
fn excluded_nodes_are_picked_only_when_there_is_no_other() {
    for strategy in strategies() {
        let slate = slate(&strategy, members(4));
        let ids: Vec<_> = slate.members().iter().map(|member| member.node.id().clone()).collect();
        let mut rng = rng();
        for tried in 1..=4 {
            let request = PickRequest { exclude: &ids[..tried], ..PickRequest::default() };
            for _ in 0..200 {
                let picked = slate.pick(&request, &mut rng).unwrap();
                assert!(tried == 4 || picked.index >= tried, "{strategy}: {} of {tried} tried", picked.index);
            }
        }
        slate.members()[3].load.set_ready(false);
        let request = PickRequest { exclude: &ids[..3], ..PickRequest::default() };
        assert!(
            slate.pick(&request, &mut rng).unwrap().index < 3,
            "{strategy}: better a node again than none"
        );
    }
}

#[test]
fn one_node_alone_is_picked_without_a_draw() {
    for strategy in strategies() {
        let slate = slate(&strategy, members(1));
        let mut rng = rng();
        let id = slate.members()[0].node.id().clone();
        let request = PickRequest { exclude: &[id], ..PickRequest::default() };
        assert_eq!(slate.pick(&request, &mut rng).unwrap().index, 0, "{strategy}");
        assert_eq!(slate.pick(&PickRequest::default(), &mut rng).unwrap().index, 0, "{strategy}");
    }
    let slate = slate(&Strategy::default(), members(1));
    let mut rng = rng();
    let before = rng.get_seed();
    assert!(slate.pick(&PickRequest::default(), &mut rng).is_ok());
    assert_eq!(rng.get_seed(), before);
}

#[test]
fn the_same_seed_picks_the_same_nodes() {
    for strategy in strategies() {
        let run = || {
            let slate = slate(&strategy, members(20));
            let mut rng = rng();
            (0..200).map(|_| slate.pick(&PickRequest::default(), &mut rng).unwrap().index).collect::<Vec<_>>()
        };
        assert_eq!(run(), run(), "{strategy}");
    }
}

#[test]
fn among_equals_every_node_has_the_same_share() {
    let least = |choices| Strategy::LeastRequest { choices };
    let all = AdaptiveConfig::default().aperture(crate::select::Aperture::All);
    let adaptive = |choices| Strategy::Adaptive(all.choices(Choices::Fixed(choices)));
    for strategy in
        [Strategy::Random, least(2), least(3), least(5), least(8), adaptive(2), adaptive(7), adaptive(8)]
    {
        for (nodes, busy) in [(2, 0), (3, 0), (9, 0), (9, 2), (9, 6), (40, 0)] {
            let slate = slate(&strategy, members(nodes));
            let _calls: Vec<_> = slate.members()[..busy].iter().map(|member| member.load.ticket()).collect();
            let idle = &shares(&slate, 20_000)[busy..];
            let (sum, expected) = (idle.iter().sum::<usize>(), idle.iter().sum::<usize>() / idle.len());
            let deviation = (sum as f64 / idle.len() as f64).sqrt();
            for share in idle {
                let off = share.abs_diff(expected) as f64;
                assert!(off < 4.5 * deviation, "{strategy:?}, {busy} of {nodes} busy: {idle:?}");
            }
        }
    }
}

#[test]
fn least_request_fills_the_gaps() {
    let slate = slate(&Strategy::LeastRequest { choices: 2 }, members(10));
    let mut rng = rng();
    let tickets: Vec<_> =
        (0..1000).map(|_| slate.pick(&PickRequest::default(), &mut rng).unwrap().ticket).collect();
    for member in slate.members() {
        assert!(member.load.inflight().abs_diff(100) <= 3, "{:?}", member.load);
    }
    drop(tickets);
    assert!(slate.members().iter().all(|member| member.load.inflight() == 0));
}

#[test]
fn one_that_may_not_be_taken_does_not_stand_in_the_way_of_the_least() {
    // Adaptive leaves one of few nodes out each time, which is the second now and then.
    for (strategy, most) in [(Strategy::LeastRequest { choices: 8 }, 200), (Strategy::default(), 150)] {
        let slate = slate(&strategy, members(8));
        let loads: Vec<_> = slate.members().iter().map(|member| &member.load).collect();
        for load in &loads {
            load.ticket().mark(Outcome::Success, Duration::from_millis(10), Instant::now());
        }
        // The first is idle, the second nearly so.
        let calls = |place: usize| if place < 2 { place } else { 50 };
        let tickets: Vec<Vec<_>> =
            (0..8).map(|place| (0..calls(place)).map(|_| loads[place].ticket()).collect()).collect();
        let mut rng = rng();
        let mut second = |request: &PickRequest<'_>| {
            (0..200).filter(|_| slate.pick(request, &mut rng).unwrap().index == 1).count()
        };
        let tried = [slate.members()[0].node.id().clone()];
        let excluded = second(&PickRequest { exclude: &tried, ..PickRequest::default() });
        assert!(excluded >= most, "{strategy}: {excluded}");
        loads[0].set_ready(false);
        let unready = second(&PickRequest::default());
        assert!(unready >= most, "{strategy}: {unready}");
        drop(tickets);
    }
}

#[test]
fn a_load_goes_on_through_a_change_of_membership() {
    let mut members = members(3);
    let (strategy, mut rng) = (Strategy::default(), rng());
    let first = Slate::new(&strategy, &Filters::default(), members.clone(), None, &mut rng);
    let picked = first.pick(&PickRequest::default(), &mut rng).unwrap();
    let (index, ticket) = (picked.index, picked.ticket);
    members.push(member("late", |node| node));
    let second = Slate::new(&strategy, &Filters::default(), members, Some(&first), &mut rng);
    drop(first);
    assert_eq!(second.members()[index].load.inflight(), 1);
    drop(second.members()[index].load.clone());
    assert_eq!(second.members()[index].load.inflight(), 1);
    drop(ticket);
    assert_eq!(second.members()[index].load.inflight(), 0);
}

#[test]
fn slates_made_and_dropped_under_calls_leave_nothing_in_flight() {
    let (strategy, members) = (Strategy::default(), members(5));
    let make = |previous: Option<&Slate<()>>, seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        Arc::new(Slate::new(&strategy, &Filters::default(), members.clone(), previous, &mut rng))
    };
    let current = std::sync::Mutex::new(make(None, 0));
    std::thread::scope(|scope| {
        for seed in 0..3 {
            let current = &current;
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(seed);
                let mut held = Vec::new();
                for _ in 0..5000 {
                    let slate = current.lock().unwrap().clone();
                    let ticket = slate.pick(&PickRequest::default(), &mut rng).unwrap().ticket;
                    ticket.mark(Outcome::Success, Duration::from_millis(1), Instant::now());
                    held.push(ticket);
                    if held.len() > 10 {
                        drop(held.swap_remove(rng.usize(..held.len())));
                    }
                }
            });
        }
        for seed in 0..300 {
            let next = make(Some(&*current.lock().unwrap().clone()), seed);
            *current.lock().unwrap() = next;
        }
    });
    assert!(members.iter().all(|member| member.load.inflight() == 0), "{members:?}");
    assert_eq!(members.iter().map(|member| member.load.calls()).sum::<u64>(), 15_000);
}

/// Picks by the call's hash, and plays tricks on calls without one.
#[derive(Debug)]
struct ByHash;

impl CustomStrategy for ByHash {
    fn name(&self) -> &str {
        "by-hash"
    }

    fn pick(
        &self,
        candidates: &Candidates<'_>,
        request: &PickRequest<'_>,
        rng: &mut fastrand::Rng,
    ) -> Option<usize> {
        assert!(!candidates.is_empty() && candidates.weight(0) > 0.0 && candidates.load(0).calls() == 0);
        let Some(hash) = request.hash else {
            return rng.bool().then_some(usize::MAX);
        };
        (0..candidates.len())
            .max_by_key(|at| hash.wrapping_mul(candidates.node(*at).id().as_str().len() as u64))
    }
}

#[test]
fn a_custom_strategy_sees_the_request_and_cannot_lead_a_pick_astray() {
    let named = |id: &str| member(id, |node| node);
    let slate = slate(&Strategy::Custom(Arc::new(ByHash)), vec![named("a"), named("bbb"), named("cc")]);
    assert_eq!(slate.strategy().to_string(), "by-hash");
    let mut rng = rng();
    let request = PickRequest { hash: Some(7), ..PickRequest::default() };
    assert_eq!(slate.pick(&request, &mut rng).unwrap().index, 1);
    slate.members()[1].load.set_ready(false);
    assert_ne!(slate.pick(&request, &mut rng).unwrap().index, 1);
    for _ in 0..100 {
        assert_ne!(slate.pick(&PickRequest::default(), &mut rng).unwrap().index, 1);
    }
}
