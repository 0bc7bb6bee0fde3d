//! One that knows everything: each call's work, and what every machine is doing. What can be reached at all.

use fastrand::Rng;

use super::{
    super::{Ask, Balancer, Choice, Mark, Seat},
    untried,
};
use crate::clock::Nanos;

#[derive(Debug, Default)]
pub(super) struct Oracle {
    nodes: Vec<usize>,
}

impl Balancer for Oracle {
    fn update(&mut self, seats: &[Seat], _now: Nanos, _rng: &mut Rng) {
        self.nodes = seats.iter().filter(|seat| seat.ready).map(|seat| seat.node).collect();
    }

    fn pick(&mut self, ask: &Ask<'_>, rng: &mut Rng) -> Option<Choice> {
        let node = untried(&self.nodes, ask.exclude, rng, |rng| {
            let start = rng.usize(..self.nodes.len());
            let (mut best, mut soonest) = (self.nodes[start], f64::INFINITY);
            for &node in self.nodes[start..].iter().chain(&self.nodes[..start]) {
                let machine = ask.fleet.get(node);
                // Between machines that would be as fast, the emptier one keeps room for the next.
                let expected = machine.expected(ask.work) * (1.0 + 1e-3 * machine.fullness());
                if expected < soonest {
                    (best, soonest) = (node, expected);
                }
            }
            best
        })?;
        Some(Choice { node, ticket: None })
    }

    fn done(&mut self, _mark: Mark<'_>) {}
}
