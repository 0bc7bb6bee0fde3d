use std::{collections::HashMap, sync::Arc};

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::{
    model::Node,
    select::{Filters, Load, Member, PickRequest, Slate, Strategy},
};

fn report(application: f64, calls_per_second: f64) -> LoadReport {
    LoadReport { application, calls_per_second, ..LoadReport::default() }
}

#[test]
fn the_weight_is_calls_per_second_at_full_use() {
    let config = ReportConfig::default();
    let weigh = |report: &LoadReport| config.weight(report).unwrap();
    assert_eq!(weigh(&report(0.5, 100.0)), Some(200.0));
    // A fifth of the calls fail, which counts as a fifth of full use more.
    let failing = LoadReport { failures_per_second: 20.0, ..report(0.5, 100.0) };
    assert_eq!(weigh(&failing), Some(100.0 / 0.7));
    assert_eq!(config.clone().error_penalty(0.0).unwrap().weight(&failing).unwrap(), Some(200.0));
    assert_eq!(
        weigh(&LoadReport { cpu: 0.25, ..report(0.0, 100.0) }),
        Some(400.0),
        "cpu where there is no word"
    );
    assert_eq!(weigh(&LoadReport { cpu: 0.25, ..report(0.5, 100.0) }), Some(200.0), "its own word counts");
    let named = LoadReport {
        named: BTreeMap::from([("gpu".into(), 0.8), ("disk".into(), 0.4), ("bus".into(), f64::NAN)]),
        ..report(0.5, 100.0)
    };
    assert_eq!(weigh(&named), Some(200.0), "nobody asked for these");
    let by_name = config.clone().metrics(["disk", "gpu", "bus", "nothing"]);
    assert_eq!(by_name.weight(&named).unwrap(), Some(125.0));
    assert_eq!(config.clone().metrics(["bus"]).weight(&named).unwrap(), Some(200.0));
}

#[test]
fn an_idle_node_says_nothing_and_a_lying_one_is_not_believed() {
    let config = ReportConfig::default();
    assert_eq!(config.weight(&report(0.0, 100.0)).unwrap(), None);
    assert_eq!(config.weight(&report(0.5, 0.0)).unwrap(), None);
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.1] {
        for odd in [
            report(bad, 100.0),
            report(0.5, bad),
            LoadReport { cpu: bad, ..report(0.5, 100.0) },
            LoadReport { failures_per_second: bad, ..report(0.5, 100.0) },
        ] {
            let error = config.weight(&odd).unwrap_err();
            assert!(error.to_string().contains(&bad.to_string()), "{error}");
        }
    }
    assert!(config.weight(&report(1e-300, 1e300)).is_err());
    assert!(config.weight(&report(1e300, 1e-300)).is_err());
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let config = ReportConfig::default;
    assert!(config().blackout(Duration::from_secs(3601)).is_err());
    assert!(config().expiry(Duration::ZERO).is_err());
    for penalty in [-1.0, 101.0, f64::NAN] {
        assert!(config().error_penalty(penalty).is_err(), "{penalty}");
    }
}

proptest! {
    #[test]
    fn no_report_makes_a_weight_that_is_none(numbers in [any::<f64>(), any::<f64>(), any::<f64>(), any::<f64>()]) {
        let [cpu, application, calls_per_second, failures_per_second] = numbers;
        let report = LoadReport { cpu, application, calls_per_second, failures_per_second, ..LoadReport::default() };
        if let Ok(Some(weight)) = ReportConfig::default().weight(&report) {
            prop_assert!(weight.is_normal() && weight > 0.0);
        }
    }
}

/// Nodes that can be called, and the slates made of them.
struct Scene {
    strategy: Strategy,
    nodes: Vec<(Arc<Node>, Load)>,
    slate: Option<Slate<()>>,
    rng: fastrand::Rng,
}

impl Scene {
    fn new(weights: &[Option<u16>]) -> Self {
        let strategy = Strategy::LoadReports(ReportConfig::default());
        let node = |(n, weight): (usize, &Option<u16>)| {
            let node = Node::builder("s", format!("n{n}"), "127.0.0.1:1");
            let node = match weight {
                Some(weight) => node.weight(*weight),
                None => node,
            };
            let load = strategy.new_load();
            load.set_ready(true);
            (Arc::new(node.build().unwrap()), load)
        };
        let nodes = weights.iter().enumerate().map(node).collect();
        let mut scene = Self { strategy, nodes, slate: None, rng: fastrand::Rng::with_seed(3) };
        scene.publish();
        scene
    }

    fn publish(&mut self) {
        let members = self.nodes.iter();
        let members = members
            .map(|(node, load)| Member { node: node.clone(), load: load.clone(), handle: () })
            .collect();
        let before = self.slate.take();
        let slate = Slate::new(&self.strategy, &Filters::default(), members, before.as_ref(), &mut self.rng);
        self.slate = Some(slate);
    }

