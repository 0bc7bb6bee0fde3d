//! Every pick against the rules, written down naively.

use proptest::{
    prelude::{Just, ProptestConfig, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest},
    strategy::Strategy as _,
};

use super::*;

#[derive(Debug, Clone)]
struct Spec {
    weight: Option<u16>,
    group: usize,
    zone: usize,
    ready: bool,
    /// Flips after the slate was made.
    flips: bool,
    excluded: bool,
}

const NAMES: [&str; 2] = ["one", "other"];

fn spec() -> impl proptest::strategy::Strategy<Value = Spec> {
    let weight = prop_oneof![Just(None), Just(Some(0)), (1u16..=u16::MAX).prop_map(Some)];
    (weight, 0usize..2, 0usize..2, any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.3))
        .prop_map(|(weight, group, zone, ready, flips, excluded)| Spec {
            weight,
            group,
            zone,
            ready,
            flips,
            excluded,
        })
}

fn build(specs: &[Spec]) -> Vec<Member<()>> {
    let one = |(n, spec): (usize, &Spec)| {
        let member = member(&format!("n{n}"), |node| {
            let node = node.group(NAMES[spec.group]).zone(NAMES[spec.zone]);
            match spec.weight {
                Some(weight) => node.weight(weight),
                None => node,
            }
        });
        member.load.set_ready(spec.ready);
        member
    };
    specs.iter().enumerate().map(one).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_pick_follows_the_rules(
        specs in prop::collection::vec(spec(), 0..24), group in 0usize..3, zone in 0usize..3,
        which in 0usize..8, seed: u64,
    ) {
        let strategy = strategies().swap_remove(which % strategies().len());
        let own = Filters::new((group < 2).then(|| Filter::group(NAMES[group])));
        let asked = Filters::new((zone < 2).then(|| Filter::zone(NAMES[zone])));
        let mut rng = fastrand::Rng::with_seed(seed);
        let slate = Slate::new(&strategy, &own, build(&specs), None, &mut rng);
        let mut ready: Vec<bool> = specs.iter().map(|spec| spec.ready).collect();
        for (n, _) in specs.iter().enumerate().filter(|(_, spec)| spec.flips) {
            ready[n] = !ready[n];
            slate.members()[n].load.set_ready(ready[n]);
        }
        let exclude: Vec<_> = specs.iter().enumerate().filter(|(_, spec)| spec.excluded)
            .map(|(n, _)| slate.members()[n].node.id().clone()).collect();
        let request = PickRequest { filters: Some(&asked), exclude: &exclude, hash: None };

        let passing: Vec<usize> = (0..specs.len())
            .filter(|n| (group == 2 || specs[*n].group == group) && (zone == 2 || specs[*n].zone == zone)).collect();
        let all_zero = passing.iter().all(|n| specs[*n].weight == Some(0));
        let candidates: Vec<usize> =
            passing.iter().copied().filter(|n| all_zero || specs[*n].weight != Some(0)).collect();
        let usable: Vec<usize> = candidates.iter().copied().filter(|n| ready[*n]).collect();
        let fresh: Vec<usize> = usable.iter().copied().filter(|n| !specs[*n].excluded).collect();

        for _ in 0..20 {
            match slate.pick(&request, &mut rng) {
                Ok(picked) => {
                    let allowed = if fresh.is_empty() { &usable } else { &fresh };
                    prop_assert!(allowed.contains(&picked.index), "{strategy}: {} of {allowed:?}", picked.index);
                    prop_assert_eq!(picked.member.load.inflight(), 1);
                }
                Err(none) => {
                    prop_assert!(usable.is_empty(), "{strategy}: {none} though {usable:?}");
                    match none {
                        NoPick::Empty => prop_assert!(specs.is_empty()),
                        NoPick::Filtered { nodes, .. } => {
                            prop_assert!(passing.is_empty() && nodes == specs.len());
                        }
                        NoPick::NotReady { candidates: count } => prop_assert_eq!(count, candidates.len()),
                    }
                }
            }
        }
        prop_assert!(slate.members().iter().all(|member| member.load.inflight() == 0));
    }
}
