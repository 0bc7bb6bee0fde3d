//! How long a method's calls take: the quantile after which a second attempt is worth its price.
//!
//! Two histograms take turns of thirty seconds, and the quantile is that of both: of the last half to one minute. A sample costs one
//! addition to a counter, which calls of different latency do not share; nothing locks. A bucket is about 3 % wide, and the quantile is
//! interpolated within it.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::error::{Error, Result};

/// How long one histogram is filled.
const TURN: Duration = Duration::from_secs(30);
/// A quantile of fewer samples says little.
const SAMPLES_MIN: u64 = 100;
/// How long a quantile is used before it is worked out anew.
const FRESH: Duration = Duration::from_millis(500);

/// Buckets of an octave, as a power of two; below two octaves' worth each value has its own.
const STEPS_LOG2: u32 = 5;
const STEPS: u64 = 1 << STEPS_LOG2;
/// Octaves above the linear part: about two minutes, and whatever is longer counts as that.
const OCTAVES: u64 = 21;
const BUCKETS: usize = (2 * STEPS + OCTAVES * STEPS) as usize;
/// Samples are counted in units of 2^10 ns, about a microsecond.
const UNIT_LOG2: u32 = 10;

/// The latencies of one method over the last half to one minute.
///
/// ```
/// use std::time::Duration;
/// use callsign_core::retry::Latencies;
/// use tokio::time::Instant;
///
/// let latencies = Latencies::new(0.95)?;
/// let now = Instant::now();
/// assert_eq!(latencies.quantile(now), None, "nothing is known yet");
/// for millis in 1..=200 {
///     latencies.record(Duration::from_millis(millis), now);
/// }
/// let slow = latencies.quantile(now).unwrap();
/// assert!(slow > Duration::from_millis(185) && slow < Duration::from_millis(195));
/// # Ok::<(), callsign_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Latencies {
    quantile: f64,
    /// The first time that was passed in; turns are counted from it.
    origin: OnceLock<Instant>,
    turn: AtomicU64,
    halves: [Histogram; 2],
    /// The quantile in nanoseconds, zero if too little is known, and when it was worked out, in milliseconds since the origin and one.
    known: AtomicU64,
    known_at: AtomicU64,
}

#[derive(Debug)]
struct Histogram(Box<[AtomicU32]>);

// === impl Latencies ===

impl Latencies {
    /// Nothing is known yet; `quantile` is what will be asked for.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) unless the quantile is from 0.5 to 0.9999.
    pub fn new(quantile: f64) -> Result<Self> {
        if !(0.5..=0.9999).contains(&quantile) {
            let message = format!("the quantile must be from 0.5 to 0.9999: {quantile}");
            return Err(Error::invalid("set up latencies", message));
        }
        Ok(Self {
            quantile,
            origin: OnceLock::new(),
            turn: AtomicU64::new(0),
            halves: [Histogram::new(), Histogram::new()],
            known: AtomicU64::new(0),
            known_at: AtomicU64::new(0),
        })
    }

    /// Counts a call that took `latency`.
    ///
    /// Of a call with a second attempt, the time since the first was sent: it is above the quantile, as the first attempt's own would
    /// have been, so the quantile stays where it is. The second's own latency would pull it down, and more calls would get one.
    pub fn record(&self, latency: Duration, now: Instant) {
        let turn = self.turn_at(self.since(now));
        self.halves[(turn % 2) as usize].add(latency);
    }

    /// The quantile. `None` before there are a hundred samples.
    #[must_use]
    pub fn quantile(&self, now: Instant) -> Option<Duration> {
        let since = self.since(now);
        let stamp = since.as_millis() as u64 + 1;
        let known_at = self.known_at.load(Ordering::Relaxed);
        if known_at == 0 || stamp.saturating_sub(known_at) >= FRESH.as_millis() as u64 {
            self.turn_at(since);
            let found = self.find();
            self.known.store(found.map_or(0, |found| found.as_nanos() as u64), Ordering::Relaxed);
            // As long as nothing is known each caller looks again: it is soon.
            self.known_at.store(found.map_or(0, |_| stamp), Ordering::Relaxed);
        }
        match self.known.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    fn since(&self, now: Instant) -> Duration {
        now.saturating_duration_since(*self.origin.get_or_init(|| now))
    }

    /// The turn at this time. Whoever begins it empties the histogram that it is to fill; samples that others add meanwhile may be lost.
    fn turn_at(&self, since: Duration) -> u64 {
        let turn = since.as_secs() / TURN.as_secs();
        let before = self.turn.load(Ordering::Relaxed);
        if turn <= before {
            return before;
        }
        if self.turn.compare_exchange(before, turn, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.halves[(turn % 2) as usize].clear();
            if turn > before + 1 {
                self.halves[((turn + 1) % 2) as usize].clear();
            }
        }
        turn
    }

    fn find(&self) -> Option<Duration> {
        let [one, other] = &self.halves;
        let counts: Vec<u64> = one.counts().zip(other.counts()).map(|(one, other)| one + other).collect();
        let samples: u64 = counts.iter().sum();
        if samples < SAMPLES_MIN {
            return None;
        }
        let rank = self.quantile * samples as f64;
        let mut below = 0;
        for (bucket, count) in counts.iter().enumerate() {
            if (below + count) as f64 >= rank && *count > 0 {
                let (low, high) = (floor(bucket), floor(bucket + 1));
                let share = (rank - below as f64) / *count as f64;
                let units = low as f64 + (high - low) as f64 * share;
                return Some(Duration::from_nanos((units * f64::from(1 << UNIT_LOG2)) as u64));
            }
            below += count;
        }
        None
    }
}

// === impl Histogram ===

impl Histogram {
    fn new() -> Self {
        Self((0..BUCKETS).map(|_| AtomicU32::new(0)).collect())
    }

