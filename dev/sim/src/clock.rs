//! Virtual time: nanoseconds since the start of a run, and what they are for code that wants an [`Instant`].

use std::time::Duration;

use tokio::time::Instant;

/// Nanoseconds since the start of the run.
pub(crate) type Nanos = u64;

pub(crate) const SECOND: Nanos = 1_000_000_000;

/// Turns virtual time into instants. Nothing of a run depends on which instant it begins at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

// === impl Clock ===

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    /// A clock that begins later.
    #[cfg(test)]
    pub(crate) fn later(by: Duration) -> Self {
        Self(Self::new().0 + by)
    }

    pub(crate) fn instant(self, now: Nanos) -> Instant {
        self.0 + Duration::from_nanos(now)
    }
}

pub(crate) fn seconds(nanos: Nanos) -> f64 {
    nanos as f64 / SECOND as f64
}

pub(crate) fn nanos(seconds: f64) -> Nanos {
    (seconds * SECOND as f64).round() as Nanos
}
