//! Splits, preferences and zones.

use proptest::prelude::{ProptestConfig, any, prop, prop_assert, proptest};

use super::*;
use crate::select::{Shape, hash_key};

fn node(n: usize, version: &str, group: &str, zone: &str) -> Member<()> {
    member(&format!("n{n}"), |node| node.version(version).group(group).zone(zone))
}

fn shaped(shape: &Shape, members: &[Member<()>], previous: Option<&Slate<()>>) -> Slate<()> {
    Slate::shaped(&Strategy::Random, &Filters::default(), shape, members.to_vec(), previous, &mut rng())
}

/// How often each node is picked, and how often as a fallback.
fn counts(slate: &Slate<()>, picks: usize) -> (Vec<usize>, usize) {
    let (mut rng, mut counts, mut fallbacks) = (rng(), vec![0; slate.members().len()], 0);
    for _ in 0..picks {
        let picked = slate.pick(&PickRequest::default(), &mut rng).unwrap();
        counts[picked.index] += 1;
        fallbacks += usize::from(picked.instead.is_some());
    }
    (counts, fallbacks)
}

/// Two nodes of version 2 among ten.
fn canaries() -> Vec<Member<()>> {
    (0..10).map(|n| node(n, if n < 2 { "2.0" } else { "1.9" }, "g", "z")).collect()
}

#[test]
fn a_split_sends_its_share_however_many_nodes_there_are() {
    for percent in [0.0, 1.0, 10.0, 50.0, 100.0] {
        let shape = Shape::default().split(Filter::version("2"), percent).unwrap();
        let (counts, fallbacks) = counts(&shaped(&shape, &canaries(), None), 20_000);
        let share = (counts[0] + counts[1]) as f64 / 20_000.0;
        assert!((share - percent / 100.0).abs() < 0.01, "{percent}: {counts:?}");
        assert_eq!(fallbacks, 0);
        assert!(percent == 0.0 || counts[0].abs_diff(counts[1]) < 20 + counts[0] / 8, "{counts:?}");
    }
}

#[test]
fn a_key_stays_on_its_side_of_a_split_in_every_process() {
    let shape = Shape::default().split(Filter::version("2"), 30.0).unwrap();
    for strategy in strategies() {
        let make = |seed| {
            let mut rng = fastrand::Rng::with_seed(seed);
            Slate::shaped(&strategy, &Filters::default(), &shape, canaries(), None, &mut rng)
        };
        let (one, other, mut rng) = (make(1), make(2), rng());
        let mut on_canaries = 0;
        for user in 0..1000_u32 {
            let request = PickRequest { hash: Some(hash_key(&user.to_le_bytes())), ..PickRequest::default() };
            let side = one.pick(&request, &mut rng).unwrap().index < 2;
            on_canaries += u32::from(side);
            for _ in 0..3 {
                assert_eq!(other.pick(&request, &mut rng).unwrap().index < 2, side, "{strategy}, {user}");
            }
        }
        assert!((250..350).contains(&on_canaries), "{strategy}: {on_canaries}");
    }
}

#[test]
fn a_side_without_a_node_goes_to_the_other_and_that_is_said_and_counted() {
    let members = canaries();
    members[..2].iter().for_each(|member| member.load.set_ready(false));
    let shape = Shape::default().split(Filter::version("2"), 20.0).unwrap();
    let slate = shaped(&shape, &members, None);
    let (counts, fallbacks) = counts(&slate, 5000);
    assert!(counts[..2] == [0, 0] && (850..1150).contains(&fallbacks), "{counts:?}, {fallbacks}");
    assert_eq!(slate.fallbacks(), fallbacks as u64);
    assert_eq!(shaped(&shape, &members, Some(&slate)).fallbacks(), fallbacks as u64, "it goes on counting");
    let mut rng = rng();
    let instead =
        (0..100).find_map(|_| slate.pick(&PickRequest::default(), &mut rng).unwrap().instead).unwrap();
    assert_eq!(&*instead, "no node of version=2 can be called");
}

#[test]
fn nodes_lost_after_the_slate_was_made_are_replaced_at_once() {
    let members = canaries();
    let shape = Shape::default().split(Filter::version("2"), 20.0).unwrap();
    let slate = shaped(&shape, &members, None);
    members[..2].iter().for_each(|member| member.load.set_ready(false));
    let (counts, fallbacks) = counts(&slate, 5000);
    assert!(counts[..2] == [0, 0] && (850..1150).contains(&fallbacks), "{counts:?}, {fallbacks}");
}

#[test]
fn a_retry_leaves_the_pool_when_all_of_it_was_tried() {
    let members = canaries();
    let shape = Shape::default().split(Filter::version("2"), 100.0).unwrap();
    let (slate, mut rng) = (shaped(&shape, &members, None), rng());
    let tried: Vec<_> = members[..2].iter().map(|member| member.node.id().clone()).collect();
    let one = PickRequest { exclude: &tried[..1], ..PickRequest::default() };
    let both = PickRequest { exclude: &tried, ..PickRequest::default() };
    for _ in 0..100 {
        assert_eq!(slate.pick(&one, &mut rng).unwrap().index, 1);
        assert!(slate.pick(&both, &mut rng).unwrap().index >= 2);
    }
}

