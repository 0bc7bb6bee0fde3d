use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;
use tokio::time::Instant;

use crate::{
    model::Node,
    select::{Filter, Filters, Member, Outcome, PickRequest, PrequalConfig, Probe, Slate, Strategy},
};

struct Scene {
    slate: Slate<()>,
    rng: fastrand::Rng,
    start: Instant,
}

impl Scene {
    fn new(nodes: usize, config: PrequalConfig) -> Self {
        let strategy = Strategy::Prequal(config);
        let mut rng = fastrand::Rng::with_seed(5);
        let member = |n: usize| {
            let load = strategy.new_load();
            load.set_ready(true);
            let group = if n.is_multiple_of(2) { "even" } else { "odd" };
            let node = Node::builder("s", format!("n{n}"), "127.0.0.1:1").group(group).build().unwrap();
            Member { node: node.into(), load, handle: () }
        };
        let members = (0..nodes).map(member).collect();
        let slate = Slate::new(&strategy, &Filters::default(), members, None, &mut rng);
        Self { slate, rng, start: Instant::now() }
    }

    fn answer(&mut self, node: usize, inflight: u32, millis: u64, at: Duration) {
        let probe = Probe { inflight, latency: Some(Duration::from_millis(millis)) };
        let load = self.slate.members()[node].load.clone();
        self.slate.probed(&load, probe, self.start + at, &mut self.rng);
    }

    fn pick(&mut self) -> usize {
        self.slate.pick(&PickRequest::default(), &mut self.rng).unwrap().index
    }

    /// The nodes that a hundred picks go to.
    fn picked(&mut self) -> BTreeSet<usize> {
        (0..100).map(|_| self.pick()).collect()
    }
}

const NOW: Duration = Duration::ZERO;

proptest! {
    /// The naive rule over a list: the quickest of the cold, else the one with the fewest calls.
    #[test]
    fn the_pick_is_that_of_a_naive_model(
        answers in prop::collection::vec((0..40usize, 0..20u32, 1..500u64), 2..=16),
        hot in 0.0..=1.0f64,
    ) {
        let mut scene = Scene::new(40, PrequalConfig::default().hot(hot).unwrap());
        let mut pool: Vec<(usize, u32, u64)> = Vec::new();
        for (node, inflight, millis) in answers.iter().copied() {
            scene.answer(node, inflight, millis, NOW);
            pool.retain(|held| held.0 != node);
            pool.push((node, inflight, millis));
        }
        prop_assume!(pool.len() >= 2);
        let mut seen: Vec<u32> = answers.iter().map(|answer| answer.1).collect();
        seen.sort_unstable();
        let threshold = if hot >= 1.0 { u32::MAX } else { seen[(hot * (seen.len() - 1) as f64) as usize] };
        let goodness = |held: &(usize, u32, u64)| match held.1 > threshold {
            false => (0, held.2),
            true => (1, u64::from(held.1)),
        };
        let best = pool.iter().map(goodness).min().unwrap();
        let picked = scene.pick();
        let taken = pool.iter().find(|held| held.0 == picked).expect("one of those that answered");
        prop_assert_eq!(goodness(taken), best);
    }
}

#[test]
fn without_two_answers_chance_decides() {
    let mut scene = Scene::new(4, PrequalConfig::default());
    assert_eq!(scene.picked().len(), 4);
    scene.answer(2, 0, 1, NOW);
    assert_eq!(scene.picked().len(), 4);
}

#[test]
fn an_answer_is_used_a_few_times_and_then_goes() {
    let mut scene = Scene::new(100, PrequalConfig::default());
    for node in 0..16 {
        scene.answer(node, 1, 10 + node as u64, NOW);
    }
    // Each pick uses one up, sooner or later, and throws one away.
    let picks: Vec<usize> = (0..12).map(|_| scene.pick()).collect();
    assert_eq!(picks[0], 0, "the quickest first");
    assert!(picks.iter().filter(|node| **node == 0).count() <= 2, "{picks:?}");
    assert!(scene.picked().len() > 20, "none is left, and chance decides");
}

#[test]
fn a_second_is_as_old_as_an_answer_gets() {
    for by_answer in [false, true] {
        let mut scene = Scene::new(40, PrequalConfig::default());
        for node in 0..8 {
            scene.answer(node, 1, 10, NOW);
        }
        if by_answer {
            scene.answer(30, 1, 10, Duration::from_millis(1100));
        } else {
            scene.slate.tick(scene.start + Duration::from_millis(1100));
        }
        assert!(scene.picked().len() > 20, "{by_answer}");
    }
}

#[test]
fn a_node_that_fails_at_once_does_not_look_quick() {
    let mut scene = Scene::new(40, PrequalConfig::default());
    let now = scene.start;
    scene.slate.members()[0].load.ticket().mark(Outcome::Failure, Duration::from_millis(1), now);
    for round in 0..50 {
        for (node, millis) in [(0, 1), (1, 50), (2, 60), (3, 70)] {
            scene.answer(node, 1, millis, NOW);
        }
        assert_ne!(scene.pick(), 0, "round {round}");
    }
}

#[test]
fn nodes_that_cannot_be_taken_are_passed_over() {
    let mut scene = Scene::new(40, PrequalConfig::default());
    for node in 0..6 {
        scene.answer(node, 1, 10 + node as u64, NOW);
    }
    scene.slate.members()[0].load.set_ready(false);
    let tried = [scene.slate.members()[1].node.id().clone()];
    let request = PickRequest { exclude: &tried, ..PickRequest::default() };
    assert_eq!(scene.slate.pick(&request, &mut scene.rng).unwrap().index, 2);
}

#[test]
fn answers_outlive_the_slate_and_serve_every_filter() {
    let mut scene = Scene::new(40, PrequalConfig::default());
    let odd = Filters::from(Filter::group("odd"));
    let request = PickRequest { filters: Some(&odd), ..PickRequest::default() };
    scene.slate.pick(&request, &mut scene.rng).unwrap();
    for node in 0..6 {
        scene.answer(node, 1, 10 + node as u64, NOW);
    }
    let members = scene.slate.members().to_vec();
    let strategy = scene.slate.strategy().clone();
    scene.slate = Slate::new(&strategy, &Filters::default(), members, Some(&scene.slate), &mut scene.rng);
    assert_eq!(scene.slate.pick(&request, &mut scene.rng).unwrap().index, 1);
    assert_eq!(scene.pick(), 0);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    for odd in [-1.0, 0.0, 11.0, f64::NAN, f64::INFINITY] {
        assert!(PrequalConfig::default().probes(odd).is_err(), "{odd}");
    }
    for odd in [-0.1, 1.1, f64::NAN] {
        assert!(PrequalConfig::default().hot(odd).is_err(), "{odd}");
    }
}
