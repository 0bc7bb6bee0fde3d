//! The node that has answered a probe best lately: Prequal in its asynchronous mode, after the paper's description.
//!
//! Answers lie in a small pool. Among those whose node is *cold*, that is, has no more calls in flight than a quantile of those
//! seen lately, the one with the least latency is taken; if all are hot, the one with the fewest calls. An answer that was used
//! counts our own call in, and is used a few times at most; one is thrown away with each pick, the oldest and the worst by turns,
//! so that the pool is not left with what nobody wants. With fewer than two answers, chance decides.
//!
//! Picks read and write the pool without a lock: two at once may take the same answer, or throw it away twice, which is slightly
//! wrong once. Answers come in one after the other, under a lock that no pick takes.
//!
//! Where this is not the paper's: the pool holds one answer of a node, the last, and with few nodes one is used four times at most,
//! where the paper's formula for the number of uses would have it for ever; and a node whose last call failed counts as slow, so that
//! one that fails at once does not look quick.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use super::{Candidate, PickRequest, Witness};
use crate::select::{
    Load,
    probe::{PrequalConfig, Probe, rounded},
    sample::{self, Alias},
};

/// Answers kept at most.
const PLACES: usize = 16;
/// Seconds after which an answer is too old.
const AGE_MAX: f64 = 1.0;
/// By how much more answers are used than they come in.
const SURPLUS: f64 = 1.0;
/// Most uses of one answer, where few nodes make for few answers.
const USES_MAX: f64 = 4.0;
/// Answers whose calls in flight make the quantile.
const SEEN: usize = 128;
/// Seconds that a node which fails, or does not know its latency, is taken to need.
const FAILING: f32 = 5.0;
const UNKNOWN: f32 = 0.1;
/// Added to what compares hot nodes, so that any cold one comes first.
const HOT: u64 = 1 << 40;
/// One call in flight, in a place's `cost`.
const CALL: u64 = 1 << 32;

#[derive(Debug)]
pub(in crate::select) struct Prequal {
    config: PrequalConfig,
    /// Outlives the candidates: it knows nodes by their ranks.
    pool: Arc<Pool>,
    /// How many of the places are used with so many candidates, and how often each answer.
    places: usize,
    uses: f64,
    alias: Option<Alias>,
}

#[derive(Debug, Default)]
struct Pool {
    places: [Place; PLACES],
    /// A node with more calls in flight is hot.
    hot_above: AtomicU32,
    /// Whether the next answer to be thrown away is the oldest.
    oldest_next: AtomicBool,
    /// The calls in flight seen lately. Whoever puts an answer in holds it.
    seen: Mutex<VecDeque<u32>>,
}

/// One answer.
#[derive(Debug, Default)]
struct Place {
    /// Its node; zero for none.
    rank: AtomicU64,
    /// The calls in flight above, the seconds of latency as an `f32` below: so of equal calls, the quicker is less.
    cost: AtomicU64,
    /// When it came, in seconds as bits.
    at: AtomicU64,
    uses: AtomicU32,
}

// === impl Prequal ===

impl Prequal {
    pub(super) fn new(
        config: &PrequalConfig,
        candidates: usize,
        alias: Option<Alias>,
        previous: Option<&Self>,
    ) -> Self {
        let places = candidates.clamp(1, PLACES);
        let removed = 1.0;
        let spare = (1.0 - places as f64 / candidates.max(1) as f64) * config.probes - removed;
        let uses = if spare > 0.0 { ((1.0 + SURPLUS) / spare).clamp(1.0, USES_MAX) } else { USES_MAX };
        let pool = previous.map(|previous| previous.pool.clone()).unwrap_or_default();
        // Of a larger pool, what lies beyond the places in use is forgotten.
        pool.places[places..].iter().for_each(Place::clear);
        Self { config: *config, pool, places, uses, alias }
    }

