use std::{collections::HashSet, sync::Arc};

use proptest::prelude::{ProptestConfig, prop, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::{
    Node,
    select::{Filters, Load, Member, Slate, Ticket},
};

fn member(id: &str, weight: Option<u16>) -> Member<()> {
    let node = Node::builder("greeter", id, "127.0.0.1:1");
    let node = match weight {
        Some(weight) => node.weight(weight),
        None => node,
    };
    let load = Load::new();
    load.set_ready(true);
    Member { node: Arc::new(node.build().unwrap()), load, handle: () }
}

fn members(count: usize) -> Vec<Member<()>> {
    (0..count).map(|n| member(&format!("n{n}"), None)).collect()
}

fn slate(strategy: &Strategy, members: Vec<Member<()>>, seed: u64) -> Slate<()> {
    Slate::new(strategy, &Filters::default(), members, None, &mut fastrand::Rng::with_seed(seed))
}

fn strategies() -> [Strategy; 3] {
    ["ring-hash", "maglev", "rendezvous"].map(|name| name.parse().unwrap())
}

fn key(n: u32) -> u64 {
    hash_key(format!("user-{n}").as_bytes())
}

/// The id of the node that each key is led to.
fn homes(slate: &Slate<()>, keys: u32) -> Vec<String> {
    let mut rng = fastrand::Rng::with_seed(3);
    let mut home = |n| {
        let request = PickRequest { hash: Some(key(n)), ..PickRequest::default() };
        slate.pick(&request, &mut rng).unwrap().member.node.id().to_string()
    };
    (0..keys).map(&mut home).collect()
}

fn in_order_of(ids: &[&str]) -> Box<[Hash]> {
    let node = |id: &&str| Hash { hash: hash_key(id.as_bytes()), weight: 1.0, position: 0 };
    let mut nodes: Box<[Hash]> = ids.iter().map(node).collect();
    nodes.sort_unstable_by_key(|node| node.hash);
    nodes
}

/// Whoever wants to agree with us in another language must get these; they come from a program of thirty lines in Python.
#[test]
fn keys_lead_to_the_same_nodes_in_every_process_and_version() {
    for (strategy, expected) in strategies().iter().zip([
        ["n4", "n4", "n3", "n1", "n3", "n2", "n0", "n3"],
        ["n2", "n1", "n0", "n4", "n0", "n3", "n3", "n3"],
        ["n2", "n2", "n1", "n0", "n4", "n2", "n2", "n2"],
    ]) {
        assert_eq!(homes(&slate(strategy, members(5), 1), 8), expected, "{strategy}");
    }
}

#[test]
fn neither_the_order_of_the_nodes_nor_chance_nor_readiness_at_the_time_matters() {
    for strategy in strategies() {
        let expected = homes(&slate(&strategy, members(20), 1), 200);
        let mut shuffled = members(20);
        fastrand::Rng::with_seed(5).shuffle(&mut shuffled);
        shuffled[..7].iter().for_each(|member| member.load.set_ready(false));
        let slate = slate(&strategy, shuffled, 2);
        slate.members().iter().for_each(|member| member.load.set_ready(true));
        assert_eq!(homes(&slate, 200), expected, "{strategy}");
    }
}

#[test]
fn a_node_that_cannot_be_called_for_a_while_gets_its_keys_back_and_no_others_move() {
    for strategy in strategies() {
        let slate = slate(&strategy, members(10), 1);
        let before = homes(&slate, 2000);
        slate.members()[4].load.set_ready(false);
        let meanwhile = homes(&slate, 2000);
        assert!(
            before
                .iter()
                .zip(&meanwhile)
                .all(|(before, now)| now != "n4" && (before == now || before == "n4"))
        );
        let refuge: HashSet<_> =
            before.iter().zip(&meanwhile).filter(|(b, _)| *b == "n4").map(|(_, m)| m).collect();
        assert!(refuge.len() >= 8, "{strategy}: its keys are spread over the others: {refuge:?}");
        slate.members()[4].load.set_ready(true);
        assert_eq!(homes(&slate, 2000), before, "{strategy}");
    }
}

/// The share of the keys of nodes that stay that move when one of `count` leaves.
fn moved(strategy: &Strategy, count: usize) -> f64 {
    let before = homes(&slate(strategy, members(count), 1), 20_000);
    let mut fewer = members(count);
    fewer.remove(count / 2);
    let gone = format!("n{}", count / 2);
    let after = homes(&slate(strategy, fewer, 2), 20_000);
    let stayed = before.iter().zip(&after).filter(|(before, _)| **before != gone);
    stayed.clone().filter(|(before, after)| before != after).count() as f64 / stayed.count() as f64
}

#[test]
fn when_a_node_leaves_hardly_any_keys_of_the_others_move() {
    let [ring, maglev, rendezvous] = strategies();
    for count in [10, 100] {
        assert_eq!(moved(&ring, count), 0.0);
        assert_eq!(moved(&rendezvous, count), 0.0);
        let share = moved(&maglev, count);
        assert!(share < 0.01, "{count}: {share}");
    }
}

#[test]
fn shares_follow_the_weights() {
    let weights = [Some(1), Some(3), None, Some(4), Some(0)];
    // The unknown one counts as the mean of those above zero, 8/3, and the whole as 32/3.
    let expected = [3.0 / 32.0, 9.0 / 32.0, 8.0 / 32.0, 12.0 / 32.0, 0.0];
    for (strategy, tolerance) in strategies().iter().zip([0.12, 0.03, 0.03]) {
        let members =
            weights.iter().enumerate().map(|(n, weight)| member(&format!("n{n}"), *weight)).collect();
        let homes = homes(&slate(strategy, members, 1), 50_000);
        for (n, expected) in expected.iter().enumerate() {
            let share = homes.iter().filter(|home| **home == format!("n{n}")).count() as f64 / 50_000.0;
            assert!((share - expected).abs() <= tolerance * expected + 0.003, "{strategy}: n{n} has {share}");
        }
    }
}

#[test]
fn the_slots_of_equal_nodes_differ_by_one_at_most() {
    for count in [1, 2, 10, 100, 650] {
        let ids: Vec<_> = (0..count).map(|n| format!("n{n}")).collect();
        let maglev = Maglev::new(&in_order_of(&ids.iter().map(String::as_str).collect::<Vec<_>>()));
        let mut slots = vec![0; count];
        maglev.slots().iter().for_each(|node| slots[*node as usize] += 1);
        let (least, most) = (slots.iter().min().unwrap(), slots.iter().max().unwrap());
        assert!(most - least <= 1, "{count}: {least} to {most}");
    }
}

/// No node has more than 1.15 times its share while there are 13 nodes to a hundred slots.
#[test]
fn the_largest_fleets_share_a_maglev_table_evenly_enough() {
    for (count, most_allowed) in [(651, 1.01), (1300, 1.01), (10_000, 1.07), (17_000, 1.15)] {
        let nodes: Vec<_> =
            (0..count).map(|n| Hash { hash: spread(n, 1), weight: 1.0, position: 0 }).collect();
        let maglev = Maglev::new(&nodes);
        let mut slots = vec![0_u32; nodes.len()];
        maglev.slots().iter().for_each(|node| slots[*node as usize] += 1);
        let (least, most) = (*slots.iter().min().unwrap(), *slots.iter().max().unwrap());
        let mean = maglev.slots().len() as f64 / nodes.len() as f64;
        assert!(most - least <= 1 && f64::from(most) <= most_allowed * mean, "{count}: {least} to {most}");
    }
}

/// Slots as the paper has them: everybody in turn looks at every slot of its order, from where it last was.
fn slots_one_by_one(nodes: &[Hash], count: usize) -> Vec<u32> {
    let heaviest = nodes.iter().map(|node| node.weight).fold(0.0, f64::max);
    let (mut slots, mut looked, mut due) =
        (vec![u32::MAX; count], vec![0; nodes.len()], vec![0.0; nodes.len()]);
    for round in 1.. {
        for (n, node) in nodes.iter().enumerate() {
            if !slots.contains(&u32::MAX) {
                return slots;
            }
            if f64::from(round) * node.weight < due[n] {
                continue;
            }
            due[n] += heaviest;
            let (offset, skip) = (node.hash % count as u64, spread(node.hash, 0) % (count as u64 - 1) + 1);
            let at = |step: u64| ((offset + step * skip) % count as u64) as usize;
            let step = (looked[n]..).find(|step| slots[at(*step)] == u32::MAX).unwrap();
            slots[at(step)] = n as u32;
            looked[n] = step + 1;
        }
    }
    slots
}

#[test]
fn a_hundred_nodes_on_a_ring_have_about_the_same_share() {
    let homes = homes(&slate(&strategies()[0], members(100), 1), 100_000);
    let shares = (0..100).map(|n| homes.iter().filter(|home| **home == format!("n{n}")).count());
    let (least, most) = (shares.clone().min().unwrap(), shares.max().unwrap());
    assert!(least > 700 && most < 1350, "{least} to {most} of 1000");
}

#[test]
fn calls_without_a_key_are_spread_by_chance() {
    for strategy in strategies() {
        let (slate, mut rng) = (slate(&strategy, members(4), 1), fastrand::Rng::with_seed(9));
        let mut counts = [0; 4];
        for _ in 0..8000 {
            counts[slate.pick(&PickRequest::default(), &mut rng).unwrap().index] += 1;
        }
        assert!(counts.iter().all(|count| (1500..2500).contains(count)), "{strategy}: {counts:?}");
    }
}

#[test]
fn two_nodes_of_one_id_both_get_keys() {
    for strategy in strategies() {
        let mut members = members(3);
        let twin = Node::builder("greeter", "n1", "127.0.0.1:2").build().unwrap();
        members.push(Member { node: Arc::new(twin), ..member("n1", None) });
        let (slate, mut rng) = (slate(&strategy, members, 1), fastrand::Rng::with_seed(9));
        let mut counts = [0; 4];
        for n in 0..8000 {
            let request = PickRequest { hash: Some(key(n)), ..PickRequest::default() };
            counts[slate.pick(&request, &mut rng).unwrap().index] += 1;
        }
        assert!(counts.iter().all(|count| (1500..2600).contains(count)), "{strategy}: {counts:?}");
    }
}

/// Calls in flight when `count` begin and none ends, of which every second one is about one hot key.
fn filled(strategy: &Strategy, count: u32) -> (Slate<()>, Vec<Ticket>) {
    let (slate, mut rng) = (slate(strategy, members(10), 1), fastrand::Rng::with_seed(4));
    let begin = |n: u32| {
        let hash = Some(key(if n.is_multiple_of(2) { 0 } else { n }));
        slate.pick(&PickRequest { hash, ..PickRequest::default() }, &mut rng).unwrap().ticket
    };
    let tickets = (0..count).map(begin).collect();
    (slate, tickets)
}

#[test]
fn a_bound_on_the_load_holds_at_every_moment_and_is_not_there_unless_asked_for() {
    for strategy in strategies() {
        let (slate, _tickets) = filled(&strategy, 400);
        assert!(slate.members().iter().any(|member| member.load.inflight() > 200), "{strategy}");
        let bounded = strategy.with_max_load(1.25).unwrap();
        for count in [1, 40, 41, 100, 400] {
            let (slate, _tickets) = filled(&bounded, count);
            let most = slate.members().iter().map(|member| member.load.inflight()).max().unwrap();
            let cap = (f64::from(count) / 10.0 * 1.25).ceil().max(4.0);
            assert!(f64::from(most) <= cap, "{bounded}, {count}: {most}");
        }
    }
}

#[test]
fn under_a_bound_most_calls_still_reach_their_home() {
    for strategy in strategies() {
        let expected = homes(&slate(&strategy, members(10), 1), 200);
        let bounded = slate(&strategy.clone().with_max_load(1.25).unwrap(), members(10), 1);
        let mut rng = fastrand::Rng::with_seed(4);
        let (mut held, mut at_home) = (Vec::new(), 0);
        for n in 0..200 {
            let request = PickRequest { hash: Some(key(n)), ..PickRequest::default() };
            let picked = bounded.pick(&request, &mut rng).unwrap();
            at_home += u32::from(*picked.member.node.id() == *expected[n as usize]);
            held.push(picked.ticket);
        }
        assert!(at_home > 150, "{strategy}: {at_home} of 200");
    }
}

#[test]
fn when_every_node_is_full_the_least_filled_takes_the_call() {
    let strategy = strategies()[1].clone().with_max_load(1.0).unwrap();
    let slate = slate(&strategy, members(2), 1);
    let _calls: Vec<_> = (0..9).map(|_| slate.members()[0].load.ticket()).collect();
    slate.members()[1].load.set_ready(false);
    assert_eq!(homes(&slate, 3), ["n0"; 3]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_key_on_a_ring_goes_to_the_next_point_of_a_node_that_is_ready(
        ready in prop::collection::vec(prop::bool::weighted(0.8), 1..12), keys in prop::collection::vec(0u32.., 20),
    ) {
        let members = members(ready.len());
        members.iter().zip(&ready).for_each(|(member, ready)| member.load.set_ready(*ready));
        if !ready.contains(&true) {
            return Ok(());
        }
        let mut points: Vec<(u64, usize)> = (0..members.len())
            .flat_map(|n| {
                let hash = hash_key(format!("n{n}").as_bytes());
                (0..160).map(move |point| (spread(hash, point), n))
            })
            .collect();
        points.sort_unstable();
        let slate = slate(&strategies()[0], members, 1);
        for n in keys {
            let at = spread(key(n), 0);
            let after = points.iter().filter(|(point, _)| *point >= at);
            let expected = after.chain(&points).map(|(_, n)| *n).find(|n| ready[*n]);
            let request = PickRequest { hash: Some(key(n)), ..PickRequest::default() };
            let picked = slate.pick(&request, &mut fastrand::Rng::with_seed(1)).unwrap().index;
            prop_assert_eq!(Some(picked), expected);
        }
    }

    #[test]
    fn a_maglev_table_is_the_one_that_nodes_fill_by_looking_at_slot_after_slot(
        weights in prop::collection::vec(1u16..9, 1..40),
        seed: u64,
        count in prop::sample::select(vec![251_u32, 257, 1021]),
    ) {
        let node = |(n, weight): (usize, &u16)| Hash {
            hash: spread(seed, n as u64), weight: f64::from(*weight), position: 0,
        };
        let nodes: Vec<_> = weights.iter().enumerate().map(node).collect();
        let maglev = Maglev::with_slots(&nodes, count);
        prop_assert_eq!(maglev.slots(), slots_one_by_one(&nodes, count as usize));
    }

    #[test]
    fn a_ring_made_from_an_earlier_one_is_the_same_as_one_made_anew(
        before in prop::collection::btree_map(0u32..60, 1u16..9, 0..40),
        after in prop::collection::btree_map(0u32..60, 1u16..9, 0..40),
    ) {
        let nodes = |weights: &std::collections::BTreeMap<u32, u16>| {
            let mut nodes: Vec<_> = weights.iter().map(|(id, weight)| Hash {
                hash: hash_key(&id.to_le_bytes()), weight: f64::from(*weight), position: 0,
            }).collect();
            nodes.sort_unstable_by_key(|node| node.hash);
            nodes
        };
        let (before, after) = (nodes(&before), nodes(&after));
        let earlier = Ring::new(&before, None);
        let anew = Ring::new(&after, None);
        let taken_over = Ring::new(&after, Some((&earlier, &before)));
        prop_assert_eq!(format!("{anew:?}"), format!("{taken_over:?}"));
    }

    #[test]
    fn rendezvous_takes_the_node_of_the_highest_score(weights in prop::collection::vec(1u16..50, 2..12), n: u32) {
        let named = |(n, weight): (usize, &u16)| member(&format!("n{n}"), Some(*weight));
        let slate = slate(&strategies()[2], weights.iter().enumerate().map(named).collect(), 1);
        let request = PickRequest { hash: Some(key(n)), ..PickRequest::default() };
        let picked = slate.pick(&request, &mut fastrand::Rng::with_seed(1)).unwrap().index;
        let score = |n: usize, of: u32| {
            let uniform = (spread(hash_key(format!("n{n}").as_bytes()), key(of)) as f64 + 0.5) / 2_f64.powi(64);
            f64::from(weights[n]) / -uniform.ln()
        };
        for other in 0..weights.len() {
            prop_assert!(score(picked, n) >= score(other, n));
        }
    }
}
