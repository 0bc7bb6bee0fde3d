//! One caller: its nodes, its balancer, and what is drawn for it.

use callsign_core::retry::RetryBudget;
use fastrand::Rng;

use crate::{
    balancer::{self, Balancer, Seat},
    clock::{Clock, Nanos},
    random::{Seeds, Stream, mix},
    scenario::Scenario,
};

pub(super) struct Client {
    pub(super) balancer: Box<dyn Balancer>,
    pub(super) arrivals: Rng,
    /// What its calls are made of.
    pub(super) draws: Rng,
    /// What the policy draws.
    pub(super) rng: Rng,
    pub(super) budget: RetryBudget,
    subset_seed: u64,
    seats: Vec<Seat>,
    /// Nodes it has no connection to.
    away: Vec<usize>,
}

// === impl Client ===

impl Client {
    pub(super) fn new(scenario: &Scenario, index: usize, seeds: Seeds, clock: Clock) -> Result<Self, String> {
        Ok(Self {
            balancer: balancer::new(
                &scenario.policy[0],
                scenario.clients.home(index, &scenario.fleet),
                clock,
            )?,
            arrivals: seeds.stream(Stream::Arrivals, index),
            draws: seeds.stream(Stream::Calls, index),
            rng: seeds.stream(Stream::Policy, index),
            budget: scenario.policy[0].budget()?,
            subset_seed: seeds.stream(Stream::Subset, index).u64(..),
            seats: Vec::new(),
            away: Vec::new(),
        })
    }

    /// Hears of the members there are now.
    pub(super) fn learn(&mut self, scenario: &Scenario, members: &[usize], now: Nanos) {
        let mut known = members.to_vec();
        let policy = &scenario.policy[0];
        // Adaptive keeps to an aperture by itself.
        let subset = policy.aperture.filter(|_| policy.name != "adaptive");
        if let Some(aperture) = subset.filter(|aperture| *aperture < known.len()) {
            // The highest random weight: a change of the members changes as few of these as can be.
            known.sort_by_key(|node| mix(self.subset_seed ^ mix(*node as u64)));
            known.truncate(aperture);
            known.sort_unstable();
        }
        let weights = &scenario.fleet.weights;
        let seat = |node: usize| Seat {
            node,
            ready: !self.away.contains(&node),
            weight: (!weights.is_empty()).then(|| weights[node % weights.len()]),
            zone: node % scenario.fleet.zones,
        };
        self.seats = known.into_iter().map(seat).collect();
        self.balancer.update(&self.seats, now, &mut self.rng);
    }

    /// Gains or loses the connection to a node.
    pub(super) fn notice(&mut self, node: usize, ready: bool, now: Nanos) {
        self.away.retain(|away| *away != node);
        if !ready {
            self.away.push(node);
        }
        for seat in self.seats.iter_mut().filter(|seat| seat.node == node) {
            seat.ready = ready;
        }
        self.balancer.update(&self.seats, now, &mut self.rng);
    }
}
