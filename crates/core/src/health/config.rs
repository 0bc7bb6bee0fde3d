//! When a node is ejected, and for how long.

use std::time::Duration;

use crate::error::{Error, Result};

/// Settings of [`Health`](super::Health).
///
/// ```
/// use std::time::Duration;
/// use callsign_core::health::HealthConfig;
///
/// let config = HealthConfig::default().consecutive(3)?.ejection(Duration::from_secs(5), Duration::from_secs(60))?;
/// assert!(HealthConfig::default().interval(Duration::ZERO).is_err());
/// # Ok::<(), callsign_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct HealthConfig {
    pub(super) on: bool,
    /// Failures in a row; zero for no such rule.
    pub(super) consecutive: u32,
    /// How many standard deviations below the mean.
    pub(super) deviations: f64,
    /// Of the calls, from zero to one.
    pub(super) failed_share: f64,
    pub(super) interval: Duration,
    pub(super) base: Duration,
    pub(super) longest: Duration,
    pub(super) ejected_percent_max: usize,
}

// === impl HealthConfig ===

impl HealthConfig {
    /// No node is ejected, but by [`Health::blacklist`](super::Health::blacklist).
    #[must_use]
    pub fn off() -> Self {
        Self { on: false, ..Self::default() }
    }

    /// Failures in a row for which a node is ejected at once. 5 unless set.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when it is zero.
    pub fn consecutive(self, failures: u32) -> Result<Self> {
        let config = Self { consecutive: failures, ..self };
        config.check(failures > 0, || "a node cannot be ejected for no failure at all".to_owned())
    }

    /// By how many standard deviations the success rate of a node is below the mean when it is ejected: 1.9 unless set. It must be
    /// five points below as well.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) unless it is from 0.1 to 10.
    pub fn deviations(self, deviations: f64) -> Result<Self> {
        let config = Self { deviations, ..self };
        config.check((0.1..=10.0).contains(&deviations), || {
            format!("the success rate may be 0.1 to 10 standard deviations below the mean, not {deviations}")
        })
    }

    /// Which share of its calls a node has failed when it is ejected whatever the others did: 0.85 unless set.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) unless it is from 0.01 to 1.
    pub fn failed_share(self, failed_share: f64) -> Result<Self> {
        let config = Self { failed_share, ..self };
        config.check((0.01..=1.0).contains(&failed_share), || {
            format!("the share of failed calls must be from 0.01 to 1, not {failed_share}")
        })
    }

    /// How often the nodes' rates are compared. 10 s unless set.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) unless it is from 100 ms to an hour.
    pub fn interval(self, interval: Duration) -> Result<Self> {
        let config = Self { interval, ..self };
        config.check((Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&interval), || {
            format!("the interval must be from 100 ms to an hour, not {interval:?}")
        })
    }

    /// How long an ejection lasts the first time, and at most: 30 s and 5 minutes unless set. It is longer by `base` each time, and
    /// shorter by it again for each interval without.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) unless `base` is from 100 ms to `longest`, and that at most a day.
    pub fn ejection(self, base: Duration, longest: Duration) -> Result<Self> {
        let fits =
            base >= Duration::from_millis(100) && base <= longest && longest <= Duration::from_secs(86_400);
        Self { base, longest, ..self }.check(fits, || {
            format!("an ejection lasts from 100 ms to a day, growing: not {base:?} at first and {longest:?} at most")
        })
    }

    /// How much of the set may be ejected at the same time: 10 % unless set. One node always may be, if there are others.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when it is above 50: beyond that the verdicts would not count.
    pub fn ejected_percent_max(self, percent: u8) -> Result<Self> {
        let config = Self { ejected_percent_max: usize::from(percent), ..self };
        config.check(percent <= 50, || {
            format!("with {percent} % ejected no verdict counts any more: 50 % is the most")
        })
    }

    pub(super) fn is_off(&self) -> bool {
        !self.on
    }

    fn check(self, fits: bool, problem: impl FnOnce() -> String) -> Result<Self> {
        if fits { Ok(self) } else { Err(Error::invalid("set up health", problem())) }
    }
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            on: true,
            consecutive: 5,
            deviations: 1.9,
            failed_share: 0.85,
            interval: Duration::from_secs(10),
            base: Duration::from_secs(30),
            longest: Duration::from_secs(300),
            ejected_percent_max: 10,
        }
    }
}