    fn add(&self, latency: Duration) {
        let units = u64::try_from(latency.as_nanos() >> UNIT_LOG2).unwrap_or(u64::MAX);
        self.0[bucket(units)].fetch_add(1, Ordering::Relaxed);
    }

    fn clear(&self) {
        self.0.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }

    fn counts(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|count| u64::from(count.load(Ordering::Relaxed)))
    }
}

/// The bucket that a value belongs to.
fn bucket(units: u64) -> usize {
    if units < 2 * STEPS {
        return units as usize;
    }
    let octave = u64::from(units.ilog2() - STEPS_LOG2);
    let step = (units >> octave) - STEPS;
    ((octave * STEPS + STEPS + step) as usize).min(BUCKETS - 1)
}

/// The least value of a bucket.
fn floor(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * STEPS {
        return bucket;
    }
    let octave = bucket / STEPS - 1;
    (STEPS + bucket % STEPS) << octave
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_value_is_in_its_bucket(units in 0_u64..(1 << 25)) {
            let bucket = bucket(units);
            prop_assert!(floor(bucket) <= units && units < floor(bucket + 1));
            prop_assert!((floor(bucket + 1) - floor(bucket)) as f64 <= (units as f64 / 32.0).max(1.0));
        }

        #[test]
        fn the_quantile_is_that_of_the_sorted_samples(
            micros in prop::collection::vec(1_u64..1_000_000, 100..500), q in 0.5..0.999,
        ) {
            let latencies = Latencies::new(q).unwrap();
            let now = Instant::now();
            let mut sorted = micros.clone();
            sorted.sort_unstable();
            for micros in micros {
                latencies.record(Duration::from_micros(micros), now);
            }
            let exact = sorted[((q * sorted.len() as f64).ceil() as usize).max(1) - 1] as f64;
            let found = latencies.quantile(now).unwrap().as_secs_f64() * 1e6;
            prop_assert!((found - exact).abs() <= exact / 28.0 + 2.0, "{found} for {exact}");
        }

        #[test]
        fn no_time_and_no_latency_makes_it_panic(steps in prop::collection::vec((any::<u32>(), any::<u64>()), 0..50)) {
            let (latencies, mut now) = (Latencies::new(0.9).unwrap(), Instant::now());
            for (millis, nanos) in steps {
                now += Duration::from_millis(u64::from(millis));
                latencies.record(Duration::from_nanos(nanos), now);
                let _ = latencies.quantile(now);
            }
        }
    }

    #[test]
    fn what_is_older_than_a_minute_is_forgotten() {
        let (latencies, start) = (Latencies::new(0.95).unwrap(), Instant::now());
        let fill = |millis, now| (0..1000).for_each(|_| latencies.record(Duration::from_millis(millis), now));
        let about = |millis: u64, now| {
            let found = latencies.quantile(now).unwrap().as_millis() as u64;
            assert!(found.abs_diff(millis) <= millis / 30, "{found} for {millis}");
        };
        fill(1000, start);
        about(1000, start);
        let now = start + TURN;
        fill(10, now);
        about(1000, now);
        let now = start + 2 * TURN;
        fill(10, now);
        about(10, now);
        assert_eq!(latencies.quantile(start + 5 * TURN), None, "after a long silence nothing is known");
    }

    #[test]
    fn ninety_nine_samples_are_too_few() {
        let (latencies, now) = (Latencies::new(0.95).unwrap(), Instant::now());
        (0..99).for_each(|_| latencies.record(Duration::from_millis(1), now));
        assert_eq!(latencies.quantile(now), None);
        latencies.record(Duration::from_millis(1), now);
        assert!(latencies.quantile(now).is_some());
    }

    #[test]
    fn quantiles_that_make_no_sense_are_refused() {
        for quantile in [0.0, 0.49, 1.0, f64::NAN, -1.0] {
            assert!(Latencies::new(quantile).unwrap_err().to_string().contains("quantile"));
        }
    }
}
