//! Prequal (Wydrowski et al., NSDI 2024) in its asynchronous mode, from the paper's description and parameters.
//!
//! Each call sends a few probes to nodes drawn at random. Replies lie in a small pool. A call takes the reply with the least
//! latency among those whose node is not hot, that is, has no more calls in flight than a quantile of those seen lately; if
//! all are hot, the one with the fewest calls.

use std::collections::VecDeque;

use fastrand::Rng;

use super::{
    super::{Ask, Balancer, Choice, Mark, Probe, Seat},
    between, untried,
};
use crate::clock::{Nanos, SECOND};

/// Counts of calls in flight that the quantile is of.
const SEEN: usize = 128;

#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    /// Probes per call.
    pub(super) probes: f64,
    /// The quantile of calls in flight above which a node is hot.
    pub(super) hot: f64,
    /// Replies kept at most.
    pub(super) pool: usize,
    /// Seconds after which a reply is too old.
    pub(super) age: f64,
    /// Replies thrown away per call.
    pub(super) removed: f64,
    /// How much more often replies are used than they are made.
    pub(super) delta: f64,
}

#[derive(Debug, Clone, Copy)]
struct Reply {
    node: usize,
    inflight: u32,
    latency: Nanos,
    at: Nanos,
    uses: f64,
}

#[derive(Debug)]
pub(super) struct Prequal {
    settings: Settings,
    nodes: Vec<usize>,
    /// The oldest first.
    pool: VecDeque<Reply>,
    seen: VecDeque<u32>,
    remove_oldest: bool,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self { probes: 3.0, hot: 0.84, pool: 16, age: 1.0, removed: 1.0, delta: 1.0 }
    }
}

// === impl Prequal ===

impl Prequal {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            nodes: Vec::new(),
            pool: VecDeque::new(),
            seen: VecDeque::new(),
            remove_oldest: false,
        }
    }

    /// How often a reply may be used, so that as many are used up as come in.
    fn uses(&self) -> f64 {
        let Settings { probes, pool, removed, delta, .. } = self.settings;
        let share = 1.0 - pool as f64 / self.nodes.len() as f64;
        let spare = share * probes - removed;
        if spare <= 0.0 { f64::INFINITY } else { ((1.0 + delta) / spare).max(1.0) }
    }

    /// The number of calls in flight above which a node is hot.
    fn threshold(&self) -> u32 {
        let mut seen: Vec<u32> = self.seen.iter().copied().collect();
        if seen.is_empty() || self.settings.hot >= 1.0 {
            return u32::MAX;
        }
        let place = (self.settings.hot * (seen.len() - 1) as f64) as usize;
        *seen.select_nth_unstable(place).1
    }

    fn remove_one(&mut self, threshold: u32) {
        self.remove_oldest = !self.remove_oldest;
        if self.remove_oldest {
            self.pool.pop_front();
            return;
        }
        // Hot ones before cold ones, of the hot that with most calls, of the cold the slowest.
        let badness = |reply: &Reply| match reply.inflight > threshold {
            true => (1, u64::from(reply.inflight)),
            false => (0, reply.latency),
        };
        let worst =
            self.pool.iter().enumerate().max_by_key(|(_, reply)| badness(reply)).map(|(place, _)| place);
        if let Some(worst) = worst {
            self.pool.remove(worst);
        }
    }
}

impl Balancer for Prequal {
    fn update(&mut self, seats: &[Seat], _now: Nanos, _rng: &mut Rng) {
        self.nodes = seats.iter().filter(|seat| seat.ready).map(|seat| seat.node).collect();
        self.pool.retain(|reply| self.nodes.contains(&reply.node));
    }

    fn pick(&mut self, ask: &Ask<'_>, rng: &mut Rng) -> Option<Choice> {
        while self.pool.front().is_some_and(|reply| between(reply.at, ask.now) > self.settings.age) {
            self.pool.pop_front();
        }
        let threshold = self.threshold();
        let goodness = |reply: &Reply| match reply.inflight > threshold {
            false => (0, reply.latency),
            true => (1, u64::from(reply.inflight)),
        };
        let usable = self.pool.iter().enumerate().filter(|(_, reply)| !ask.exclude.contains(&reply.node));
        let best = usable.min_by_key(|(_, reply)| goodness(reply)).map(|(place, _)| place);
        let node = match best.filter(|_| self.pool.len() >= 2) {
            Some(place) => {
                let reply = &mut self.pool[place];
                reply.inflight += 1;
                reply.uses -= 1.0;
                let (node, used_up) = (reply.node, reply.uses < 1.0);
                // What is left of a use is one by chance.
                if used_up && rng.f64() >= reply.uses.max(0.0) {
                    self.pool.remove(place);
                }
                node
            }
            None => untried(&self.nodes, ask.exclude, rng, |rng| self.nodes[rng.usize(..self.nodes.len())])?,
        };
        for _ in 0..rounded(self.settings.removed, rng) {
            self.remove_one(threshold);
        }
        Some(Choice { node, ticket: None })
    }

    fn done(&mut self, _mark: Mark<'_>) {}

    fn probes(&mut self, rng: &mut Rng, probes: &mut Vec<usize>) {
        let wanted = rounded(self.settings.probes, rng).min(self.nodes.len());
        while probes.len() < wanted {
            let node = self.nodes[rng.usize(..self.nodes.len())];
            if !probes.contains(&node) {
                probes.push(node);
            }
        }
    }

    fn probed(&mut self, probe: Probe, now: Nanos) {
        if self.seen.len() == SEEN {
            self.seen.pop_front();
        }
        self.seen.push_back(probe.inflight);
        if self.pool.len() == self.settings.pool {
            self.pool.pop_front();
        }
        // A node without an answer yet is taken for a middling one.
        let latency = probe.latency.unwrap_or(SECOND / 10);
        let uses = self.uses();
        self.pool.push_back(Reply { node: probe.node, inflight: probe.inflight, latency, at: now, uses });
    }
}

/// A whole number whose mean is `value`.
fn rounded(value: f64, rng: &mut Rng) -> usize {
    value as usize + usize::from(rng.f64() < value.fract())
}
