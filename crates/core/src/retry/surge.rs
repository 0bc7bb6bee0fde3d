//! Whether everything has become slow at once. Second attempts help against a node that is slow; when all are, they are more load for
//! those who can bear it least. A quantile of the last minute does not know yet, so that every call passes it.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use tokio::time::Instant;

/// Above this share of calls that were slow, it is a surge.
const SHARE_MAX: f64 = 0.2;
/// Fewer slow calls than this are no surge: of few calls, one in five is soon slow.
const SLOW_MIN: u64 = 10;

/// A second's slot: calls, slow ones, and which second it is.
const COUNT_BITS: u32 = 22;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const SLOW_UNIT: u64 = 1 << COUNT_BITS;
const SECOND_SHIFT: u32 = 2 * COUNT_BITS;
const SECOND_MASK: u64 = (1 << (64 - SECOND_SHIFT)) - 1;

/// Counts calls, and those among them that became slow, over the current second and the one before.
#[derive(Debug, Default)]
pub struct Surge {
    /// The first time that was passed in; seconds are counted from it.
    origin: OnceLock<Instant>,
    slots: [AtomicU64; 2],
}

// === impl Surge ===

impl Surge {
    /// Nothing was called yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A call begins.
    pub fn call(&self, now: Instant) {
        self.add(1, now);
    }

    /// A call has become slow. Whether so many have that it is not its node's fault: more than a fifth of the calls of the last
    /// second or two, and at least ten.
    #[must_use]
    pub fn slow(&self, now: Instant) -> bool {
        self.add(SLOW_UNIT, now);
        let second = self.second(now);
        let ((calls, slow), (calls_before, slow_before)) =
            (self.read(second), self.read(second.saturating_sub(1)));
        let (calls, slow) = (calls + calls_before, slow + slow_before);
        slow >= SLOW_MIN && slow as f64 > SHARE_MAX * calls as f64
    }

    fn add(&self, unit: u64, now: Instant) {
        let second = self.second(now);
        let slot = &self.slots[(second % 2) as usize];
        let added = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            if word >> SECOND_SHIFT != second & SECOND_MASK {
                return Some(((second & SECOND_MASK) << SECOND_SHIFT) | unit);
            }
            // A full count stays full.
            let full = if unit == 1 {
                word & COUNT_MAX == COUNT_MAX
            } else {
                (word >> COUNT_BITS) & COUNT_MAX == COUNT_MAX
            };
            (!full).then(|| word + unit)
        });
        // Full: there is nothing to count any more.
        let _ = added;
    }

    fn read(&self, second: u64) -> (u64, u64) {
        let word = self.slots[(second % 2) as usize].load(Ordering::Relaxed);
        if word >> SECOND_SHIFT == second & SECOND_MASK {
            (word & COUNT_MAX, (word >> COUNT_BITS) & COUNT_MAX)
        } else {
            (0, 0)
        }
    }

    /// From one on: slots of zeros then belong to no second that is asked for.
    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(*self.origin.get_or_init(|| now)).as_secs() + 2
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn more_than_a_fifth_is_a_surge_and_a_fifth_is_not() {
        let (surge, now) = (Surge::new(), Instant::now());
        (0..100).for_each(|_| surge.call(now));
        assert!((0..20).all(|_| !surge.slow(now)));
        assert!(surge.slow(now));
    }

    #[test]
    fn a_few_slow_calls_are_no_surge() {
        let (surge, now) = (Surge::new(), Instant::now());
        (0..9).for_each(|_| surge.call(now));
        assert!((0..9).all(|_| !surge.slow(now)));
    }

    #[test]
    fn it_is_over_two_seconds_later() {
        let (surge, now) = (Surge::new(), Instant::now());
        (0..100).for_each(|_| surge.call(now));
        assert!((0..100).filter(|_| surge.slow(now)).count() > 70);
        let later = now + Duration::from_secs(2);
        (0..100).for_each(|_| surge.call(later));
        assert!((0..20).all(|_| !surge.slow(later)));
    }
}
