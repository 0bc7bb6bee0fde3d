//! Randomness: a stream of its own for everything that is drawn.
//!
//! All policies face the same arrivals, work, weather and luck, because what a policy draws comes from another stream
//! (common random numbers). A difference between two policies is then theirs, and not chance.

use fastrand::Rng;

/// What a stream is drawn for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stream {
    Arrivals = 1,
    Calls,
    Machines,
    Policy,
    Network,
    Subset,
    Registry,
}

/// The seed of a run, from which those of all its streams come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seeds(pub(crate) u64);

// === impl Seeds ===

impl Seeds {
    /// The stream for one client, node or the like.
    pub(crate) fn stream(self, what: Stream, index: usize) -> Rng {
        Rng::with_seed(mix(mix(mix(self.0) ^ what as u64) ^ index as u64))
    }
}

/// Spreads a number over all of 64 bits (SplitMix64).
pub(crate) fn mix(word: u64) -> u64 {
    let mut z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// From an exponential distribution.
pub(crate) fn exponential(mean: f64, rng: &mut Rng) -> f64 {
    -mean * (1.0 - rng.f64()).ln()
}

/// From the standard normal distribution (Box and Muller).
pub(crate) fn normal(rng: &mut Rng) -> f64 {
    (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (std::f64::consts::TAU * rng.f64()).cos()
}
