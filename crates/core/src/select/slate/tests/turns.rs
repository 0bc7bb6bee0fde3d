//! Strategies that take turns.

use proptest::prelude::{ProptestConfig, prop, prop_assert, prop_assert_eq, proptest};

use super::*;

fn pick(slate: &Slate<()>, rng: &mut fastrand::Rng) -> String {
    slate.pick(&PickRequest::default(), rng).unwrap().member.node.id().to_string()
}

fn remake(slate: &Slate<()>, members: Vec<Member<()>>, rng: &mut fastrand::Rng) -> Slate<()> {
    Slate::new(slate.strategy(), slate.filters(), members, Some(slate), rng)
}

#[test]
fn over_any_window_of_as_many_picks_as_nodes_each_node_has_its_turn() {
    let (slate, mut rng) = (slate(&Strategy::RoundRobin, members(7)), rng());
    let picks: Vec<_> = (0..100).map(|_| pick(&slate, &mut rng)).collect();
    for window in picks.windows(7) {
        let mut seen = window.to_vec();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 7, "{window:?}");
    }
}

#[test]
fn threads_share_one_round() {
    let slate = slate(&Strategy::RoundRobin, members(10));
    let counts: Vec<_> = (0..10).map(|_| std::sync::atomic::AtomicUsize::new(0)).collect();
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (slate, counts) = (&slate, &counts);
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(seed);
                for _ in 0..2503 {
                    let index = slate.pick(&PickRequest::default(), &mut rng).unwrap().index;
                    counts[index].fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    });
    let counts: Vec<_> = counts.into_iter().map(std::sync::atomic::AtomicUsize::into_inner).collect();
    assert!(counts.iter().all(|count| (1001..=1002).contains(count)), "{counts:?}");
}

#[test]
fn clients_start_anywhere_and_go_round_in_orders_of_their_own() {
    let first_two = |seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let slate = Slate::new(&Strategy::RoundRobin, &Filters::default(), members(5), None, &mut rng);
        (pick(&slate, &mut rng), pick(&slate, &mut rng))
    };
    let mut seen: Vec<_> = (0..500).map(first_two).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 20, "every ordered pair of five nodes begins some client's round");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Nodes that are there all along keep in step, whatever comes, goes and fails around them.
    #[test]
    fn the_round_goes_on_through_changes(seed: u64, steps in prop::collection::vec(0u8..12, 1..300)) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (staying, mut passing) = (members(3), Vec::<Member<()>>::new());
        let all = |passing: &[Member<()>]| [&staying[..], passing].concat();
        let mut slate = slate(&Strategy::RoundRobin, all(&passing));
        let (mut counts, mut born) = ([0_u32; 3], 0);
        for step in steps {
            match step {
                0 => {
                    born += 1;
                    passing.insert(rng.usize(..=passing.len()), member(&format!("p{born}"), |node| node));
                }
                1 if !passing.is_empty() => drop(passing.swap_remove(rng.usize(..passing.len()))),
                2 if !passing.is_empty() => {
                    let load = &passing[rng.usize(..passing.len())].load;
                    load.set_ready(!load.is_ready());
                }
                _ => {
                    let index = slate.pick(&PickRequest::default(), &mut rng).unwrap().index;
                    if let Some(count) = counts.get_mut(index) {
                        *count += 1;
                    }
                    let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
                    prop_assert!(spread <= 1, "{counts:?}");
                    continue;
                }
            }
            slate = remake(&slate, all(&passing), &mut rng);
        }
    }

    #[test]
    fn remaking_a_slate_without_a_change_is_not_noticed(seed: u64, gaps in prop::collection::vec(1usize..9, 1..40)) {
        for strategy in [Strategy::RoundRobin, Strategy::WeightedRoundRobin] {
            let mut rng = fastrand::Rng::with_seed(seed);
            let members = weighted(&[Some(1), Some(2), Some(5), None]);
            let start = slate(&strategy, members.clone());
            // Both go on from the same turn of the same slate.
            let mut remade = remake(&start, members.clone(), &mut rng);
            let left_alone = remake(&start, members.clone(), &mut rng);
            for gap in &gaps {
                for _ in 0..*gap {
                    prop_assert_eq!(pick(&remade, &mut rng), pick(&left_alone, &mut rng));
                }
                remade = remake(&remade, members.clone(), &mut rng);
            }
        }
    }
}

#[test]
fn turns_by_weight_keep_to_the_weights() {
    let counts =
        shares(&slate(&Strategy::WeightedRoundRobin, weighted(&[Some(1), Some(2), Some(7)])), 10_000);
    for (count, expected) in counts.iter().zip([1000, 2000, 7000]) {
        assert!(count.abs_diff(expected) <= 2, "{counts:?}");
    }
}
