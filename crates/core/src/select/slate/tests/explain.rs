//! What is said of a pick beforehand, and what picks then do.

use proptest::prelude::{ProptestConfig, any, prop, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::{
    model::NodeId,
    select::{PassedOver, Shape, Standing},
};

/// Version, group, zone, weight; then what is against the node: nothing at first.
type Spec = (usize, usize, usize, Option<u16>, u8, u8);

fn build((n, spec): (usize, &Spec)) -> Member<()> {
    let (version, group, zone, weight, ..) = *spec;
    let one = member(&format!("n{n}"), |node| {
        let node = node.version(["1", "2"][version]).group(["blue", "green"][group]);
        let node = node.zone(["a", "b", "c"][zone]);
        match weight {
            Some(weight) => node.weight(weight),
            None => node,
        }
    });
    afflict(&one, spec.4);
    one
}

/// Most nodes are well.
fn afflict(member: &Member<()>, fault: u8) {
    member.load.set_ready(fault != 1);
    member.load.acquit();
    member.load.set_leaving(fault == 5);
    match fault {
        2 => member.load.eject(),
        3 | 4 => member.load.probe(),
        _ => {}
    }
}

fn shape(split: usize, prefer: usize, near: usize, only: bool) -> Shape {
    let mut shape = Shape::default().near(["a", "b", "c"][..near].iter().copied());
    if split > 0 {
        shape = shape.split(Filter::version("2"), [0.0, 40.0, 100.0][split - 1]).unwrap();
    }
    if prefer > 0 {
        shape = shape.prefer(Filter::zone("b")).prefer(Filter::version(["1", "2"][prefer - 1]));
        shape = if only { shape.preferred_only() } else { shape };
    }
    shape
}

/// Whether a pick comes to the node when all draws have failed.
fn is_reserve(standing: &Standing) -> bool {
    let Standing::PassedOver(why) = standing else { return false };
    matches!(why, PassedOver::New | PassedOver::OutsideAperture { .. })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn picks_return_those_that_are_said_to_be_candidates(
        specs in prop::collection::vec(
            (0usize..2, 0usize..2, 0usize..3, prop::option::of(0u16..3), 0u8..8, 0u8..16), 0..10,
        ),
        (split, prefer, near, only) in (0usize..4, 0usize..3, 0usize..3, any::<bool>()),
        filtered: bool, tried: u16, key in prop::option::of(any::<u64>()), which: usize, seed: u64,
    ) {
        let members: Vec<_> = specs.iter().enumerate().map(build).collect();
        let shape = shape(split, prefer, near, only);
        let mut all = strategies();
        all.push(Strategy::Adaptive(AdaptiveConfig::default().aperture(crate::select::Aperture::Fixed(3))));
        let strategy = all.swap_remove(which % all.len());
        let mut rng = fastrand::Rng::with_seed(seed);
        let slate = Slate::shaped(&strategy, &Filters::default(), &shape, members.clone(), None, &mut rng);
        // Some things change after the slate was made, and some nodes have the call that they are probed with.
        specs.iter().zip(&members).for_each(|(spec, member)| if spec.5 < 8 { afflict(member, spec.5) });
        let _probes: Vec<_> = (0..specs.len()).filter(|n| specs[*n].4 == 4).map(|n| members[n].load.ticket()).collect();

        let green = Filters::from(Filter::group("green"));
        let of = |n: usize| members[n].node.id().clone();
        let exclude: Vec<NodeId> = (0..members.len()).filter(|n| tried >> n & 1 == 1).map(of).collect();
        let request = PickRequest { filters: filtered.then_some(&green), exclude: &exclude, hash: key };
        let standings = slate.explain(&request, &mut rng);
        prop_assert_eq!(standings.len(), members.len());
        let candidates: Vec<_> = standings.iter().filter(|standing| standing.is_candidate()).collect();
        // A node that is in the reserve of one pool and in the first row of another stands in from the reserve without its being said.
        let has_aperture = matches!(&strategy, Strategy::Adaptive(config) if config.aperture == crate::select::Aperture::Fixed(3));
        let in_reserve = |index: usize| has_aperture || matches!(specs[index].4, 1 | 2 | 5);

        let mut picks = vec![0; members.len()];
        let rounds = if strategy.name() == "random" { 800 } else { 100 };
        for _ in 0..rounds {
            match slate.pick(&request, &mut rng) {
                Err(_) => prop_assert!(candidates.is_empty(), "{strategy}, {shape}: {standings:?}"),
                Ok(Picked { index, instead, .. }) => {
                    picks[index] += 1;
                    match &standings[index] {
                        Standing::Candidate { instead: said, .. } => {
                            prop_assert!(in_reserve(index) || instead.is_none() || said.is_some(), "{shape}: {instead:?}, {standings:?}");
                        }
                        standing @ Standing::PassedOver(_) => prop_assert!(is_reserve(standing), "{strategy}, {shape}: n{index}, {standings:?}"),
                    }
                }
            }
        }
        let found: usize = picks.iter().sum();
        let spared: usize = (0..members.len()).filter(|n| is_reserve(&standings[*n])).map(|n| picks[n]).sum();
        prop_assert_eq!(found > 0, !candidates.is_empty());
        prop_assert!(found == 0 || spared < found, "the reserve is the exception: {picks:?}, {standings:?}");
        let total: f64 = candidates.iter().map(|standing| match standing {
            Standing::Candidate { share, .. } => *share,
            Standing::PassedOver(_) => 0.0,
        }).sum();
        prop_assert!(candidates.is_empty() || total > 0.999, "all calls go somewhere: {total}");
        for (n, standing) in standings.iter().enumerate() {
            match standing {
                // Chance alone decides, so each one's turn comes.
                Standing::Candidate { share, .. } if strategy.name() == "random" && *share >= 0.4 => {
                    prop_assert!(picks[n] > 0, "{shape}: n{n} of {picks:?}, {standings:?}");
                }
                _ => {}
            }
        }
        if key.is_some() && strategy.uses_key() {
            let good = |standing: &&Standing| matches!(standing, Standing::Candidate { despite: None, .. });
            prop_assert!(standings.iter().filter(good).count() <= 1, "a key has one home: {standings:?}");
        }
    }
}

#[test]
fn each_reason_is_told_in_words() {
    let node = |id, version, zone| member(id, |node| node.version(version).zone(zone));
    let members = vec![
        node("good", "1.2", "a"),
        node("old", "1.0", "a"),
        node("far", "1.2", "b"),
        node("away", "1.2", "a"),
        node("ejected", "1.2", "a"),
        node("probing", "1.2", "a"),
        node("tried", "1.2", "a"),
        member("draining", |node| node.version("1.2").zone("a").weight(0)),
    ];
    members[3].load.set_ready(false);
    members[4].load.eject();
    members[5].load.probe();
    let _probe = members[5].load.ticket();
    let (shape, mut rng) = (Shape::default().near(["a"]), rng());
    let filters = Filters::from(Filter::version("1.2"));
    let slate = Slate::shaped(&Strategy::Random, &filters, &shape, members, None, &mut rng);
    let tried = [NodeId::new("tried").unwrap()];
    let request = PickRequest { exclude: &tried, ..PickRequest::default() };
    let said: Vec<_> = slate
        .explain(&request, &mut rng)
        .into_iter()
        .map(|standing| match standing {
            Standing::Candidate { .. } => "a candidate".to_owned(),
            Standing::PassedOver(why) => why.to_string(),
        })
        .collect();
    assert_eq!(
        said,
        [
            "a candidate",
            "version=1.2 is asked for, and it has 1.0",
            "a candidate",
            "it is not ready",
            "it is ejected",
            "it is probing, and has the one call that it may have",
            "the call has tried it already",
            "its weight is 0: it is draining, or wants no calls",
        ]
    );
}

#[test]
fn what_the_shape_has_no_calls_for_is_told_by_what_has_them() {
    let node = |id, version, group, zone| member(id, |node| node.version(version).group(group).zone(zone));
    let members =
        [node("a", "1", "blue", "near"), node("b", "1", "green", "near"), node("c", "2", "blue", "far")];
    let why_by = |strategy: &str, shape: &str, index: usize| {
        let strategy: Strategy = strategy.parse().unwrap();
        let shape = match shape.split_once('=').unwrap() {
            ("split", text) => Shape::default().with_splits(text).unwrap(),
            ("prefer", text) => Shape::default().with_preferences(text).unwrap(),
            (_, zone) => Shape::default().near([zone]),
        };
        let slate = Slate::shaped(&strategy, &Filters::default(), &shape, members.to_vec(), None, &mut rng());
        match &slate.explain(&PickRequest::default(), &mut rng())[index] {
            Standing::PassedOver(why) => why.to_string(),
            standing @ Standing::Candidate { .. } => panic!("{standing:?}"),
        }
    };
    let why = |shape: &str, index: usize| why_by("random", shape, index);
    assert_eq!(why("split=version:2@0", 2), "version=2 gets 0 % of the calls");
    assert_eq!(why("split=version:2@100", 0), "the splits take all calls");
    assert_eq!(why("prefer=group:blue", 1), "nodes of group=blue are preferred, and can be called");
    assert_eq!(why("prefer=group:green,none", 0), "it meets no preference, and no others are to be called");
    for strategy in ["random", "round-robin", "maglev"] {
        assert_eq!(why_by(strategy, "near=near", 2), "nearer nodes, in near, take all calls");
    }
    for strategy in ["adaptive", "least-request"] {
        let why = why_by(strategy, "near=near", 2);
        assert_eq!(why, "nearer nodes, in near, take the calls unless they are far busier");
    }
}
