//! How long calls have taken lately, by how many there were at the same time: what a probe asks for.
//!
//! Written by each call at its end, without a lock. A reader may see a latency that another call is just writing over, which does
//! no harm to a median.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

/// Latencies remembered for each step, and steps told apart.
const REMEMBERED: usize = 15;
const STEPS: usize = 48;

#[derive(Debug)]
pub(super) struct Recent([Step; STEPS]);

/// Latencies of calls that came when about as many others were in flight.
#[derive(Debug, Default)]
struct Step {
    /// In microseconds; zero for none yet.
    latencies: [AtomicU32; REMEMBERED],
    next: AtomicU32,
}

// === impl Recent ===

impl Recent {
    /// A call has ended that came when so many others were in flight.
    pub(super) fn record(&self, inflight: usize, took: Duration) {
        let step = &self.0[step_of(inflight)];
        let place = step.next.fetch_add(1, Relaxed) as usize % REMEMBERED;
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1);
        step.latencies[place].store(micros, Relaxed);
    }

    /// The median of what calls took that came when about so many were in flight, or else at the nearest number that is known.
    pub(super) fn median(&self, inflight: usize) -> Option<Duration> {
        let step = step_of(inflight);
        (0..STEPS).find_map(|far| {
            let below = step.checked_sub(far).and_then(|step| self.0[step].median());
            below.or_else(|| self.0.get(step + far).and_then(Step::median))
        })
    }
}

impl Default for Recent {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Step::default()))
    }
}

// === impl Step ===

impl Step {
    fn median(&self) -> Option<Duration> {
        let mut known = [0; REMEMBERED];
        let mut count = 0;
        for micros in self.latencies.iter().map(|latency| latency.load(Relaxed)).filter(|micros| *micros > 0)
        {
            known[count] = micros;
            count += 1;
        }
        let known = &mut known[..count];
        known.sort_unstable();
        known.get(count / 2).map(|micros| Duration::from_micros(u64::from(*micros)))
    }
}

/// Each number up to eight is a step, then each step is a quarter more than the one before.
fn step_of(inflight: usize) -> usize {
    match inflight {
        0..=8 => inflight,
        _ => {
            let log = inflight.ilog2() as usize;
            let quarter = (inflight >> (log - 2)) & 3;
            (9 + (log - 3) * 4 + quarter).min(STEPS - 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_median_is_that_of_calls_among_as_many_others_or_nearly() {
        let recent = Recent::default();
        assert_eq!(recent.median(3), None);
        for took in [10, 1000, 20, 30, 1] {
            recent.record(4, millis(took));
        }
        assert_eq!(recent.median(4), Some(millis(20)));
        assert_eq!(recent.median(0), Some(millis(20)), "the nearest that is known");
        recent.record(100, millis(500));
        assert_eq!((recent.median(90), recent.median(5)), (Some(millis(500)), Some(millis(20))));
    }

    #[test]
    fn the_latest_calls_count() {
        let recent = Recent::default();
        (0..100).for_each(|_| recent.record(1, millis(10)));
        (0..REMEMBERED).for_each(|_| recent.record(1, millis(50)));
        assert_eq!(recent.median(1), Some(millis(50)));
    }

    #[test]
    fn steps_grow_and_never_fall() {
        let steps: Vec<usize> = (0..100_000).map(step_of).collect();
        assert!(steps.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0] + 1));
        assert_eq!((step_of(usize::MAX), steps[8], steps[9]), (STEPS - 1, 8, 9));
    }
}
