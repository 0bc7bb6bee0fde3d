//! Prequal (Wydrowski et al., NSDI 2024) in its asynchronous mode, from the paper's description and parameters.
//!
//! Each call sends a few probes to nodes drawn at random. Replies lie in a small pool. A call takes the reply with the least
//! latency among those whose node is not hot, that is, has no more calls in flight than a quantile of those seen lately; if
//! all are hot, the one with the fewest calls.
//!
//! C3 (Suresh et al., NSDI 2015) is the same with another ranking, as Prequal's authors compare it: the response time that the client
//! has seen, less the node's own, plus that times the cube of the calls there. C3 multiplies a client's own calls by the number of
//! clients; here each use of a reply counts one call more on it, which serves the same end.

use std::collections::VecDeque;

use fastrand::Rng;

use super::{
    super::{Ask, Balancer, Choice, Mark, Probe, Seat},
    between, untried,
};
use crate::clock::{Nanos, SECOND};

/// Counts of calls in flight that the quantile is of.
const SEEN: usize = 128;
/// How much the last answer counts in C3's average of response times.
const FRESH: f64 = 0.1;

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
    pub(super) rank: Rank,
}

/// Which reply is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    HotAndCold,
    C3,
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
    /// For C3, by node: how long answers took, in nanoseconds; zero where there was none.
    heard: Vec<f64>,
    remove_oldest: bool,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self { probes: 3.0, hot: 0.84, pool: 16, age: 1.0, removed: 1.0, delta: 1.0, rank: Rank::HotAndCold }
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
            heard: Vec::new(),
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

    /// Hot ones are worse than cold ones; of the hot, those with most calls, of the cold, the slowest.
    fn badness(&self, reply: &Reply, threshold: u32) -> (u8, u64) {
        match self.settings.rank {
            Rank::C3 => (0, self.c3(reply) as u64),
            Rank::HotAndCold if reply.inflight > threshold => (1, u64::from(reply.inflight)),
            Rank::HotAndCold => (0, reply.latency),
        }
    }

    fn c3(&self, reply: &Reply) -> f64 {
        let own = reply.latency as f64;
        let heard = self.heard.get(reply.node).copied().filter(|heard| *heard > 0.0).unwrap_or(own);
        (heard - own).max(0.0) + f64::from(1 + reply.inflight).powi(3) * own
    }

    fn remove_one(&mut self, threshold: u32) {
        self.remove_oldest = !self.remove_oldest;
        if self.remove_oldest {
            self.pool.pop_front();
            return;
        }
        let badness = |(_, reply): &(usize, &Reply)| self.badness(reply, threshold);
        let worst = self.pool.iter().enumerate().max_by_key(badness).map(|(place, _)| place);
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
        let usable = self.pool.iter().enumerate().filter(|(_, reply)| !ask.exclude.contains(&reply.node));
        let best = usable.min_by_key(|(_, reply)| self.badness(reply, threshold)).map(|(place, _)| place);
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

    fn done(&mut self, mark: Mark<'_>) {
        let took = mark.elapsed.as_nanos() as f64;
        if mark.node >= self.heard.len() {
            self.heard.resize(mark.node + 1, 0.0);
        }
        let heard = &mut self.heard[mark.node];
        *heard = if *heard > 0.0 { *heard + (took - *heard) * FRESH } else { took };
    }

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
