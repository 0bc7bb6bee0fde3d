//! How long calls took, all of them: for tails, and to work out what second attempts would make of them.

use serde::{Deserialize, Serialize};

/// Latencies in microseconds, from the least to the most, each with how many calls took no longer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Curve(Vec<(u64, u64)>);

// === impl Curve ===

impl Curve {
    /// Of latencies that grow, each with how many calls took that long.
    pub(super) fn new(counts: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut calls = 0;
        let counts = counts.into_iter().map(|(micros, count)| {
            calls += count;
            (micros, calls)
        });
        Self(counts.collect())
    }

    /// How many calls there were.
    pub(super) fn calls(&self) -> u64 {
        self.0.last().map_or(0, |(_, calls)| *calls)
    }

    /// The share of calls that took longer; NaN if there were none.
    pub(super) fn longer_than(&self, micros: u64) -> f64 {
        let end = self.0.partition_point(|(took, _)| *took <= micros);
        let within = end.checked_sub(1).map_or(0, |last| self.0[last].1);
        1.0 - within as f64 / self.calls() as f64
    }

    /// The microseconds that all but this share of the calls took at most.
    pub(super) fn exceeded_by(&self, share: f64) -> u64 {
        self.search(|micros| self.longer_than(micros) <= share)
    }

    /// The same if those that take longer than `delay` had a second attempt then, whose latency has nothing to do with that of the
    /// first, and the first answer counted.
    pub(super) fn hedged_exceeded_by(&self, share: f64, delay: u64) -> u64 {
        let second = |micros: u64| micros.checked_sub(delay).map_or(1.0, |since| self.longer_than(since));
        self.search(|micros| self.longer_than(micros) * second(micros) <= share)
    }

    /// The least number for which it holds, as it does for all above, of those up to the longest latency.
    fn search(&self, holds: impl Fn(u64) -> bool) -> u64 {
        let (mut low, mut high) = (0, self.0.last().map_or(0, |(micros, _)| *micros));
        while low < high {
            let middle = low + (high - low) / 2;
            if holds(middle) { high = middle } else { low = middle + 1 }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second on average.
    fn exponential() -> Curve {
        let calls = 1_000_000;
        let took = |call: u32| -((f64::from(calls - call) - 0.5) / f64::from(calls)).ln();
        Curve::new((0..calls).map(|call| ((took(call) * 1e6) as u64, 1)))
    }

    fn assert_close(micros: u64, seconds: f64) {
        assert!((micros as f64 / 1e6 / seconds - 1.0).abs() < 0.01, "{micros} for {seconds}");
    }

    #[test]
    fn quantiles_are_those_of_the_exponential_distribution() {
        let curve = exponential();
        assert_close(curve.exceeded_by(0.5), 2_f64.ln());
        assert_close(curve.exceeded_by(0.001), 6.908);
        assert!((curve.longer_than(1_000_000) - (-1_f64).exp()).abs() < 1e-3);
    }

    #[test]
    fn second_attempts_do_what_the_formula_says() {
        let curve = exponential();
        let delay = curve.exceeded_by(0.05);
        assert_close(curve.hedged_exceeded_by(0.01, delay), 3.800);
        assert_close(curve.hedged_exceeded_by(0.001, delay), 4.952);
        assert_close(curve.hedged_exceeded_by(0.0001, delay), 6.103);
    }

    #[test]
    fn a_few_calls_are_counted_exactly() {
        let curve = Curve::new([(10, 3), (20, 1)]);
        assert_eq!(curve.calls(), 4);
        assert_eq!([5, 10, 15, 20].map(|micros| curve.longer_than(micros)), [1.0, 0.25, 0.25, 0.0]);
        assert_eq!(curve.exceeded_by(0.25), 10);
        assert_eq!(curve.exceeded_by(0.2), 20);
        assert!(Curve::default().longer_than(1).is_nan());
    }
}
