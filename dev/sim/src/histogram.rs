//! Counts of durations in buckets whose width grows with them: percentiles with a relative error of 0.4 %.
//!
//! Histograms of several runs are added up and then read. Percentiles themselves are never averaged.

/// Buckets per doubling, as a power of two.
const FINE: u32 = 7;
const COARSE: u32 = 4;

#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    bits: u32,
    counts: Vec<u64>,
    total: u64,
    sum: f64,
}

// === impl Histogram ===

impl Histogram {
    /// Percentiles within 0.4 %.
    pub(crate) fn fine() -> Self {
        Self { bits: FINE, counts: Vec::new(), total: 0, sum: 0.0 }
    }

    /// Percentiles within 3 %, in an eighth of the room: for one of many.
    pub(crate) fn coarse() -> Self {
        Self { bits: COARSE, ..Self::fine() }
    }

    pub(crate) fn record(&mut self, value: u64) {
        let bucket = self.bucket(value);
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
        self.sum += value as f64;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        debug_assert_eq!(self.bits, other.bits);
        if other.counts.len() > self.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.sum += other.sum;
    }

    /// Exact, whatever the buckets; NaN of nothing.
    pub(crate) fn mean(&self) -> f64 {
        self.sum / self.total as f64
    }

    /// The value below which a share of all lies; NaN of nothing.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let wanted = (share * self.total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return self.middle(bucket);
            }
        }
        f64::NAN
    }

    fn bucket(&self, value: u64) -> usize {
        let doublings = (64 - self.bits).saturating_sub(value.leading_zeros());
        // Below the first doubling a bucket is one wide.
        let exponent = doublings.saturating_sub(1);
        ((u64::from(exponent) << self.bits) + (value >> exponent)) as usize
    }

    /// The middle of a bucket.
    fn middle(&self, bucket: usize) -> f64 {
        let per_doubling = 1_u64 << self.bits;
        let exponent = (bucket as u64 / per_doubling).saturating_sub(1);
        let first = (bucket as u64 - exponent * per_doubling) << exponent;
        first as f64 + ((1_u64 << exponent) - 1) as f64 / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_half_a_percent_of_the_truth() {
        for scale in [1_u64, 37, 1_000, 999_983, 1 << 40] {
            let mut histogram = Histogram::fine();
            (1..=10_000).for_each(|value| histogram.record(value * scale));
            for share in [0.01, 0.5, 0.9, 0.99, 0.999, 1.0] {
                let truth = share * 10_000.0 * scale as f64;
                let error = (histogram.quantile(share) / truth - 1.0).abs();
                assert!(error < 0.005, "{share} of {scale}: {error}");
            }
            assert!((histogram.mean() / (5_000.5 * scale as f64) - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn two_that_are_added_are_as_one() {
        let (mut odd, mut even, mut all) = (Histogram::fine(), Histogram::fine(), Histogram::fine());
        for value in 0..5_000 {
            if value % 2 == 0 {
                even.record(value)
            } else {
                odd.record(value * 3)
            }
            all.record(if value % 2 == 0 { value } else { value * 3 });
        }
        odd.add(&even);
        assert_eq!((odd.counts, odd.total), (all.counts, all.total));
    }

    #[test]
    fn nothing_has_no_percentile() {
        let histogram = Histogram::fine();
        assert!(histogram.quantile(0.5).is_nan() && histogram.mean().is_nan());
    }
}
