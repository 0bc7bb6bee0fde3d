//! Refusing calls on the client's side while the service refuses most of them: a call that will be refused costs the service too.
//!
//! After "Handling Overload" in Google's *Site Reliability Engineering*: of the calls of the last two minutes, `requests` were asked
//! for and `accepts` were not refused by the service. A call is refused here with the chance
//! `max(0, (requests - k * accepts) / (requests + 1))`, so that about `k` times of what the service takes reaches it, and a trickle
//! when it takes nothing. Refusals of ours count as requests, those of the service reduce the accepts; errors that are the caller's
//! own do neither.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use tokio::time::Instant;

use crate::error::{Error, Result};

/// Slots in the ring, each of ten seconds; twelve are the window.
const SLOTS: u64 = 16;
const WINDOW: u64 = 12;
const SLOT_SECONDS: u64 = 10;

/// A slot: requests, accepts, and which turn of the ring it belongs to.
const COUNT_BITS: u32 = 24;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const ACCEPT_UNIT: u64 = 1 << COUNT_BITS;
const TURN_SHIFT: u32 = 2 * COUNT_BITS;
const TURN_MASK: u64 = (1 << (64 - TURN_SHIFT)) - 1;

/// Refuses calls to a service that refuses most of them. One for each client and service.
///
/// ```
/// use callsign_core::retry::Throttle;
/// use tokio::time::Instant;
///
/// let (throttle, now) = (Throttle::default(), Instant::now());
/// let mut rng = fastrand::Rng::with_seed(1);
/// assert!(throttle.admit(now, &mut rng), "the first call always gets through");
/// throttle.accepted(now);
/// ```
#[derive(Debug)]
pub struct Throttle {
    k: f64,
    /// The first time that was passed in; slots are counted from it.
    origin: OnceLock<Instant>,
    slots: [AtomicU64; SLOTS as usize],
}

// === impl Throttle ===

impl Throttle {
    /// Lets through about `k` times as many calls as the service accepts: 2 reacts late and finds out early that the service is back,
    /// 1.1 the other way round.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) unless `k` is from 1 to 100.
    pub fn new(k: f64) -> Result<Self> {
        if !(1.0..=100.0).contains(&k) {
            let message = format!("calls let through for each accepted one must be from 1 to 100: {k}");
            return Err(Error::invalid("set up a throttle", message));
        }
        Ok(Self::unchecked(k))
    }

    /// Counts a call, and says whether it may be made.
    #[must_use = "a call that was not admitted must not be made"]
    pub fn admit(&self, now: Instant, rng: &mut fastrand::Rng) -> bool {
        let chance = self.chance(now);
        self.add(1, now);
        // No draw while all is well.
        chance <= 0.0 || rng.f64() >= chance
    }

    /// A call was not refused by the service, whatever else came of it.
    pub fn accepted(&self, now: Instant) {
        self.add(ACCEPT_UNIT, now);
    }

    /// The chance that the next call is refused.
    #[must_use]
    pub fn chance(&self, now: Instant) -> f64 {
        let slot = self.slot(now);
        let (mut requests, mut accepts) = (0, 0);
        for age in 0..WINDOW.min(slot) {
            let (index, turn) = place(slot - age);
            let word = self.slots[index].load(Ordering::Relaxed);
            if word >> TURN_SHIFT == turn {
                requests += word & COUNT_MAX;
                accepts += (word >> COUNT_BITS) & COUNT_MAX;
            }
        }
        (requests as f64 - self.k * accepts as f64).max(0.0) / (requests + 1) as f64
    }

    fn unchecked(k: f64) -> Self {
        Self { k, origin: OnceLock::new(), slots: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    fn add(&self, unit: u64, now: Instant) {
        let (index, turn) = place(self.slot(now));
        let added = self.slots[index].fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            if word >> TURN_SHIFT != turn {
                return Some((turn << TURN_SHIFT) | unit);
            }
            // A slot with a full count takes no more of either, and keeps their proportion.
            let full = word & COUNT_MAX == COUNT_MAX || (word >> COUNT_BITS) & COUNT_MAX == COUNT_MAX;
            (!full).then(|| word + unit)
        });
        // Full: there is nothing to count any more.
        let _ = added;
    }

    /// Tens of seconds since the first use, from one turn on: a ring of zeros then belongs to none that is asked for.
    fn slot(&self, now: Instant) -> u64 {
        let origin = *self.origin.get_or_init(|| now);
        now.saturating_duration_since(origin).as_secs() / SLOT_SECONDS + SLOTS
    }
}

impl Default for Throttle {
    /// Two calls for each accepted one.
    fn default() -> Self {
        Self::unchecked(2.0)
    }
}

/// Where ten seconds are counted, and on which turn of the ring.
fn place(slot: u64) -> (usize, u64) {
    ((slot % SLOTS) as usize, (slot / SLOTS) & TURN_MASK)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Ten times what the service takes, a call a millisecond: how many times of that reaches it.
    fn passed_for_each_accepted(k: f64) -> f64 {
        let (throttle, mut now) = (Throttle::new(k).unwrap(), Instant::now());
        let mut rng = fastrand::Rng::with_seed(3);
        let (mut capacity, mut passed, mut accepted) = (0.0, 0, 0);
        for call in 0..400_000 {
            now += Duration::from_millis(1);
            capacity = f64::min(capacity + 0.1, 10.0);
            let counted = call >= 200_000;
            if throttle.admit(now, &mut rng) {
                passed += i32::from(counted);
                if capacity >= 1.0 {
                    capacity -= 1.0;
                    accepted += i32::from(counted);
                    throttle.accepted(now);
                }
            }
        }
        f64::from(passed) / f64::from(accepted)
    }

    #[test]
    fn at_ten_times_the_capacity_little_more_than_k_times_it_gets_through() {
        let passed = passed_for_each_accepted(2.0);
        assert!((1.8..=2.1).contains(&passed), "{passed}");
        let passed = passed_for_each_accepted(1.1);
        assert!((1.0..=1.2).contains(&passed), "{passed}");
    }

    #[test]
    fn nothing_is_refused_while_at_least_half_is_accepted() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let mut rng = fastrand::Rng::with_seed(3);
        for call in 0..10_000 {
            assert!(throttle.admit(now, &mut rng));
            if call % 2 == 0 {
                throttle.accepted(now);
            }
        }
    }

    #[test]
    fn a_service_that_accepts_nothing_still_hears_from_us() {
        let (throttle, mut now) = (Throttle::default(), Instant::now());
        let mut rng = fastrand::Rng::with_seed(3);
        let mut passed = 0;
        for _ in 0..100_000 {
            now += Duration::from_millis(1);
            passed += u32::from(throttle.admit(now, &mut rng));
        }
        assert!((1..100).contains(&passed), "{passed}");
        now += Duration::from_secs(SLOT_SECONDS * WINDOW);
        assert_eq!(throttle.chance(now), 0.0, "two minutes later nothing is held against it");
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        for k in [0.9, f64::NAN, 101.0] {
            assert!(Throttle::new(k).unwrap_err().to_string().contains("accepted"));
        }
    }
}
