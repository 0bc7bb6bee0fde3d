//! Peers' algorithms, each from its description and its documented defaults.

mod ewma;
mod least;
mod oracle;
mod prequal;
mod turns;
mod weighted;

use fastrand::Rng;

use self::{
    ewma::TowerEwma,
    least::{Counts, Least},
    oracle::Oracle,
    prequal::{Prequal, Rank, Settings},
    turns::{Random, Turns},
    weighted::CpuWeighted,
};
use super::{Balancer, Seat};
use crate::{clock::Nanos, scenario::Policy};

/// All names.
pub(super) const NAMES: [&str; 11] = [
    "peer-random",
    "peer-round-robin",
    "peer-least-loaded",
    "peer-p2c",
    "tower-peak-ewma",
    "cpu-weighted",
    "fresh-p2c",
    "yarp-p2c",
    "peer-prequal",
    "c3",
    "oracle",
];

/// The peer of that name.
pub(super) fn new(policy: &Policy) -> Option<Box<dyn Balancer>> {
    let choices = usize::from(policy.choices.unwrap_or(2));
    Some(match &*policy.name {
        "peer-random" => Box::new(Random::default()),
        "peer-round-robin" => Box::new(Turns::default()),
        "peer-least-loaded" => Box::new(Least::new(None, Counts::Own)),
        "peer-p2c" => Box::new(Least::new(Some(choices), Counts::Own)),
        "fresh-p2c" => Box::new(Least::new(Some(choices), Counts::Fresh)),
        "yarp-p2c" => Box::new(Least::new(Some(choices), Counts::Polled)),
        "tower-peak-ewma" => Box::new(TowerEwma::default()),
        "cpu-weighted" => Box::new(CpuWeighted::default()),
        "peer-prequal" => Box::new(Prequal::new(probing(policy, Rank::HotAndCold))),
        "c3" => Box::new(Prequal::new(probing(policy, Rank::C3))),
        "oracle" => Box::new(Oracle::default()),
        _ => return None,
    })
}

fn probing(policy: &Policy, rank: Rank) -> Settings {
    let defaults = Settings::default();
    Settings {
        probes: policy.probes.unwrap_or(defaults.probes),
        hot: policy.hot.unwrap_or(defaults.hot),
        rank,
        ..defaults
    }
}

/// What most of them keep: something for each node, and which nodes can be reached.
#[derive(Debug)]
struct Table<T> {
    /// By node number.
    of: Vec<T>,
    ready: Vec<usize>,
}

// === impl Table ===

impl<T: Clone> Table<T> {
    fn new() -> Self {
        Self { of: Vec::new(), ready: Vec::new() }
    }

    fn update(&mut self, seats: &[Seat], fresh: &T) {
        self.ready = seats.iter().filter(|seat| seat.ready).map(|seat| seat.node).collect();
        let most = seats.iter().map(|seat| seat.node + 1).max().unwrap_or_default();
        if most > self.of.len() {
            self.of.resize(most, fresh.clone());
        }
    }
}

/// One of `nodes` that was not tried yet, by the rule; any of them if all were.
fn untried(
    nodes: &[usize],
    tried: &[usize],
    rng: &mut Rng,
    rule: impl Fn(&mut Rng) -> usize,
) -> Option<usize> {
    if nodes.is_empty() {
        return None;
    }
    for _ in 0..4 {
        let node = rule(rng);
        if tried.is_empty() || !tried.contains(&node) {
            return Some(node);
        }
    }
    let left: Vec<usize> = nodes.iter().copied().filter(|node| !tried.contains(node)).collect();
    Some(*rng.choice(if left.is_empty() { nodes } else { &left }).unwrap_or(&nodes[0]))
}

/// Seconds between two moments.
fn between(from: Nanos, to: Nanos) -> f64 {
    crate::clock::seconds(to.saturating_sub(from))
}