#[test]
fn a_preference_falls_back_in_order_and_is_returned_to_once_it_has_held_for_a_while() {
    let members = [node(0, "1", "blue", "z"), node(1, "1", "green", "z"), node(2, "1", "red", "z")];
    let shape = Shape::default().prefer(Filter::group("blue")).prefer(Filter::group("green"));
    let only = |slate: &Slate<()>, index: usize| {
        let (counts, fallbacks) = counts(slate, 50);
        assert_eq!(counts[index], 50, "{counts:?}");
        fallbacks == 50
    };
    let now = Instant::now();
    let slate = shaped(&shape, &members, None);
    assert!(!only(&slate, 0) && !slate.tick(now));
    members[0].load.set_ready(false);
    let slate = shaped(&shape, &members, Some(&slate));
    assert!(only(&slate, 1));
    members[1].load.set_ready(false);
    let slate = shaped(&shape, &members, Some(&slate));
    assert!(only(&slate, 2), "any node is the last choice");
    members[1].load.set_ready(true);
    let slate = shaped(&shape, &members, Some(&slate));
    let slate = shaped(&shape, &members, Some(&slate));
    assert!(only(&slate, 1));
    members[0].load.set_ready(true);
    let slate = shaped(&shape, &members, Some(&slate));
    assert!(only(&slate, 1), "not at the first sign");
    assert!(slate.tick(now), "it asks for another slate");
    let slate = shaped(&shape, &members, Some(&slate));
    assert!(!only(&slate, 0) && !slate.tick(now));
}

#[test]
fn preferences_that_are_all_there_is_are_not_left() {
    let members = [node(0, "1", "blue", "z"), node(1, "1", "red", "z")];
    let shape = Shape::default().prefer(Filter::group("blue")).preferred_only();
    let slate = shaped(&shape, &members, None);
    assert_eq!(counts(&slate, 50).0, [50, 0]);
    members[0].load.set_ready(false);
    for slate in [&slate, &shaped(&shape, &members, Some(&slate))] {
        let none = slate.pick(&PickRequest::default(), &mut rng()).unwrap_err();
        assert_eq!(none, NoPick::NotReady { candidates: 1 });
    }
    let nobody = Shape::default().prefer(Filter::group("green")).preferred_only();
    let none = shaped(&nobody, &members, None).pick(&PickRequest::default(), &mut rng()).unwrap_err();
    assert!(none.to_string().contains("none of 2 nodes"), "{none}");
}

#[test]
fn a_zone_spills_over_only_when_it_has_lost_more_than_it_can_spare() {
    // Ten nodes here, ten there, and ten anywhere.
    let members: Vec<_> = (0..30).map(|n| node(n, "1", "g", ["here", "there", "far"][n / 10])).collect();
    let shape = Shape::default().near(["here", "there"]);
    // The share of the first zone by the nodes that it has lost.
    for (lost, expected) in [(0, 1.0), (2, 1.0), (3, 0.98), (5, 0.7), (8, 0.28), (10, 0.0)] {
        (0..10).for_each(|n| members[n].load.set_ready(n >= lost));
        let (counts, fallbacks) = counts(&shaped(&shape, &members, None), 10_000);
        let here = counts[..10].iter().sum::<usize>() as f64 / 10_000.0;
        assert!((here - expected).abs() < 0.02, "{lost} lost: {here}");
        assert_eq!(counts[20..].iter().sum::<usize>(), 0, "what spills goes to the next");
        assert_eq!(fallbacks, 10_000 - counts[..10].iter().sum::<usize>());
    }
    (10..20).for_each(|n| members[n].load.set_ready(false));
    assert_eq!(counts(&shaped(&shape, &members, None), 1000).0[20..].iter().sum::<usize>(), 1000);
}

/// Two nodes here, two there, and a slate of that strategy that prefers those here; each node has so many calls in flight.
fn two_zones(strategy: &str, inflight: [usize; 4]) -> (Slate<()>, Vec<Ticket>) {
    let members: Vec<_> = (0..4).map(|n| node(n, "1", "g", ["here", "there"][n / 2])).collect();
    let now = Instant::now();
    let (mut rng, strategy, shape) = (rng(), strategy.parse().unwrap(), Shape::default().near(["here"]));
    for load in members.iter().map(|member| &member.load) {
        (0..2).for_each(|_| load.ticket().mark(Outcome::Success, Duration::from_millis(10), now));
    }
    let calls = members.iter().zip(inflight).flat_map(|(member, calls)| vec![&member.load; calls]);
    let tickets = calls.map(Load::ticket).collect();
    (Slate::shaped(&strategy, &Filters::default(), &shape, members, None, &mut rng), tickets)
}

