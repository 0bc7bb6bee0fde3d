//! What nodes answer to probes, and how a strategy goes by it: Prequal (Wydrowski and others, NSDI 2024).

use std::time::Duration;

use crate::error::{Error, Result};

const OP: &str = "set up prequal";

/// A node's answer to a probe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Probe {
    /// Calls that it has in flight, from all of its clients.
    pub inflight: u32,
    /// What calls have taken lately when it had about as many; `None` while it does not know.
    pub latency: Option<Duration>,
}

/// Settings of [`Strategy::Prequal`](super::Strategy::Prequal).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrequalConfig {
    pub(super) probes: f64,
    pub(super) hot: f64,
}

// === impl PrequalConfig ===

impl PrequalConfig {
    /// Probes for each call, on average. 3 unless set; below 1 the answers grow old.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) unless it is from 0.1 to 10.
    pub fn probes(self, probes: f64) -> Result<Self> {
        if !(0.1..=10.0).contains(&probes) {
            let message = format!("each call may lead to 0.1 to 10 probes, not {probes}");
            return Err(Error::invalid(OP, message));
        }
        Ok(Self { probes, ..self })
    }

    /// Which part of the answers lately had fewer calls in flight than a node that counts as hot: a hot node is taken only when all
    /// are. 0.84 unless set; useful from 0.6 to 0.9. At 0 only calls in flight count, at 1 only latency does.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) unless it is from 0 to 1.
    pub fn hot(self, hot: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&hot) {
            let message = format!("the part of answers above which a node is hot is from 0 to 1, not {hot}");
            return Err(Error::invalid(OP, message));
        }
        Ok(Self { hot, ..self })
    }

    /// How many probes one call leads to, by chance so that the mean is right.
    #[must_use]
    pub fn draw(&self, rng: &mut fastrand::Rng) -> usize {
        rounded(self.probes, rng)
    }
}

impl Default for PrequalConfig {
    fn default() -> Self {
        Self { probes: 3.0, hot: 0.84 }
    }
}

/// A whole number whose mean is `value`.
pub(super) fn rounded(value: f64, rng: &mut fastrand::Rng) -> usize {
    value as usize + usize::from(rng.f64() < value.fract())
}
