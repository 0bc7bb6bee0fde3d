//! Without any knowledge: by chance, or each in turn.

use fastrand::Rng;

use super::{
    super::{Ask, Balancer, Choice, Mark, Seat},
    untried,
};
use crate::clock::Nanos;

/// Any node.
#[derive(Debug, Default)]
pub(super) struct Random {
    nodes: Vec<usize>,
}

/// Each node in turn in the order of the list, from a random one on.
#[derive(Debug, Default)]
pub(super) struct Turns {
    nodes: Vec<usize>,
    next: Option<usize>,
}

// === impl Random ===

impl Balancer for Random {
    fn update(&mut self, seats: &[Seat], _now: Nanos, _rng: &mut Rng) {
        self.nodes = seats.iter().filter(|seat| seat.ready).map(|seat| seat.node).collect();
    }

    fn pick(&mut self, ask: &Ask<'_>, rng: &mut Rng) -> Option<Choice> {
        let node = untried(&self.nodes, ask.exclude, rng, |rng| self.nodes[rng.usize(..self.nodes.len())])?;
        Some(Choice { node, ticket: None })
    }

    fn done(&mut self, _mark: Mark<'_>) {}
}

// === impl Turns ===

impl Balancer for Turns {
    fn update(&mut self, seats: &[Seat], _now: Nanos, _rng: &mut Rng) {
        self.nodes = seats.iter().filter(|seat| seat.ready).map(|seat| seat.node).collect();
    }

    fn pick(&mut self, ask: &Ask<'_>, rng: &mut Rng) -> Option<Choice> {
        let count = self.nodes.len();
        let next = self.next.get_or_insert_with(|| rng.usize(..count.max(1)));
        let turns = (*next..*next + count).map(|turn| self.nodes[turn % count]);
        let (skipped, node) =
            turns.enumerate().find(|(_, node)| !ask.exclude.contains(node)).or_else(|| {
                let first = self.nodes.get(*next % count.max(1))?;
                Some((0, *first))
            })?;
        *next += skipped + 1;
        Some(Choice { node, ticket: None })
    }

    fn done(&mut self, _mark: Mark<'_>) {}
}