    /// A second later; whether a new slate was due.
    fn tick(&mut self, now: Instant) -> bool {
        let due = self.slate.as_ref().unwrap().tick(now);
        if due {
            self.publish();
        }
        due
    }

    /// How many of a hundred thousand picks each node gets, in percent.
    fn shares(&mut self) -> Vec<f64> {
        let mut picks: HashMap<usize, u32> = HashMap::new();
        let slate = self.slate.as_ref().unwrap();
        for _ in 0..100_000 {
            *picks.entry(slate.pick(&PickRequest::default(), &mut self.rng).unwrap().index).or_default() += 1;
        }
        (0..self.nodes.len()).map(|n| f64::from(picks.get(&n).copied().unwrap_or(0)) / 1000.0).collect()
    }
}

fn near(shares: &[f64], expected: &[f64]) {
    let close = shares.iter().zip(expected).all(|(share, expected)| (share - expected).abs() < 0.5);
    assert!(close, "{shares:?} and not {expected:?}");
}

#[test]
fn shares_follow_the_reports_after_the_blackout_and_until_they_expire() {
    let mut scene = Scene::new(&[None, None, None]);
    let start = Instant::now();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    let third = 100.0 / 3.0;
    scene.nodes[0].1.report(100.0, at(0));
    scene.nodes[1].1.report(300.0, at(0));
    assert!(!scene.tick(at(9)), "the first reports are not believed");
    near(&scene.shares(), &[third, third, third]);

    assert!(scene.tick(at(11)));
    // The one that says nothing counts as the mean of the others.
    near(&scene.shares(), &[100.0 / 6.0, 50.0, third]);
    assert!(!scene.tick(at(13)), "nothing has changed");

    scene.nodes[0].1.report(300.0, at(100));
    assert!(scene.tick(at(101)));
    near(&scene.shares(), &[third, third, third]);

    scene.nodes[0].1.report(900.0, at(170));
    assert!(scene.tick(at(181)), "the second has said nothing for three minutes");
    near(&scene.shares(), &[third, third, third]);
    // Alone it is compared with nobody; and who was silent is not believed at once.
    scene.nodes[1].1.report(300.0, at(182));
    scene.tick(at(191));
    near(&scene.shares(), &[third, third, third]);
    assert!(scene.tick(at(193)));
    near(&scene.shares(), &[900.0 / 18.0, 300.0 / 18.0, third]);
}

#[test]
fn a_node_that_is_connected_anew_is_not_believed_at_once() {
    let mut scene = Scene::new(&[None, None]);
    let start = Instant::now();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    for (n, weight) in [(0, 1.0), (1, 3.0)] {
        scene.nodes[n].1.report(weight, at(0));
    }
    scene.tick(at(11));
    near(&scene.shares(), &[25.0, 75.0]);
    scene.nodes[1].1.report_afresh();
    scene.nodes[1].1.report(9.0, at(12));
    assert!(scene.tick(at(13)));
    near(&scene.shares(), &[50.0, 50.0]);
    scene.tick(at(23));
    near(&scene.shares(), &[10.0, 90.0]);
}

#[test]
fn where_nobody_reports_the_published_weights_hold_and_zero_always_does() {
    let mut scene = Scene::new(&[Some(1), Some(3), Some(0)]);
    near(&scene.shares(), &[25.0, 75.0, 0.0]);
    let now = Instant::now();
    for (_, load) in &scene.nodes {
        load.report(10.0, now);
    }
    for odd in [f64::NAN, -1.0, 0.0, f64::INFINITY] {
        scene.nodes[0].1.report(odd, now);
    }
    scene.tick(now + Duration::from_secs(11));
    near(&scene.shares(), &[50.0, 50.0, 0.0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// The naive model: each its part of the sum, with unknown ones at the mean.
    #[test]
    fn shares_are_those_of_a_naive_model(reports in prop::collection::vec(prop::option::of(10.0..60.0f64), 2..6)) {
        let mut scene = Scene::new(&vec![None; reports.len()]);
        let now = Instant::now();
        for ((_, load), weight) in scene.nodes.iter().zip(&reports) {
            if let Some(weight) = weight {
                load.report(*weight, now);
            }
        }
        scene.tick(now + Duration::from_secs(11));
        let known: Vec<f64> = reports.iter().flatten().copied().collect();
        let mean = if known.len() < 2 { 1.0 } else { known.iter().sum::<f64>() / known.len() as f64 };
        let weights: Vec<f64> =
            reports.iter().map(|weight| if known.len() < 2 { 1.0 } else { weight.unwrap_or(mean) }).collect();
        let sum: f64 = weights.iter().sum();
        let expected: Vec<f64> = weights.iter().map(|weight| weight / sum * 100.0).collect();
        near(&scene.shares(), &expected);
    }
}
