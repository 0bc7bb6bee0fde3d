//! gRPC's retry throttling: a bucket that failures empty and successes fill.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// Tokens are counted in thousandths, as gRFC A6 allows three decimals.
const UNIT: u64 = 1000;

#[derive(Debug)]
pub(super) struct Tokens {
    left: AtomicU64,
    max: u64,
    /// What a success gives back.
    gain: u64,
}

// === impl Tokens ===

impl Tokens {
    pub(super) fn new(max: u32, ratio: f64) -> Result<Self> {
        let wrong = |what: String| Err(Error::invalid("set up a retry budget", what));
        if !(1..=1000).contains(&max) {
            return wrong(format!("there must be 1 to 1000 tokens: {max}"));
        }
        if !(0.001..=1000.0).contains(&ratio) {
            return wrong(format!("the ratio of tokens to successes must be from 0.001 to 1000: {ratio}"));
        }
        let max = u64::from(max) * UNIT;
        // Decimals beyond the third do not count; half of a thousandth is for what binary fractions lose.
        let gain = (ratio * UNIT as f64 + 0.0005) as u64;
        Ok(Self { left: AtomicU64::new(max), max, gain })
    }

    pub(super) fn allow(&self) -> bool {
        self.left.load(Ordering::Relaxed) > self.max / 2
    }

    pub(super) fn give(&self) {
        // Read first: as a rule the bucket is full, and there is nothing to write.
        if self.left.load(Ordering::Relaxed) < self.max {
            self.change(|left| (left + self.gain).min(self.max));
        }
    }

    pub(super) fn take(&self) {
        self.change(|left| left.saturating_sub(UNIT));
    }

    pub(super) fn balance(&self) -> u64 {
        // A failure takes its token first, and is retried if more than half are left then.
        let above = self.left.load(Ordering::Relaxed).saturating_sub(self.max / 2);
        above.saturating_sub(1) / UNIT
    }

    fn change(&self, change: impl Fn(u64) -> u64) {
        let changed = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(change(left)));
        debug_assert!(changed.is_ok(), "the change is never refused");
    }
}
