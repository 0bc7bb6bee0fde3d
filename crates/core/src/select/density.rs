//! How much a client knows about its nodes: calls per second to each.
//!
//! With a steady flow of calls to every node, comparing eight beats comparing two. With one call a minute to each, estimates are
//! stale, and the more of them are compared, the more the stalest good one is trusted.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::time::Instant;

/// From this many calls per second and node on, eight are compared, or four.
const DENSE: f64 = 0.25;
const SPARSE: f64 = 0.1;

/// Seconds over which the rate is averaged.
const SPAN: f64 = 15.0;

/// The number of choices that fits the flow of calls, measured from time to time.
#[derive(Debug)]
pub(super) struct Density {
    choices: AtomicUsize,
    meter: Mutex<Meter>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Meter {
    last: Option<Instant>,
    /// Calls since then that were counted by earlier slates.
    carried: u64,
    /// What the nodes' call counters added up to when this slate or this interval began.
    baseline: u64,
    /// Calls per second and node.
    rate: Option<f64>,
}

// === impl Density ===

impl Density {
    /// `calls` is what the counters of the slate's nodes add up to; `previous` the slate before, with the same of its nodes.
    pub(super) fn new(calls: u64, previous: Option<(&Self, u64)>) -> Self {
        let (choices, meter) = match previous {
            None => (8, Meter { baseline: calls, ..Meter::default() }),
            Some((previous, calls_before)) => {
                let mut meter = *previous.meter.lock().unwrap_or_else(PoisonError::into_inner);
                meter.carried += calls_before.saturating_sub(meter.baseline);
                meter.baseline = calls;
                (previous.choices(), meter)
            }
        };
        Self { choices: AtomicUsize::new(choices), meter: Mutex::new(meter) }
    }

    pub(super) fn choices(&self) -> usize {
        self.choices.load(Relaxed)
    }

    /// Takes note of the counters' sum over `nodes` nodes at `now`.
    pub(super) fn tick(&self, calls: u64, nodes: usize, now: Instant) {
        let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = meter.last else {
            *meter = Meter { last: Some(now), baseline: calls, carried: 0, rate: None };
            return;
        };
        let seconds = now.saturating_duration_since(last).as_secs_f64();
        if seconds < 0.5 || nodes == 0 {
            return;
        }
        let counted = meter.carried + calls.saturating_sub(meter.baseline);
        let current = counted as f64 / seconds / nodes as f64;
        let before = meter.rate.unwrap_or(current);
        let rate = before + (current - before) * (1.0 - (-seconds / SPAN).exp());
        *meter = Meter { last: Some(now), baseline: calls, carried: 0, rate: Some(rate) };
        let choices = match rate {
            rate if rate >= DENSE => 8,
            rate if rate >= SPARSE => 4,
            _ => 2,
        };
        self.choices.store(choices, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The choices after a minute with `per_second` calls over ten nodes.
    fn after_a_minute(per_second: u64) -> usize {
        let (density, start) = (Density::new(0, None), Instant::now());
        for second in 0..60 {
            density.tick(second * per_second, 10, start + Duration::from_secs(second));
        }
        density.choices()
    }

    #[test]
    fn choices_follow_the_calls_per_node() {
        assert_eq!(after_a_minute(100), 8);
        assert_eq!(after_a_minute(3), 8);
        assert_eq!(after_a_minute(2), 4);
        assert_eq!(after_a_minute(0), 2);
    }

    #[test]
    fn before_anything_was_measured_eight_are_compared() {
        let density = Density::new(0, None);
        density.tick(0, 10, Instant::now());
        assert_eq!(density.choices(), 8);
    }

    #[test]
    fn calls_counted_under_an_earlier_slate_are_not_lost() {
        let start = Instant::now();
        let first = Density::new(0, None);
        first.tick(0, 10, start);
        // Thirty calls, then the slate is made anew with other nodes whose counters stand elsewhere.
        let second = Density::new(1000, Some((&first, 30)));
        second.tick(1000, 10, start + Duration::from_secs(10));
        assert_eq!(second.choices(), 8);
        let idle = Density::new(1000, Some((&first, 0)));
        idle.tick(1000, 10, start + Duration::from_secs(10));
        assert_eq!(idle.choices(), 2);
    }
}
