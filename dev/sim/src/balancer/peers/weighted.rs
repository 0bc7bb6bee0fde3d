//! Weighted round robin by what servers report of their load (gRFC A58), with its documented defaults.

use std::{cmp::Reverse, collections::BinaryHeap};

use fastrand::Rng;

use super::{
    super::{Ask, Balancer, Choice, Mark, Seat},
    Table, between,
};
use crate::{clock::Nanos, fleet::Fleet};

/// Seconds after the first report in which a node's weight is not used yet.
const BLACKOUT: f64 = 10.0;
/// Seconds without a report after which a weight is forgotten.
const EXPIRY: f64 = 180.0;
/// What a failed call adds to the utilisation.
const ERROR_PENALTY: f64 = 1.0;

#[derive(Debug, Clone, Copy, Default)]
struct Reported {
    weight: f64,
    since: Option<Nanos>,
    last: Nanos,
}

/// Turns are taken by earliest deadline: who was taken is due again after the inverse of its weight.
#[derive(Debug)]
pub(super) struct CpuWeighted {
    table: Table<Reported>,
    weights: Vec<f64>,
    /// Deadlines are positive, and such numbers are in the order of their bits.
    turns: BinaryHeap<Reverse<(u64, usize)>>,
}

// === impl Reported ===

impl Reported {
    fn weight(&self, now: Nanos) -> Option<f64> {
        let old_enough = self.since.is_some_and(|since| between(since, now) >= BLACKOUT);
        (old_enough && between(self.last, now) < EXPIRY && self.weight > 0.0).then_some(self.weight)
    }
}

// === impl CpuWeighted ===

impl CpuWeighted {
    fn weigh(&mut self, now: Nanos, rng: &mut Rng) {
        let Table { of, ready } = &self.table;
        let known: Vec<f64> = ready.iter().filter_map(|node| of[*node].weight(now)).collect();
        let mean = if known.len() < 2 { 1.0 } else { known.iter().sum::<f64>() / known.len() as f64 };
        self.weights = vec![0.0; of.len()];
        self.turns.clear();
        for &node in ready {
            let own = of[node].weight(now).filter(|_| known.len() >= 2);
            let weight = own.unwrap_or(mean) / mean;
            self.weights[node] = weight;
            // Anywhere in its first turn, or all clients would begin with the same node.
            self.turns.push(Reverse(((rng.f64() / weight).to_bits(), node)));
        }
    }
}

impl Default for CpuWeighted {
    fn default() -> Self {
        Self { table: Table::new(), weights: Vec::new(), turns: BinaryHeap::new() }
    }
}

impl Balancer for CpuWeighted {
    fn update(&mut self, seats: &[Seat], now: Nanos, rng: &mut Rng) {
        self.table.update(seats, &Reported::default());
        self.weigh(now, rng);
    }

    fn pick(&mut self, ask: &Ask<'_>, _rng: &mut Rng) -> Option<Choice> {
        let mut tries = self.turns.len();
        loop {
            let Reverse((deadline, node)) = self.turns.pop()?;
            let next = f64::from_bits(deadline) + 1.0 / self.weights[node];
            self.turns.push(Reverse((next.to_bits(), node)));
            tries = tries.saturating_sub(1);
            if tries == 0 || !ask.exclude.contains(&node) {
                return Some(Choice { node, ticket: None });
            }
        }
    }

    fn done(&mut self, mark: Mark<'_>) {
        let report = mark.fleet.get(mark.node).report(mark.now);
        let failures = report.failures_per_second / report.calls_per_second;
        let utilisation = report.utilisation + failures * ERROR_PENALTY;
        let weight = report.calls_per_second / utilisation;
        if weight.is_finite() && weight > 0.0 {
            let reported = &mut self.table.of[mark.node];
            let since = reported.since.unwrap_or(mark.now);
            *reported = Reported { weight, since: Some(since), last: mark.now };
        }
    }

    fn tick(&mut self, now: Nanos, _fleet: &Fleet, rng: &mut Rng) {
        self.weigh(now, rng);
    }
}