#[test]
fn a_call_goes_farther_only_when_the_node_near_by_is_more_than_twice_as_busy() {
    for strategy in ["adaptive", "least-request"] {
        // A call more on top of one is twice as much as on top of none, and not more.
        for (inflight, spills) in
            [([1, 1, 0, 0], 0), ([2, 2, 0, 0], 1000), ([5, 5, 2, 2], 0), ([6, 6, 2, 2], 1000)]
        {
            let (slate, _tickets) = two_zones(strategy, inflight);
            let (counts, instead) = counts(&slate, 1000);
            assert_eq!(counts[2] + counts[3], spills, "{strategy}, {inflight:?}");
            assert_eq!((slate.spills(), slate.fallbacks(), instead), (spills as u64, 0, spills));
        }
    }
}

#[test]
fn what_spills_is_told_with_the_reason() {
    let (slate, _tickets) = two_zones("adaptive", [9, 9, 0, 0]);
    let instead = slate.pick(&PickRequest::default(), &mut rng()).unwrap().instead;
    assert_eq!(instead.as_deref(), Some("the nodes in here are more than twice as busy"));
}

#[test]
fn strategies_that_compare_nothing_and_nodes_that_were_tried_do_not_spill() {
    for strategy in ["random", "round-robin", "maglev", "ring-hash", "rendezvous"] {
        let (slate, _tickets) = two_zones(strategy, [9, 9, 0, 0]);
        let (counts, _) = counts(&slate, 100);
        assert_eq!((counts[2] + counts[3], slate.spills()), (0, 0), "{strategy}");
    }
    let (slate, _tickets) = two_zones("adaptive", [9, 9, 0, 0]);
    let tried: Vec<NodeId> = slate.members()[2..].iter().map(|member| member.node.id().clone()).collect();
    let request = PickRequest { exclude: &tried, ..PickRequest::default() };
    assert!((0..100).all(|_| slate.pick(&request, &mut rng()).unwrap().index < 2));
}

#[test]
fn a_node_that_flaps_does_not_move_a_zone() {
    let members: Vec<_> = (0..200).map(|n| node(n, "1", "g", ["here", "there"][n / 100])).collect();
    let shape = Shape::default().near(["here"]);
    (0..50).for_each(|n| members[n].load.set_ready(false));
    let mut slate = shaped(&shape, &members, None);
    let here = |slate: &Slate<()>| counts(slate, 20_000).0[..100].iter().sum::<usize>();
    let before = here(&slate);
    for ready in [true, false, true] {
        (0..3).for_each(|n| members[n].load.set_ready(ready));
        slate = shaped(&shape, &members, Some(&slate));
        assert_eq!(here(&slate), before);
    }
    (0..20).for_each(|n| members[n].load.set_ready(true));
    assert!(here(&shaped(&shape, &members, Some(&slate))) > before + 2000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_shape_leads_out_of_the_filters_and_a_node_is_found_whenever_there_is_one(
        specs in prop::collection::vec((0usize..2, 0usize..2, 0usize..3, any::<bool>(), any::<bool>()), 1..16),
        split in 0usize..3, prefer in 0usize..3, near in 0usize..3, only: bool, which in 0usize..16, seed: u64,
    ) {
        let (versions, groups, zones) = (["1", "2"], ["blue", "green"], ["a", "b", "c"]);
        let members: Vec<_> = specs.iter().enumerate().map(|(n, (version, group, zone, ready, _))| {
            let member = node(n, versions[*version], groups[*group], zones[*zone]);
            member.load.set_ready(*ready);
            member
        }).collect();
        let mut shape = Shape::default().near(zones[..near].iter().copied());
        if split > 0 {
            shape = shape.split(Filter::version(versions[split - 1]), 40.0).unwrap();
        }
        if prefer > 0 {
            shape = shape.prefer(Filter::zone("a")).prefer(Filter::version(versions[prefer - 1]));
            shape = if only { shape.preferred_only() } else { shape };
        }
        let strategy = strategies().swap_remove(which % strategies().len());
        let mut rng = fastrand::Rng::with_seed(seed);
        let blue = Filters::from(Filter::group("blue"));
        let first = Slate::shaped(&strategy, &Filters::default(), &shape, members.clone(), None, &mut rng);
        let second = Slate::shaped(&strategy, &Filters::default(), &shape, members.clone(), Some(&first), &mut rng);
        // Some change after the slates were made.
        let mut ready: Vec<_> = specs.iter().map(|(.., ready, _)| *ready).collect();
        for (n, _) in specs.iter().enumerate().filter(|(_, (.., flips))| *flips) {
            ready[n] = !ready[n];
            members[n].load.set_ready(ready[n]);
        }
        let allowed = |n: usize| {
            let (version, group, zone, ..) = specs[n];
            group == 0 && (!(only && prefer > 0) || zone == 0 || version == prefer - 1)
        };
        let usable: Vec<usize> = (0..specs.len()).filter(|n| ready[*n] && allowed(*n)).collect();
        for slate in [&first, &second] {
            for _ in 0..20 {
                let request = PickRequest { filters: Some(&blue), ..PickRequest::default() };
                match slate.pick(&request, &mut rng) {
                    Ok(picked) => prop_assert!(usable.contains(&picked.index), "{strategy}, {shape}: {}", picked.index),
                    Err(none) => prop_assert!(usable.is_empty(), "{strategy}, {shape}: {none} though {usable:?}"),
                }
            }
        }
    }
}
