//! The better of two by a peak-sensitive moving average of latency times calls in flight, as tower and linkerd have it.
//!
//! An average that is above the last answer decays towards it with the time between; one below jumps to it. Reading decays too.
//! An error counts as long as it took: nothing is charged for it.

use fastrand::Rng;

use super::{
    super::{Ask, Balancer, Choice, Mark, Seat},
    Table, between, untried,
};
use crate::clock::{Nanos, seconds};

/// Tower's documented example, and linkerd's defaults.
const DECAY: f64 = 10.0;
const FIRST: f64 = 0.03;

#[derive(Debug, Clone, Copy)]
struct Average {
    seconds: f64,
    at: Nanos,
    pending: f64,
}

#[derive(Debug)]
pub(super) struct TowerEwma(Table<Average>);

// === impl Average ===

impl Average {
    fn see(&mut self, sample: f64, now: Nanos) {
        let kept = (-between(self.at, now) / DECAY).exp();
        self.at = now;
        self.seconds =
            if self.seconds < sample { sample } else { self.seconds * kept + sample * (1.0 - kept) };
    }

    /// What one more call would cost at a time: the average after a sample of nothing.
    fn cost(&self, now: Nanos) -> f64 {
        self.seconds * (-between(self.at, now) / DECAY).exp() * (self.pending + 1.0)
    }
}

// === impl TowerEwma ===

impl Default for TowerEwma {
    fn default() -> Self {
        Self(Table::new())
    }
}

impl Balancer for TowerEwma {
    fn update(&mut self, seats: &[Seat], now: Nanos, _rng: &mut Rng) {
        self.0.update(seats, &Average { seconds: FIRST, at: now, pending: 0.0 });
    }

    fn pick(&mut self, ask: &Ask<'_>, rng: &mut Rng) -> Option<Choice> {
        let (ready, of) = (&self.0.ready, &self.0.of);
        let node = untried(ready, ask.exclude, rng, |rng| {
            let count = ready.len();
            if count == 1 {
                return ready[0];
            }
            let first = rng.usize(..count);
            let second = (first + 1 + rng.usize(..count - 1)) % count;
            let (first, second) = (ready[first], ready[second]);
            if of[first].cost(ask.now) <= of[second].cost(ask.now) { first } else { second }
        })?;
        self.0.of[node].pending += 1.0;
        Some(Choice { node, ticket: None })
    }

    fn done(&mut self, mark: Mark<'_>) {
        let average = &mut self.0.of[mark.node];
        average.pending -= 1.0;
        average.see(seconds(mark.elapsed.as_nanos() as u64), mark.now);
    }
}
