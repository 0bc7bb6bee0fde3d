//! Each in turn as often as its weight says: gRPC's static stride scheduler.
//!
//! A counter goes round over the candidates; in round `g` candidate `i` with weight `w`, of at most `M`, is taken if
//! `(w·g + offset) mod M ≥ M − w`, and passed over otherwise. So it is taken in `w` of `M` rounds, evenly spread, with nothing
//! to lock and nothing to update but the counter.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Candidate, Counter, Witness};

/// What the largest weight is scaled to.
const WEIGHT_MAX: u64 = u16::MAX as u64;

/// Shifts neighbours by half a round's worth against each other, as gRPC does.
const OFFSET: u64 = WEIGHT_MAX / 2;

/// Bounds of a weight as multiples of the mean. One huge weight would otherwise make all others be passed over nearly always, and
/// each pick try again and again: it takes as many tries on average as the largest weight is times the mean.
const LEAST_OF_MEAN: f64 = 0.01;
const MOST_OF_MEAN: f64 = 10.0;

/// Rounds that one pick tries: one of the candidates is taken in every round.
const TRIES_MAX: u64 = 2;

#[derive(Debug)]
pub(in crate::select) struct Stride {
    weights: Box<[u16]>,
    count: Counter,
}

// === impl Stride ===

impl Stride {
    pub(super) fn new(candidates: &[Candidate], start: u64) -> Self {
        let weights: Vec<f64> = candidates.iter().map(|candidate| candidate.weight).collect();
        Self { weights: scale(&weights), count: Counter(AtomicU64::new(start)) }
    }

    /// None only if others take so many turns meanwhile that those of the heaviest are all theirs.
    #[inline]
    pub(super) fn next<W: Witness>(&self, witness: &mut W) -> Option<usize> {
        let candidates = self.weights.len() as u64;
        for _ in 0..TRIES_MAX * candidates {
            let counted = witness.see(|| self.count.0.fetch_add(1, Relaxed));
            let (round, index) = (counted / candidates, counted % candidates);
            let weight = u64::from(self.weights[index as usize]);
            // The round is taken modulo the period, or the product would overflow.
            let phase = weight * (round % WEIGHT_MAX) + OFFSET * index;
            if phase % WEIGHT_MAX >= WEIGHT_MAX - weight {
                return Some(index as usize);
            }
        }
        None
    }

    pub(super) fn counted(&self) -> u64 {
        self.count.0.load(Relaxed)
    }
}

/// Weights within their bounds, scaled so that the largest is [`WEIGHT_MAX`]: one of them is taken in every round.
fn scale(weights: &[f64]) -> Box<[u16]> {
    /// Each turn brings the cap near what it will be; more would change little.
    const TURNS: usize = 32;
    let mut weights = weights.to_vec();
    let mean = |weights: &[f64]| weights.iter().sum::<f64>() / weights.len() as f64;
    for _ in 0..TURNS {
        // To cap a weight lowers the mean, and with it the cap.
        let cap = mean(&weights) * MOST_OF_MEAN;
        if weights.iter().all(|weight| *weight <= cap) {
            break;
        }
        weights.iter_mut().for_each(|weight| *weight = weight.min(cap));
    }
    let least = mean(&weights) * LEAST_OF_MEAN;
    let most = weights.iter().copied().fold(0.0, f64::max);
    weights
        .iter()
        .map(|weight| (weight.max(least) / most * WEIGHT_MAX as f64).round().max(1.0) as u16)
        .collect()
}

#[cfg(test)]
mod tests;
