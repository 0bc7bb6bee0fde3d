//! Growing, jittered waits between attempts.

use std::time::Duration;

use crate::error::{Error, Result};

/// Beyond this many doublings every bound has reached its cap; it keeps the exponent small.
const EXPONENT_MAX: u32 = 64;

/// A sequence of waits: each bound is a multiple of the one before, up to a cap, and the wait is drawn from it.
///
/// ```
/// use std::time::Duration;
/// use callsign_core::retry::Backoff;
///
/// let mut rng = fastrand::Rng::with_seed(7);
/// let mut backoff = Backoff::full_jitter(Duration::from_millis(25), Duration::from_secs(1))?;
/// assert!(backoff.next(&mut rng) <= Duration::from_millis(25));
/// assert!(backoff.next(&mut rng) <= Duration::from_millis(50));
/// backoff.reset();
/// assert!(backoff.next(&mut rng) <= Duration::from_millis(25));
/// # Ok::<(), callsign_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    multiplier: f64,
    jitter: Jitter,
    attempts: u32,
}

/// How a wait is drawn from its bound.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Jitter {
    /// Anywhere from nothing to the bound: the least total work when many clients retry at once.
    Full,
    /// The bound, less or more by up to this share of it, from 0 to 1.
    Around(f64),
}

// === impl Backoff ===

impl Backoff {
    /// Waits between nothing and `base`, doubled with each attempt, up to `cap`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when `base` is zero or above `cap`.
    pub fn full_jitter(base: Duration, cap: Duration) -> Result<Self> {
        Self::new(base, cap, 2.0, Jitter::Full)
    }

    /// Waits drawn by `jitter` from `base`, times `multiplier` with each attempt, up to `cap`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when `base` is zero or above `cap`, when the multiplier is not a number
    /// from 1 to 100, or the jitter's share not one from 0 to 1.
    pub fn new(base: Duration, cap: Duration, multiplier: f64, jitter: Jitter) -> Result<Self> {
        let wrong = |what: String| Err(Error::invalid("set up a backoff", what));
        if base.is_zero() || base > cap {
            return wrong(format!(
                "the base must be above zero and at most the cap: {base:?} with cap {cap:?}"
            ));
        }
        if !(1.0..=100.0).contains(&multiplier) {
            return wrong(format!("the multiplier must be from 1 to 100: {multiplier}"));
        }
        if let Jitter::Around(share) = jitter
            && !(0.0..=1.0).contains(&share)
        {
            return wrong(format!("the jitter's share must be from 0 to 1: {share}"));
        }
        Ok(Self { base, cap, multiplier, jitter, attempts: 0 })
    }

    /// For the attempts of one call: 25 ms doubled up to 1 s, full jitter.
    #[must_use]
    pub fn calls() -> Self {
        Self {
            base: Duration::from_millis(25),
            cap: Duration::from_secs(1),
            multiplier: 2.0,
            jitter: Jitter::Full,
            attempts: 0,
        }
    }

    /// For registrations: 50 ms doubled up to 1.5 s, full jitter; a node is to be back within 2 s of its registry.
    #[must_use]
    pub fn registrations() -> Self {
        Self {
            base: Duration::from_millis(50),
            cap: Duration::from_millis(1500),
            multiplier: 2.0,
            jitter: Jitter::Full,
            attempts: 0,
        }
    }

    /// For connections, as every gRPC client does it: 1 s, times 1.6, up to 120 s, a fifth less or more.
    #[must_use]
    pub fn connections() -> Self {
        Self {
            base: Duration::from_secs(1),
            cap: Duration::from_secs(120),
            multiplier: 1.6,
            jitter: Jitter::Around(0.2),
            attempts: 0,
        }
    }

    /// The next wait; the bound grows for the one after it.
    pub fn next(&mut self, rng: &mut fastrand::Rng) -> Duration {
        let bound = self.bound();
        self.attempts = self.attempts.saturating_add(1);
        match self.jitter {
            Jitter::Full => bound.mul_f64(rng.f64()),
            Jitter::Around(share) => bound.mul_f64(1.0 + share * (2.0 * rng.f64() - 1.0)),
        }
    }

    /// What the next wait is drawn from.
    #[must_use]
    pub fn bound(&self) -> Duration {
        let exponent = self.attempts.min(EXPONENT_MAX) as i32;
        let grown = self.base.as_secs_f64() * self.multiplier.powi(exponent);
        if grown >= self.cap.as_secs_f64() { self.cap } else { Duration::from_secs_f64(grown) }
    }

    /// How many waits were drawn since the start or the last reset.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Begins anew: what was tried has worked.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_wait_never_passes_its_bound_nor_the_cap(
            base in 1u64..10_000, factor in 1u64..1000, seed: u64, attempts in 0usize..200,
        ) {
            let (base, cap) = (Duration::from_millis(base), Duration::from_millis(base * factor));
            let mut backoff = Backoff::full_jitter(base, cap).unwrap();
            let mut rng = fastrand::Rng::with_seed(seed);
            for _ in 0..attempts {
                let bound = backoff.bound();
                prop_assert!(bound <= cap && bound >= base);
                prop_assert!(backoff.next(&mut rng) <= bound);
                prop_assert!(backoff.bound() >= bound);
            }
            backoff.reset();
            prop_assert_eq!(backoff.bound(), base);
        }
    }

    #[test]
    fn full_jitter_uses_the_whole_range() {
        let mut rng = fastrand::Rng::with_seed(1);
        let second = Duration::from_secs(1);
        let waits: Vec<_> =
            (0..1000).map(|_| Backoff::full_jitter(second, second).unwrap().next(&mut rng)).collect();
        let mean = waits.iter().sum::<Duration>() / 1000;
        assert!((450..550).contains(&mean.as_millis()), "{mean:?}");
        assert!(waits.iter().any(|wait| *wait < Duration::from_millis(50)));
        assert!(waits.iter().any(|wait| *wait > Duration::from_millis(950)));
    }

    #[test]
    fn connections_back_off_as_grpc_says() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut backoff = Backoff::connections();
        let (mut bound, mut shares) = (1.0_f64, Vec::new());
        for _ in 0..50 {
            assert!((backoff.bound().as_secs_f64() - bound).abs() < 1e-6);
            shares.push(backoff.next(&mut rng).as_secs_f64() / bound);
            bound = (bound * 1.6).min(120.0);
        }
        shares.sort_by(f64::total_cmp);
        let (least, most) = (shares[0], shares[49]);
        assert!((0.8..0.85).contains(&least) && (1.15..=1.2).contains(&most), "{shares:?}");
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let second = Duration::from_secs(1);
        for (result, said) in [
            (Backoff::full_jitter(Duration::ZERO, second), "base"),
            (Backoff::full_jitter(second * 2, second), "at most the cap"),
            (Backoff::new(second, second, f64::NAN, Jitter::Full), "multiplier"),
            (Backoff::new(second, second, 0.5, Jitter::Full), "multiplier"),
            (Backoff::new(second, second, 2.0, Jitter::Around(1.5)), "share"),
            (Backoff::new(second, second, 2.0, Jitter::Around(f64::NAN)), "share"),
        ] {
            let error = result.unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}