    pub(super) fn pick<W: Witness>(
        &self,
        candidates: &[Candidate],
        request: &PickRequest<'_>,
        witness: &mut W,
    ) -> usize {
        let hot_above = witness.see(|| self.pool.hot_above.load(Relaxed));
        let mut found = 0;
        let mut best: Option<(u64, &Place, usize)> = None;
        for place in self.places() {
            let rank = witness.see(|| place.rank.load(Acquire));
            let Some(position) = position(candidates, rank) else { continue };
            if !candidates[position].may_take(request, witness) {
                continue;
            }
            found += 1;
            let badness = badness(witness.see(|| place.cost.load(Relaxed)), hot_above);
            if best.is_none_or(|(least, ..)| badness < least) {
                best = Some((badness, place, position));
            }
        }
        let chosen = best.filter(|_| found >= 2).map(|(_, place, position)| {
            witness.see(|| place.count_use());
            position
        });
        witness.see(|| self.throw_away(hot_above));
        chosen.unwrap_or_else(|| match &self.alias {
            Some(alias) => alias.draw(witness.rng()),
            None => sample::below(candidates.len(), witness.rng().u64(..)),
        })
    }

    /// A node has answered, at a time in seconds.
    pub(super) fn probed(&self, load: &Load, probe: Probe, now: f64, rng: &mut fastrand::Rng) {
        let mut seen = self.pool.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.age(now);
        if seen.len() == SEEN {
            seen.pop_front();
        }
        seen.push_back(probe.inflight);
        self.pool.hot_above.store(quantile(&seen, self.config.hot), Relaxed);

        let failing = load.streak() > 0;
        let latency = probe.latency.map_or(UNKNOWN, |latency| latency.as_secs_f32());
        let latency = if failing { latency.max(FAILING) } else { latency };
        let rank = load.known_rank();
        // A later answer takes the place of an earlier one of the same node, of none, or of the oldest.
        let of_node = self.places().iter().find(|place| place.rank.load(Relaxed) == rank);
        let empty = || self.places().iter().find(|place| place.is_empty());
        let Some(place) = of_node.or_else(empty).or_else(|| self.oldest()) else { return };
        place.clear();
        place.cost.store(u64::from(probe.inflight) * CALL + u64::from(latency.to_bits()), Relaxed);
        place.at.store(now.to_bits(), Relaxed);
        place.uses.store(rounded(self.uses, rng) as u32, Relaxed);
        place.rank.store(rank, Release);
    }

    /// Forgets what is too old at a time in seconds.
    pub(super) fn age(&self, now: f64) {
        for place in self.places() {
            if now - f64::from_bits(place.at.load(Relaxed)) > AGE_MAX {
                place.clear();
            }
        }
    }

    fn places(&self) -> &[Place] {
        &self.pool.places[..self.places]
    }

    fn throw_away(&self, hot_above: u32) {
        let by_age = self.pool.oldest_next.load(Relaxed);
        self.pool.oldest_next.store(!by_age, Relaxed);
        let worst = || {
            let held = self.places().iter().filter(|place| !place.is_empty());
            held.max_by_key(|place| badness(place.cost.load(Relaxed), hot_above))
        };
        if let Some(place) = if by_age { self.oldest() } else { worst() } {
            place.clear();
        }
    }

    fn oldest(&self) -> Option<&Place> {
        // Times are positive, so their bits are in their order.
        let held = self.places().iter().filter(|place| !place.is_empty());
        held.min_by_key(|place| place.at.load(Relaxed))
    }
}

// === impl Place ===

impl Place {
    fn is_empty(&self) -> bool {
        self.rank.load(Relaxed) == 0
    }

    fn clear(&self) {
        self.rank.store(0, Relaxed);
    }

    /// Our call adds to what the node has in flight.
    fn count_use(&self) {
        self.cost.fetch_add(CALL, Relaxed);
        if self.uses.fetch_sub(1, Relaxed) <= 1 {
            self.clear();
        }
    }
}

/// Less is better: cold nodes by latency, hot ones after them by calls in flight.
fn badness(cost: u64, hot_above: u32) -> u64 {
    let (inflight, latency) = (cost / CALL, cost % CALL);
    if inflight > u64::from(hot_above) { HOT + inflight } else { latency }
}

/// Where the node of this rank is among the candidates, which are in the order of their ranks.
fn position(candidates: &[Candidate], rank: u64) -> Option<usize> {
    let found = candidates.binary_search_by_key(&rank, |candidate| candidate.load.known_rank());
    found.ok().filter(|_| rank != 0)
}

fn quantile(seen: &VecDeque<u32>, part: f64) -> u32 {
    if part >= 1.0 || seen.is_empty() {
        return u32::MAX;
    }
    let mut seen: Vec<u32> = seen.iter().copied().collect();
    let place = (part * (seen.len() - 1) as f64) as usize;
    *seen.select_nth_unstable(place).1
}

#[cfg(test)]
mod tests;
