//! The node with the fewest calls: of all, or of a few drawn at random.
//!
//! With the client's own counts it is what gRPC, Envoy and Finagle call least loaded or least request. gRPC (A48) and Envoy draw
//! with replacement. With counts polled from the servers it is YARP's, as Prequal's authors compare it; with counts that are
//! always fresh it is what a perfect poll would give.

use fastrand::Rng;

use super::{
    super::{Ask, Balancer, Choice, Mark, Seat},
    Table, untried,
};
use crate::{clock::Nanos, fleet::Fleet};

/// Whose counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counts {
    /// Calls of this client.
    Own,
    /// Calls at the server, now.
    Fresh,
    /// Calls at the server when it was last polled, which is once a second, and those of this client since.
    Polled,
}

#[derive(Debug)]
pub(super) struct Least {
    /// How many are compared; all without it.
    choices: Option<usize>,
    counts: Counts,
    table: Table<f64>,
}

// === impl Least ===

impl Least {
    pub(super) fn new(choices: Option<usize>, counts: Counts) -> Self {
        Self { choices, counts, table: Table::new() }
    }

    fn count(&self, node: usize, fleet: &Fleet) -> f64 {
        match self.counts {
            Counts::Own | Counts::Polled => self.table.of[node],
            Counts::Fresh => f64::from(fleet.get(node).inflight()),
        }
    }

    /// The least of some nodes; between equals the first.
    fn least(&self, nodes: impl Iterator<Item = usize>, fleet: &Fleet) -> usize {
        let (mut best, mut fewest) = (0, f64::INFINITY);
        for node in nodes {
            let count = self.count(node, fleet);
            if count < fewest {
                (best, fewest) = (node, count);
            }
        }
        best
    }
}

impl Balancer for Least {
    fn update(&mut self, seats: &[Seat], _now: Nanos, _rng: &mut Rng) {
        self.table.update(seats, &0.0);
    }

    fn pick(&mut self, ask: &Ask<'_>, rng: &mut Rng) -> Option<Choice> {
        let ready = &self.table.ready;
        let node = untried(ready, ask.exclude, rng, |rng| match self.choices {
            None => {
                let start = rng.usize(..ready.len());
                self.least(ready[start..].iter().chain(&ready[..start]).copied(), ask.fleet)
            }
            Some(choices) => self.least((0..choices).map(|_| ready[rng.usize(..ready.len())]), ask.fleet),
        })?;
        self.table.of[node] += 1.0;
        Some(Choice { node, ticket: None })
    }

    fn done(&mut self, mark: Mark<'_>) {
        let count = &mut self.table.of[mark.node];
        *count = (*count - 1.0).max(0.0);
    }

    fn tick(&mut self, _now: Nanos, fleet: &Fleet, _rng: &mut Rng) {
        if self.counts == Counts::Polled {
            for &node in &self.table.ready {
                self.table.of[node] = f64::from(fleet.get(node).inflight());
            }
        }
    }
}
