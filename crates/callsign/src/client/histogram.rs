//! How many calls took how long: what quantiles over many clients can be told from, which no mean can.
//!
//! A call costs two additions to counters of its node's own. The buckets are Prometheus' usual ones, and some below for calls within a
//! rack.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// What the buckets go up to, in microseconds. The last bucket holds what is longer.
const BOUNDS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];
const BUCKETS: usize = BOUNDS_US.len() + 1;

/// Counts durations.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

/// What a node's calls have taken, to the head of the reply.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LatencyCounts {
    /// For each bucket what it goes up to, that included, and how many calls are in it or in a lower one. The last one holds all, and
    /// goes up to [`Duration::MAX`].
    pub up_to: Vec<(Duration, u64)>,
    /// What all of them have taken together.
    pub sum: Duration,
}

// === impl Histogram ===

impl Histogram {
    pub(crate) fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.iter().position(|bound| micros <= *bound).unwrap_or(BUCKETS - 1);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_ns.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn counts(&self) -> LatencyCounts {
        let bounds = BOUNDS_US.iter().map(|micros| Duration::from_micros(*micros)).chain([Duration::MAX]);
        let mut below = 0;
        let up_to = bounds.zip(&self.buckets).map(|(bound, bucket)| {
            below += bucket.load(Relaxed);
            (bound, below)
        });
        LatencyCounts { up_to: up_to.collect(), sum: Duration::from_nanos(self.sum_ns.load(Relaxed)) }
    }
}

// === impl LatencyCounts ===

impl LatencyCounts {
    /// How many calls there are in all.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.up_to.last().map_or(0, |(_, count)| *count)
    }

    /// Adds others, which have the same buckets.
    pub(crate) fn add(&mut self, others: &Self) {
        for ((_, count), (_, other)) in self.up_to.iter_mut().zip(&others.up_to) {
            *count += other;
        }
        self.sum += others.sum;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_bucket_counts_what_is_no_longer_than_it_goes(
            micros in prop::collection::vec(0_u64..20_000_000, 0..100), nanos in 0_u64..1000,
        ) {
            let histogram = Histogram::default();
            let all: Vec<_> = micros.iter().map(|us| Duration::from_micros(*us) + Duration::from_nanos(nanos)).collect();
            all.iter().for_each(|took| histogram.record(*took));
            let counts = histogram.counts();
            for (bound, count) in &counts.up_to {
                prop_assert_eq!(all.iter().filter(|took| *took <= bound).count() as u64, *count, "{:?}", bound);
            }
            prop_assert_eq!(counts.count(), all.len() as u64);
            prop_assert_eq!(counts.sum, all.iter().sum::<Duration>());
        }
    }
}
